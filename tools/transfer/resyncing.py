"""After a slot was lost: the targets are compared with the sources, and only chunks that differ are copied again.

Invariants:
* The new slot is there before anything is compared. A chunk that is alike counts as copied at the snapshot at which it
  was compared; one that differs loses all rows of its source, surplus ones too, in the transaction that says so.
* Nothing is copied before all sources were compared: a row that has gone from one source to another stands in nobody's
  way.
* Begun again, it begins anew: what was copied again is alike then.
* Rows are written with the origin of the stream, which stands still: fences let them pass, the way back leaves them
  out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from .chunks import Chunk, Snapshot, lsn_text, plan_chunks, position_of, range_sql
from .copying import SNAPSHOT, Copied, Copier, Throttle, together
from .move import Move, Place
from .parts import failpoint
from .preparing import Notes, drop_stream, drop_uniques, prepare
from .routing import Routing
from .sums import hash_sql, hashes, sum_of
from .tables import Links, MovedTable, changes_of, ident, label, object_name, origin_name, read_only, writer

__all__ = ["Comparison", "resync"]

DELETE_ROWS = 5_000
_ANEW = """
insert into shardproxy.transfer_positions (transfer, source, lsn) values ($1, $2, $3::text::pg_lsn)
    on conflict (transfer, source) do update set lsn = excluded.lsn, skipped = '{}'
"""
_FORGET = "delete from shardproxy.transfer_chunks where transfer = $1 and source = $2"
_ALIKE = """
insert into shardproxy.transfer_chunks (transfer, source, table_name, low, high, lsn, snapshot, done_at, rows)
values ($1, $2, $3, $4, $5, $6::text::pg_lsn, $7, clock_timestamp(), $8)
"""
_DIFFERS = """
insert into shardproxy.transfer_chunks (transfer, source, table_name, low, high) values ($1, $2, $3, $4, $5)
"""

Sum = tuple[int, int]
"""Rows, and the sum of their hashes."""


async def resync(move: Move, links: Links, notes: Notes, *, chunk_rows: int = 200_000, throttle: Throttle | None = None,
                 progress: Callable[[str, int, int], None] = lambda source, rows, size: None) -> list[Comparison]:
    """New slots; compare all; copy what differs. ``progress(source, rows, bytes)``. What was found, by source."""
    tables = await _anew(move, links, notes)
    failpoint("resync_slots")
    found = [Comparison(move, source, links, tables[source.name], chunk_rows, progress)
             for source in move.streams() if tables[source.name]]
    await together(*(one.run() for one in found))
    failpoint("resync_compared")

    def tell(one: Comparison, copied: Copied) -> None:
        progress(one.source.name, one.rows + copied.rows, copied.bytes)

    def copier(one: Comparison) -> Copier:
        return Copier(move, one.source, links, one.tables, parallel=1, throttle=throttle, marked=True,
                      progress=lambda copied: tell(one, copied))

    await together(*(_whole(copier(one)) for one in found))
    return found


async def _whole(copier: Copier) -> None:
    await copier.run()


async def _anew(move: Move, links: Links, notes: Notes) -> dict[str, list[MovedTable]]:
    """New slots at the sources' primaries of now, positions there, and no chunk that counts as copied.

    Positions may go back: a primary that was a replica need not have all that the former one had.
    """
    for source in move.streams():
        await drop_stream(move, links, notes, source)
    tables = await prepare(move, links, notes, move.into)
    if not move.is_reversed:            # what is made again before the next comparison; the way back has it for good
        await drop_uniques(move, links, tables)
    for source in move.streams():
        position = await _slot_position(move, links, source)
        for place in move.targets:
            if any(place in move.targets_of(table.table) for table in tables[source.name]):
                target = await links.open(place.name)
                try:
                    async with target.transaction():
                        await target.execute(_ANEW, label(move), source.name, position)
                        await target.execute(_FORGET, label(move), source.name)
                finally:
                    target.terminate()
    return tables


async def _slot_position(move: Move, links: Links, source: Place) -> str:
    connection = await links.open(source.name)
    try:
        return str(await connection.fetchval("select confirmed_flush_lsn::text from pg_replication_slots "
                                             "where slot_name = $1", object_name(move, source)))
    finally:
        connection.terminate()


class Comparison:
    """One source. ``rows``: that were alike; ``chunks``, ``differing``: of all its targets."""

    def __init__(self, move: Move, source: Place, links: Links, tables: Sequence[MovedTable], chunk_rows: int,
                 progress: Callable[[str, int, int], None]) -> None:
        self.move, self.source, self.links, self.tables = move, source, links, tuple(tables)
        self.rows = self.chunks = self.differing = 0
        self._chunk_rows, self._progress = chunk_rows, progress
        self._changes = changes_of()

    async def run(self) -> None:
        """Compare every chunk with every target that has rows of it."""
        targets: dict[str, Any] = {}
        source = await read_only(self.links, self.source.name)
        try:
            for table in self.tables:
                places = self.move.targets_of(table.table)
                for place in places:
                    if place.name not in targets:
                        targets[place.name] = await writer(self.links, place.name,
                                                           origin_name(self.move, self.source, place))
                routing = Routing(self.move, self.source, table, self._changes, places)
                for chunk in await plan_chunks(source, table, self._chunk_rows):
                    await self._compare(source, targets, table, routing, chunk)
                    self._progress(self.source.name, self.rows, 0)
        finally:
            for connection in (source, *targets.values()):
                connection.terminate()

    async def _compare(self, source: Any, targets: dict[str, Any], table: MovedTable, routing: Routing,
                       chunk: Chunk) -> None:
        async with source.transaction(isolation="repeatable_read", readonly=True):
            row = await source.fetchrow(SNAPSHOT)
            expected = await self._expected(source, table, routing, range_sql(table, chunk))
        snapshot, lsn = Snapshot.parse(row["snapshot"]), position_of(row["lsn"])
        await asyncio.gather(*(
            self._settle(targets[place.name], table, routing, chunk, wanted, snapshot, lsn)
            for place, wanted in zip(routing.targets, expected, strict=True)))

    async def _expected(self, source: Any, table: MovedTable, routing: Routing, where: str) -> list[Sum]:
        """What each target should have of this source."""
        nothing = [(0, 0)] * len(routing.targets)
        if routing.fixed is not None:
            total = await sum_of(source, table, table.source_name, where)
            return [total if routing.everywhere or number == routing.fixed else (0, 0)
                    for number in range(len(nothing))]
        slots = routing.by_slot()
        if slots is not None:
            slot = self._changes.slot_sql(ident(table.key[0]), slots[0])
            for number, size, total in await source.fetch(
                    f"select {slot}, count(*), sum({hash_sql(table)})::text from {table.source_name} "
                    f"where {where} group by 1"):
                _add(nothing, slots[1][number], size, int(total))
            return nothing
        async for values, found in hashes(source, table, table.source_name, where, table.key):
            _add(nothing, routing.owner(values), 1, found)
        return nothing

    async def _settle(self, target: Any, table: MovedTable, routing: Routing, chunk: Chunk, wanted: Sum,
                      snapshot: Snapshot, lsn: int) -> None:
        """One target: alike, or emptied of what this source has there."""
        about = (label(self.move), self.source.name, table.text, chunk.low_text, chunk.high_text)
        alone, condition = self._own(table, routing)
        where = range_sql(table, chunk) + (f" and {condition}" if condition else "")
        async with target.transaction():
            if alone or condition:
                found = await sum_of(target, table, table.target_name, where)
            else:
                found = await self._dealt(target, table, routing, where)
            self.chunks += 1
            if found == wanted:
                self.rows += wanted[0]
                await target.execute(_ALIKE, *about, lsn_text(lsn), snapshot.text, wanted[0])
                return
            self.differing += 1
            if alone or condition:
                await target.execute(f"delete from {table.target_name} where {where}")
            else:
                await self._delete(target, table, routing, where)
            await target.execute(_DIFFERS, *about)

    def _own(self, table: MovedTable, routing: Routing) -> tuple[bool, str]:
        """Whether all rows of a target come from this source; else a condition for those that do, if SQL can say it."""
        if len(self.move.sources_of(table.table)) == 1:
            return True, ""
        slots = routing.own_slots()
        if slots is None:
            return False, ""
        numbers = ", ".join(map(str, sorted(slots[1])))
        return False, f"{self._changes.slot_sql(ident(table.key[0]), slots[0])} = any(array[{numbers}]::int[])"

    async def _dealt(self, target: Any, table: MovedTable, routing: Routing, where: str) -> Sum:
        found = [(0, 0)]
        async for values, value in hashes(target, table, table.target_name, where, table.key):
            if routing.is_own(values):
                _add(found, 0, 1, value)
        return found[0]

    async def _delete(self, target: Any, table: MovedTable, routing: Routing, where: str) -> None:
        """Rows of which only the router's own code knows whose they are."""
        async for rows in _addressed(target, table, where):
            gone = [(oid, at) for oid, at, *key in rows
                    if routing.is_own([None if value is None else value.encode() for value in key])]
            await target.execute(f"delete from {table.target_name} t using unnest($1::oid[], $2::text[]) k (o, c) "
                                 "where t.tableoid = k.o and t.ctid = k.c::tid",
                                 [oid for oid, _ in gone], [at for _, at in gone])


async def _addressed(target: Any, table: MovedTable, where: str) -> AsyncIterator[list[Any]]:
    """(table, address, key) of rows, some thousands at a time."""
    keys = ", ".join(f"case when {ident(name)} is not null then format('%s', {ident(name)}) end" for name in table.key)
    rows: list[Any] = []
    async for row in target.cursor(f"select tableoid, ctid::text, {keys} from {table.target_name} where {where}",
                                   prefetch=DELETE_ROWS):
        rows.append(row)
        if len(rows) == DELETE_ROWS:
            yield rows
            rows = []
    yield rows


def _add(sums: list[Sum], number: int, rows: int, total: int) -> None:
    if number >= 0:
        sums[number] = sums[number][0] + rows, sums[number][1] + total
