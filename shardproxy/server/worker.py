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
import secrets as random
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

from shardproxy import dialects
from shardproxy.config.model import ADMIN_DATABASE, Config
from shardproxy.errors import ClientError, ControlClosed, ControlError, ServerError
from shardproxy.hosts import HostRules
from shardproxy.log import get_logger
from shardproxy.log import setup as setup_log
from shardproxy.pool.pool_cy import Pool
from shardproxy.relay.loop import PumpLoop
from shardproxy.server import worker_figures
from shardproxy.server.accept import Acceptor, Peer
from shardproxy.server.control import Endpoint
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.figures import WORKERS_MAX, connection_id
from shardproxy.server.secrets import Secrets
from shardproxy.server.shards import sync_shards
from shardproxy.server.sweeper import sweep_forever
from shardproxy.server.worker_api import WorkerApi, handlers
from shardproxy.server.worker_asks import Asks
from shardproxy.server.worker_operations import Operations
from shardproxy.session.statements import Registry
from shardproxy.topology.board_cy import Board
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import TopologyView
from shardproxy.transactions.coordination import Transactions

__all__ = ["Worker", "main"]

_log = get_logger(__name__)
EXIT_CONTROL_LOST = 3
DIALECT = "postgres"
"""Of all listeners in this version."""
WILDCARD_DATABASES_MAX = 500
TURNED_AWAY_MAX, TURN_AWAY_S = 200, 5.0
"""How many clients at once are told why they cannot come in, and how long each has to listen."""


class Worker(Operations, Asks):
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
        self._turning_away = 0
        self._numbers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._topology_changed = asyncio.Event()
        self._permits: dict[Any, asyncio.Event] = {}
        self._admissions = {}

    # -- small services ----------------------------------------------------------------------------------------

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run in the background; a failure is logged."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task failed", exc_info=task.exception())

    def next_id(self) -> int:
        """An id for a connection, unique over the workers."""
        self._numbers += 1
        return connection_id(self.index, self._numbers)

    def _bug(self, channel: Any, error: BaseException) -> None:
        _log.error(
            "a connection was closed because of an internal error",
            connection=getattr(channel, "id", 0),
            exc_info=error,
        )

    # -- clients ------------------------------------------------------------------------------------------------

    def from_balancer(self, address: str) -> bool:
        """Whether a peer has to send a PROXY header."""
        if not self._balancers:
            return False
        peer = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self._balancers)

    def header_refused(self, peer: Peer, error: Exception) -> None:
        """A load balancer sent no proper PROXY header."""
        _log.warning("connection refused: PROXY header", addr=peer.address, error=str(error) or "too late")

    def accept_failed(self, acceptor: Acceptor, error: OSError) -> None:
        """Out of descriptors or memory: pause accepting for a moment instead of spinning."""
        _log.error("cannot accept a connection", address=acceptor.address, error=str(error))
        self.loop.remove_reader(acceptor.sock.fileno())
        self.loop.call_later(0.2, self._accept_again, acceptor)

    def _accept_again(self, acceptor: Acceptor) -> None:
        if acceptor in self.acceptors:
            acceptor.start()

    def tcp_options(self, sock: socket.socket) -> None:
        """The configured options of clients' sockets."""
        _tcp_options(sock, self.config.listen)

    def arrived(self, sock: socket.socket, peer: Peer) -> None:
        """A connection was accepted."""
        dialect = dialects.serving(DIALECT)
        link = dialect.new_client(self.pump, sock)
        if self.client_tls.current.context is not None:
            link.look_first()
        link.id = self.next_id()
        link.registry = self.registry
        self.links[link.id] = link
        arrival = dialect.arrival(link, peer.address, peer.port, peer.local_address, peer.local_port)
        link.arrival = arrival
        if self.draining:
            self._turn_away(dialect, arrival, ClientError("57P03", "the proxy is shutting down"))
        elif len(self.links) > max(1, self.config.pool.max_client_conn // self.config.listen.workers):
            self._turn_away(
                dialect, arrival, ClientError("53300", "no more connections allowed (max_client_conn)")
            )
        else:
            self.task(self._log_in(dialect, arrival))

    def _turn_away(self, dialect: Any, arrival: Any, error: ClientError) -> None:
        """Say why. The client's first packet is read before, or closing would destroy the answer on its way."""
        self._gone(arrival.link)
        if self._turning_away < TURNED_AWAY_MAX:
            self._turning_away += 1
            self.task(self._refuse(dialect, arrival, error))
        else:
            arrival.link.close()

    async def _refuse(self, dialect: Any, arrival: Any, error: ClientError) -> None:
        try:
            async with asyncio.timeout(TURN_AWAY_S):
                await dialect.log_in(arrival, self, error)
        except TimeoutError:
            arrival.link.close()
        finally:
            self._turning_away -= 1

    async def _log_in(self, dialect: Any, arrival: Any) -> None:
        try:
            await dialect.log_in(arrival, self)
        finally:
            if arrival.link.session is None and arrival.link.cancel_key is None:
                self._gone(arrival.link)

    def _gone(self, link: Any) -> None:
        self.links.pop(link.id, None)
        if link.cancel_key is not None:
            self.keys.pop(link.cancel_key, None)

    def login_failed(self, arrival: Any, error: Exception) -> None:
        """For the log."""
        _log.info(
            "login failed", connection=arrival.link.id, addr=arrival.address or "unix", error=str(error)
        )

    def console_left(self, link: Any) -> None:
        """A client of the admin console is gone."""
        self._gone(link)

    def client_left(self, session: Any) -> None:
        """A client that had logged in is gone."""
        self._gone(session.link)
        counters = session.database.counters
        counters.bytes_received += session.link.bytes_in
        counters.bytes_sent += session.link.bytes_out
        if self.config.log.disconnections:
            _log.info(
                "client left", connection=session.link.id, user=session.user, database=session.database.name
            )

    async def secret_of(self, user: str, database: str) -> Any:
        """What the user proves himself with; None if there is none."""
        return await self._secrets.of(user, database)

    async def open_session(self, arrival: Any, startup: Any, credential: Any) -> Any:
        """The session of an authenticated client. Raises ClientError."""
        database = await self._database(startup.database)
        own = self.config.user(startup.user)
        self._admit(database, startup.user, own)
        server_user = (own.server_user if own else None) or startup.user
        database.credentials[server_user] = self._secrets.towards_server(own, credential)
        session = database.dialect.new_session(
            arrival.link, database, startup.user, server_user, self.registry
        )
        session.link.session_mode = self.config.pool_for(database.entry, startup.user).mode == "session"
        session.link.set_counters(database.counters)
        database.sessions.add(session)
        if self.config.log.connections:
            _log.info(
                "client logged in",
                connection=arrival.link.id,
                user=startup.user,
                database=startup.database,
                addr=arrival.address or "unix",
                tls=arrival.link.tls is not None,
            )
        return session

    def _admit(self, database: DatabaseRuntime, user: str, own: Any) -> None:
        allowed = database.entry.users
        if (allowed is not None and user not in allowed) or (
            own and own.databases is not None and database.name not in own.databases
        ):
            raise ClientError("42501", f'user "{user}" may not connect to database "{database.name}"')
        if database.name in self._disabled:
            raise ClientError("57P03", f'database "{database.name}" is disabled')
        limit = self.config.pool_for(database.entry, user)
        share = self.config.listen.workers
        sessions = database.sessions
        if limit.max_db_client_connections and len(sessions) >= max(
            1, limit.max_db_client_connections // share
        ):
            raise ClientError("53300", "no more connections allowed (max_db_client_connections)")
        if limit.max_user_client_connections:
            count = sum(s.user == user for d in self.databases.values() for s in d.sessions)
            if count >= max(1, limit.max_user_client_connections // share):
                raise ClientError("53300", "no more connections allowed (max_user_client_connections)")

    async def _database(self, name: str) -> DatabaseRuntime:
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

    # -- cancel -------------------------------------------------------------------------------------------------

    def new_cancel_key(self, link: Any, version: int) -> tuple[int, bytes]:
        """Process id and secret for a client. The low bits of the id say which worker it is."""
        while True:
            pid = (random.randbits(31) // WORKERS_MAX) * WORKERS_MAX + self.index
            secret = random.token_bytes(32 if version & 0xFFFF >= 2 else 4)
            if pid and (pid, secret) not in self.keys:
                break
        self.keys[(pid, secret)] = link
        link.cancel_key = (pid, secret)
        return pid, secret

    async def cancel_request(self, pid: int, secret: bytes) -> None:
        """A cancel request came in here: it may belong to another worker."""
        if not await self.cancel(pid, secret.hex()) and pid % WORKERS_MAX != self.index:
            with contextlib.suppress(ControlError):
                await self.control.call("cancel", pid=pid, secret_hex=secret.hex())

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        link = self.keys.get((pid, bytes.fromhex(secret_hex)))
        if link is None or link.session is None:
            return False
        server = link.server
        if link.session.cancel_running():
            return True
        if server is not None:
            if server.awaiting > 0 or server.open_cycle:
                await link.session.database._cancel(server)
        elif link.busy:
            database = link.session.database
            database.held.discard(link.session)
            for pool in database.pools.values():
                pool.leave(link)
            link.session.fail("57014", "canceling statement due to user request")
        return True

    # -- permits ------------------------------------------------------------------------------------------------

    async def permit(self, pool: Pool) -> Any:
        """A permit for one more server connection of a pool; False if nobody waits for it any more."""
        key = list(pool.key)
        while pool.waiters or not pool.links:
            waited_ns = time.monotonic_ns() - min(
                (getattr(w, "requested_ns", 0) or time.monotonic_ns() for w in pool.waiters), default=0
            )
            reserve_after = self.config.pool.reserve_timeout
            priority = int(bool(pool.waiters) and reserve_after > 0 and waited_ns > reserve_after * 1e9)
            event = self._permits.setdefault(tuple(key), asyncio.Event())
            event.clear()
            try:    # without a limit: an answer that comes late is a permit all the same, and nobody else asks again
                if await self.control.call("acquire", timeout=None, pool=key, priority=priority):
                    return True
            except ControlClosed:
                return False
            except ControlError as error:
                _log.warning("no permit for a server connection", pool=key, error=str(error))
            if not pool.waiters:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await event.wait()
        return False

    def give_back(self, pool: Pool) -> None:
        """A server connection is closed."""
        self.control.notify("release", pool=list(pool.key))

    async def reclaim(self, pool: list[str], count: int, owed: bool = False) -> int:
        found = self._pool(pool)
        if found is None:
            return 0
        closed = 0
        for server in list(found.idle)[:count]:
            found.retire(server)
            closed += 1
        if owed:  # the missing ones close as soon as they are released, those opened later included
            found.owed += count - closed
            for server in [s for s in found.links if not s.retiring][: found.owed]:
                found.owed -= 1
                found.retire(server)
        return closed

    def _pool(self, key: list[str]) -> Pool | None:
        database = self.databases.get(key[0])
        return database.pools.get((key[1], key[2])) if database else None

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

    async def permit_ready(self, pool: list[str]) -> None:
        event = self._permits.get(tuple(pool))
        if event is not None:
            event.set()

    async def ping(self) -> str:
        return "pong"

    async def admin_session(self, arrival: Any, startup: Any) -> None:
        """The admin console, for those who may use it."""
        auth = self.config.auth
        if startup.user not in (*auth.admin_users, *auth.stats_users):
            raise ClientError(
                "42501", f'user "{startup.user}" may not use the admin console', hint="See auth.admin_users."
            )
        await dialects.serving(DIALECT).console(arrival, startup, self)


def _tcp_options(sock: socket.socket, options: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(options.tcp_keepalive))
    for name, value in (
        ("TCP_KEEPIDLE", options.tcp_keepidle),
        ("TCP_KEEPINTVL", options.tcp_keepintvl),
        ("TCP_KEEPCNT", options.tcp_keepcnt),
        ("TCP_USER_TIMEOUT", options.tcp_user_timeout),
    ):
        if value and hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


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
