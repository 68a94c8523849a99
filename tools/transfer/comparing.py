"""Both sides compared: numbers of rows and checksums of all of them, computed in the databases.

Invariant: equal checksums mean equal rows whenever they were read; while writes go on, unequal ones only mean that it
must be looked at again, once the targets have caught up: a difference that stays is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from .move import Table
from .parts import Context, Verified
from .tables import READ_SETTINGS, MovedTable

__all__ = ["compare"]

ATTEMPTS, PAUSE_S = 20, 0.1


class Reaching(Protocol):
    """The part of the streams that is needed."""

    async def caught_up(self) -> None:
        """All that was committed before is at the targets."""


async def compare(context: Context, streams: Reaching, tables: Mapping[str, list[MovedTable]]) -> Verified:
    """Compare all tables of a move."""
    move, rows, wrong, detail = context.move, 0, 0, list[str]()
    known = {table.table: table for found in tables.values() for table in found}
    for table in move.tables:
        for attempt in range(ATTEMPTS):
            await streams.caught_up()
            old, new = await asyncio.gather(
                _sum(context, known[table], [place.name for place in move.sources_of(table)], table),
                _sum(context, known[table], [place.name for place in move.targets_of(table)], known[table].into))
            if old == new:
                break
            await asyncio.sleep(PAUSE_S * (1 + attempt))
        rows += old[0]
        if old != new:
            wrong += max(1, abs(old[0] - new[0]))
            detail.append(f"{'.'.join(table)}: {old[0]} rows at the sources, {new[0]} at the targets")
    return Verified("now", wrong, rows, tuple(detail))


async def _sum(context: Context, table: MovedTable, places: list[str], name: Table) -> tuple[int, int]:
    async def ask(place: str) -> Any:
        async with context.servers.connected(place) as connection:
            await connection.execute(READ_SETTINGS)
            row = f"hashtextextended(row({table.column_list})::text, 0)::numeric"
            return await connection.fetchrow(f"select count(*) as rows, coalesce(sum({row}), 0) as total "
                                             f'from "{name[0]}"."{name[1]}"')

    found = await asyncio.gather(*map(ask, places))
    return sum(row["rows"] for row in found), int(sum(row["total"] for row in found))
