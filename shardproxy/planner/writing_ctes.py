"""Queries whose WITH writes: run whole by the one shard that all of it belongs to.

Invariant: every table that is read or written in any part is on that shard, by keys that the text or its parameters
give; a part that reads what another one returns is judged without knowing it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from shardproxy.catalog.tables import Tables
from shardproxy.topology.layout import Layout

from .analysis import Analysis, Unplannable, analyse
from .keys import whole_filter
from .knowledge import Knowledge
from .nodes import Query
from .plan import COORDINATOR, InsertRows, KeyValue, Push, Refusal, ShardFilter, Single, Write
from .safety import function_kind
from .writes import plan_write

__all__ = ["plan_writing", "writes"]

_WHAT = Refusal("a WITH query that writes, over several shards", "Name the sharding key, or run it as a statement of "
                "its own.")
_WORD = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')


def writes(query: Query) -> bool:
    """Whether a query of its WITH is no SELECT."""
    return any(cte.query is None for cte in query.ctes)


def plan_writing(text: str, query: Query, layout: Layout, tables: Tables, search_path: tuple[str, ...],
                 knowledge: Knowledge) -> Single | Write | Refusal:
    """The plan of such a query."""
    try:
        found = analyse(query, layout, tables, search_path, knowledge, writing=True)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    filters: list[ShardFilter] = []
    here = 0
    for cte in query.ctes:
        if cte.query is not None:
            continue
        inner = text[cte.inner_start:cte.inner_end]
        others = {one.name for one in query.ctes if one is not cte}
        if any((quoted.replace('""', '"') or plain.lower()) in others for quoted, plain in _WORD.findall(inner)):
            return _WHAT
        plan = plan_write(inner, None, layout, tables, search_path, knowledge)
        if isinstance(plan, Refusal):
            return plan
        wanted = _filter(plan)
        if wanted is not None:
            filters.append(wanted)
        elif isinstance(plan, Single) and plan.place == COORDINATOR:
            here += 1
        else:
            return _WHAT
    if not filters and not found.sharded:
        return Single(COORDINATOR, "no sharded table is named")
    whole = None if here else _together(found, filters)
    return _WHAT if whole is None else Write(whole, _WHAT)


def _filter(plan: object) -> ShardFilter | None:
    """Where a part writes, if it can run there as it stands."""
    if isinstance(plan, Push):
        return plan.filter
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
            len(found.layout.keyspaces[filters[0].keyspace].used()) == 1):
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
