"""What may run where: functions, system columns, rows as values.

Invariant: what is not known to give the same answer elsewhere is not moved there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .analysis import Analysis, Unplannable
from .nodes import Expr, walk

__all__ = ["check_spread", "function_kind", "moves", "pushable", "unproved"]

_SYSTEM_COLUMNS = frozenset(("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"))


def function_kind(found: Analysis, call: Expr) -> str:
    """As ``Knowledge.function`` says, functions of the user included."""
    own = found.tables.functions.get(call.name)
    if own is None or (len(call.names) > 1 and call.names[0] == "pg_catalog"):
        return found.knowledge.function(call)
    if own.volatility != "i" or own.opaque or call.name in found.tables.functions_touching:
        return "unknown"
    return "immutable"


def moves(found: Analysis, expr: Expr) -> bool:
    """Whether an expression gives on a shard what it gives on the coordinator, each time and for all shards."""
    return _all_within(found, expr, ("immutable", "stable"))


def pushable(found: Analysis, expr: Expr) -> bool:
    """As ``moves``; each row may also have a random value of its own."""
    return _all_within(found, expr, ("immutable", "stable", "volatile"))


def _all_within(found: Analysis, expr: Expr, kinds: Iterable[str]) -> bool:
    for part in walk(expr):
        if part.kind == "call" and function_kind(found, part) not in kinds:
            return False
        if part.kind == "cast" and part.name.split(".")[-1].startswith("reg"):
            return False                        # OIDs differ from server to server
        if part.kind in ("const", "cast") and found.knowledge.clock_literal(part):
            return False
    return True


def unproved(found: Analysis) -> Iterator[str]:
    """Functions whose bodies read sharded tables, or may."""
    for call in found.calls:
        if call.name in found.tables.functions_touching or call.name in found.tables.functions_opaque:
            if not (len(call.names) > 1 and call.names[0] == "pg_catalog"):
                yield call.name


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
