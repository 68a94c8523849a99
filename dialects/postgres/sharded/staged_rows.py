"""Rows that were made on the coordinator, on their way to the shards.

Invariant: values travel as literals in text format, typed by the columns that take them; the place of a row is read
from its key in binary format, whatever the session's settings.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager

from shardproxy.catalog.tables import Column, Table
from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.lexemes import quoted

from .errors import PgError
from .legs import Leg
from .lookup import place_keys
from .statement import Statement
from .writing import literal, place_of_binary

__all__ = ["bounded", "create_stage", "fetched", "insert_head", "named_as", "stage_default", "stage_name", "table_of",
           "tuple_of"]

BATCH_ROWS, BATCH_BYTES = 1000, 1024 * 1024
_numbers = itertools.count(1)

Row = tuple[str, list[bytes | None]]
"""Place and cells in text format."""


def table_of(statement: Statement, name: tuple[str, str]) -> Table:
    """What the catalog says of a table."""
    table = statement.tables.get(*name)
    if table is None:
        raise PgError.of("55000", f'table "{name[1]}" is not known', hint="Try again in a moment.")
    return table


def stage_name() -> str:
    """A name that no table has."""
    return f"shardproxy_w{next(_numbers)}"


def stage_default(column: Column) -> str:
    """SQL of the default of a column on the coordinator; empty if it has none."""
    if column.generated:
        return ""
    if column.sequence and (column.identity or "nextval" in (column.default or "")):
        return "nextval('{}'::regclass)".format(column.sequence.replace("'", "''"))
    return column.default or ""


async def create_stage(leg: Leg, table: Table) -> str:
    """An empty temporary table with the columns and defaults of ``table``; gives its qualified name."""
    name = stage_name()
    columns = []
    for column in table.columns:
        default = stage_default(column)
        columns.append(f"{quote_ident(column.name)} {column.type_name}" + (f" DEFAULT {default}" if default else ""))
    leg.temporary = True
    await leg.command(f"CREATE TEMPORARY TABLE {name} ({', '.join(columns)}) ON COMMIT DROP")
    return f"pg_temp.{name}"


async def fetched(leg: Leg, columns: Sequence[str], source: str, statement: Statement, keyspace: str,
                  table: tuple[str, str], key: Sequence[str], types: Sequence[int]) -> AsyncIterator[list[Row]]:
    """``columns`` of ``source`` (what stands behind FROM) in batches, for ``table``. Places come from ``key``, else are
    ""."""
    cursor = stage_name()
    listed = ", ".join(map(quote_ident, (*columns, *key)))
    formats = (0,) * len(columns) + (1,) * len(key)
    await leg.command(f"DECLARE {cursor} NO SCROLL CURSOR FOR SELECT {listed} FROM {source}")
    while True:
        batch, rows = list[Row](), list[list[bytes | None]]()
        async for payload in leg.rows(f"FETCH {BATCH_ROWS} FROM {cursor}".encode(), formats=formats):
            rows.append(wire.parse_data_row(payload))
        width = len(columns)
        if key:
            await place_keys(leg, statement, keyspace, table, types, [
                [None if cell is None else (cell, 1) for cell in cells[width:]] for cells in rows])
        for cells in rows:
            place = place_of_binary(statement, keyspace, types, cells[width:]) if key else ""
            batch.append((place, cells[:width]))
        if not batch:
            break
        yield batch
    await leg.command(f"CLOSE {cursor}")


def tuple_of(cells: Sequence[bytes | None], columns: Sequence[Column] = ()) -> bytes:
    """A row as SQL; with ``columns`` every value is cast."""
    if not columns:
        return b"(" + b", ".join(map(literal, cells)) + b")"
    return b"(" + b", ".join(literal(cell) + b"::" + column.type_name.encode()
                             for cell, column in zip(cells, columns, strict=True)) + b")"


def bounded(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Texts of rows in portions that one statement may hold."""
    portion: list[bytes] = []
    size = 0
    for row in rows:
        if portion and (len(portion) >= BATCH_ROWS or size + len(row) > BATCH_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += len(row)
    if portion:
        yield portion


@contextmanager
def named_as(temporary: str, table: tuple[str, str]) -> Iterator[None]:
    """Errors within name the client's table, and no place in a text that is not the client's."""
    try:
        yield
    except PgError as error:
        short = temporary.rpartition(".")[2]
        for code in ("M", "D", "H"):
            if code in error.fields:
                error.fields[code] = error.fields[code].replace(short, table[1])
        for code in ("P", "p", "q"):
            error.fields.pop(code, None)
        if error.fields.get("t") == short:
            error.fields["s"], error.fields["t"] = table
        raise


def insert_head(table: tuple[str, str], columns: Sequence[str], alias: str = "") -> bytes:
    """INSERT INTO ... VALUES, up to the rows."""
    name = quoted(table) + (f" AS {quote_ident(alias)}" if alias else "")
    return f"INSERT INTO {name} ({', '.join(map(quote_ident, columns))}) OVERRIDING SYSTEM VALUE VALUES ".encode()
