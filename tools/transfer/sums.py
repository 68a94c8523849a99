"""Hashes of rows, made in the databases: what comparisons of two sides are made of.

Invariant: with the settings of ``tables.READ_SETTINGS`` equal rows have equal hashes at all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .tables import MovedTable, ident

__all__ = ["hash_sql", "hashes", "printed", "sum_of"]


def hash_sql(table: MovedTable, alias: str = "") -> str:
    """Of one row, in SQL."""
    columns = ", ".join(f"{alias}{ident(name)}" for name in table.columns)
    return f"hashtextextended(row({columns})::text, 0)"


def printed(column: str) -> str:
    """A column's text; null stays null."""
    return f"case when {column} is not null then format('%s', {column}) end"


async def sum_of(connection: Any, table: MovedTable, name: str, where: str) -> tuple[int, int]:
    """Rows, and the sum of their hashes."""
    rows, total = await connection.fetchrow(
        f"select count(*), coalesce(sum({hash_sql(table)}), 0)::text from {name} where {where}")
    return rows, int(total)


async def hashes(connection: Any, table: MovedTable, name: str, where: str, columns: Sequence[str]) -> Any:
    """(values of these columns, hash) of all rows."""
    texts = ", ".join(printed(ident(column)) for column in columns)
    sql = f"select array[{texts}]::text[], {hash_sql(table)} from {name} where {where}"
    async for values, found in connection.cursor(sql, prefetch=10_000):
        yield [None if value is None else value.encode() for value in values], found
