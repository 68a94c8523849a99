"""Are the rows at the targets those of the sources? Checksums of chunks, made in the databases, while writes go on.

Invariants:
* A source is read at a snapshot, its targets when they have all that this snapshot shows. Chunks that differ then may
  have been changed in between: they are read again, then row by row.
* A row counts as different only if the source had it unchanged over two looks, and the target, which had caught up in
  between, had it otherwise: no write that is under way is ever taken for a difference.
* What a target is expected to have is dealt by the router's own code: a row at the wrong target is a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from .changes import Identity
from .chunks import Chunk, lsn_text, plan_chunks, range_sql
from .move import Move, Place
from .parts import Context, Streams, Verified
from .routing import NOWHERE, Routing
from .sums import hash_sql, hashes, printed, sum_of
from .tables import Links, MovedTable, changes_of, ident, read_only
from .target import lookup

__all__ = ["Verifier", "verify"]

ATTEMPTS = 3
LOOKS = 6
LOOK_S = 0.2
DETAILS_MAX = 50
CHUNK_ROWS = 100_000
_POSITION = "select (pg_current_wal_insert_lsn() - '0/0')::int8"
_SNAPSHOT = "select pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::int8"

Sums = dict[str, tuple[int, int]]
"""Rows and the sum of their hashes, by target."""
Seen = dict[tuple[str, Identity], int]
"""The hash of each row, by target and identity."""


class _Applying(Protocol):
    source: Place

    async def reach(self, position: int) -> None:
        """Return as soon as the targets have all that was committed before."""


@dataclass
class _Table:
    """One table at all its places. ``sources``: as each of them has it."""

    sources: dict[str, MovedTable]
    targets: tuple[Place, ...]
    routings: dict[str, Routing] = field(default_factory=dict)

    @property
    def any(self) -> MovedTable:
        """Columns and names are the same everywhere."""
        return next(iter(self.sources.values()))


class Verifier:
    """``reach(source, position)``: wait until all targets have what was committed before."""

    def __init__(self, move: Move, links: Links, tables: Mapping[str, Sequence[MovedTable]],
                 reach: Callable[[str, int], Awaitable[None]]) -> None:
        self._move, self._links, self._reach = move, links, reach
        self._changes = changes_of()
        self._tables: dict[str, _Table] = {}
        for source, found in tables.items():
            for table in found:
                entry = self._tables.setdefault(table.text, _Table({}, tuple(move.targets_of(table.table))))
                entry.sources[source] = table
                place = next(place for place in move.streams() if place.name == source)
                entry.routings[source] = Routing(move, place, table, self._changes, entry.targets)
        self._connections: dict[str, Any] = {}
        self.rows = self.mismatches = 0
        self.done = self.total = 0
        self.details: list[str] = []
        self.positions: dict[str, int] = {}

    async def run(self) -> Verified:
        """Compare everything."""
        async with AsyncExitStack() as stack:
            for place in {place.name for place in (*self._move.streams(), *self._move.targets)}:
                for role in ("source", "target"):
                    connection = await read_only(self._links, place)
                    stack.callback(connection.terminate)
                    self._connections[f"{role} {place}"] = connection
            for table in self._tables.values():
                await self._compare(table)
        position = ", ".join(f"{name or 'the coordinator'} {lsn_text(lsn)}"
                             for name, lsn in sorted(self.positions.items()))
        return Verified(position, self.mismatches, self.rows, tuple(self.details))

    async def _compare(self, table: _Table) -> None:
        planner = self._source(next(iter(table.sources)))
        chunks = await plan_chunks(planner, table.any, CHUNK_ROWS)
        self.total += len(chunks)
        for chunk in chunks:
            await self._compare_chunk(table, chunk)
            self.done += 1

    async def _compare_chunk(self, table: _Table, chunk: Chunk) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(LOOK_S)
            expected: Sums = {place.name: (0, 0) for place in table.targets}
            for one in await asyncio.gather(*(self._source_sums(table, name, chunk) for name in table.sources)):
                for place, (rows, total) in one.items():
                    expected[place] = expected[place][0] + rows, expected[place][1] + total
            actual = dict(zip(expected, await asyncio.gather(*(
                self._target_sums(table, name, chunk) for name in expected)), strict=True))
            if actual == expected:
                self.rows += sum(rows for rows, _ in actual.values())
                return
        if not table.any.identity:
            self._report(f"{table.any.text} differs, and has no identity to tell its rows apart", "")
            return
        await self._compare_rows(table, chunk)

    # -- sums

    async def _source_sums(self, table: _Table, name: str, chunk: Chunk) -> Sums:
        """At a snapshot that the targets have when this returns."""
        connection, own, routing = self._source(name), table.sources[name], table.routings[name]
        where = range_sql(own, chunk)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            _, position = await connection.fetchrow(_SNAPSHOT)
            if routing.fixed is not None:
                found = await sum_of(connection, own, own.source_name, where)
                names = [place.name for place in table.targets] if routing.everywhere else (
                    [table.targets[routing.fixed].name] if routing.fixed != NOWHERE else [])
                sums = dict.fromkeys(names, found)
            else:
                sums = await self._dealt_sums(connection, table, own, routing, where)
        self.positions[name] = max(self.positions.get(name, 0), position)
        await self._reach(name, position)
        return sums

    async def _dealt_sums(self, connection: Any, table: _Table, own: MovedTable, routing: Routing, where: str) -> Sums:
        """By owner: the database knows the slots of integers; other keys are dealt here."""
        sums: Sums = {}
        slots = routing.by_slot()
        if slots is not None:
            count, owners = slots
            slot = self._changes.slot_sql(ident(own.key[0]), count)
            rows = await connection.fetch(f"select {slot} as slot, count(*), sum({hash_sql(own)})::text "
                                          f"from {own.source_name} where {where} group by 1")
            for number, size, total in rows:
                _add(sums, table, owners[number], size, int(total))
            return sums
        async for values, found in hashes(connection, own, own.source_name, where, own.key):
            _add(sums, table, routing.owner(values), 1, found)
        return sums

    async def _target_sums(self, table: _Table, name: str, chunk: Chunk) -> tuple[int, int]:
        own = table.any
        return await sum_of(self._target(name), own, own.target_name, range_sql(own, chunk))

    # -- rows

    async def _compare_rows(self, table: _Table, chunk: Chunk) -> None:
        """The rows that differ are looked at again and again; those that the source changes meanwhile drop out."""
        expected, actual = await self._chunk_rows(table, chunk)
        self.rows += len(actual)
        suspects = {key for key in expected.keys() | actual.keys() if expected.get(key) != actual.get(key)}
        certain: set[tuple[str, Identity]] = set()
        before: Seen | None = None
        for _ in range(LOOKS):
            if not suspects:
                return
            keys = list(dict.fromkeys(identity for _, identity in suspects))
            expected, actual = await self._look(table, keys)
            still = {key for key in suspects if expected.get(key) != actual.get(key)}
            if before is not None:
                certain = {key for key in still if key in suspects and before.get(key) == expected.get(key)}
            before, suspects = expected, still
            if suspects <= certain:
                break
            await asyncio.sleep(LOOK_S)
        for place, identity in sorted(certain & suspects, key=str):
            await self._report_row(table, place, identity, expected, actual)

    async def _chunk_rows(self, table: _Table, chunk: Chunk) -> tuple[Seen, Seen]:
        expected: Seen = {}
        actual: Seen = {}
        own = table.any
        size = len(own.identity)
        where = range_sql(own, chunk)
        for name, routing in table.routings.items():
            connection = self._source(name)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                _, position = await connection.fetchrow(_SNAPSHOT)
                names = (*own.identity, *own.key)
                async for values, found in hashes(connection, own, own.source_name, where, names):
                    for owner in routing.owners(values[size:]):
                        expected[table.targets[owner].name, tuple(values[:size])] = found
            await self._reach(name, position)
        for place in table.targets:
            connection = self._target(place.name)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                async for values, found in hashes(connection, own, own.target_name, where, own.identity):
                    actual[place.name, tuple(values)] = found
        return expected, actual

    async def _look(self, table: _Table, keys: Sequence[Identity]) -> tuple[Seen, Seen]:
        """These rows, at the sources, and then at the targets."""
        expected: Seen = {}
        actual: Seen = {}
        own = table.any
        for name, routing in table.routings.items():
            connection = self._source(name)
            for identity, key, found in await _hashes_of(connection, own, own.source_name, keys):
                for owner in routing.owners(key):
                    expected[table.targets[owner].name, identity] = found
            await self._reach(name, await connection.fetchval(_POSITION))
        for place in table.targets:
            for identity, _, found in await _hashes_of(self._target(place.name), own, own.target_name, keys):
                actual[place.name, identity] = found
        return expected, actual

    # -- what is told

    async def _report_row(self, table: _Table, place: str, identity: Identity, expected: Seen, actual: Seen) -> None:
        own = table.any
        key = (place, identity)
        named = ", ".join(f"{name} = {_text(value)}" for name, value in zip(own.identity, identity, strict=True))
        what = "is missing" if key not in actual else "should not be there" if key not in expected else "differs"
        repair = ""
        if len(self.details) < DETAILS_MAX:
            repair = await self._repair(table, identity) if key in expected else _delete_sql(own, identity)
        self._report(f"{place or 'the coordinator'}: {own.text}: the row {named} {what}", repair)

    def _report(self, text: str, repair: str) -> None:
        self.mismatches += 1
        if len(self.details) < DETAILS_MAX:
            self.details.append(f"{text}; repair: {repair}" if repair else text)

    async def _repair(self, table: _Table, identity: Identity) -> str:
        own = table.any
        for name in table.sources:
            rows = await lookup(self._source(name), own, own.source_name, [identity], range(len(own.columns)))
            for cells in rows.values():
                values = ", ".join(_text(cell) for cell in cells)
                rest = [ident(one) for one in own.columns if one not in own.identity]
                action = "update set " + ", ".join(f"{one} = excluded.{one}" for one in rest) if rest else "nothing"
                return (f"insert into {own.target_name} ({own.column_list}) overriding system value values ({values}) "
                        f"on conflict ({', '.join(map(ident, own.identity))}) do {action}")
        return ""

    def _source(self, name: str) -> Any:
        return self._connections[f"source {name}"]

    def _target(self, name: str) -> Any:
        return self._connections[f"target {name}"]


async def verify(context: Context, streams: Streams, tables: Mapping[str, Sequence[MovedTable]]) -> Verified:
    """Compare the two sides of the streams, which run."""
    appliers: dict[str, _Applying] = {one.source.name: one for one in cast(Any, streams).appliers}
    move: Move = cast(Any, streams).move

    async def reach(source: str, position: int) -> None:
        await appliers[source].reach(position)

    return await Verifier(move, context.servers, tables, reach).run()


def _add(sums: Sums, table: _Table, owner: int, rows: int, total: int) -> None:
    if owner != NOWHERE:
        name = table.targets[owner].name
        before = sums.get(name, (0, 0))
        sums[name] = before[0] + rows, before[1] + total


async def _hashes_of(connection: Any, table: MovedTable, name: str, keys: Sequence[Identity]) -> list[Any]:
    """(identity, key, hash) of the rows with these identities."""
    arrays = ", ".join(f"${number}::text[]" for number in range(1, len(table.identity) + 1))
    names = ", ".join(f"k{number}" for number in range(len(table.identity)))
    same = " and ".join(f"t.{ident(own)} = k.k{number}::{kind}" for number, (own, kind) in
                        enumerate(zip(table.identity, table.identity_types, strict=True)))
    texts = ", ".join(printed(f"t.{ident(column)}") for column in table.key)
    values = [[cast(bytes, key[at]).decode() for key in keys] for at in range(len(table.identity))]
    rows = await connection.fetch(
        f"select k.n, array[{texts}]::text[], {hash_sql(table, 't.')} from unnest({arrays}) with ordinality "
        f"k ({names}, n) join {name} t on {same}", *values)
    return [(keys[number - 1], [None if one is None else one.encode() for one in key], found)
            for number, key, found in rows]


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value.decode("utf-8", "replace")
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


def _delete_sql(table: MovedTable, identity: Identity) -> str:
    where = " and ".join(f"{ident(name)} = {_text(value)}" for name, value in
                         zip(table.identity, identity, strict=True))
    return f"delete from {table.target_name} where {where}"
