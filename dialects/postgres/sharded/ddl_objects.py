"""Indexes, triggers, policies, statistics, functions and roles: where they are made, and which may not be.

Invariant: what runs for the rows of one shard (a trigger, a policy) reads no sharded table: it would take the part that
it sees there for the whole.
"""

from __future__ import annotations

from shardproxy.dialects.postgres.auth.keys import Verifier
from shardproxy.dialects.postgres.sql.table_clauses import Cursor, index_columns
from shardproxy.planner.ddl import DdlPlan, Step, UniqueDef, check_unique, everywhere
from shardproxy.planner.plan import Refusal

from .ddl_names import Names

__all__ = ["create_function", "create_index", "create_policy", "create_statistics", "create_trigger", "role"]

Planned = DdlPlan | Refusal | None


def create_index(names: Names, cursor: Cursor, unique: bool) -> Planned:
    """``cursor`` is behind INDEX."""
    outside = cursor.take("concurrently")
    _ = cursor.take("if", "not", "exists")
    if cursor.word() != "on":
        cursor.part()
    if not cursor.take("on"):
        return None
    _ = cursor.take("only")
    table = names.sharded(cursor.name())
    if table is None:
        return None
    if cursor.take("using"):
        cursor.part()
    keeps = False
    if unique:
        columns = index_columns(cursor.group())
        keeps = names.keeps(table, columns) and not table.reference
        refusal = check_unique(table, UniqueDef("UNIQUE index", columns), keeps)
        if refusal is not None:
            return refusal
        if keeps and outside and not set(table.key) <= set(columns):
            return Refusal("CREATE UNIQUE INDEX CONCURRENTLY of an index whose values are kept",
                           "leave CONCURRENTLY out")
    return DdlPlan("CREATE INDEX", (Step(names.places(table), names.text.encode()),), outside=outside,
                   keeps=(table,) if keeps else (), why="where the table lives")


def create_trigger(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind TRIGGER. The shell has it too, for catalogs; it never fires there."""
    cursor.part()
    while not cursor.done and not cursor.take("on"):
        cursor.at += 1
    table = names.sharded(cursor.name())
    if table is None:
        return None
    each_row = False
    function = ""
    while not cursor.done:
        if cursor.take("for", "each", "row") or cursor.take("for", "row"):
            each_row = True
        elif cursor.take("referencing"):
            return Refusal(f'a trigger with transition tables on sharded table "{table.name}"',
                           "each shard would have its own part in them")
        elif cursor.take("execute", "function") or cursor.take("execute", "procedure"):
            function = cursor.name()[1]
        else:
            cursor.at += 1
    if not each_row:
        return Refusal(f'a trigger FOR EACH STATEMENT on "{table.name}"',
                       "it would fire once on each server: use FOR EACH ROW")
    if function in names.tables.functions_opaque or function in names.tables.touching(
            {one.name for one in names.layout.tables() if not one.reference}):
        return Refusal(f'a trigger on "{table.name}" whose function {function} may read or write sharded tables',
                       "it would see one shard's part of them")
    return DdlPlan("CREATE TRIGGER", (Step(names.places(table), names.text.encode()),), why="where the table lives")


def create_policy(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind POLICY."""
    cursor.part()
    if not cursor.take("on"):
        return None
    table = names.sharded(cursor.name())
    if table is None:
        return None
    words = {token.text for token in cursor.tokens[cursor.at:] if token.kind in ("word", "quoted")}
    others = {one.name for one in names.layout.tables() if not one.reference}
    if "select" in words or words & (names.tables.touching(others) | names.tables.functions_opaque):
        return Refusal(f'a policy on "{table.name}" that reads tables', "it would see one shard's part of them")
    return DdlPlan("CREATE POLICY", (Step(names.places(table), names.text.encode()),), why="where the table lives")


def create_statistics(names: Names, cursor: Cursor) -> Planned:
    """``cursor`` is behind STATISTICS."""
    depth = 0
    while not cursor.done:
        token = cursor.tokens[cursor.at]
        depth += (token.text == "(") - (token.text == ")") if token.kind == "op" else 0
        if depth == 0 and cursor.take("from"):
            table = names.sharded(cursor.name())
            return None if table is None else DdlPlan(
                "CREATE STATISTICS", (Step(names.places(table), names.text.encode()),), why="where the table lives")
        cursor.at += 1
    return None


def create_function(names: Names, cursor: Cursor) -> Planned:
    """Everywhere, unless its head or its parsed body needs a relation that only the coordinator has."""
    words = {token.text for token in cursor.tokens if token.kind in ("word", "quoted")}
    here = {table.name for table in names.tables if names.layout.table(table.schema, table.name) is None}
    if words & here:
        return None
    step = Step(everywhere(names.layout), names.text.encode(), quiet=True)
    return DdlPlan("CREATE FUNCTION", (step,), why="not a relation: everywhere")


def role(names: Names, cursor: Cursor, command: str) -> Planned:
    """Once for each server, with one verifier of its password."""
    text = names.text
    for at, token in enumerate(cursor.tokens[:-1]):
        if token.kind != "word" or token.text != "password" or command == "DROP":
            continue
        value = cursor.tokens[at + 1]
        if value.kind == "odd":
            return Refusal("a password in this form of literal", "write it as a plain literal: PASSWORD '...'")
        if value.kind == "string" and not _is_hashed(value.text):
            made = Verifier.from_password(value.text).format()
            text = f"{text[:value.start]}'{made}'{text[value.end:]}"
    step = Step(everywhere(names.layout), text.encode(), command != "CREATE", command == "CREATE")
    return DdlPlan(f"{command} ROLE", (step,), once=True, why="once for each server")


def _is_hashed(password: str) -> bool:
    return password.startswith("SCRAM-SHA-256$") or (password.startswith("md5") and len(password) == 35)
