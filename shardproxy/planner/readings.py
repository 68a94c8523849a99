"""Parts of a statement that is no query, read as the parts of a query: for what is known of relations and conditions.

Invariant: every node stands where it stands in the statement: what is parsed is the statement's text with blanks in the
place of all else.
"""

from __future__ import annotations

from shardproxy.catalog.tables import Table

from .analysis import Analysis, Apart, analyse
from .colocated import rows_home
from .keys import candidates
from .lexemes import Unreadable
from .nodes import Expr, Item, Query, Select, Source
from .safety import function_kind
from .scopes import Relation
from .target import Scope

__all__ = ["ViewRead", "analysed", "expressions", "kinds", "near", "query_at", "sources_and_condition"]

_SELECT = "SELECT "


class ViewRead(Exception):
    """A view over sharded or reference tables is read, which only the coordinator has: its query has to stand there."""

    def __init__(self, source: Source, view: Table) -> None:
        super().__init__(view.name)
        self.source, self.view = source, view


def query_at(scope: Scope, start: int, end: int, before: int = 0) -> Query:
    """The query in this range of characters; ``before``: end of the WITH clause in front of the statement."""
    text = scope.text[:before] + " " * (start - before) + scope.text[start:end]
    return _parse(scope, text)


def expressions(scope: Scope, start: int, end: int) -> list[Item]:
    """Expressions separated by commas, as a select list has them."""
    body = _parse(scope, (" " * (start - len(_SELECT))) + _SELECT + scope.text[start:end]).body
    if not isinstance(body, Select):
        raise Unreadable("expressions")
    return body.items


def sources_and_condition(scope: Scope, start: int, word_end: int, end: int, keyword: str) -> tuple[
        list[Source], Expr | None]:
    """What ``FROM ... WHERE ...`` or ``WHERE ...`` says, whose first word (to ``word_end``) is read as ``keyword``."""
    head = (_SELECT + keyword).ljust(len(_SELECT) + word_end - start)
    text = " " * (word_end - len(head)) + head + scope.text[word_end:end]
    body = _parse(scope, text).body
    if not isinstance(body, Select):
        raise Unreadable("condition")
    return body.sources, body.where


def _parse(scope: Scope, text: str) -> Query:
    query = scope.knowledge.parse(text)
    if query is None:
        raise Unreadable("query")
    return query


def analysed(scope: Scope, query: Query) -> Analysis:
    """Its meaning. Raises Unplannable."""
    found = analyse(query, scope.layout, scope.tables, scope.search_path, scope.knowledge)
    for relation in found.relations:
        if relation.table is not None and relation.table.kind == "v" and relation.layout is None:
            names = {word for one in scope.layout.tables() for word in (one.name,)}
            if any(name in relation.table.definition for name in names):
                raise ViewRead(relation.source, relation.table)
    return found


def kinds(found: Analysis) -> set[str]:
    """What the functions that are called are: see ``Knowledge.function``. ``constant clock``: a literal that means the
    time; ``oid``: a cast to an OID's name, which differs from server to server."""
    used = {function_kind(found, call) for call in found.calls}
    if any(found.knowledge.clock_literal(one) for one in found.casts):
        used.add("constant clock")
    if any(one.name.rpartition(".")[2].startswith("reg") for one in found.casts):
        used.add("oid")
    return used


def near(found: Analysis, target: Relation) -> bool:
    """Whether every row that a row of ``target`` is matched with is on its shard."""
    if target.layout is None:
        return False
    for relation in found.relations:
        if relation.kind != "table" or relation is target:
            continue
        if relation.layout is None:
            if relation.table is not None or relation.source.names[0] not in ("pg_catalog", "information_schema"):
                return False
        elif relation.layout.keyspace != target.layout.keyspace:
            return False
        elif relation.sharded and not _same_key(found, relation, target):
            return False
    return _each_for_itself(found)


def _each_for_itself(found: Analysis) -> bool:
    """Whether the queries within (limits, groups, windows) give on each shard what they give of all rows."""
    try:
        return found.root is not None and rows_home(found, found.root) is not None
    except Apart:
        return False


def _same_key(found: Analysis, relation: Relation, target: Relation) -> bool:
    """Whether the keys of two tables are equal where the first is read, or both are one and the same constant."""
    ours, others = target.key(), relation.key()
    if len(ours) != len(others) or any(
            found.family(a) != found.family(b) or not found.family(a) for a, b in zip(ours, others, strict=True)):
        return False
    # an outer join's condition holds where its nullable side is read
    if any(all(context.same(a, b) for a, b in zip(ours, others, strict=True))
           for context in (relation.context, target.context)):
        return True
    here, there = candidates(target.context, ours), candidates(relation.context, others)
    return here is not None and here == there and len(here) == 1 and not any(one.array for one in here[0])
