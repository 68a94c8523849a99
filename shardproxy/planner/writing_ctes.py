"""Queries whose WITH writes: run whole by the one shard that all of it belongs to, else a part at a time.

Invariant: a query runs whole only if every table that is read or written in any part is on that shard, by keys that
the text or its parameters give; a part that reads what another one returns is judged without knowing it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from shardproxy.catalog.tables import Tables
from shardproxy.topology.layout import Layout

from .analysis import Analysis, Unplannable, analyse
from .expressions import Judge
from .keys import whole_filter
from .knowledge import Knowledge
from .nodes import Query
from .parted import plan_parted
from .plan import (
    COORDINATOR,
    Gather,
    InsertRows,
    KeyValue,
    Parted,
    Plan,
    Push,
    Refusal,
    ShardFilter,
    Single,
    Write,
)
from .safety import function_kind
from .target import Scope
from .writes import plan_write

__all__ = ["plan_writing", "writes"]

_WORD = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')


Planner = Callable[[str, Tables], Gather | Refusal]


def writes(query: Query) -> bool:
    """Whether a query of its WITH is no SELECT."""
    return any(cte.query is None for cte in query.ctes)


def plan_writing(text: str, query: Query, layout: Layout, tables: Tables, search_path: tuple[str, ...],
                 knowledge: Knowledge, read: Planner) -> Single | Write | Parted | Refusal:
    """The plan of such a query. ``read``: plans a query that the coordinator answers."""
    try:
        found = analyse(query, layout, tables, search_path, knowledge, writing=True)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    plans: list[Plan] = []
    for cte in query.ctes:
        if cte.query is None:
            plans.append(plan_write(text[cte.inner_start:cte.inner_end], None, layout, tables, search_path, knowledge))
    if not found.sharded and all(isinstance(plan, Single) and plan.place == COORDINATOR for plan in plans):
        return Single(COORDINATOR, "no sharded table is named")
    scope = Scope(text, layout, tables, search_path, knowledge, Judge(knowledge, tables))
    spread = plan_parted(scope, query.ctes, query.recursive, lambda part, known: plan_write(
        part, None, layout, known, search_path, knowledge), read)
    whole = None if _linked(text, query) else _whole(found, plans)
    return spread if whole is None else Write(whole, spread)


def _linked(text: str, query: Query) -> bool:
    """Whether a part that writes names another query of WITH."""
    for cte in query.ctes:
        others = {one.name for one in query.ctes if one is not cte}
        if cte.query is None and any((quoted.replace('""', '"') or plain.lower()) in others for quoted, plain in
                                     _WORD.findall(text[cte.inner_start:cte.inner_end])):
            return True
    return False


def _whole(found: Analysis, plans: list[Plan]) -> ShardFilter | None:
    """The shards that the query needs as a whole; None: it cannot run on one."""
    filters: list[ShardFilter] = []
    for plan in plans:
        wanted = _filter(plan)
        if wanted is None:
            return None
        filters.append(wanted)
    return _together(found, filters)


def _filter(plan: object) -> ShardFilter | None:
    """Where a part writes, if it can run there as it stands."""
    if isinstance(plan, Push):
        return None if plan.own else plan.filter
    if isinstance(plan, Write) and not (isinstance(plan.spread, InsertRows) and plan.spread.added):
        return plan.whole
    return None


def _together(found: Analysis, filters: list[ShardFilter]) -> ShardFilter | None:
    """All that is read and written, as one filter."""
    if any(function_kind(found, call) == "sequence" for call in found.calls) or any(
            cast.name.split(".")[-1].startswith("reg") for cast in found.casts):
        return None
    first = filters[0] if filters else None
    for relation in found.relations:
        if relation.kind == "table" and (relation.layout is None or (
                first is not None and relation.layout.keyspace != first.keyspace)):
            return None
    if filters and len({one.keyspace for one in filters}) == 1 and (
            len(found.layout.keyspaces[filters[0].keyspace].used()) == 1) and (
            found.layout.keyspaces[filters[0].keyspace].function != "lookup"):
        return replace(filters[0], keys=None)       # one shard has all
    if found.sharded:
        read = whole_filter(found)
        if read is None:
            return None
        filters = [read, *filters]
    kinds = {tuple(_kinds(found, one)) for one in filters}
    rows: dict[tuple[KeyValue, ...], None] = {}
    for one in filters:
        if one.keys is None:
            return None
        rows.update(dict.fromkeys(one.keys))
    if len(kinds) != 1 or "" in next(iter(kinds)) or len({one.keyspace for one in filters}) != 1:
        return None
    return replace(filters[0], keys=tuple(rows))


def _kinds(found: Analysis, wanted: ShardFilter) -> list[str]:
    """Families of the types of a table's key; "" where one is not known."""
    table, layout = found.tables.get(*wanted.table), found.layout.table(*wanted.table)
    columns = [] if table is None or layout is None else [table.column(name) for name in layout.key]
    return [found.knowledge.family(one.base or one.type) if one is not None else "" for one in columns] or [""]
