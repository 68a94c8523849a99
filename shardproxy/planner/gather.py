"""Gather: rows of sharded tables go to temporary tables of the coordinator, the query runs there.

Invariant: a temporary table gets at least the rows and columns that can matter, under the name the query uses.
"""

from __future__ import annotations

from .analysis import Analysis, Unplannable
from .edits import Edit, Piece, edited, parts, whole
from .keys import filter_of
from .nodes import Source
from .plan import NOW, Gather, Pull
from .pushdown import conditions_of
from .rows import check_rows, rows_of
from .safety import clock_edits
from .scopes import Relation

__all__ = ["column_edits", "command_edit", "gather", "needed", "pull_of", "qualified", "table_edit"]


def gather(text: str, found: Analysis, why: str) -> Gather:
    """The plan that always works, if the query may be spread at all."""
    if found.locks:
        raise Unplannable("a row lock on tables of several shards, in a query that one shard alone cannot answer",
                          "Lock the rows by key, or without joins and aggregates.")
    check_rows(found)
    pulls: list[Pull] = []
    edits: list[Edit] = []
    for relation in found.sharded:
        if relation.source.sampled:
            raise Unplannable("TABLESAMPLE of a table whose rows must be gathered", "Sample a query over one table.")
        pull = pull_of(text, found, relation)
        if pull not in pulls:
            pulls.append(pull)
        edits += table_edit(found, relation, pulls.index(pull))
    edits += column_edits(found)
    return Gather(tuple(pulls), parts(edited(text, edits)), why)


def table_edit(found: Analysis, relation: Relation, number: int) -> list[Edit]:
    """Puts a hole in the place of a table's name, and keeps the name as its alias."""
    source = relation.source
    alias = () if source.alias is not None else (" AS " + found.knowledge.quote(relation.alias),)
    return [*command_edit(source), (source.name_start, source.name_end, (" ", number, *alias))]


def command_edit(source: Source) -> list[Edit]:
    """``TABLE name`` becomes a query in which something else than a name can stand."""
    return [(*source.command, ("SELECT * FROM",))] if source.command is not None else []


def column_edits(found: Analysis) -> list[Edit]:
    """Takes the schema from columns that name it: a temporary table has another."""
    edits: list[Edit] = []
    for column, scope in (*found.columns, *found.stars):
        names = column.names if column.kind == "column" else (*column.names, "*")
        if len(names) < 3:
            continue
        relation = scope.relation(names[:-1])
        if relation is not None and relation.sharded:
            last = "*" if names[-1] == "*" and column.kind == "star" else found.knowledge.quote(names[-1])
            edits.append((column.start, column.end, (f"{found.knowledge.quote(names[-2])}.{last}",)))
    return edits


def pull_of(text: str, found: Analysis, relation: Relation) -> Pull:
    """The rows of one table that can matter."""
    assert relation.table is not None and relation.layout is not None
    columns = needed(found, relation)
    conditions = conditions_of(found, relation, (NOW,))
    clocks = clock_edits(found, conditions)
    quote = found.knowledge.quote
    listed = ", ".join(map(quote, columns))
    query: list[Piece] = [f"SELECT {listed} FROM {qualified(found, relation)}"]
    if conditions:
        if relation.source.alias is not None:
            query.append(f" AS {quote(relation.alias)}")
        for number, one in enumerate(conditions):
            query += [" AND (" if number else " WHERE (", *edited(text, clocks, one.start, one.end), "\n)"]
    return Pull(filter_of(relation), whole(query), columns, (relation.table.schema, relation.table.name))


def qualified(found: Analysis, relation: Relation) -> str:
    """The table with its schema, and ONLY if the query has it."""
    assert relation.table is not None
    name = f"{found.knowledge.quote(relation.table.schema)}.{found.knowledge.quote(relation.table.name)}"
    return f"ONLY {name}" if relation.source.only else name


def needed(found: Analysis, relation: Relation) -> tuple[str, ...]:
    """Columns whose names the query mentions anywhere, and the primary key; all, where there is a star."""
    assert relation.table is not None
    names = relation.table.names
    if found.natural or relation.source.alias_columns or relation.number in found.starred or (
            any(relation is one for _, one in rows_of(found))):
        return names
    mentioned = {name for column, _ in found.columns for name in column.names} | found.using
    mentioned.update(relation.table.primary_key)
    chosen = tuple(name for name in names if name in mentioned)
    return chosen or names[:1]

