"""What may run where: functions, system columns, rows as values.

Invariant: what is not known to give the same answer elsewhere is not moved there.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from .analysis import Analysis, Apart, Unplannable
from .nodes import Expr, walk

__all__ = ["check_pushed", "check_spread", "function_kind", "moves", "unproved"]

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


def moves(found: Analysis, expr: Expr) -> bool:
    """Whether an expression gives on a shard what it gives on the coordinator, each time and for all shards."""
    return all(_may_move(found, part, ("immutable", "stable")) for part in walk(expr))




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


def check_pushed(found: Analysis) -> None:
    """Raises ``Apart`` if something in the query may not be evaluated on several shards."""
    root = found.root
    random = {id(part) for item in root.select.items for part in walk(item.expr)} if (
        root is not None and root.select is not None) else set()
    for expr in found.expressions:
        for part in walk(expr):
            if part.kind == "call" and function_kind(found, part) == "volatile" and id(part) in random:
                continue
            if not _may_move(found, part, ("immutable", "stable")):
                raise Apart(f"{part.name or 'a constant'} has its meaning on one server")


def check_spread(found: Analysis) -> None:
    """Raises for what has no meaning unless all of it runs on one shard."""
    for name in unproved(found):
        raise Unplannable(f"function {name}(), which may read sharded tables, over several shards",
                          "Give the sharding key, so that the statement runs on one shard.")
    for relation in found.sharded:
        if relation.source.only:
            raise Unplannable("ONLY on a sharded table over several shards")
        if relation.source.sampled:
            raise Unplannable("TABLESAMPLE on a sharded table over several shards")
    names = {relation.alias for relation in found.sharded}
    for column, scope in found.columns:
        if column.name in _SYSTEM_COLUMNS and scope.resolve(column.names) is None:
            raise Unplannable(f"{column.name} over several shards")
        if column.name in names and scope.resolve(column.names) is None:
            meant = scope.relation(column.names)
            if meant is not None and meant.sharded:
                raise Unplannable("a whole row of a sharded table as a value over several shards",
                                  "Name its columns.")
    types = {relation.table.name for relation in found.sharded if relation.table is not None}
    for cast in found.casts:
        if cast.name.removesuffix("[]").split(".")[-1] in types:
            raise Unplannable("a cast to the row type of a sharded table over several shards")
