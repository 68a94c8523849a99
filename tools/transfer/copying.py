"""Copying the rows of one source: chunk after chunk, each at a snapshot of its own, dealt to the targets as they come.

Invariants:
* What was copied of a chunk to a target, and that it was, is one transaction there; a run that ended anywhere goes on
  with what is missing, at new snapshots.
* No chunk is read at a snapshot that does not see a change which was left to it.
* The bytes of a row are sent on as they came. What waits to be sent is bounded.
* While it runs, no changes may be applied to its targets (see ``applying``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shardproxy.dialects.changes import Changes

from .chunks import Chunk, Snapshot, load_chunks, lsn_text, plan_chunks, position_of, range_sql, save_plan
from .move import Move, Place
from .parts import failpoint
from .routing import Routing
from .tables import Links, MovedTable, changes_of, label, origin_name, read_only, writer

__all__ = ["SNAPSHOT", "Copied", "Copier", "Throttle", "together"]

QUEUE = 16
SETTLE_S, HELD_S = 0.02, 0.1
SNAPSHOT = "select pg_current_snapshot()::text as snapshot, pg_current_wal_insert_lsn()::text as lsn"
_SKIPPED = "select skipped from shardproxy.transfer_positions where transfer = $1 and source = $2"
_DONE = """
update shardproxy.transfer_chunks set lsn = $5::text::pg_lsn, snapshot = $6, done_at = clock_timestamp(), rows = $7
 where transfer = $1 and source = $2 and table_name = $3 and low = $4
"""


class Throttle:
    """So many bytes a second, over all workers; 0: no limit. ``held``: nothing. May be changed while it is used."""

    def __init__(self, bytes_per_s: int = 0) -> None:
        self.bytes_per_s = bytes_per_s
        self.held = False
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until so much may be sent."""
        while self.held:
            await asyncio.sleep(HELD_S)
        if self.bytes_per_s <= 0:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 0.1) + size / self.bytes_per_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Copied:
    """Progress. ``tables``: (chunks copied, all chunks) by table."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0
        self.tables: dict[str, tuple[int, int]] = {}

    @property
    def fraction(self) -> float:
        """Of all chunks."""
        total = sum(total for _, total in self.tables.values())
        return sum(done for done, _ in self.tables.values()) / total if total else 0.0


class Copier:
    """One source."""

    def __init__(self, move: Move, source: Place, links: Links, tables: Sequence[MovedTable], *, parallel: int = 2,
                 throttle: Throttle | None = None, chunk_rows: int = 200_000,
                 progress: Callable[[Copied], None] | None = None, marked: bool = False) -> None:
        """``marked``: rows bear the origin of the source's stream, which does not run; one worker then."""
        self.move, self.source, self.links, self.tables = move, source, links, tuple(tables)
        self.copied = Copied()
        self._parallel, self._throttle, self._chunk_rows = 1 if marked else parallel, throttle or Throttle(), chunk_rows
        self._progress = progress
        self._marked = marked
        self._changes = changes_of()
        self._stopped = False

    def stop(self) -> None:
        """``run`` returns when the chunks that are under way are done."""
        self._stopped = True

    async def run(self) -> bool:
        """Copy what is missing. False: it was stopped before the end. Fails as asyncpg and the links do."""
        self._stopped = False
        todo = await self._plan()
        await together(*(self._worker(todo) for _ in range(min(self._parallel, len(todo)))))
        return not todo

    # -- what is to be done

    async def _plan(self) -> list[tuple[MovedTable, Chunk, tuple[Place, ...]]]:
        """Chunks with the targets that lack them. Bounds are chosen once, for all targets."""
        places: dict[str, Place] = {}
        for table in self.tables:
            places |= {place.name: place for place in self._targets(table)}
        known: dict[str, dict[str, list[Chunk]]] = {}
        connections = {name: await self.links.open(name, name="shardproxy transfer") for name in places}
        source = await read_only(self.links, self.source.name)
        try:
            for name, connection in connections.items():
                known[name] = await load_chunks(connection, self.move, self.source)
            todo: list[tuple[MovedTable, Chunk, tuple[Place, ...]]] = []
            for table in self.tables:
                todo += await self._plan_table(table, known, connections, source)
            return todo
        finally:
            for connection in (*connections.values(), source):
                connection.terminate()

    async def _plan_table(self, table: MovedTable, known: dict[str, dict[str, list[Chunk]]], connections: Any,
                          source: Any) -> list[tuple[MovedTable, Chunk, tuple[Place, ...]]]:
        targets = self._targets(table)
        have = next((known[place.name][table.text] for place in targets if table.text in known[place.name]), None)
        chunks = have or await plan_chunks(source, table, self._chunk_rows)
        for place in targets:
            if table.text not in known[place.name]:
                async with connections[place.name].transaction():
                    await save_plan(connections[place.name], self.move, self.source, table, chunks)
        todo: list[tuple[MovedTable, Chunk, tuple[Place, ...]]] = []
        for chunk in chunks:
            done = {place.name for place in targets for one in known[place.name].get(table.text, ())
                    if one.low == chunk.low and one.snapshot is not None}
            lacking = tuple(place for place in targets if place.name not in done)
            if lacking:
                todo.append((table, chunk, lacking))
        self.copied.tables[table.text] = (len(chunks) - len(todo), len(chunks))
        return todo

    def _targets(self, table: MovedTable) -> list[Place]:
        return list(self.move.targets_of(table.table))

    # -- doing it

    async def _worker(self, todo: list[tuple[MovedTable, Chunk, tuple[Place, ...]]]) -> None:
        source = await read_only(self.links, self.source.name)
        targets: dict[str, Any] = {}
        try:
            while todo and not self._stopped:
                table, chunk, places = todo.pop(0)
                try:
                    for place in places:
                        if place.name not in targets:
                            origin = origin_name(self.move, self.source, place) if self._marked else ""
                            targets[place.name] = await writer(self.links, place.name, origin)
                            await targets[place.name].execute("set synchronous_commit = off")
                    await _Chunk(self, source, targets, table, chunk, places).copy()
                except BaseException:
                    todo.insert(0, (table, chunk, places))
                    raise
                failpoint("chunk_copied")
                done, total = self.copied.tables[table.text]
                self.copied.tables[table.text] = (done + 1, total)
                self._tell()
        finally:
            for connection in (source, *targets.values()):
                connection.terminate()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.copied)

    async def sent(self, rows: int, size: int) -> None:
        """So much was read."""
        self.copied.rows += rows
        self.copied.bytes += size
        self._tell()
        await self._throttle.take(size)

    @property
    def changes(self) -> Changes:
        """Of the dialect."""
        return self._changes


class _Chunk:
    """One chunk on its way. ``queues``: what waits to be sent to each target; None ends it."""

    def __init__(self, copier: Copier, source: Any, connections: dict[str, Any], table: MovedTable, chunk: Chunk,
                 places: Sequence[Place]) -> None:
        self._copier, self._source, self._table, self._chunk, self._places = copier, source, table, chunk, places
        self._connections = connections
        self._routing = Routing(copier.move, copier.source, table, copier.changes, places)
        self._cutter = copier.changes.cutter(table.key_at)
        self._queues: list[asyncio.Queue[bytes | None]] = [asyncio.Queue(QUEUE) for _ in places]

    async def copy(self) -> None:
        """From the snapshot to the commits at the targets."""
        while True:
            async with _whole(self._source, isolation="repeatable_read", readonly=True):
                row = await self._source.fetchrow(SNAPSHOT)
                snapshot = Snapshot.parse(row["snapshot"])
                if await self._sees_skipped(snapshot):
                    lsn = position_of(row["lsn"])
                    await together(self._read(), *(self._put(number, snapshot, lsn)
                                                   for number in range(len(self._places))))
                    return
            await asyncio.sleep(SETTLE_S)

    async def _sees_skipped(self, snapshot: Snapshot) -> bool:
        for place in self._places:
            skipped = await self._connections[place.name].fetchval(
                _SKIPPED, label(self._copier.move), self._copier.source.name)
            if any(not snapshot.sees(xid) for xid in skipped or ()):
                return False
        return True

    async def _read(self) -> None:
        table = self._table
        where = range_sql(table, self._chunk)
        await self._source.copy_from_query(
            f"select {table.column_list} from {table.source_name} where {where}", output=self._take)
        if not self._whole:
            rows, keys = self._cutter.feed(b"", True)
            await self._deal(rows, keys)
        for queue in self._queues:
            await queue.put(None)

    @property
    def _whole(self) -> bool:
        """Every row goes the same way: it need not be looked at."""
        return self._routing.fixed is not None

    async def _take(self, data: bytes) -> None:
        if self._whole:
            if self._routing.fixed is not None and self._routing.fixed >= 0:
                for queue in self._queues:
                    await queue.put(data)
            await self._copier.sent(data.count(b"\n"), len(data))
            return
        rows, keys = self._cutter.feed(bytes(data))         # the driver gives a bytearray at times
        await self._deal(rows, keys)
        await self._copier.sent(len(rows), len(data))

    async def _deal(self, rows: Sequence[bytes], keys: Sequence[Any]) -> None:
        if rows:
            for number, data in self._routing.deal(rows, keys).items():
                await self._queues[number].put(data)

    async def _put(self, number: int, snapshot: Snapshot, lsn: int) -> None:
        connection, table = self._connections[self._places[number].name], self._table
        async with _whole(connection):
            tag = await connection.copy_to_table(table.into[1], schema_name=table.into[0], columns=table.columns,
                                                 source=self._blocks(number))
            await connection.execute(_DONE, label(self._copier.move), self._copier.source.name, table.text,
                                     self._chunk.low_text, lsn_text(lsn), snapshot.text, int(tag.rpartition(" ")[2]))

    async def _blocks(self, number: int) -> AsyncIterator[bytes]:
        while (data := await self._queues[number].get()) is not None:
            yield data


@asynccontextmanager
async def _whole(connection: Any, **how: Any) -> AsyncIterator[None]:
    """A transaction. A COPY that is given up is not waited for: a server that cannot send what nobody reads any more
    hears of no cancellation. So the connection goes with it."""
    transaction = connection.transaction(**how)
    await transaction.start()
    try:
        yield
        await transaction.commit()
    except BaseException:
        connection.terminate()
        raise


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """All at once; the first failure ends the others and is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
