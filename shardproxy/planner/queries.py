"""Plans a query: one place, one shard if its keys say so, else over shards.

Invariant: the tiers are tried in order, and the first that is proved right is the plan; a query that none of them
can be proved right for is refused.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

from sqlglot import exp

from shardproxy.catalog.tables import Tables
from shardproxy.topology.layout import Layout

from .analysis import Analysis, Apart, Unplannable, analyse
from .gather import gather
from .keys import whole_filter
from .knowledge import Knowledge
from .nodes import Query
from .partial import partial as partial_groups
from .plan import COORDINATOR, Gather, Parted, Refusal, Scatter, Select, ShardFilter, Single, Write
from .safety import check_spread, function_kind
from .scatter import folded, scatter
from .views import expand, tables_in, unqualified
from .writing_ctes import plan_writing, writes

__all__ = ["gathered", "plan_query"]


def plan_query(text: str, tree: Any, layout: Layout, tables: Tables, search_path: tuple[str, ...],
               knowledge: Knowledge) -> Single | Select | Write | Parted | Refusal:
    """The plan of one query. ``tree`` is another reading of it: where the two differ on tables, nothing is planned."""
    query = knowledge.parse(text)
    if query is None:
        if _mentions_shards(text, layout, tables):
            return Refusal("a query that is not understood", "A hint may name its shard.")
        return Single(COORDINATOR, "no sharded table is named")
    if writes(query):
        return plan_writing(text, query, layout, tables, search_path, knowledge, lambda part, known: gathered(
            part, layout, known, search_path, knowledge, "what the parts that write return is put together"))
    try:
        if not _same_tables(tree, query, layout, tables):
            return Refusal("a query that can be read in two ways", "A hint may name its shard.")
        expanded, found = _analysed(text, query, layout, tables, search_path, knowledge)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)
    if not found.sharded:
        return Single(COORDINATOR, "no sharded table is read")
    spread = _spread(expanded, found)
    if isinstance(spread, Scatter) and not found.locks:
        spread = replace(spread, fallback=partial(_fallback, text, layout, tables, search_path, knowledge))
    own = None if expanded == text else expanded.encode("utf-8", "surrogateescape")
    return Select(_whole(found), spread, locks=found.locks, text=own)


def _same_tables(tree: Any, query: Query, layout: Layout, tables: Tables) -> bool:
    """Whether the other reading finds no sharded table or view that this one does not."""
    if tree is None:
        return True
    seen = {source.names[-1] for source, _ in tables_in(query)}
    names = (table.this for table in tree.find_all(exp.Table) if isinstance(table.this, exp.Identifier))
    unseen = {name.this if name.quoted else name.this.lower() for name in names} - seen
    return not unseen or unseen.isdisjoint({table.name for table in layout.tables()} | {
        table.name for table in tables if table.kind == "v"})


def _whole(found: Analysis) -> ShardFilter | None:
    """One shard may run it as it is, unless something in it is the coordinator's: sequences, OIDs."""
    if any(function_kind(found, call) == "sequence" for call in found.calls):
        return None
    if any(cast.name.split(".")[-1].startswith("reg") for cast in found.casts):
        return None
    return whole_filter(found, ranges=True)


def _spread(text: str, found: Analysis) -> Scatter | Gather | Refusal:
    try:
        check_spread(found)
        return _first(text, found)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)


def _first(text: str, found: Analysis) -> Scatter | Gather:
    why = ""
    for tier in (scatter, folded):
        try:
            plan = tier(text, found)
        except Apart as reason:
            why = why or str(reason)
            continue
        return plan
    try:
        return partial_groups(text, found)
    except Apart:
        return gather(text, found, why)


def _analysed(text: str, query: Query, layout: Layout, tables: Tables, search_path: tuple[str, ...],
              knowledge: Knowledge) -> tuple[str, Analysis]:
    """The text without views, and its meaning."""
    expanded, query = expand(text, query, layout, tables, search_path, knowledge)
    found = analyse(query, layout, tables, search_path, knowledge)
    if expanded == text:
        return text, found
    plain = unqualified(expanded, found)
    again = knowledge.parse(plain) if plain != expanded else None
    return (expanded, found) if again is None else (plain, analyse(again, layout, tables, search_path, knowledge))


def gathered(text: str, layout: Layout, tables: Tables, search_path: tuple[str, ...], knowledge: Knowledge,
             why: str) -> Gather | Refusal:
    """The plan of a query that is gathered whatever else might be possible."""
    query = knowledge.parse(text)
    if query is None:
        return Refusal("a query that is not understood", "A hint may name its shard.")
    try:
        expanded, found = _analysed(text, query, layout, tables, search_path, knowledge)
        check_spread(found)
        return gather(expanded, found, why)
    except Unplannable as problem:
        return Refusal(problem.construct, problem.hint)


def _fallback(text: str, layout: Layout, tables: Tables, search_path: tuple[str, ...],
              knowledge: Knowledge) -> Gather | None:
    """Planned when it is asked for: hardly ever."""
    found = gathered(text, layout, tables, search_path, knowledge, "the rows cannot be merged as they come")
    return found if isinstance(found, Gather) else None


def _mentions_shards(text: str, layout: Layout, tables: Tables) -> bool:
    """Whether a text that is not understood has the name of something sharded in it, or a name written in escapes."""
    lowered = text.lower()
    if 'u&"' in lowered:
        return True
    words = set(re.findall(r"[\w$]+", lowered))
    names = {table.name for table in layout.tables()} | {table.name for table in tables if table.kind == "v"}
    return any(name.lower() in words or name.lower() in lowered for name in names | tables.functions_touching)
