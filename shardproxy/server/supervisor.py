"""The parent process: puts its parts together, tells new workers all they must know, reloads, and ends in order.

    listeners -> board -> monitor, catalogs -> workers -> "ready ..." -> takeover socket, HTTP
    the end: no new clients -> workers drain -> the rest in the opposite order

Invariant: what one worker is told, all are told, and so is every replacement.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, cast

from shardproxy import dialects
from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.config.reload import Reload, diff, effective
from shardproxy.dialects.replication import Replicates
from shardproxy.errors import ControlError
from shardproxy.log import get_logger
from shardproxy.server.admin import Admin
from shardproxy.server.background import Background, Bans, count, report
from shardproxy.server.catalogs import Catalogs
from shardproxy.server.control import Endpoint
from shardproxy.server.deadlocks import Deadlocks
from shardproxy.server.files import warn_about_files
from shardproxy.server.guests import Guests
from shardproxy.server.http import HttpServer
from shardproxy.server.incarnations import Incarnations
from shardproxy.server.layout_changes import LayoutChanges
from shardproxy.server.layouts import Layouts
from shardproxy.server.monitor import Monitor
from shardproxy.server.parent_api import FromWorker
from shardproxy.server.permits import Permits
from shardproxy.server.place_links import PlaceLinks
from shardproxy.server.proxies import Proxies
from shardproxy.server.reclaim import Reclaimer
from shardproxy.server.recovery import Recovery
from shardproxy.server.schema_changes import SchemaChanges
from shardproxy.server.sharding import Sharding
from shardproxy.server.show_pools import client_limits, limit_of, sessions_of
from shardproxy.server.sockets import HTTP, Listener, open_all
from shardproxy.server.state import State
from shardproxy.server.stats import Stats
from shardproxy.server.takeover import Predecessor, TakeoverServer, distrust_replicas, take_over
from shardproxy.server.worker_api import DRAIN_CLIENTS, DRAIN_NOW, DRAIN_SERVERS, ParentApi, PoolKey
from shardproxy.server.workers import WORKER, Workers
from shardproxy.topology.board_cy import Board
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import TopologyView

__all__ = ["Supervisor"]

NEED_S = 1.0
"""How long a client of the wildcard may have to wait for the catalog; without it reads go to the primary."""

_log = get_logger(__name__)


def _replicates(name: str) -> Replicates:
    return cast(Replicates, dialects.get(name))


class Supervisor:
    """One proxy. ``run`` returns when it has ended."""

    def __init__(self, config: Config, announce: Callable[[str], None], command: Sequence[str] = WORKER,
                 on_config: Callable[[Config], None] | None = None) -> None:
        """`announce` gets each ready line, `on_config` each configuration that a reload brings."""
        self._announce, self._on_config = announce, on_config
        self._boot = secrets.token_hex(16)
        self._ending: tuple[str, float | None] | None = None
        self._end_wanted = asyncio.Event()
        self._background = Background()
        self._reloading = asyncio.Lock()
        self._predecessor: Predecessor | None = None
        self._succeeded = False
        self.board = Board.create()
        self.permits = Permits(lambda pool: limit_of(self.state.config, pool), self._permit)
        self.admissions = Permits(lambda pool: sessions_of(self.state.config, pool), self._permit)
        self.guests = Guests(lambda database, user: client_limits(self.state.config, database, user))
        self.workers = Workers(config.listen.workers, self.board.fd, self, command)
        self.reclaimer = Reclaimer(self.permits, self.workers, self.admissions)
        self.state = State(config, (), self.permits, Stats(), self.workers, self)
        self.admin = Admin(self.state)
        self.monitor = Monitor(config.databases, self.board, _replicates, self._viewed, get_logger("monitor"),
                               config.state_dir / "primaries.json")
        self._bans = Bans(self.monitor.ban)
        self.catalogs = Catalogs(config.databases, self.board, dialects.get, self.monitor, self._learned,
                                 get_logger("catalogs"))
        self.incarnations = Incarnations(config.state_dir / "incarnations")
        self.recovery = Recovery(self._place_links(), self.incarnations, self.workers, get_logger("recovery"))
        self.deadlocks = Deadlocks(self._place_links(), self.workers, self.incarnations.workers,
                                   get_logger("deadlocks"))
        self.layouts = Layouts(config, dialects.get, self.monitor, self._laid_out, get_logger("layouts"))
        self.state.layouts = lambda: self.layouts.known
        self.sharding = Sharding(lambda: self.state.config.databases, dialects.get, self.monitor,
                                 lambda: self.layouts.known, self._looked_at, get_logger("sharding"),
                                 lambda database: self.proxies.moving(database))
        self.layout_changes = LayoutChanges(
            lambda: self.state.config.databases, dialects.get, self.monitor, self.layouts.change,
            self._sharded, get_logger("layouts"))
        self.proxies = Proxies(lambda: self.state.config.databases, dialects.get, self.monitor, self.layouts,
                               self.sharding, self.workers, self.catalogs.ddl, self.catalogs.fresh,
                               get_logger("transfers"))
        self.state.transfers = self.proxies.transfers
        self.schema_changes = SchemaChanges(self.workers, self.catalogs, self.proxies.told, self._sharded)
        self._facts: dict[str, tuple[dict[str, Any], int]] = {}
        self.state.servers_seen = self.monitor.snapshot
        self.state.recovery = self.recovery
        self._http = HttpServer(self.state)

    # -- life

    async def run(self, takeover: bool = False) -> None:
        """From start to end. ShardproxyError: it could not start."""
        warn_about_files(self.state.config)
        try:
            listeners = await self._listen(takeover)
            await self._serve(listeners)
        finally:
            self._background.cancel()
            self._bans.cancel()
            self.board.close()

    async def _listen(self, takeover: bool) -> list[Listener]:
        path = self.state.config.control_path
        if takeover and path is not None:
            self._predecessor = await take_over(path)
            if self._predecessor is None:
                _log.info("no process to take over from: starting as the first")
        taken = self._predecessor.listeners if self._predecessor is not None else None
        return open_all(self.state.config, taken)

    async def _serve(self, listeners: list[Listener]) -> None:
        self.state.listeners = listeners
        path = self.state.config.control_path
        takeover = TakeoverServer(path, listeners, {"serving": self._superseded, "cancel": self._cancel_old}) \
            if path is not None else None
        try:
            if self._predecessor is not None:
                self._background.spawn(distrust_replicas(self.board, self._predecessor))
            await self.monitor.start()
            await self.layouts.start()
            await self.sharding.start()
            await self.recovery.round()
            self.catalogs.start()
            self._background.spawn(self.recovery.run())
            await self.workers.start(listeners)
            await self._replace_predecessor()
            if takeover is not None:
                takeover.start()
            await self._http.start(listeners)
            for task in (self.reclaimer.run(), count(self.state), report(self.state), self.layouts.run(),
                         self.sharding.run(), self.deadlocks.run(), self.proxies.run(), self.layout_changes.run()):
                self._background.spawn(task)
            for listener in listeners:
                self._announce(f"ready {listener.kind} {listener.address}")
            await self._end_wanted.wait()
            await self._end()
        finally:
            self._close(listeners)
            self.workers.kill()
            await self.workers.stop(0, DRAIN_NOW)
            await self._http.close()
            if takeover is not None:
                await takeover.close(remove=not self._succeeded)
            self.layout_changes.close()
            await self.catalogs.stop()
            await self.monitor.stop()

    async def _end(self) -> None:
        """Drain as wanted; a more urgent wish that comes meanwhile is obeyed."""
        draining: asyncio.Task[None] | None = None
        while draining is None or not draining.done():
            assert self._ending is not None
            mode, grace_s = self._ending
            self._end_wanted.clear()
            if draining is not None:
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)
            _log.info("ending", mode=mode, grace_s=grace_s)
            self._close(self.state.listeners)
            draining = asyncio.create_task(self.workers.stop(grace_s, mode))
            wanted = asyncio.create_task(self._end_wanted.wait())
            await asyncio.wait([draining, wanted], return_when=asyncio.FIRST_COMPLETED)
            wanted.cancel()
        await draining

    def _close(self, listeners: Sequence[Listener]) -> None:
        """From now on connections are refused; unless a successor has the same sockets."""
        for listener in listeners:
            if listener.kind != HTTP:  # /readyz says until the end that this is the end
                listener.close(remove=not self._succeeded)

    def shut_down(self, mode: str = DRAIN_SERVERS, grace_s: float | None = None) -> None:
        """Begin to end; called again: at once."""
        self._ending = (DRAIN_NOW, 0.0) if self.state.draining else (mode, grace_s)
        self.state.draining = True
        self._end_wanted.set()

    def terminate(self) -> None:
        """What SIGTERM does: drain for at most shutdown_timeout."""
        self.shut_down(DRAIN_SERVERS, self.state.config.listen.shutdown_timeout or None)

    def _place_links(self) -> PlaceLinks:
        return PlaceLinks(lambda: self.state.config.databases, lambda: self.state.view, dialects.get)

    # -- takeover

    async def _replace_predecessor(self) -> None:
        if self._predecessor is None:
            return
        try:
            await self._predecessor.serving()
        except ControlError as error:
            _log.warning("the old process did not answer; it may still accept clients", error=str(error))

    async def _superseded(self) -> None:
        """Old side: the new process accepts, so this one does not any more."""
        _log.info("a new process has taken over")
        self._succeeded = True
        await self._http.close()
        await self.workers.broadcast("stop_accepting")
        self.shut_down(DRAIN_CLIENTS, self.state.config.listen.shutdown_timeout or None)

    async def _cancel_old(self, pid: int, secret_hex: str) -> bool:
        return any(await self.workers.broadcast("cancel", pid=pid, secret_hex=secret_hex))

    # -- for workers (Host, Services)

    def api(self, index: int) -> ParentApi:
        """What this worker may call."""
        return FromWorker(index, self)

    async def welcome(self, index: int, endpoint: Endpoint) -> None:
        """Everything a new worker must know. The topology comes last: with it the worker begins to accept."""
        state = self.state
        await endpoint.call("start", timeout=60, config_json=state.config.to_worker_json(), worker_index=index,
                            secrets={"boot": self._boot})
        for database, (facts, epoch) in self._facts.items():
            endpoint.notify("facts", database=database, facts=self.sharding.with_refused(database, facts), epoch=epoch)
        for database in state.disabled:
            endpoint.notify("enable", database=database, enabled=False)
        for paused in [None] if state.paused_all else sorted(state.paused):
            endpoint.notify("pause", database=paused)
        self.recovery.introduce(index)
        self.proxies.introduce(index)
        for database, layout in self.layouts.known.items():
            if self.sharding.ready(database):
                visible = self.sharding.visible(database, layout)
                endpoint.notify("layout", database=database, layout=visible.to_json())
        endpoint.notify("topology", view=state.view.to_json())

    def gone(self, index: int) -> None:
        """A worker died."""
        self.permits.worker_died(index)
        self.admissions.worker_died(index)
        self.guests.worker_died(index)
        self.board.forget_dead()
        self.recovery.gone(index)
        self.schema_changes.gone(index)
        self.state.stats.worker_gone(index)

    def suspect(self, database: str, server_id: str, reason: str) -> None:
        """Check a server now."""
        self.monitor.suspect(database, server_id, reason)

    async def need(self, database: str) -> None:
        """A client asked for a database of the wildcard entry."""
        await self.catalogs.need(database, timeout=NEED_S)

    async def ddl(self, database: str) -> None:
        """The catalog of a database changed."""
        self.catalogs.ddl(database)

    async def settle_layout(self, database: str) -> None:
        """Store what DDL changed in the layout; all workers know it when this returns."""
        await self.layout_changes.settle(database)
        await self.workers.broadcast("ping")

    async def cancel_elsewhere(self, asking: int, pid: int, secret_hex: str) -> bool:
        """Pass a cancel request to the other workers, and to the process this one took over from."""
        async def ask(index: int) -> bool:
            with contextlib.suppress(ControlError):
                return bool(await self.workers.call(index, "cancel", pid=pid, secret_hex=secret_hex))
            return False

        others = [worker.index for worker in self.workers.all if worker.index != asking]
        if any(await asyncio.gather(*map(ask, others))):
            return True
        if self._predecessor is None:
            return False
        with contextlib.suppress(ControlError):
            return await self._predecessor.cancel(pid, secret_hex)
        return False

    def _sharded(self) -> list[str]:
        return [name for name in self.layouts.known if self.sharding.ready(name)]

    def _permit(self, worker: int, pool: PoolKey) -> None:
        self.workers.notify(worker, "permit", pool=list(pool))

    def _viewed(self, view: TopologyView) -> None:
        self.state.view = view
        self.workers.notify_all("topology", view=view.to_json())
        self.catalogs.viewed(view)

    def _learned(self, database: str, facts: dict[str, Any], epoch: int) -> None:
        self._facts[database] = (facts, epoch)
        try:
            self.workers.notify_all("facts", database=database, facts=self.sharding.with_refused(database, facts),
                                    epoch=epoch)
        except ControlError as error:  # larger than a message may be
            _log.error("the catalog cannot be given to the workers", database=database, error=str(error))

    def _laid_out(self, database: str, layout: Layout) -> None:
        if self.sharding.ready(database):
            visible = self.sharding.visible(database, layout)
            self.workers.notify_all("layout", database=database, layout=visible.to_json())

    def _looked_at(self, database: str) -> None:
        """Its servers are ready, or other tables are pending or refused."""
        layout = self.layouts.known.get(database)
        if layout is not None:
            self._laid_out(database, layout)
        if database in self._facts:
            self._learned(database, *self._facts[database])

    # -- for the console (Actions)

    async def reload(self) -> Reload:
        """Read the configuration file again and apply what can be applied. ConfigError: nothing was changed."""
        return await self.apply(load(self.state.config.source))

    async def apply(self, config: Config) -> Reload:
        """Use another configuration, as far as a running process can."""
        async with self._reloading:
            old = self.state.config
            result, new = diff(old, config), effective(old, config)
            self.state.config = new
            if self._on_config is not None:
                self._on_config(new)
            await self.monitor.reload(new.databases)
            await self.layouts.reload(new)
            await self.catalogs.reload(new.databases)
            self._facts = {name: known for name, known in self._facts.items() if new.database_for(name)}
            await self.workers.broadcast("reload", timeout=60, config=new.to_worker_json())
            known = set(new.databases)
            self.state.disabled &= known
            self.state.paused &= known
        for change in result.applied:
            _log.info("reload: applied", change=change)
        for change in result.needs_restart:
            _log.warning("reload: needs a restart, not applied", change=change)
        return result

    async def drain(self, server_id: str, on: bool) -> None:
        """Give a server no new work and close its connections as they become free; or end that."""
        self.monitor.drain(server_id, on)
        if on:
            await self.workers.broadcast("drain", server_id=server_id)

    async def ban(self, server_id: str, seconds: float | None) -> None:
        """Send no reads to a server."""
        self._bans.ban(server_id, seconds)

    async def unban(self, server_id: str) -> None:
        """End ban."""
        self._bans.unban(server_id)
