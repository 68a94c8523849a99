"""CREATE TABLE AS and SELECT INTO over sharded tables: an unsharded table, filled with what is gathered.

    CREATE TABLE name AS query WITH NO DATA     PostgreSQL parses the query for its columns and plans nothing
    INSERT INTO name query                      planned like any other

Invariant: both happen in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardproxy.dialects.postgres.sql.query_scan import Unreadable, scan
from shardproxy.dialects.postgres.sql.table_clauses import Cursor
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.nodes import Token

from .ddl_names import Names
from .errors import refused
from .output import Output
from .statement import Statement

__all__ = ["CreateAs", "read_create_as", "run_create_as"]

TEMPORARY = frozenset(("temp", "temporary"))


@dataclass(frozen=True, slots=True)
class CreateAs:
    """``head``: up to the query, with AS. ``filled``: not WITH NO DATA. ``lenient``: IF NOT EXISTS."""

    head: str
    target: tuple[str | None, str]
    query: str
    temporary: bool
    filled: bool
    lenient: bool = False

    @property
    def name(self) -> str:
        """As SQL."""
        return _sql(self.target, self.temporary)


class _Muted(Output):
    """Keeps the tag alone."""

    def __init__(self) -> None:
        super().__init__(None, described=False)

    def row(self, payload: bytes) -> None:
        """Dropped."""

    def rows(self, run: bytes, count: int = 0) -> None:
        """Dropped."""

    def message(self, data: bytes) -> None:
        """Dropped."""

    async def drain(self) -> None:
        """Nothing to wait for."""

    def complete(self, tag: str) -> None:
        """Kept."""
        self.tag = tag

    def notice(self, payload: bytes) -> None:
        """Dropped."""


def read_create_as(text: str) -> CreateAs | None:
    """None: it is neither of the two, or not understood."""
    try:
        tokens = [token for token in scan(text) if token.kind != "end"]
        while tokens and tokens[-1].kind == "op" and tokens[-1].text == ";":
            tokens.pop()
        cursor = Cursor(tokens)
        return _create(text, cursor) if cursor.take("create") else _into(text, cursor)
    except (Unreadable, IndexError):
        return None


def _create(text: str, cursor: Cursor) -> CreateAs | None:
    temporary = False
    while cursor.word() in ("global", "local", "unlogged", *TEMPORARY):
        temporary = temporary or cursor.word() in TEMPORARY
        cursor.at += 1
    if not cursor.take("table"):
        return None
    lenient = cursor.take("if", "not", "exists")
    target = cursor.name()
    while not cursor.done and cursor.word() != "as":
        if cursor.tokens[cursor.at].text == "(" and cursor.tokens[cursor.at].kind == "op":
            cursor.group()
        else:
            cursor.at += 1
    if not cursor.take("as") or cursor.done or cursor.word() == "execute":
        return None
    tokens = cursor.tokens[cursor.at:]
    words = [token.text if token.kind == "word" else "" for token in tokens]
    empty = words[-3:] == ["with", "no", "data"]
    cut = 3 if empty else 2 if words[-2:] == ["with", "data"] else 0
    query = text[tokens[0].start:tokens[len(tokens) - cut - 1].end]
    return CreateAs(text[:tokens[0].start], target, query, temporary, not empty, lenient)


def _into(text: str, cursor: Cursor) -> CreateAs | None:
    depth = 0
    for at, token in enumerate(cursor.tokens):
        if token.kind == "op":
            depth += (token.text in "([") - (token.text in ")]")
        if depth == 0 and token.kind == "word" and token.text == "into":
            return _cut(text, cursor.tokens, at)
    return None


def _cut(text: str, tokens: Sequence[Token], at: int) -> CreateAs:
    """INTO with its name is cut out."""
    cursor = Cursor(tokens, at + 1)
    temporary, unlogged = False, False
    while cursor.word() in ("local", "global", "unlogged", *TEMPORARY):
        temporary = temporary or cursor.word() in TEMPORARY
        unlogged = unlogged or cursor.word() == "unlogged"
        cursor.at += 1
    _ = cursor.take("table")
    written = cursor.name()
    kind = "TEMPORARY " if temporary else "UNLOGGED " if unlogged else ""
    query = text[tokens[0].start:tokens[at].start] + text[tokens[cursor.at - 1].end:tokens[-1].end]
    return CreateAs(f"CREATE {kind}TABLE {_sql(written, False)} AS ", written, query, temporary, True)


def _sql(name: tuple[str | None, str], temporary: bool) -> str:
    schema = name[0] or ("pg_temp" if temporary else None)
    return ".".join(quote_ident(part) for part in (schema, name[1]) if part is not None)


async def run_create_as(session: Any, found: CreateAs, statement: Statement, out: Output) -> None:
    """Carry it out."""
    tx, runner = session.tx, session.runner.statements
    names = Names("", statement.layout, statement.tables, statement.search_path)
    table = names.sharded(found.target)
    if table is not None:
        raise refused(f'{"a temporary table" if found.temporary else "CREATE TABLE AS"} with the name of sharded table '
                      f'"{table.name}" is not supported on sharded databases',
                      "Give it another name." if found.temporary else "Create it, then INSERT ... SELECT.")
    leg = await tx.attach()
    await tx.begin_atomic()
    tx.wrote(leg, statement.write_slots or (0,))
    leg.server.flags |= statement.flags
    leg.temporary = leg.temporary or found.temporary
    there = found.lenient and (await leg.run(f"SELECT pg_catalog.to_regclass({_literal(found.name)})"))[0][0]
    text = f"{found.head}{found.query} WITH NO DATA".encode("utf-8", "surrogateescape")
    tag = await leg.rows(text, statement.bind).done()
    tx.changed_catalog = tx.unseen = True
    if found.filled and not there:
        muted = _Muted()
        fill = f"INSERT INTO {found.name} {found.query}".encode("utf-8", "surrogateescape")
        await runner.run(fill, statement.bind, (), muted, statement.simple)
        tag = f"SELECT {(muted.tag or '').rpartition(' ')[2]}"
    out.complete(tag)


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
