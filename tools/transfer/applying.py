"""Following one source: its stream of changes, put into the targets in the order of its commits.

Invariants:
* The server is told only positions that every target has committed; after any failure the stream starts again there,
  and each target leaves out what it has.
* Transactions with an origin of this transfer are left out: they came from the other side. Positions advance over them.
* While it runs, no chunk may be copied: the chunks of the targets are read when it starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from shardproxy import dialects
from shardproxy.dialects.changes import (
    UNCHANGED,
    Begin,
    Commit,
    Message,
    Origin,
    Relation,
    SlotLost,
    Stream,
    Truncate,
)
from shardproxy.dialects.changes import Delete as DeleteRow
from shardproxy.dialects.changes import Insert as InsertRow
from shardproxy.dialects.changes import Update as UpdateRow
from shardproxy.dialects.replication import LinkError

from .changes import Batch, Collector, Side
from .chunks import ChunkMap, Snapshot, load_chunks, lsn_text, position_of
from .move import Move, Place
from .routing import Routing
from .tables import Links, MovedTable, TableChanged, changes_of, label, object_name, origin_prefix, read_only
from .target import TargetSession, lookup

__all__ = ["Applier"]

BATCH_CHANGES = 10_000
BATCH_S = 0.1
PIECE_CHANGES = 50_000
"""Of a longer transaction, so many at a time; they are committed at its end."""
IDLE_S = 1.0
"""How often a position is stored when nothing is left to do."""
ASK_S = 0.05
REACH_S = 0.002
RETRY_S = (0.1, 5.0)
SKIPPED_MAX = 1_000
NUDGE = 4
_NUDGE = "select pg_logical_emit_message(true, 'shardproxy', '')"
_FAILURES = (OSError, LinkError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_ROW_CHANGES = (InsertRow, UpdateRow, DeleteRow)


class Applier:
    """One source. ``position``: all targets have all that was committed before; ``applied`` counts changes.

    ``failure`` is what goes wrong at the moment (it is tried again); ``run`` raises only what trying again cannot mend:
    SlotLost, and TableChanged where a table has another form than when the transfer began.
    """

    def __init__(self, move: Move, source: Place, links: Links, tables: Sequence[MovedTable], *,
                 on_failure: Callable[[str], Awaitable[None]] | None = None, whole: bool = False) -> None:
        """``whole``: all was copied; a target that has lost some of that is an error (SlotLost)."""
        self.move, self.source, self.links, self.tables = move, source, links, tuple(tables)
        self.position = self.applied = self.transactions = 0
        self.failure = ""
        self.paused = False
        self.quiet = True
        self._on_failure, self._whole = on_failure, whole
        self._changes = changes_of()
        self._written = 0
        self._stopped = False
        self._aim = 0
        self._by_text = {table.text: table for table in self.tables}
        places: dict[str, Place] = {}
        for table in self.tables:
            places |= {place.name: place for place in self.move.targets_of(table.table)}
        self.targets = tuple(places.values())
        self._stream: Stream | None = None
        self._sessions: list[TargetSession] = []
        self._reading: Any = None
        self._collector: Collector
        self._flushing: asyncio.Task[None] | None = None

    @property
    def lag_bytes(self) -> int:
        """How far behind the source's WAL, as far as it is known."""
        return max(0, self._written - self.position)

    def stop(self) -> None:
        """``run`` returns at the end of the transaction that is being applied."""
        self._stopped = True

    async def hold(self) -> None:
        """Return when nothing is open at the targets any more; nothing is applied until ``paused`` is taken back."""
        self.paused = True
        while not self.quiet:
            await asyncio.sleep(REACH_S)

    async def reach(self, position: int) -> None:
        """While it runs: return as soon as the targets have all that was committed before ``position``."""
        self._aim = max(self._aim, position)
        while self.position < position:
            await asyncio.sleep(REACH_S)

    # -- running

    async def run(self, until: int | None = None) -> None:
        """Apply until all that was committed before ``until`` is at the targets, or for ever."""
        self._stopped = False
        pause = RETRY_S[0]
        while not self._stopped:
            before = self.position
            try:
                await self._open()
                await self._follow(until)
                await self._settle(wait=True)
                return
            except SlotLost:
                raise
            except _FAILURES as error:
                self.failure = f"{type(error).__name__}: {error}"
                if self._on_failure is not None:
                    await self._on_failure(self.failure)
            finally:
                self.quiet = True
                await self._close()
            pause = RETRY_S[0] if self.position > before else min(pause * 2, RETRY_S[1])
            await asyncio.sleep(pause)

    async def _open(self) -> None:
        for place in self.targets:
            self._sessions.append(await TargetSession.open(self.links, self.move, self.source, place, self._changes))
        sides = [await self._side(session) for session in self._sessions]
        routings, indexes = {}, {}
        for table in self.tables:
            targets = list(self.move.targets_of(table.table))
            routings[table.text] = Routing(self.move, self.source, table, self._changes, targets)
            indexes[table.text] = [self.targets.index(place) for place in targets]
        self._collector = Collector(self.tables, routings, sides, indexes)
        self.position = min((side.position for side in sides), default=0)
        name = object_name(self.move, self.source)
        await self._check_slot(name)
        self._stream = await self._changes.open((await self.links.primary(self.source.name)).target)
        await self._stream.start(name, [name], self.position)
        self.failure = ""

    async def _check_slot(self, name: str) -> None:
        """A target that failed over to a replica may have lost what it had committed, and the slot gave up since."""
        confirmed = await (await self._source_reader()).fetchval(
            "select (confirmed_flush_lsn - '0/0')::int8 from pg_replication_slots where slot_name = $1", name)
        if confirmed is None:
            raise SlotLost(f"{self.source} has no slot {name}")
        if confirmed > self.position:
            raise SlotLost(f"a target has lost changes: it stands at {lsn_text(self.position)}, and slot {name} has "
                           f"only what came after {lsn_text(confirmed)}")

    async def _side(self, session: TargetSession) -> Side:
        row = await session.connection.fetchrow(
            "select lsn::text as lsn, skipped from shardproxy.transfer_positions where transfer = $1 and source = $2",
            label(self.move), self.source.name)
        if row is None:
            raise TableChanged(f"{session.place} is not prepared for the transfer {self.move.name}")
        read = dialects.get("postgres").key_value
        chunks = await load_chunks(session.connection, self.move, self.source)
        if self._whole and any(chunk.snapshot is None for found in chunks.values() for chunk in found):
            raise SlotLost(f"{session.place} has lost rows that were copied to it")
        maps = {table.text: ChunkMap(table, chunks.get(table.text, []), read) for table in self.tables}
        return Side(position_of(row["lsn"]), maps, set(row["skipped"]))

    async def _close(self) -> None:
        """Connections first, and at once: whoever is cancelled here a second time must not leave one behind."""
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            flushing.cancel()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        if self._reading is not None:
            self._reading.terminate()
            self._reading = None
        if flushing is not None:
            await asyncio.gather(flushing, return_exceptions=True)

    async def _follow(self, until: int | None) -> None:
        stream, collector = self._stream, self._collector
        assert stream is not None
        since = stored = time.monotonic()
        asked = 0
        while not (self._stopped and not collector.lsn):
            if self.paused and not collector.lsn:
                await self._flush()
                self.quiet = True
                await asyncio.sleep(ASK_S)
                continue
            self.quiet = False
            aim = until if until is not None else self._aim if self._aim > self.position else None
            messages = await stream.read(ASK_S if aim is None else REACH_S)
            for message in messages:
                await self._take(message)
            self._written = max(self._written, stream.written)
            if self._flushing is not None and self._flushing.done():
                await self._flushed()
            now = time.monotonic()
            if not collector.lsn:
                collector.batch.position = max(collector.batch.position, stream.seen)
            if collector.batch.changes >= BATCH_CHANGES or (
                    not collector.batch.empty and (now - since >= BATCH_S or not messages)):
                await self._start_flush()
                since = stored = now
            elif collector.batch.empty:
                since = now
                reached = aim is not None and collector.batch.position >= aim
                if (reached or now - stored >= IDLE_S) and collector.batch.position > self.position:
                    await self._start_flush()
                    stored = now
            if aim is not None and not collector.lsn:
                if self.position >= aim:
                    if until is not None:
                        break
                    continue
                if self._flushing is not None and collector.batch.empty:
                    await self._flushed()
                elif not messages:
                    stream.ask()
                    asked += 1
                    if asked % NUDGE == 0:      # ``until`` may lie where no record ends, or is not flushed yet
                        await (await self._source_reader()).fetchval(_NUDGE)
        await self._flush()

    async def _take(self, message: Message) -> None:
        collector = self._collector
        if isinstance(message, _ROW_CHANGES):
            collector.change(message)
            if collector.batch.changes >= PIECE_CHANGES:
                await self._start_flush()
        elif isinstance(message, Begin):
            collector.begin(message.lsn, message.xid)
        elif isinstance(message, Commit):
            collector.commit(message.end)
            self.transactions += 1
            if collector.batch.changes >= BATCH_CHANGES:
                await self._start_flush()
        elif isinstance(message, Relation):
            collector.relation(message)
        elif isinstance(message, Origin):
            if message.name.startswith(origin_prefix(self.move)):
                collector.ignore()
        elif isinstance(message, Truncate):
            await self._truncate(message)

    # -- applying

    async def _flush(self) -> None:
        """All that was collected is applied (and, between transactions, committed) when this returns."""
        await self._start_flush()
        await self._flushed()

    async def _flushed(self) -> None:
        if self._flushing is not None:
            task, self._flushing = self._flushing, None
            await task

    async def _start_flush(self) -> None:
        """While one batch is applied, the next is collected."""
        await self._flushed()
        batch = self._collector.take()
        if not batch.empty or batch.position > self.position:
            self._flushing = asyncio.create_task(self._apply(batch, [set(side.skipped) for side in
                                                                     self._collector.sides]))

    async def _apply(self, batch: Batch, skipped: list[set[int]]) -> None:
        if any(todo.was for rows in batch.rows for todo in rows.values()):
            await self._complete(batch)
        await _all(session.apply(self._by_text, rows) for session, rows in
                   zip(self._sessions, batch.rows, strict=True) if rows)
        self.applied += batch.changes
        if batch.open:
            return
        await _all(session.commit(batch.position, ids) for session, ids in
                   zip(self._sessions, skipped, strict=True))
        for side in self._collector.sides:
            side.position = max(side.position, batch.position)
        self.position = max(self.position, batch.position)
        if self._stream is not None:
            self._stream.confirm(self.position)
        if any(len(ids) > SKIPPED_MAX for ids in skipped):
            await self._settle()

    async def _complete(self, batch: Batch) -> None:
        """Values that were not in the stream, for rows that come to another target or identity: from the target that
        had the row, else from the source. A row that is not at the source any more is deleted further on."""
        for number, session in enumerate(self._sessions):
            rows = batch.rows[number]
            for name, keys in (await session.missing(self._by_text, rows)).items():
                table, todo = self._by_text[name], rows[name]
                for other in self._sessions:
                    former = [key for key in keys if UNCHANGED in todo.put[key]]
                    found = await lookup(other.connection, table, table.target_name,
                                         list(dict.fromkeys(todo.was[key] for key in former)),
                                         range(len(table.columns)))
                    for key in former:
                        if todo.was[key] in found:
                            _fill(todo.put, key, found[todo.was[key]])
                left = [key for key in keys if UNCHANGED in todo.put[key]]
                if left:
                    found = await lookup(await self._source_reader(), table, table.source_name, left,
                                         range(len(table.columns)))
                    for key in left:
                        if key in found:
                            _fill(todo.put, key, found[key])
                        else:
                            todo.delete(key)
                for key in keys:
                    todo.was.pop(key, None)

    async def _truncate(self, message: Truncate) -> None:
        """At its place in the order: what came before is applied first, in the same transaction."""
        collector = self._collector
        found = collector.truncated(message)
        if not found:
            return
        await self._flush()
        for table, name in found:
            alone = len(self.move.sources_of(table.table)) == 1
            for side in collector.live():
                if self.targets[side] in self.move.targets_of(table.table):
                    chunks = collector.sides[side].chunks[table.text]
                    await self._sessions[side].truncate(table, name, chunks, collector.xid, collector.lsn, alone)
        collector.batch.changes += 1

    # -- what was left to chunks that are not copied yet

    async def _source_reader(self) -> Any:
        if self._reading is None:
            self._reading = await read_only(self.links, self.source.name)
        return self._reading

    async def _settle(self, wait: bool = False) -> None:
        """Forget skipped transactions that every later snapshot sees. A commit is in the stream before it is visible:
        a chunk that were copied in between would not have it. ``wait`` until none is left."""
        if not any(side.skipped for side in self._collector.sides):
            return
        reader = await self._source_reader()
        while True:
            snapshot = Snapshot.parse(await reader.fetchval("select pg_current_snapshot()::text"))
            for side in self._collector.sides:
                side.skipped.difference_update([xid for xid in side.skipped if snapshot.sees(xid)])
            if not wait or not any(side.skipped for side in self._collector.sides):
                break
            await asyncio.sleep(ASK_S)
        if wait:
            await _all(session.commit(self.position, ()) for session in self._sessions)


def _fill(put: Any, key: Any, cells: Sequence[bytes | None]) -> None:
    put[key] = tuple([cells[at] if cell is UNCHANGED else cell for at, cell in enumerate(put[key])])


async def _all(calls: Any) -> None:
    """Wait for all, also if one fails; then raise the first failure."""
    for found in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
