"""What may run where: functions, system columns, rows as values.

Invariant: what is not known to give the same answer elsewhere is not moved there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from .analysis import Analysis, Apart, Unplannable
from .edits import Edit
from .nodes import Expr, walk

__all__ = ["check_pushed", "check_spread", "clock_edits", "function_kind", "moves", "unproved"]

_SYSTEM_COLUMNS = frozenset(("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"))


def function_kind(found: Analysis, call: Expr) -> str:
    """As ``Knowledge.function`` says, functions of the user included."""
    own = found.tables.functions.get(call.name)
    if own is None or (len(call.names) > 1 and call.names[0] == "pg_catalog"):
        return found.knowledge.function(call)
    if "internal" in own.languages:             # an aggregate, which has no volatility of its own
        return "unknown"
    if own.volatility != "i" or own.opaque or call.name in found.tables.functions_touching:
        return "unknown"
    return "immutable"


def moves(found: Analysis, expr: Expr, clocks: Container[int] = ()) -> bool:
    """Whether an expression gives on a shard what it gives on the coordinator, each time and for all shards.

    ``clocks``: holes (see ``NOW`` in plan.py) that may stand for the time."""
    return all(_may_move(found, part, ("immutable", "stable")) or _hole(found, part) in clocks for part in walk(expr))


def clock_edits(found: Analysis, exprs: Iterable[Expr]) -> list[Edit]:
    """Puts holes in the place of what tells the time in these expressions, not in queries within them."""
    edits: list[Edit] = []
    for expr in exprs:
        for part in walk(expr):
            hole = found.knowledge.clock_hole(part) if part.kind == "call" else None
            if hole is not None:
                edits.append((part.start, part.end, ("(", hole[0], f"::{hole[1]})")))
    return edits


def _hole(found: Analysis, part: Expr) -> int:
    """The hole for a call that tells the time; 0: it is none."""
    if part.kind != "call" or function_kind(found, part) != "clock":
        return 0
    hole = found.knowledge.clock_hole(part)
    return 0 if hole is None else hole[0]

def _may_move(found: Analysis, part: Expr, kinds: Container[str]) -> bool:
    if part.kind == "call":
        return function_kind(found, part) in kinds
    if part.kind == "cast":
        return not part.name.split(".")[-1].startswith("reg")       # OIDs differ from server to server
    return not (part.kind == "const" and found.knowledge.clock_literal(part))


def unproved(found: Analysis) -> Iterator[str]:
    """Functions whose bodies read sharded tables, or may."""
    for call in found.calls:
        if call.name in found.tables.functions_touching or call.name in found.tables.functions_opaque:
            if not (len(call.names) > 1 and call.names[0] == "pg_catalog"):
                yield call.name


def check_pushed(found: Analysis) -> list[Edit]:
    """Raises ``Apart`` if something in the query may not be evaluated on several shards.

    Gives the edits that put one time for all of them into its conditions."""
    if found.pushed is None:
        try:
            found.pushed = _pushed(found)
        except Apart as reason:
            found.pushed = reason
    if isinstance(found.pushed, Apart):
        raise found.pushed
    return list(found.pushed)


def _pushed(found: Analysis) -> list[Edit]:
    root = found.root
    if found.outward:
        raise Apart("a subquery aggregates the rows that it is evaluated for")
    keyspaces = {one.layout.keyspace for one in found.sharded if one.layout is not None}
    for relation in found.relations:
        if relation.kind == "table" and (relation.layout is None or {relation.layout.keyspace} != keyspaces):
            raise Apart(f'table "{relation.source.names[-1]}" is not on the same shards')
    random = {id(part) for item in root.select.items for part in walk(item.expr)} if (
        root is not None and root.select is not None) else set()
    conditions = [one for one, _, _ in found.conditions]
    timed = {id(part) for one in conditions for part in walk(one)}
    clocks = False
    for expr in found.expressions:
        for part in walk(expr):
            if part.kind == "call" and function_kind(found, part) == "volatile" and id(part) in random:
                continue
            if id(part) in timed and _hole(found, part):
                clocks = True
            elif not _may_move(found, part, ("immutable", "stable")):
                raise Apart(f"{part.name or 'a constant'} has its meaning on one server")
    return clock_edits(found, conditions) if clocks else []


def check_spread(found: Analysis) -> None:
    """Raises for what has no meaning unless all of it runs on one shard."""
    for name in unproved(found):
        raise Unplannable(f"function {name}(), which may read sharded tables, over several shards",
                          "Give the sharding key, so that the statement runs on one shard.")
    for column, scope in found.columns:
        if column.name in _SYSTEM_COLUMNS and scope.resolve(column.names) is None:
            raise Unplannable(f"{column.name} over several shards")
    types = {relation.table.name for relation in found.sharded if relation.table is not None}
    for cast in found.casts:
        if cast.name.removesuffix("[]").split(".")[-1] in types:
            raise Unplannable("a cast to the row type of a sharded table over several shards")
