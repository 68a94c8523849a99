"""This proxy among those of a sharded database: its lease, what it holds, and the layout that all its workers know.

Each parent has a row in ``shardproxy.proxies`` on the coordinator's primary, renews it, and listens on a channel there.
Invariants:
* ``holding`` names a transfer only while no worker runs anything on its tables; ``epoch`` is a layout's that every
  worker routes by.
* A hold ends for undone cutovers, and for others when the workers know the new layout; never because a worker or this
  process lost sight of the coordinator.
* A proxy whose lease may have run out holds all tables in transfer; everything else goes on.
* ``catalog`` in ``holding`` is a version that every worker's catalog is as new as: see ``told``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from shardproxy.config.model import Database
from shardproxy.dialects.base import Dialect
from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ControlError
from shardproxy.log import Log
from shardproxy.topology.layout import Layout
from shardproxy.topology.store import Store
from shardproxy.topology.view import ServerView, TopologyView

from .transfers import CHANNEL, Hold, end_expired, make_tables, read_holds
from .watched import target_at

__all__ = ["LEASE_S", "Proxies"]

LEASE_S, MARGIN_S, EVERY_S = 5.0, 1.0, 1.0
LOST = "\0lease"
"""Name of the hold of a proxy whose lease has run out."""
HELD_LONG_S, HELD_S = 86400.0, 30.0
TOLD_S, LOOK_S = LEASE_S + 2.0, 0.02
FRESH_S = 30.0
CALL_S = 10.0

_RENEW = """
insert into shardproxy.proxies (id, lease_until, epoch, holding)
values ($1, clock_timestamp() + make_interval(secs => $2), $3, $4)
on conflict (id) do update set lease_until = excluded.lease_until, epoch = excluded.epoch, holding = excluded.holding
"""
_TRANSFERS = """
select coalesce(t.name, h.transfer) as name, t.body #>> '{move,tool}' as kind, t.state, h.phase,
       (select string_agg(one ->> 0 || '.' || (one ->> 1), ', ') from jsonb_array_elements(h.tables) one) as tables,
       (t.body -> 'copied' ->> 'rows')::bigint as rows_copied,
       (t.body -> 'copied' ->> 'rows_estimated')::bigint as rows_estimated,
       (t.body ->> 'lag_bytes')::bigint as lag_bytes, (t.body ->> 'pause_ms')::float8 as pause_ms,
       (select count(*) from shardproxy.proxies p where p.lease_until > clock_timestamp()) as proxies,
       (select count(*) from shardproxy.proxies p where p.lease_until > clock_timestamp()
         and p.holding -> 'drained' ? h.transfer) as holding, t.body ->> 'error' as error
  from {} t full join shardproxy.holds h on h.transfer = t.name order by 1
"""
_VERSION = "select last_value from shardproxy.catalog_version"
_BEHIND = """
select count(*) from shardproxy.proxies where lease_until > clock_timestamp() and id <> $1
   and coalesce((holding ->> 'catalog')::bigint, 0) < $2
"""
_NO_JOURNAL = "(select null::text as name, null::text as state, null::jsonb as body where false)"
_TIDY = "delete from shardproxy.proxies where lease_until < clock_timestamp() - interval '1 hour'"


class Monitoring(Protocol):
    """The part of the monitor that is needed here."""

    view: TopologyView


class Calls(Protocol):
    """The part of ``Workers`` that is needed."""

    def notify(self, index: int, method: str, /, **params: Any) -> None:
        """Notify one worker."""

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        """Call all workers."""


class Laying(Protocol):
    """The part of ``Layouts`` that is needed."""

    known: dict[str, Layout]

    def store(self, database: str) -> Store:
        """The store of a database."""

    async def refresh(self) -> bool:
        """Look at all stores now."""


class Settling(Protocol):
    """The part of ``Sharding`` that is needed."""

    def ready(self, database: str) -> bool:
        """Whether workers have the layout."""

    def settle(self, database: str, moved: Mapping[tuple[str, str], bool]) -> None:
        """These tables are sharded (True) or not, whatever was seen of them before."""


class Proxies:
    """``run`` until cancelled. ``on_switched``: the catalog of a database is another one by a cutover; ``fresh`` reads
    it now."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]], dialects: Callable[[str], Dialect],
                 monitor: Monitoring, layouts: Laying, sharding: Settling, workers: Calls,
                 on_switched: Callable[[str], None], fresh: Callable[[str, float], Awaitable[bool]], log: Log) -> None:
        self.id = secrets.token_hex(8)
        self._on_switched, self._fresh = on_switched, fresh
        self._databases, self._dialects, self._monitor = databases, dialects, monitor
        self._layouts, self._sharding, self._workers, self._log = layouts, sharding, workers, log
        self._members: dict[str, _Member] = {}

    async def run(self) -> None:
        """Take part in every database that has a layout."""
        try:
            while True:
                for name in list(self._members):
                    if name not in self._layouts.known or name not in self._databases():
                        await self._members.pop(name).stop()
                for name in self._layouts.known:
                    if name not in self._members and name in self._databases():
                        self._members[name] = _Member(self, name)
                await asyncio.sleep(EVERY_S)
        finally:
            for member in self._members.values():
                await member.stop()

    def introduce(self, index: int) -> None:
        """A new process serves as this worker: what is held, it holds."""
        for name, member in self._members.items():
            for transfer, tables in member.held.items():
                self._workers.notify(index, "hold_tables", database=name, transfer=transfer, tables=tables,
                                     seconds=HELD_S)
            self._workers.notify(index, "set_moving", database=name, moving=member.moving())

    def moving(self, database: str) -> set[tuple[str, str]]:
        """Tables in transfer."""
        member = self._members.get(database)
        return {table for hold in member.rows for table in hold.tables} if member is not None else set()

    async def transfers(self) -> list[dict[str, Any]]:
        """Every transfer of every database, as its journal and the row of its cutover say now, for the console."""
        found: list[dict[str, Any]] = []
        for name, member in self._members.items():
            try:
                async with asyncio.timeout(CALL_S):
                    connection = await self.open(name, "")
                    try:
                        found += [{"database": name, "held": row["name"] in member.drained, **dict(row)}
                                  for row in await _transfers(connection)]
                    finally:
                        connection.terminate()
            except Exception as error:      # whatever a driver raises
                found.append({"database": name, "error": str(error) or type(error).__name__})
        return found

    async def told(self, database: str) -> None:
        """The workers know a catalog that was changed through one of them. Returns when the other proxies' workers do,
        but for proxies that are lost."""
        try:
            async with asyncio.timeout(TOLD_S):
                connection = await self.open(database, "")
                try:
                    await self._tell(database, connection)
                finally:
                    connection.terminate()
        except Exception as error:          # whatever a driver raises
            self._log.warning("other proxies may not know of a change of the catalog yet", database=database,
                              error=str(error) or type(error).__name__)

    async def _tell(self, database: str, connection: Any) -> None:
        member = self._members.get(database)
        if member is None or not await connection.fetchval("select exists (select from shardproxy.proxies where "
                                                           "lease_until > clock_timestamp() and id <> $1)", self.id):
            return
        version = await connection.fetchval("select nextval('shardproxy.catalog_version')")
        if member.catalog == version - 1:
            member.catalog = version
        await connection.execute("select pg_notify($1, $2)", CHANNEL, self.id)
        while await connection.fetchval(_BEHIND, self.id, version):
            await asyncio.sleep(LOOK_S)

    # -- for members

    async def open(self, database: str, place: str) -> Any:
        """An asyncpg connection to the primary of a place. LinkError."""
        entry = self._databases()[database]
        server = self.primary(database, place)
        if server is None:
            raise LinkError(f"{place or 'the coordinator'} has no primary at the moment")
        target = target_at(entry, server.host, server.port, server.unix, server.dbname)
        return await self._dialects(entry.dialect).replication.open(target, entry.health_timeout)

    def primary(self, database: str, place: str = "") -> ServerView | None:
        """The server that is the primary of a place now."""
        view = self._monitor.view.database(f"{database}/{place}" if place else database)
        return None if view is None else view.primary_server


class _Member:
    """This proxy in one database. ``held``: tables of each transfer that workers hold; ``drained``: those of which
    nothing is under way any more; ``rows``: as they were read last."""

    def __init__(self, proxies: Proxies, name: str) -> None:
        self._proxies, self._name = proxies, name
        self.held: dict[str, list[list[str]]] = {}
        self.drained: set[str] = set()
        self.rows: list[Hold] = []
        self.catalog = 0
        self._learning: asyncio.Task[None] | None = None
        self._epoch = 0
        self._moving: dict[str, list[Any]] = {}
        self._wake = asyncio.Event()
        self._told: tuple[object, ...] = ()
        self._renewed = time.monotonic()
        self._connection: Any = None
        self._server = ""
        self._jobs: set[asyncio.Task[None]] = set()
        self._ending = False
        self._problem = ""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave."""
        self._task.cancel()
        await asyncio.gather(self._task, *self._jobs, return_exceptions=True)
        if self._connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await self._connection.execute("delete from shardproxy.proxies where id = $1", self._proxies.id)
            self._connection.terminate()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                async with asyncio.timeout(LEASE_S - MARGIN_S):
                    await self._round()
                self._problem = ""
            except Exception as error:      # whatever a driver raises: it is tried again
                problem = str(error) or type(error).__name__
                if problem != self._problem:
                    self._proxies._log.warning("this proxy's lease is not renewed", database=self._name, error=problem)
                self._problem = problem
                self._drop()
            await self._keep_lease()
            try:
                async with asyncio.timeout(EVERY_S if not self._problem else EVERY_S / 4):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def moving(self) -> dict[str, list[Any]]:
        """Tool and tables of each transfer that is ready to switch, or has."""
        return {hold.transfer: [hold.body.get("tool", "reshard"), [list(table) for table in hold.tables]]
                for hold in self.rows}

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _keep_lease(self) -> None:
        """Without a lease, whoever moves tables does not wait for this proxy: it leaves them alone."""
        lost = time.monotonic() - self._renewed > LEASE_S - MARGIN_S
        if lost and LOST not in self.held and self.rows:
            tables = [list(table) for hold in self.rows for table in hold.tables]
            self._hold(LOST, tables, HELD_LONG_S)
        elif not lost and LOST in self.held:
            await self._release(LOST)

    # -- a round

    async def _connected(self) -> Any:
        server = self._proxies.primary(self._name)
        if self._connection is not None and (self._connection.is_closed() or server is None
                                             or server.id != self._server):
            self._drop()
        if self._connection is None:
            connection = await self._proxies.open(self._name, "")
            try:
                await make_tables(connection)
                await connection.add_listener(CHANNEL, lambda _c, _p, _n, payload: self._notified(payload))
                await connection.execute(_TIDY)
            except BaseException:
                connection.terminate()
                raise
            self._connection, self._server, self._told = connection, server.id if server is not None else "", ()
        return self._connection

    def _notified(self, payload: str) -> None:
        if payload != self._proxies.id:
            self._wake.set()

    async def _round(self) -> None:
        connection = await self._connected()
        self.rows = await read_holds(connection)
        if self.moving() != self._moving:
            self._moving = self.moving()
            await self._proxies._workers.broadcast("set_moving", timeout=CALL_S, database=self._name,
                                                   moving=self._moving)
        wanted = {hold.transfer: hold for hold in self.rows if hold.stops}
        for transfer, hold in wanted.items():
            if transfer not in self.held:
                self._hold(transfer, [list(table) for table in hold.tables], max(hold.left_s or 0.0, 0.0) + HELD_S)
        await self._follow([hold for hold in self.rows if hold.phase == "switched"])
        for transfer in list(self.held):
            row = next((hold for hold in self.rows if hold.transfer == transfer), None)
            if transfer == LOST or transfer in wanted:
                continue
            if row is None or row.phase != "switched" or self._epoch >= int(row.body["epoch"]):
                await self._release(transfer)
        version = await connection.fetchval(_VERSION)
        if version > self.catalog and (self._learning is None or self._learning.done()):
            self._learning = self._job(self._learn(version))
        await self._renew(connection)
        if any(hold.expired for hold in self.rows) and not self._ending:
            self._ending = True
            self._job(self._end())

    async def _learn(self, version: int) -> None:
        """Another proxy has changed the catalog: have the workers know it."""
        proxies = self._proxies
        await proxies._layouts.refresh()
        if await proxies._fresh(self._name, FRESH_S):
            await proxies._workers.broadcast("ping", timeout=CALL_S)
            self.catalog = max(self.catalog, version)
            self._wake.set()

    async def _follow(self, switched: list[Hold]) -> None:
        """Have the workers know the layout that is stored."""
        layouts, sharding = self._proxies._layouts, self._proxies._sharding
        for hold in switched:
            sharding.settle(self._name, {(schema, name): found is not None
                                         for schema, name, found in hold.body["switch"]["tables"]})
        known = layouts.known.get(self._name)
        if known is not None and any(int(hold.body["epoch"]) > known.epoch for hold in switched):
            await layouts.refresh()
            self._proxies._on_switched(self._name)
            known = layouts.known.get(self._name)
        if known is not None and known.epoch != self._epoch and sharding.ready(self._name):
            epoch = known.epoch
            await self._proxies._workers.broadcast("ping", timeout=CALL_S)
            self._epoch = epoch

    async def _renew(self, connection: Any) -> None:
        started = time.monotonic()
        holding = json.dumps({"drained": sorted(self.drained), "seen": [hold.transfer for hold in self.rows],
                              "catalog": self.catalog})
        await connection.execute(_RENEW, self._proxies.id, LEASE_S, self._epoch, holding)
        self._renewed = started
        if self._told != (self._epoch, holding):
            self._told = (self._epoch, holding)
            await connection.execute("select pg_notify($1, $2)", CHANNEL, self._proxies.id)

    # -- holding

    def _hold(self, transfer: str, tables: list[list[str]], seconds: float) -> None:
        self.held[transfer] = tables
        self._job(self._drain(transfer, tables, seconds))

    async def _drain(self, transfer: str, tables: list[list[str]], seconds: float) -> None:
        """Have all workers hold; those that do not answer are no more, or must not be relied on."""
        try:
            answers = await self._proxies._workers.broadcast(
                "hold_tables", timeout=seconds + CALL_S, database=self._name, transfer=transfer, tables=tables,
                seconds=seconds)
        except ControlError:
            answers = []
        if answers and all(answers) and transfer in self.held:
            self.drained.add(transfer)
            self._wake.set()

    async def _release(self, transfer: str) -> None:
        self.held.pop(transfer, None)
        self.drained.discard(transfer)
        await self._proxies._workers.broadcast("release_tables", timeout=CALL_S, database=self._name,
                                               transfer=transfer)

    # -- what others left

    async def _end(self) -> None:
        """End cutovers whose starter has not ended them."""
        proxies = self._proxies
        try:
            entry = proxies._databases()[self._name]
            connection = await proxies.open(self._name, "")
            try:
                ended = await end_expired(connection, lambda place: proxies.open(self._name, place),
                                          proxies._layouts.store(self._name),
                                          proxies._dialects(entry.dialect).exchange)
            finally:
                connection.terminate()
            for transfer in ended:
                proxies._log.warning("a cutover that nobody ended was ended", database=self._name, transfer=transfer)
        except Exception as error:          # tried again at the next round
            proxies._log.error("a cutover that nobody ended could not be ended", database=self._name,
                               error=str(error) or type(error).__name__)
        finally:
            self._ending = False
            self._wake.set()

    def _job(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task


async def _transfers(connection: Any) -> list[Any]:
    """The journal is made by the first transfer."""
    there = await connection.fetchval("select to_regclass('shardproxy.transfers') is not null and "
                                      "to_regclass('shardproxy.holds') is not null")
    made = await connection.fetchval("select to_regclass('shardproxy.holds') is not null")
    if not made:
        return []
    return list(await connection.fetch(_TRANSFERS.replace("{} t", ("shardproxy.transfers" if there else _NO_JOURNAL)
                                                          + " t")))
