"""One worker process: its clients, its databases, its end of the control channel.

Invariants:
* All state of a client lives in one worker. Workers share only the board, and agree through the parent.
* Every server connection has a permit of the parent from before it is opened until after it is closed.
* When the control channel ends, so does the process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Mapping
from typing import Any

from shardproxy import dialects
from shardproxy.config.model import ADMIN_DATABASE, Config
from shardproxy.errors import ClientError, ServerError
from shardproxy.hosts import HostRules
from shardproxy.log import get_logger
from shardproxy.log import setup as setup_log
from shardproxy.pool.pool_cy import Pool
from shardproxy.relay.loop import PumpLoop
from shardproxy.server import worker_figures
from shardproxy.server.accept import Acceptor
from shardproxy.server.control import Endpoint
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.reception import DIALECT, Reception
from shardproxy.server.secrets import Secrets
from shardproxy.server.shards import sync_shards
from shardproxy.server.sweeper import sweep_forever
from shardproxy.server.worker_api import WorkerApi, handlers
from shardproxy.server.worker_asks import Asks
from shardproxy.server.worker_permits import PermitOperations
from shardproxy.session.statements import Registry
from shardproxy.topology.board_cy import Board
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import TopologyView
from shardproxy.transactions.coordination import Transactions

__all__ = ["Worker", "main"]

_log = get_logger(__name__)
EXIT_CONTROL_LOST = 3
WILDCARD_DATABASES_MAX = 500


class Worker(Reception, PermitOperations, Asks):
    """See the module. Implements ``WorkerApi``."""

    def __init__(
        self, loop: PumpLoop, board: Board, index: int, listeners: list[tuple[int, str, str]]
    ) -> None:
        self.loop, self.pump, self.board, self.index = loop, loop.pump, board, index
        self.pump.on_error = self._bug
        self._listeners = listeners
        self.control: Endpoint = None  # type: ignore[assignment]  # set by ``main`` before anything runs
        self.config: Config = None  # type: ignore[assignment]  # set by ``start``
        self.admin_database = ADMIN_DATABASE
        self.view = TopologyView(0, {})
        self.databases: dict[str, DatabaseRuntime] = {}
        self.transactions = Transactions(lambda: self.control)
        self.links: dict[int, Any] = {}
        self.keys: dict[tuple[int, bytes], Any] = {}
        self.registry = Registry()
        self.acceptors: list[Acceptor] = []
        self.salt_key = b""
        self.draining = ""
        self.stopped = asyncio.Event()
        self._facts: dict[str, tuple[Mapping[str, Any], int]] = {}
        self._layouts: dict[str, Layout] = {}
        self._disabled: set[str] = set()
        self._paused: set[str | None] = set()
        self._held: dict[str, Any] = {}
        self._moving: dict[str, Any] = {}
        self._tls_loaded = False
        self.expected = 0
        self._guests: set[Any] = set()
        self._turning_away = 0
        self._numbers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._topology_changed = asyncio.Event()
        self._permits: dict[Any, asyncio.Event] = {}
        self._admissions = {}
        self._aimed = {}

    def _bug(self, channel: Any, error: BaseException) -> None:
        _log.error(
            "a connection was closed because of an internal error",
            connection=getattr(channel, "id", 0),
            exc_info=error,
        )

    # -- databases ---------------------------------------------------------------------------------------------

    async def database(self, name: str) -> DatabaseRuntime:
        found = self.databases.get(name)
        if found is not None and found.parent is None:
            return found
        entry = self.config.database_for(name)
        if entry is None:
            raise ClientError(
                "3D000", f'database "{name}" does not exist', hint="It is not in shardproxy's configuration."
            )
        view = self.view.database(name)
        if name not in self.config.databases:
            self._make_room()
            self.control.notify(
                "need", database=name
            )  # its catalog comes later; until then nothing is a proven read
        if view is None or view.owner or (entry.sharded and name not in self._layouts):
            raise ClientError("57P03", f'database "{name}" is not ready yet')
        if name not in self.databases:
            runtime = DatabaseRuntime(self, name, entry, self.config, view, dialects.serving(entry.dialect))
            runtime.paused = name in self._paused or None in self._paused
            self.databases[name] = runtime
            runtime.layout = self._layouts.get(name) if entry.sharded else None
            self.hold_again(runtime)
            sync_shards(self, runtime)
            if name in self._facts:
                self._route_by(runtime, *self._facts[name])
        return self.databases[name]

    def _make_room(self) -> None:
        """Names come from clients: databases of the wildcard that nobody uses are forgotten when there are many."""
        if len(self.databases) < WILDCARD_DATABASES_MAX:
            return
        for name, runtime in list(self.databases.items()):
            if name not in self.config.databases and not runtime.sessions and runtime.parent is None:
                for pool in runtime.pools.values():
                    pool.retire_all()
                del self.databases[name]
        if len(self.databases) >= WILDCARD_DATABASES_MAX:
            raise ClientError("53300", "too many databases are in use")

    async def primary_pool(self, session: Any) -> Pool:
        """The pool of the primary, waiting up to failover_hold for one. Raises ServerError."""
        database = session.database
        deadline = self.loop.time() + database.entry.failover_hold
        while True:
            pool: Pool | None = database.write_pool(session)
            if pool is not None:
                return pool
            left = deadline - self.loop.time()
            if left <= 0:
                raise ServerError("57P03", f'database "{database.name}" has no primary at the moment')
            self._topology_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._topology_changed.wait()

    async def patience(self, database: DatabaseRuntime, future: asyncio.Future[Any], pool: Pool) -> Any:
        """Wait for a server connection as long as a statement would."""
        wait = self.config.pool_for(database.entry, pool.key[2]).query_wait_timeout or None
        hold = database.entry.failover_hold
        try:
            async with asyncio.timeout(min(wait, hold) if wait else hold or None):
                return await future
        except TimeoutError:
            if pool.failing_since:
                raise ServerError("57P03", f"server {pool.key[1]} is not reachable") from None
            raise ServerError("53300", "no server connection became free in time") from None

    # -- WorkerApi ------------------------------------------------------------------------------------------------

    async def start(self, config_json: str, worker_index: int, secrets: Mapping[str, str]) -> None:
        self.salt_key = bytes.fromhex(secrets["boot"])
        await self.reload(config_json)
        dialects.serving(DIALECT).warm_up()
        for fd, _, address in self._listeners:
            acceptor = Acceptor(self, socket.socket(fileno=fd), address)
            self.acceptors.append(acceptor)
        self.task(sweep_forever(self))
        self.task(self._serve())

    async def _serve(self) -> None:
        """Accept clients once the topology is known."""
        while not self.view.epoch:
            self._topology_changed.clear()
            await self._topology_changed.wait()
        for acceptor in self.acceptors:
            acceptor.start()
        await self.control.call("ready", listeners=[acceptor.address for acceptor in self.acceptors])

    async def reload(self, config: str) -> None:
        self.config = Config.from_worker_json(config)
        setup_log(self.config.log, f"worker-{self.index}")
        self._balancers = [
            ipaddress.ip_network(str(network)) for network in self.config.listen.proxy_protocol
        ]
        self.hosts = HostRules(self.config.auth.hosts, self.config.auth.method)
        self._secrets = Secrets(self)
        self._load_client_tls()
        for name, database in list(self.databases.items()):
            entry = self.config.entry_for(name)
            if entry is not None:
                database.configure(entry, self.config)
                if database.parent is None:
                    database.lay_out(self._layouts.get(name) if entry.sharded else None)
        self.count_guests()

    def _load_client_tls(self) -> None:
        from shardproxy.tls import Holder, load_client_tls

        settings = self.config.auth.tls
        alpn = dialects.serving(DIALECT).alpn

        def load() -> Any:
            return load_client_tls(settings, alpn=alpn, file=str(self.config.source))

        if self._tls_loaded:
            for mistake in self.client_tls.reload(load):
                _log.error("TLS settings were not reloaded", error=str(mistake))
        else:
            self.client_tls: Any = Holder(load)
            self._tls_loaded = True

    async def topology(self, view: Mapping[str, Any]) -> None:
        self.view = TopologyView.from_json(view)
        for name, database in list(self.databases.items()):
            found = self.view.database(name)
            if database.parent is None:
                if found is not None:
                    database.set_view(found)
                sync_shards(self, database)
        self._topology_changed.set()

    async def layout(self, database: str, layout: Mapping[str, Any]) -> None:
        self._layouts[database] = Layout.from_json(layout)
        if database in self.databases:
            self.databases[database].lay_out(self._layouts[database])

    async def facts(self, database: str, facts: Mapping[str, Any], epoch: int) -> None:
        self._facts[database] = (facts, epoch)
        if database in self.databases:
            self._route_by(self.databases[database], facts, epoch)

    def _route_by(self, database: DatabaseRuntime, facts: Mapping[str, Any], epoch: int) -> None:
        try:
            database.router.set_facts(facts, epoch)
        except (KeyError, TypeError, ValueError) as error:
            # facts of another version, during a takeover: nothing is proven then
            _log.error("facts were not understood", database=database.name, error=repr(error))
        database.gate.close()
        for shard in database.shards.values():
            shard.router.set_facts(database.router.facts, epoch)
        database.explained()

    async def show(self, what: str) -> list[dict[str, Any]]:
        return worker_figures.show(self, what)

    async def ping(self) -> str:
        return "pong"


async def _run(loop: PumpLoop, arguments: argparse.Namespace) -> int:
    worker = Worker(
        loop,
        Board.attach(arguments.board),
        arguments.index,
        [tuple(entry) for entry in json.loads(arguments.listen)],
    )
    table = handlers(_Api(worker), WorkerApi)
    worker.control = await Endpoint.over(socket.socket(fileno=arguments.control), table, "parent")
    listening = loop.create_task(worker.control.run())
    stopped = loop.create_task(worker.stopped.wait())
    await asyncio.wait([listening, stopped], return_when=asyncio.FIRST_COMPLETED)
    return 0 if worker.stopped.is_set() else EXIT_CONTROL_LOST


class _Api:
    """The worker's methods under the names of ``WorkerApi`` (``permit`` means two things)."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Awaitable[Any] | Any:
        return getattr(self._worker, "permit_ready" if name == "permit" else name)


def main() -> int:
    """Entry point of the process; see ``worker_api``."""
    parser = argparse.ArgumentParser()
    for name in ("control", "board", "index"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--listen", required=True)
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    loop = PumpLoop()
    asyncio.set_event_loop(loop)
    code = loop.run_until_complete(_run(loop, arguments))
    sys.stdout.flush()
    os._exit(code)  # nothing is left to be done, and nothing may delay it


if __name__ == "__main__":
    main()
