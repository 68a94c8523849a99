"""Statements that take a list of relations: DROP, TRUNCATE, LOCK, GRANT, VACUUM and the like, cut apart by place.

Invariant: at each place the statement names what lives there, in the client's order, and nothing else.
"""

from __future__ import annotations

from shardproxy.dialects.postgres.sql.table_clauses import Cursor
from shardproxy.planner.ddl import DdlPlan, Step, everywhere
from shardproxy.planner.plan import COORDINATOR, Refusal
from shardproxy.topology.layout import TableLayout

from .ddl_names import Item, Names, items

__all__ = ["drop_indexes", "drop_tables", "grant", "lock", "maintain", "truncate"]

Planned = DdlPlan | Refusal | None


def _listed(names: Names, cursor: Cursor) -> tuple[list[Item], list[TableLayout | None]]:
    found = items(cursor)
    return found, [names.sharded(item.name) for item in found]


def _places(table: TableLayout) -> tuple[str, str]:
    return (table.schema, table.name)


def drop_tables(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind DROP TABLE."""
    _ = cursor.take("if", "exists")
    listed, found = _listed(names, cursor)
    tables = [table for table in found if table is not None]
    cascade = cursor.take("cascade")
    if not tables:
        return None
    shells = tuple(_places(table) for table in tables if not table.reference)
    return DdlPlan("DROP TABLE", names.split(listed, found, True), opened=shells,
                   undeclare=tuple(_places(table) for table in tables), gone=cascade,
                   tidies=cascade or any(names.kept(table) for table in tables), why="where the tables live")


def drop_indexes(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind DROP INDEX."""
    outside = cursor.take("concurrently")
    _ = cursor.take("if", "exists")
    listed = items(cursor)
    found = [names.of_index(item.name) for item in listed]
    if not any(found):
        return None
    kept = any(table is not None and names.kept(table) for table in found)
    if kept and outside:
        return Refusal("DROP INDEX CONCURRENTLY on a table with unique values that are kept", "leave CONCURRENTLY out")
    return DdlPlan("DROP INDEX", names.split(listed, found, True), outside=outside, tidies=kept,
                   why="where the tables live")


def truncate(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind TRUNCATE. Sequences are the coordinator's."""
    _ = cursor.take("table")
    listed, found = _listed(names, cursor)
    if not any(found):
        return None
    restart = cursor.take("restart", "identity")
    _ = cursor.take("continue", "identity")
    if cursor.word() == "cascade" and any(table is not None and table.reference for table in found):
        return Refusal("TRUNCATE CASCADE of a reference table", "name the tables that refer to it too")
    steps = names.split(listed, found, False)
    if restart:
        more = [column.sequence for table in found if table is not None and not table.reference
                and (known := names.tables.get(*_places(table))) is not None
                for column in known.columns if column.sequence]
        steps += tuple(Step((COORDINATOR,), f"ALTER SEQUENCE {name} RESTART".encode()) for name in more)
    return DdlPlan("TRUNCATE TABLE", steps, why="where the rows are")


def lock(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind LOCK. Everybody locks in the order of the places."""
    _ = cursor.take("table")
    listed, found = _listed(names, cursor)
    if not any(found):
        return None
    return DdlPlan("LOCK TABLE", names.split(listed, found, False), needs_block=True, why="where the rows are")


# -- GRANT and REVOKE

_HERE = frozenset(("sequence", "database", "tablespace", "foreign", "large"))
_EVERYWHERE = frozenset(("domain", "function", "procedure", "routine", "language", "schema", "type", "parameter"))


def grant(names: Names, cursor: Cursor, command: str) -> Planned:
    """``cursor`` is behind the command."""
    everyone = Step(everywhere(names.layout), names.text.encode(), forgiving=True)
    if not _behind_on(cursor):
        return DdlPlan(f"{command} ROLE", (everyone,), once=True, why="roles: once for each server")
    if cursor.take("all"):
        if cursor.word() == "sequences":
            return None
        return DdlPlan(command, (everyone,), why="everywhere")
    if cursor.word() in _HERE:
        return None
    if cursor.word() in _EVERYWHERE:
        return DdlPlan(command, (everyone,), why="not a relation: everywhere")
    _ = cursor.take("table")
    listed, found = _listed(names, cursor)
    if not any(found):
        return None
    return DdlPlan(command, names.split(listed, found, True), why="where the tables live")


def _behind_on(cursor: Cursor) -> bool:
    depth = 0
    while not cursor.done:
        token = cursor.tokens[cursor.at]
        if token.kind == "op":
            depth += (token.text == "(") - (token.text == ")")
        cursor.at += 1
        if depth == 0 and token.kind == "word" and token.text == "on":
            return True
    return False


# -- VACUUM, ANALYZE, CLUSTER, REINDEX

def maintain(names: Names, cursor: Cursor, command: str) -> Planned:
    """``cursor`` is behind the command."""
    concurrently = False
    if not cursor.done and cursor.tokens[cursor.at].text == "(":
        concurrently = any(token.text == "concurrently" for token in cursor.group())
    if command == "REINDEX":
        return _reindex(names, cursor, concurrently)
    analyzes = command == "ANALYZE" or any(
        token.kind == "word" and token.text in ("analyze", "analyse") for token in cursor.tokens[1:])
    while cursor.word() in ("full", "freeze", "verbose", "analyze", "analyse"):
        cursor.at += 1
    outside = command != "ANALYZE"
    if cursor.done:
        return _whole_database(names, command, analyzes)
    start = cursor.at
    listed, found = _listed(names, cursor)
    if not any(found) and command == "CLUSTER" and cursor.take("on"):       # CLUSTER index ON table
        found = [names.sharded(cursor.name())]
        if found[0] is not None:
            return DdlPlan(command, (Step(names.shards(found[0]), names.text.encode()),), outside=True)
    if not any(found):
        return None
    cursor.at = start
    return DdlPlan(command, names.split(listed, found, False), outside=outside and command != "CLUSTER",
                   why="where the rows are")


def _whole_database(names: Names, command: str, analyzes: bool) -> Planned:
    """Everywhere. ANALYZE cannot sample shells, so that on the coordinator all other tables are named."""
    text = names.text.rstrip().rstrip(";")
    here = text
    if analyzes and any(table.shell for table in names.tables):
        own = [f'"{_quoted(table.schema)}"."{_quoted(table.name)}"' for table in names.tables
               if table.kind in "rpm" and not table.shell and not table.partition]
        here = f"{text}\n{', '.join(own)}" if own else ""
    steps = (*((Step((COORDINATOR,), here.encode()),) if here else ()),
             Step(names.layout.places(), text.encode()))
    # one after the other: it locks catalogs that databases of one server share until its transaction ends
    return DdlPlan(command, steps, outside=True, why="everywhere")


def _quoted(name: str) -> str:
    return name.replace('"', '""')


def _reindex(names: Names, cursor: Cursor, concurrently: bool) -> Planned:
    kind = cursor.word()
    cursor.at += 1
    concurrently = cursor.take("concurrently") or concurrently
    if concurrently and any(table.kept for table in names.tables):
        return Refusal("REINDEX CONCURRENTLY where unique values are kept", "leave CONCURRENTLY out")
    if kind in ("schema", "database", "system"):
        if kind != "schema":
            return Refusal(f"REINDEX {kind.upper()} over several servers", "REINDEX SCHEMA or TABLE")
        step = Step(everywhere(names.layout), names.text.encode())
        return DdlPlan("REINDEX", (step,), outside=True, why="everywhere")
    name = cursor.name()
    table = names.of_index(name) if kind == "index" else names.sharded(name)
    if table is None:
        return None
    return DdlPlan("REINDEX", (Step(names.places(table, False), names.text.encode()),), outside=concurrently,
                   why="where the rows are")
