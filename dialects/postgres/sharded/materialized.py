"""CREATE and REFRESH MATERIALIZED VIEW over sharded tables: a real materialized view of the coordinator.

Its query is kept by PostgreSQL over the shells, so its definition, dependencies, indexes and dumps are those of one
database. While it is filled the shells it needs are lent the shards' rows (``lent.py``); the client's own statement
runs then. Reading it is reading a table of the coordinator.

Invariant: what would read a shell otherwise than through its children (ONLY), or tell where a row lies, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardproxy.catalog.tables import Table
from shardproxy.dialects.postgres.sql.query_scan import Unreadable, scan
from shardproxy.dialects.postgres.sql.table_clauses import Cursor
from shardproxy.dialects.postgres.wire import quote_ident, quote_literal

from .errors import refused
from .legs import Leg
from .lent import Lending
from .output import Output
from .statement import Statement

__all__ = ["Materialized", "read_materialized", "run_materialized"]

PHYSICAL = frozenset(("only", "tableoid", "ctid", "xmin", "xmax", "cmin", "cmax", "tablesample"))
NEEDED = """WITH RECURSIVE reads(view, oid) AS (
    SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid
    WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass),
needed(oid) AS (
    SELECT {view}::pg_catalog.oid
    UNION SELECT r.oid FROM needed n JOIN pg_catalog.pg_class c ON c.oid = n.oid JOIN reads r ON r.view = n.oid
    WHERE c.relkind = 'v' OR c.oid = {view}::pg_catalog.oid)
SELECT c.oid, CASE WHEN c.relkind = 'v' OR c.oid = {view}::pg_catalog.oid THEN pg_catalog.pg_get_viewdef(c.oid) END,
    c.relforcerowsecurity
FROM needed n JOIN pg_catalog.pg_class c ON c.oid = n.oid"""
"""What the query of a materialized view reads, through views too, but not what other materialized views read."""


@dataclass(frozen=True, slots=True)
class Materialized:
    """``empty``: CREATE with the same query, but WITH NO DATA; '' of a REFRESH. ``query``: of CREATE. ``filled``: it
    reads the tables. ``lenient``: IF NOT EXISTS."""

    name: str
    empty: str = ""
    query: str = ""
    filled: bool = True
    lenient: bool = False


def read_materialized(text: str) -> Materialized | None:
    """None: it is neither of the two, or not understood."""
    try:
        tokens = [token for token in scan(text) if token.kind != "end"]
        while tokens and tokens[-1].kind == "op" and tokens[-1].text == ";":
            tokens.pop()
        cursor = Cursor(tokens)
        if cursor.take("create", "materialized", "view"):
            return _create(text, cursor)
        if cursor.take("refresh", "materialized", "view"):
            _ = cursor.take("concurrently")
            name = _sql(cursor.name())
            return Materialized(name, filled=not cursor.take("with", "no", "data"))
    except (Unreadable, IndexError):
        return None
    return None


def _create(text: str, cursor: Cursor) -> Materialized | None:
    lenient = cursor.take("if", "not", "exists")
    name = _sql(cursor.name())
    while not cursor.done and cursor.word() != "as":
        if cursor.tokens[cursor.at].kind == "op" and cursor.tokens[cursor.at].text == "(":
            cursor.group()
        else:
            cursor.at += 1
    if not cursor.take("as") or cursor.done:
        return None
    tokens = cursor.tokens[cursor.at:]
    words = [token.text if token.kind == "word" else "" for token in tokens]
    empty = words[-3:] == ["with", "no", "data"]
    cut = 3 if empty else 2 if words[-2:] == ["with", "data"] else 0
    end = tokens[len(tokens) - cut - 1].end
    return Materialized(name, f"{text[:end]} WITH NO DATA", text[tokens[0].start:end], not empty, lenient)


def _sql(name: tuple[str | None, str]) -> str:
    return ".".join(quote_ident(part) for part in name if part is not None)


async def run_materialized(session: Any, found: Materialized, statement: Statement, out: Output) -> None:
    """Carry it out."""
    tx = session.tx
    leg: Leg = await tx.attach()
    await tx.begin_atomic()
    tx.wrote(leg, statement.write_slots or (0,))
    leg.server.flags |= statement.flags
    shells: list[Table] = []
    if found.filled and not (found.empty and await _view(leg, found)):
        shells = await _needed(leg, found, statement)
    lending = Lending(tx, leg, statement)
    if shells:
        leg.temporary = True
        await lending.lend(shells)
    tag = await leg.rows(statement.text, statement.bind).done()
    if shells:
        await lending.end()
    out.complete(tag)


async def _view(leg: Leg, found: Materialized) -> str:
    """The OID of the view; '' if there is none."""
    rows = await leg.run(f"SELECT pg_catalog.to_regclass({quote_literal(found.name)})::pg_catalog.oid")
    return (rows[0][0] or b"").decode()


async def _needed(leg: Leg, found: Materialized, statement: Statement) -> list[Table]:
    """The shells that filling the view reads, as PostgreSQL's own analysis of the query has it."""
    await leg.command("SAVEPOINT shardproxy_view")
    if found.empty:
        await leg.command(found.empty)
    view = await _view(leg, found)
    rows = await leg.run(NEEDED.format(view=view)) if view else []
    await leg.command("ROLLBACK TO SAVEPOINT shardproxy_view")      # also gives up locks that this has taken
    await leg.command("RELEASE SAVEPOINT shardproxy_view")
    leg.notices.clear()
    return _shells(rows, statement)


def _shells(rows: Sequence[Sequence[bytes | None]], statement: Statement) -> list[Table]:
    shells, texts = [], []
    for oid, definition, forced in rows:
        table = statement.tables.by_oid(int(oid or 0))
        if definition is not None:
            texts.append(definition.decode("utf-8", "surrogateescape"))
        layout = statement.layout.table(table.schema, table.name) if table is not None else None
        if table is None or layout is None or layout.reference:
            continue
        if forced == b"t":
            raise refused(f'a materialized view over "{table.name}", which has FORCE ROW LEVEL SECURITY',
                          "CREATE TABLE AS makes a table of the same rows.")
        shells.append(table)
    words = {token.text for text in texts for token in scan(text) if token.kind == "word"} if shells else set()
    if words & PHYSICAL:
        raise refused(f"{min(words & PHYSICAL).upper()} in a materialized view over sharded tables",
                      "CREATE TABLE AS makes a table of the same rows.")
    return shells
