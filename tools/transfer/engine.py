"""The data plane of one transfer, as the runner uses it: copiers and appliers of all sources, in both directions.

Invariant: copiers and appliers of one direction never run at the same time; the tables are described as the sources
have them when an object here is made, so DDL ends a run instead of shifting columns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from shardproxy.dialects.replication import LinkError

from .applying import Applier
from .arming import arm, disarm
from .copying import Copied as SourceCopied
from .copying import Copier
from .copying import Throttle as Rate
from .cutover import Cutover
from .ending import drop_made, drop_old, make_everywhere
from .move import Move
from .parts import Context, Copied, Data, Streams, Switch, Verified
from .preparing import check_slots, drop_all, finish_tables, load, prepare, settled
from .resyncing import resync
from .servers import FAILURES
from .tables import MovedTable
from .verifying import verify

__all__ = ["Plane", "parts"]

SIZES = """
select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as rows, coalesce(sum(pg_relation_size(c.oid)), 0)::bigint
    as bytes
  from unnest($1::text[], $2::text[]) as wanted (schema, name)
  join pg_namespace n on n.nspname = wanted.schema join pg_class r on r.relnamespace = n.oid and r.relname = wanted.name
  cross join lateral pg_partition_tree(r.oid) t join pg_class c on c.oid = t.relid and c.relkind = 'r'
"""
POSITION = "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
BEHIND = """
select coalesce(max(pg_current_wal_lsn() - r.replay_lsn), 0)::bigint from pg_stat_replication r
  left join pg_replication_slots s on s.active_pid = r.pid where s.slot_type is distinct from 'logical'
"""
MIND_S = 1.0


class AllStreams:
    """Implements ``parts.Streams``."""

    def __init__(self, context: Context, move: Move, tables: Mapping[str, list[MovedTable]]) -> None:
        self._context, self.move = context, move
        self.appliers = [Applier(move, source, context.servers, tables[source.name], on_failure=self._failed,
                                 whole=True)
                         for source in move.streams() if tables[source.name]]

    async def run(self) -> None:
        """Until cancelled, or until one ends."""
        await _together(applier.run() for applier in self.appliers)

    async def caught_up(self) -> None:
        """The positions are asked first, all at once; then each applier is waited for."""
        wanted = await asyncio.gather(*(self.position(applier.source.name) for applier in self.appliers))
        for applier, position in zip(self.appliers, wanted, strict=True):
            await applier.reach(position)

    def stop(self) -> None:
        """``run`` ends at the end of what is being applied."""
        for applier in self.appliers:
            applier.stop()

    async def hold(self) -> None:
        """Return when none has anything open at a target; nothing is applied until ``go_on``."""
        await asyncio.gather(*(applier.hold() for applier in self.appliers))

    def go_on(self) -> None:
        """After ``hold``."""
        for applier in self.appliers:
            applier.paused = False

    def lag_bytes(self) -> int:
        """Of the slowest one."""
        return max((applier.lag_bytes for applier in self.appliers), default=0)

    def failure(self) -> str:
        """What one of them cannot do at the moment, and tries again."""
        return "; ".join(f"{applier.source}: {applier.failure}" for applier in self.appliers if applier.failure)

    async def position(self, place: str) -> int:
        """Where a source's WAL ends now."""
        async with self._context.servers.connected(place) as connection:
            return int(await connection.fetchval(POSITION))

    async def _failed(self, text: str) -> None:
        self._context.log("stream", failure=text)


class Plane:
    """Implements ``parts.Data``."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._move, self._links, self._journal = context.move, context.servers, context.journal
        self._tables: dict[bool, dict[str, list[MovedTable]]] = {}
        self._estimate: tuple[int, int] | None = None

    async def tables(self, backwards: bool) -> dict[str, list[MovedTable]]:
        """Of one direction, by source."""
        if backwards not in self._tables:
            move = self._way(backwards)
            self._tables[backwards] = await load(move, self._links, move.into)
        return self._tables[backwards]

    def refresh(self) -> None:
        self._tables.clear()

    async def prepare(self) -> None:
        await make_everywhere(self._context)
        await prepare(self._move, self._links, self._journal, self._move.into)

    async def copy(self, progress: Callable[[Copied], None]) -> None:
        await check_slots(self._move, self._links)      # else the copy would be of another history than its slot
        rows, size = await self._estimated()
        throttle, rate = self._context.throttle, Rate()
        tables = await self.tables(False)
        seen: dict[str, SourceCopied] = {}

        def tell(source: str, copied: SourceCopied) -> None:
            seen[source] = copied
            rate.bytes_per_s = throttle.bytes_per_s
            progress(Copied(sum(one.rows for one in seen.values()), sum(one.bytes for one in seen.values()),
                            max(rows, sum(one.rows for one in seen.values())), size))

        rate.bytes_per_s = throttle.bytes_per_s
        async with self._minding(rate):
            await _together(Copier(
                self._move, source, self._links, tables[source.name], parallel=throttle.parallel, throttle=rate,
                progress=partial(tell, source.name)).run() for source in self._move.streams())
        await settled(self._move, self._links)

    async def finish(self, streams: Streams) -> None:
        tables = await self.tables(False)
        try:
            await streams.hold()        # a foreign key locks two tables, of which a stream may have one
            warnings = await finish_tables(self._move, self._links, tables)
        finally:
            streams.go_on()
        for warning in warnings:
            self._context.log("finish", warning=warning)
            await self._journal.log(self._move.name, "warning", text=warning)

    async def streams(self, backwards: bool = False) -> AllStreams:
        return AllStreams(self._context, self._way(backwards), await self.tables(backwards))

    async def arm(self, backwards: bool) -> None:
        await arm(self._way(backwards), self._links, self._journal)
        self._tables.clear()            # after the cutover they are elsewhere

    async def disarm(self, backwards: bool) -> None:
        self._tables.clear()
        await disarm(self._way(backwards), self._links, self._journal)

    async def verify(self, streams: Streams) -> Verified:
        assert isinstance(streams, AllStreams)
        return await verify(self._context, streams, await self.tables(False))

    async def resync(self, backwards: bool, progress: Callable[[Copied], None]) -> str:
        rows, size = await self._estimated()
        seen: dict[str, tuple[int, int]] = {}

        def tell(source: str, done: int, sent: int) -> None:
            seen[source] = (done, sent)
            total = sum(one for one, _ in seen.values())
            rate.bytes_per_s = self._context.throttle.bytes_per_s
            progress(Copied(total, sum(one for _, one in seen.values()), max(rows, total), size))

        rate = Rate(self._context.throttle.bytes_per_s)
        self._tables.clear()
        if not backwards:
            await make_everywhere(self._context)
        move = self._way(backwards)
        async with self._minding(rate):
            found = await resync(move, self._links, self._journal, throttle=rate, progress=tell)
        await settled(move, self._links)
        return f"{sum(one.differing for one in found)} of {sum(one.chunks for one in found)} chunks were copied again"

    async def drop_streams(self) -> None:
        for backwards in (False, True):
            await drop_all(self._way(backwards), self._links, self._journal)

    async def drop_targets(self, keep_references: bool) -> None:
        await drop_made(self._context, keep_references)

    async def drop_sources(self, keep: bool) -> None:
        await drop_old(self._context, keep)

    @asynccontextmanager
    async def _minding(self, rate: Rate) -> AsyncIterator[None]:
        """While rows are copied: wait for replicas of the targets that are too far behind."""
        task = asyncio.create_task(self._mind(rate))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _mind(self, rate: Rate) -> None:
        while True:
            most = self._context.throttle.lag_bytes
            rate.held = bool(most) and await self._behind() > most
            await asyncio.sleep(MIND_S)

    async def _behind(self) -> int:
        """Bytes that the slowest replica of any target has not replayed; a server that cannot be asked has none."""
        behind = 0
        for place in self._move.targets:
            with contextlib.suppress(LinkError, *FAILURES):
                async with self._links.connected(place.name) as connection:
                    behind = max(behind, await connection.fetchval(BEHIND))
        return behind

    def _way(self, backwards: bool) -> Move:
        return self._move.reversed() if backwards else self._move

    async def _estimated(self) -> tuple[int, int]:
        if self._estimate is None:
            rows = size = 0
            for source in self._move.streams():
                names = [table for table in (*self._move.tables, *self._move.references)
                         if source in self._move.sources_of(table)]
                async with self._links.connected(source.name) as connection:
                    found: Any = await connection.fetchrow(SIZES, [one[0] for one in names], [one[1] for one in names])
                rows, size = rows + found["rows"], size + found["bytes"]
            self._estimate = rows, size
        return self._estimate


async def _together(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """All at once; the first failure is raised as it is, and ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def parts(context: Context) -> tuple[Data, Switch]:
    """The data plane and the switch of a transfer."""
    plane = Plane(context)
    return plane, Cutover(context, context.store)
