"""Which DDL runs where: a statement's text -> ``DdlPlan``, a refusal, or None (the coordinator alone, as it came).

    tables listed in the layout     every shard, and the coordinator (a shell, or a reference table's copy)
    other relations, sequences      the coordinator
    roles                           once for each server
    what is no relation             everywhere

Invariant: what is not understood and may concern a sharded table is refused, never run at some of its places.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.catalog.tables import Tables
from shardproxy.dialects.postgres.sql.query_scan import Unreadable, scan
from shardproxy.dialects.postgres.sql.table_clauses import Cursor
from shardproxy.planner.ddl import DdlPlan, Step, everywhere
from shardproxy.planner.plan import Refusal
from shardproxy.topology.layout import Layout

from .ddl_lists import drop_indexes, drop_tables, grant, lock, maintain, truncate
from .ddl_names import Names, Uniques
from .ddl_objects import create_function, create_index, create_policy, create_statistics, create_trigger, role
from .ddl_tables import alter_table, create_table, refused_form

__all__ = ["plan_ddl"]

Planned = DdlPlan | Refusal | None

_HERE = frozenset(("view", "sequence", "materialized", "database", "tablespace", "server", "foreign", "publication",
                   "subscription", "user_mapping", "large", "recursive"))
"""Only the coordinator has them."""
_ROLES = frozenset(("role", "user", "group"))
_ON_TABLE = frozenset(("trigger", "policy", "rule", "constraint"))


def plan_ddl(text: str, layout: Layout, tables: Tables, search_path: Sequence[str] = ("public",),
             default_key: str = "", unique: Uniques | None = None) -> Planned:
    """Plan one statement. ``default_key``: of ``SET shardproxy.default_key``; ``unique``: of the configuration."""
    names = Names(text, layout, tables, search_path, unique or {})
    try:
        tokens = scan(text)
        while len(tokens) > 1 and tokens[-2].kind == "op" and tokens[-2].text == ";":
            del tokens[-2]
        return _plan(names, Cursor(tokens), default_key)
    except (Unreadable, IndexError) as error:
        if not any(table.name in text for table in layout.tables()):
            return None
        return Refusal(f"this DDL could not be understood: {error}", "write it in a simpler form")


def _plan(names: Names, cursor: Cursor, default_key: str) -> Planned:
    command = cursor.word()
    cursor.at += 1
    if command == "create":
        return _create(names, cursor, default_key)
    if command == "alter":
        return _alter(names, cursor)
    if command == "drop":
        return _drop(names, cursor)
    if command in ("grant", "revoke"):
        return grant(names, cursor, command.upper())
    if command == "comment":
        return _comment(names, cursor)
    if command == "truncate":
        return truncate(names, cursor)
    if command == "lock":
        return lock(names, cursor)
    if command in ("vacuum", "analyze", "analyse", "cluster", "reindex"):
        return maintain(names, cursor, command.upper().replace("ANALYSE", "ANALYZE"))
    if command in ("security", "reassign"):
        return _everywhere(names, command.upper())
    return None


def _everywhere(names: Names, kind: str, forgiving: bool = True, quiet: bool = False, gone: bool = False) -> DdlPlan:
    step = Step(everywhere(names.layout), names.text.encode(), forgiving, quiet=quiet)
    return DdlPlan(kind, (step,), gone=gone, why="not a relation: everywhere")


def _on_table(names: Names, cursor: Cursor, kind: str) -> Planned:
    """A statement about something that belongs to the table named here."""
    table = names.sharded(cursor.name())
    if table is None:
        return None
    return DdlPlan(kind, (Step(names.places(table), names.text.encode()),), why="where the table lives")


def _behind_on(cursor: Cursor) -> bool:
    """Go behind the next ON."""
    while not cursor.done:
        if cursor.take("on"):
            return True
        cursor.at += 1
    return False


# -- CREATE

def _create(names: Names, cursor: Cursor, default_key: str) -> Planned:
    _ = cursor.take("or", "replace")
    _ = cursor.take("unlogged")
    if cursor.word() in ("temp", "temporary", "global", "local"):
        return _temporary(names, cursor)
    if cursor.take("table"):
        return create_table(names, cursor, default_key)
    if cursor.take("unique", "index"):
        return create_index(names, cursor, unique=True)
    if cursor.take("index"):
        return create_index(names, cursor, unique=False)
    if cursor.take("trigger") or cursor.take("constraint", "trigger"):
        return create_trigger(names, cursor)
    if cursor.take("policy"):
        return create_policy(names, cursor)
    if cursor.take("statistics"):
        return create_statistics(names, cursor)
    if cursor.take("rule"):
        while not cursor.done and not cursor.take("to"):
            cursor.at += 1
        table = names.sharded(cursor.name())
        return None if table is None else Refusal(f'a rule on sharded table "{table.name}"', "use a trigger")
    if cursor.word() in ("function", "procedure"):
        return create_function(names, cursor)
    if cursor.take("user", "mapping"):
        return None
    if cursor.word() in _ROLES:
        return role(names, cursor, "CREATE")
    if cursor.word() in _HERE and not (cursor.word() == "foreign" and cursor.word(1) == "table"):
        return None
    if cursor.take("foreign", "table"):
        return _foreign_table(names, cursor)
    if cursor.take("schema") and any(token.kind == "word" and token.text in ("create", "grant")
                                     for token in cursor.tokens[cursor.at:]):
        return Refusal("CREATE SCHEMA with the objects in it", "create the schema, then the objects")
    return _everywhere(names, "CREATE", forgiving=False)


def _temporary(names: Names, cursor: Cursor) -> Planned:
    """Of the session's own; it may not hide what is sharded, since statements are planned by names."""
    while cursor.word() in ("temp", "temporary", "global", "local", "recursive"):
        cursor.at += 1
    if not (cursor.take("table") or cursor.take("view")):
        return None
    _ = cursor.take("if", "not", "exists")
    name = cursor.name()[1]
    table = names.sharded((None, name))
    return refused_form(names, cursor.tokens[cursor.at:], None, name) if table is None else Refusal(
        f'a temporary table or view with the name of sharded table "{table.name}"', "give it another name")


def _foreign_table(names: Names, cursor: Cursor) -> Planned:
    parents = {"inherits", "partition"}
    if any(token.kind == "word" and token.text in parents for token in cursor.tokens[cursor.at:]) and any(
            token.kind in ("word", "quoted") and names.sharded((None, token.text)) is not None
            for token in cursor.tokens[cursor.at:]):
        return Refusal("a foreign table that inherits a sharded table")
    return None


# -- ALTER

def _alter(names: Names, cursor: Cursor) -> Planned:
    if cursor.take("table"):
        return alter_table(names, cursor)
    if cursor.take("index"):
        return _alter_index(names, cursor)
    if cursor.word() in _ON_TABLE:
        return _on_table(names, cursor, "ALTER") if _behind_on(cursor) else None
    if cursor.take("user", "mapping"):
        return None
    if cursor.word() in _ROLES:
        return role(names, cursor, "ALTER")
    if cursor.word() in _HERE:
        return None
    if cursor.word() == "system":
        return DdlPlan("ALTER SYSTEM", (Step(everywhere(names.layout), names.text.encode()),), outside=True, once=True,
                       why="a setting of each server")
    if cursor.take("schema"):
        schema = cursor.part()
        if cursor.word() == "rename" and any(table.schema == schema for table in names.layout.tables()):
            return Refusal(f'renaming schema "{schema}", which has sharded tables', "ALTER TABLE ... SET SCHEMA each")
    return _everywhere(names, "ALTER")


def _alter_index(names: Names, cursor: Cursor) -> Planned:
    if cursor.take("all", "in", "tablespace"):
        return Refusal("ALTER INDEX ALL IN TABLESPACE", "name the indexes")
    _ = cursor.take("if", "exists")
    table = names.of_index(cursor.name())
    if table is None:
        return None
    if cursor.word() == "attach":
        return Refusal("partitions of an index on a sharded table")
    return DdlPlan("ALTER INDEX", (Step(names.places(table), names.text.encode()),), tidies=bool(names.kept(table)),
                   why="where the table lives")


# -- DROP, COMMENT

def _drop(names: Names, cursor: Cursor) -> Planned:
    if cursor.take("table"):
        return drop_tables(names, cursor)
    if cursor.take("index"):
        return drop_indexes(names, cursor)
    if cursor.word() in _ON_TABLE:
        kind = cursor.word().upper()
        return _on_table(names, cursor, f"DROP {kind}") if _behind_on(cursor) else None
    if cursor.take("user", "mapping"):
        return None
    if cursor.word() in _ROLES:
        return role(names, cursor, "DROP")
    if cursor.word() in _HERE:
        return None
    gone = cursor.word() in ("schema", "owned", "extension", "type", "domain", "function")
    return _everywhere(names, "DROP", gone=gone)


def _comment(names: Names, cursor: Cursor) -> Planned:
    if not cursor.take("on"):
        return None
    kind = cursor.word()
    if kind == "table":
        cursor.at += 1
        return _on_table(names, cursor, "COMMENT")
    if kind == "column":
        cursor.at += 1
        return _comment_on_column(names, cursor)
    if kind == "index":
        cursor.at += 1
        table = names.of_index(cursor.name())
        return None if table is None else DdlPlan("COMMENT", (Step(names.places(table), names.text.encode()),))
    if kind in _ON_TABLE:
        _behind_on(cursor)
        if cursor.take("domain"):
            return _everywhere(names, "COMMENT")
        return _on_table(names, cursor, "COMMENT")
    if kind in _ROLES:
        return DdlPlan("COMMENT", (Step(everywhere(names.layout), names.text.encode(), True),), once=True)
    return None if kind in _HERE else _everywhere(names, "COMMENT")


def _comment_on_column(names: Names, cursor: Cursor) -> Planned:
    parts = [cursor.part()]
    while cursor.op("."):
        parts.append(cursor.part())
    if len(parts) < 2:
        return None
    table = names.sharded((parts[-3] if len(parts) > 2 else None, parts[-2]))
    return None if table is None else DdlPlan("COMMENT", (Step(names.places(table), names.text.encode()),))
