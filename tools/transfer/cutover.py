"""The cutover: writes to the moved tables go from the sources to the targets, in one pause.

    c0 preflight    proxies live and know of the transfer, the locks could be had, nobody else is at it
    c1 intent       the row of the cutover: deadline, fences to be undone, what is to follow the commit
    c2 held         every live proxy holds the tables, and nothing is under way on them through it
    c3 drained      the fence of every source
    c4 c5           the streams have applied all that was committed until then
    c6 checked      the tables are still defined alike
    c7 armed        the way back can begin: the runner has seen to that before c0, slots are not made in a pause
    c8 sequences    advanced
    c9 COMMIT       one transaction on the coordinator's primary: the row becomes ``committed``, and if tables leave the
                    coordinator (or come back) their names go to shells (or to the tables) in the same transaction.
                    Names at shards have been exchanged by then, in transactions that commit right after
    c10 routed      names at the shards, the layout in its store, the fences of what stays: redo
    c11 released    every proxy has the new layout and lets go

Why in this order. The layout may be in a file, the names are in a database: no single write has both. So the row
decides: until c9 nothing but fences and holds was made, and whoever sees the deadline pass takes them back; from c9 on
all that follows is in the row, can be repeated, and is completed by whoever sees the (new) deadline pass: the tool, or
the parent of any proxy (``server/transfers.py``). Shells come with the row, not after it: a crash between two steps
could otherwise leave a writable table that the layout does not name. The layout comes after the names: while they
differ the proxies hold the tables, and a proxy that starts just then finds a shell, which refuses, never old rows.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg

from shardproxy import dialects
from shardproxy.server.transfers import (
    Open,
    drop_fence_sql,
    exchange_name,
    finish,
    make_tables,
    read_holds,
    settle_undo,
)
from shardproxy.topology.store import Store
from shardproxy.topology.switch import Switch

from . import fence as fences
from .fence import Drained, FenceError, fence_sql, leaves, lock_sql, quoted
from .fleet import Fleet
from .move import COORDINATOR, OLD, Move, Table
from .parts import Blocker, Context, Mismatch, NotNow, Streams, Switched, failpoint
from .sequences import advance
from .servers import Servers

__all__ = ["Cutover"]

KNOW_S, ROUTED_S, REDO_S = 10.0, 30.0, 5.0
SPARE = 2
BLOCKED_S = 1.0
"""How long a transaction may be in the way before the cutover is put off."""

_INTENT = """
update shardproxy.holds set phase = 'hold', tables = $2, body = $3, changed_at = clock_timestamp(),
       deadline = clock_timestamp() + make_interval(secs => $4)
 where transfer = $1 and phase in ('announced', 'switched')
   and not exists (select from shardproxy.holds where phase in ('hold', 'undoing', 'committed'))
returning transfer
"""
_COMMIT = """
update shardproxy.holds set phase = 'committed', changed_at = clock_timestamp(),
       deadline = clock_timestamp() + make_interval(secs => $2)
 where transfer = $1 and phase = 'hold' and deadline > clock_timestamp() returning transfer
"""
_SHAPES = """
select (select array_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
                         order by a.attnum)
          from pg_attribute a where a.attrelid = to_regclass(one.name) and a.attnum > 0 and not a.attisdropped) as shape
  from unnest($1::text[]) with ordinality one (name, n) order by one.n
"""


class Cutover:
    """Implements ``parts.Switch`` for one transfer."""

    def __init__(self, context: Context, store: Store) -> None:
        self._context, self._store = context, store
        self._name = context.move.name
        self._dialect = dialects.get(context.servers.entry.dialect)

    # -- before

    async def blockers(self) -> list[Blocker]:
        """Who would stand in the way of a fence now. Tells the proxies of the transfer, if they do not know yet."""
        move = self._move(False)
        async with self._context.servers.connected(COORDINATOR) as connection:
            await Fleet(connection, self._name).announce(_all_of(move), move.tool)
        return await self._blockers(move)

    async def free(self, backwards: bool) -> None:
        """NotNow: somebody stands in the way of a fence in this direction, for longer than a moment."""
        await self._clear(self._move(backwards))

    async def _clear(self, move: Move) -> None:
        """Waits for a moment in which nobody stands in the way; on a machine where something always does, only for
        those that have for long."""
        deadline = time.monotonic() + BLOCKED_S
        while _serious(await self._blockers(move)):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        else:
            return
        if found := _serious(await self._blockers(move, BLOCKED_S / 2)):
            raise NotNow("transactions hold the tables: " + "; ".join(one.what for one in found), tuple(found))

    async def _blockers(self, move: Move, seconds: float = fences.OLD_S) -> list[Blocker]:
        async def ask(place: str) -> list[Blocker]:
            async with self._context.servers.connected(place) as connection:
                return await fences.blocked_by(connection, place, _fenced(move, place), seconds,
                                               readers=place == COORDINATOR or move.is_between)

        found = await asyncio.gather(*(ask(place.name) for place in move.streams()))
        return [blocker for one in found for blocker in one]

    def fence_sql(self) -> list[tuple[str, str]]:
        """For ``plan``: (place, SQL)."""
        move = self._move(False)
        return [(place.name, ";\n".join([lock_sql(_fenced(move, place.name)),
                                         *fence_sql(_fenced(move, place.name))]) + ";") for place in move.streams()]

    # -- the cutover

    async def cutover(self, backwards: bool, streams: Streams, max_hold: float) -> Switched:
        """Move the writes. NotNow, Mismatch: nothing has changed, within ``max_hold``."""
        move = self._move(backwards)
        async with self._context.servers.connected(COORDINATOR) as connection:
            fleet = Fleet(connection, self._name)
            await self._preflight(connection, fleet, move)
            body = await self._body(connection, move)
            async with _ready(self._context.servers, move) as ready:
                failpoint("c0")
                watch = _Watch()
                await self._intent(connection, move, body, max_hold)
                try:
                    await self._until_commit(connection, fleet, move, body, ready, streams, watch, max_hold)
                except BaseException as error:
                    streams.go_on()
                    if not await asyncio.shield(self._undone(connection)):
                        self._context.log("cutover committed, although it was interrupted", error=str(error))
                    elif isinstance(error, FenceError | TimeoutError | asyncpg.LockNotAvailableError):
                        raise NotNow(str(error) or f"not within {max_hold:g} s",
                                     tuple(await self._blockers(move))) from error
                    else:
                        raise
                failpoint("c9")
                await self._routed(connection, fleet, ready.open, watch)
        failpoint("c11")
        self._context.log("cutover", pause_ms=round(watch.ms, 1), backwards=backwards, steps=watch.steps)
        return Switched(watch.ms)

    async def _preflight(self, connection: Any, fleet: Fleet, move: Move) -> None:
        await fleet.announce(_all_of(move), move.tool)
        await fleet.all_know(KNOW_S)
        for place in move.streams():
            async with self._context.servers.connected(place.name) as there:
                await fences.make_fence_function(there)
                await self._no_old(there, move, place.name)
                if not await fences.trial(there, _fenced(move, place.name)):
                    raise NotNow(f"the tables at {place} are in use", tuple(await self._blockers(move)))
        await self._clear(move)

    @staticmethod
    async def _no_old(connection: Any, move: Move, place: str) -> None:
        """Nothing of an earlier transfer has the names that the old tables get."""
        for _, name in () if move.is_reversed or (place != COORDINATOR and not move.is_between) else move.tables:
            if await connection.fetchval("select to_regclass($1) is not null", f'{OLD}."{name}"'):
                raise NotNow(f"{OLD}.{name} at {place or 'the coordinator'} was left by an earlier transfer: drop it")

    async def _body(self, connection: Any, move: Move) -> dict[str, Any]:
        """All that undo and redo need."""
        after = {name for table in move.tables for name in move.homes(move.after, table)}
        how, tables = "unswap" if move.is_reversed else "swap", [list(table) for table in move.tables]
        places = sorted({place.name for place in (*move.sources, *move.targets)} - {COORDINATOR})
        exchanges = [[place, how, tables] for place in places] if move.is_between else []
        spaces = {name.partition("/")[0] for name in (place.name for place in (*move.sources, *move.targets)) if name}
        epoch, stored = await self._store.load()
        if stored is None:
            raise NotNow("no layout is stored: start a proxy first")
        copied = [[COORDINATOR, await self._leaves(COORDINATOR, move.references)]] if move.references else []
        return {"fences": [*copied, *[[one.name, await self._leaves(one.name, move.tables)] for one in move.sources]],
                "unfence": [*copied, *[[name, await self._leaves(name, move.tables)] for name in sorted(after)]],
                "exchanges": exchanges, "epoch": epoch, "tool": move.tool,
                "switch": Switch.between(move.after, _all_of(move), sorted(spaces)).to_json()}

    async def _leaves(self, place: str, tables: Sequence[Table]) -> list[list[str]]:
        async with self._context.servers.connected(place) as there:
            return [list(table) for table in await leaves(there, tables)]

    async def _intent(self, connection: Any, move: Move, body: dict[str, Any], seconds: float) -> None:
        """c1."""
        tables = json.dumps([list(table) for table in _all_of(move)])
        if await connection.fetchval(_INTENT, self._name, tables, json.dumps(body), seconds) is None:
            raise NotNow("another cutover of this database is under way")

    async def _until_commit(self, connection: Any, fleet: Fleet, move: Move, body: dict[str, Any], ready: _Ready,
                            streams: Streams, watch: _Watch, max_hold: float) -> None:
        """c2 to c9."""
        def left() -> float:
            return max(max_hold - watch.ms / 1000, 0.0)

        await fleet.notify()
        failpoint("c1")
        async with asyncio.timeout(left()):
            await fleet.all_hold(left())
            watch.passed("c2")
            drained = await _all(fences.fence(ready.at[place.name], place.name, _fenced(move, place.name), left())
                                 for place in move.streams())
            watch.passed("c3")
            await self._caught_up(drained, streams)
            if move.references:         # from the commit on clients write them at the targets, too: streams must not
                await streams.hold()
            watch.passed("c5")
            await self._alike(move, ready)
            watch.passed("c6")
            failpoint("c7")
            await advance(connection, move.tables)
            watch.passed("c8")
            await self._commit(connection, move, body, ready, left())
        watch.passed("commit")

    async def _caught_up(self, drained: Sequence[Drained], streams: Streams) -> None:
        """Only what was drained has a last position."""
        assert drained
        failpoint("c4")
        await streams.caught_up()

    async def _alike(self, move: Move, ready: _Ready) -> None:
        """DDL that came past the proxies."""
        wanted: dict[str, list[tuple[Table, str]]] = {}
        for table in _all_of(move):
            into = move.into if table in move.tables else ""
            for place in move.sources_of(table):
                wanted.setdefault(place.name, []).append((table, quoted(table)))
            for place in move.targets_of(table):
                wanted.setdefault(place.name, []).append((table, quoted((into or table[0], table[1]))))
        found = await asyncio.gather(*(ready.at[place].fetch(_SHAPES, [name for _, name in names])
                                       for place, names in wanted.items()))
        shapes: dict[Table, set[str]] = {}
        for names, rows in zip(wanted.values(), found, strict=True):
            for (table, _), row in zip(names, rows, strict=True):
                shapes.setdefault(table, set()).add(str(row["shape"]))
        differing = [table for table, one in shapes.items() if len(one) > 1]
        if differing:
            raise Mismatch(f"tables are defined differently at the two sides: {', '.join(map(quoted, differing))}")

    async def _commit(self, connection: Any, move: Move, body: dict[str, Any], ready: _Ready, seconds: float) -> None:
        """The point of no return. Whoever reads the tables is waited for before it, a moment at a time."""
        deadline = time.monotonic() + seconds
        open_ones: list[Any] = []

        async def exchanged(number: int, place: str, how: str, tables: Sequence[Sequence[str]]) -> None:
            transaction = ready.at[place].transaction()
            await transaction.start()
            open_ones.append(transaction)
            await _patiently(partial(self._dialect.exchange, ready.at[place], exchange_name(self._name, body, number),
                                     how, [(schema, table) for schema, table in tables]), deadline)

        try:
            await _all(exchanged(number, *one) for number, one in enumerate(body["exchanges"]))
            await _patiently(partial(self._record, connection, move, body), deadline)
        except BaseException:
            await asyncio.gather(*(one.rollback() for one in open_ones), return_exceptions=True)
            raise
        await asyncio.gather(*(one.commit() for one in open_ones), return_exceptions=True)      # else it is redone

    async def _record(self, connection: Any, move: Move, body: dict[str, Any]) -> None:
        leaving = [table for table in move.tables if COORDINATOR in move.homes(move.before, table)]
        coming = [table for table in move.tables if COORDINATOR in move.homes(move.after, table)]
        async with connection.transaction():
            await connection.execute("set local synchronous_commit = on")
            if await connection.fetchval(_COMMIT, self._name, REDO_S) is None:
                raise NotNow("the deadline has passed")
            for how, tables in (("shell", leaving), ("table", coming)):
                if tables:
                    await self._dialect.exchange(connection, f"{self._name} {body['epoch']}", how, tables)

    async def _undone(self, connection: Any) -> bool:
        """Take back what was made. False: it has committed."""
        try:
            return await settle_undo(connection, self._context.servers.open, self._name, now=True)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with self._context.servers.connected(COORDINATOR) as again:
                return await settle_undo(again, self._context.servers.open, self._name, now=True)

    async def _routed(self, connection: Any, fleet: Fleet, open_place: Open, watch: _Watch) -> None:
        """c10 and c11."""
        epoch = await finish(connection, open_place, self._store, self._dialect.exchange, self._name)
        watch.passed("c10")
        await fleet.all_routed(epoch, ROUTED_S)
        watch.passed("routed")

    # -- after a crash, and at the end

    async def committed(self, backwards: bool) -> bool:
        """Whether the last cutover has committed, in this direction; what was left of it is completed."""
        async with self._context.servers.connected(COORDINATOR) as connection:
            await make_tables(connection)
            for hold in await read_holds(connection):
                if hold.transfer == self._name and hold.phase in ("committed", "switched"):
                    await self._routed(connection, Fleet(connection, self._name), self._context.servers.open, _Watch())
                    return self._is(hold.body["switch"], backwards)
        return False

    def _is(self, switch: Any, backwards: bool) -> bool:
        move = self._move(backwards)
        return bool(Switch.between(move.after, _all_of(move), list(switch["keyspaces"])).to_json() == switch)

    async def undo(self) -> None:
        """Take back what an unfinished cutover left: fences, holds."""
        async with self._context.servers.connected(COORDINATOR) as connection:
            await make_tables(connection)
            await self._undone(connection)

    async def release(self) -> None:
        """Fences and the row are dropped: at the end."""
        move = self._context.move
        for place in {one.name for one in (*move.streams(), *move.targets)}:
            async with self._context.servers.connected(place) as there:
                for schema, name in await leaves(there, [*_all_of(move), *((OLD, table) for _, table in move.tables)]):
                    await there.execute(drop_fence_sql(schema, name))
        async with self._context.servers.connected(COORDINATOR) as connection:
            await connection.execute("delete from shardproxy.holds where transfer = $1 and phase in "
                                     "('announced', 'switched')", self._name)
            await Fleet(connection, self._name).notify()

    def _move(self, backwards: bool) -> Move:
        return self._context.move.reversed() if backwards else self._context.move


def _tables_at(move: Move, place: str) -> list[Table]:
    return [table for table in move.tables if place in move.homes(move.before, table)]


def _all_of(move: Move) -> tuple[Table, ...]:
    return (*move.tables, *move.references)


def _fenced(move: Move, place: str) -> list[Table]:
    """The coordinator's copy is the one that reference tables are read from."""
    return [*_tables_at(move, place), *(move.references if place == COORDINATOR else ())]


def _serious(found: list[Blocker]) -> list[Blocker]:
    """The fence ends vacuums."""
    return [one for one in found if not one.what.startswith("vacuum")]


async def _patiently(work: Callable[[], Awaitable[None]], deadline: float) -> None:
    """Again, while locks are not to be had."""
    while True:
        try:
            await work()
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


class _Watch:
    """Measures the pause. ``steps``: ms of each."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self.steps: dict[str, float] = {}

    @property
    def ms(self) -> float:
        """Since it began."""
        return (time.monotonic() - self._started) * 1000

    def passed(self, step: str) -> None:
        """A step is done; tests may let the process end here."""
        now = time.monotonic()
        self.steps[step] = round((now - self._last) * 1000, 1)
        self._last = now
        failpoint(step)


class _Ready:
    """Connections made before the pause. ``at``: one to each place; ``open`` gives another, and goes without a spare
    one when it has none."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.at: dict[str, Any] = {}
        self.spare: dict[str, list[Any]] = {}

    async def add(self, place: str) -> None:
        """A place: one to keep, and one each for names, fences and undo."""
        self.at[place], *self.spare[place] = await asyncio.gather(
            *(self._servers.open(place) for _ in range(1 + SPARE)))

    async def open(self, place: str) -> Any:
        """A connection that its user closes."""
        spare = self.spare.get(place)
        return spare.pop() if spare and not spare[-1].is_closed() else await self._servers.open(place)

    def close(self) -> None:
        """Of all that are left."""
        for connection in (*self.at.values(), *(one for spare in self.spare.values() for one in spare)):
            connection.terminate()


@asynccontextmanager
async def _ready(servers: Servers, move: Move) -> AsyncIterator[_Ready]:
    made = _Ready(servers)
    try:
        for name in {COORDINATOR, *(place.name for place in (*move.sources, *move.targets))}:
            await made.add(name)
        yield made
    finally:
        made.close()


async def _all(work: Iterable[Any]) -> list[Any]:
    """All at once; none is left running when one fails."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
