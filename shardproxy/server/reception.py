"""Clients of one worker: from accept to login, what they may, and how they leave; their keys for cancel requests.

Invariants:
* A client is in ``links`` from accept until its socket is closed, and counted on the board meanwhile.
* Who may not come in is told why; nobody comes in above a limit, over all workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets as random
import socket
from abc import abstractmethod
from typing import Any

from shardproxy import dialects
from shardproxy.config.model import Config
from shardproxy.errors import ClientError, ControlError
from shardproxy.hosts import HostRules
from shardproxy.log import get_logger
from shardproxy.server.accept import Acceptor, Peer
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.figures import WORKERS_MAX, connection_id
from shardproxy.server.secrets import Secrets
from shardproxy.server.worker_operations import Operations
from shardproxy.server.worker_tasks import BackgroundTasks
from shardproxy.session.statements import Registry
from shardproxy.topology.board_cy import Board

__all__ = ["DIALECT", "Reception"]

_log = get_logger(__name__)
DIALECT = "postgres"
"""Of all listeners in this version."""
TURNED_AWAY_MAX, TURN_AWAY_S = 200, 5.0
"""How many clients at once are told why they cannot come in, and how long each has to listen."""


class Reception(BackgroundTasks, Operations):
    """The part of ``Worker`` that receives clients; the fields are the worker's."""

    pump: Any
    board: Board
    index: int
    config: Config
    hosts: HostRules
    keys: dict[tuple[int, bytes], Any]
    registry: Registry
    client_tls: Any
    admin_database: str
    salt_key: bytes
    _secrets: Secrets
    _balancers: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    expected: int
    """Connections of load balancers whose PROXY header has not come yet."""
    _guests: set[Any]
    """Sessions that the parent counts, because of a limit for their database or user."""
    _turning_away: int
    _numbers: int

    @abstractmethod
    async def database(self, name: str) -> DatabaseRuntime:
        """The database that a client asks for. ClientError: there is none, or it is not ready."""

    # -- small services ----------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """An id for a connection, unique over the workers."""
        self._numbers += 1
        return connection_id(self.index, self._numbers)

    # -- from accept to login -----------------------------------------------------------------------------------

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
        self.counted()
        arrival = dialect.arrival(link, peer.address, peer.port, peer.local_address, peer.local_port)
        link.arrival = arrival
        if self.draining:
            self._turn_away(dialect, arrival, ClientError("57P03", "the proxy is shutting down"))
        elif self.board.clients() > self.config.pool.max_client_conn:
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

    def counted(self) -> None:
        """Tell the other workers how many clients there are here."""
        self.board.set_clients(len(self.links) + self.expected)

    def crowded(self) -> bool:
        """Whether there are so many that another would not even be told why it cannot come in."""
        return self.board.clients() >= self.config.pool.max_client_conn + TURNED_AWAY_MAX

    def _gone(self, link: Any) -> None:
        self.links.pop(link.id, None)
        self.counted()
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
        if session in self._guests:
            self._guests.discard(session)
            self._left("", session.database.name, session.user)
        counters = session.database.counters
        counters.bytes_received += session.link.bytes_in
        counters.bytes_sent += session.link.bytes_out
        if self.config.log.disconnections:
            _log.info(
                "client left", connection=session.link.id, user=session.user, database=session.database.name
            )

    # -- who may come in ----------------------------------------------------------------------------------------

    async def secret_of(self, user: str, database: str) -> Any:
        """What the user proves himself with; None if there is none."""
        return await self._secrets.of(user, database)

    async def open_session(self, arrival: Any, startup: Any, credential: Any) -> Any:
        """The session of an authenticated client. Raises ClientError."""
        database = await self.database(startup.database)
        own = self.config.user(startup.user)
        guest = await self._admit(database, startup.user, own)
        server_user = (own.server_user if own else None) or startup.user
        database.credentials[server_user] = self._secrets.towards_server(own, credential)
        session = database.dialect.new_session(
            arrival.link, database, startup.user, server_user, self.registry
        )
        session.link.session_mode = self.config.pool_for(database.entry, startup.user).mode == "session"
        session.link.set_counters(database.counters)
        database.sessions.add(session)
        if guest:
            self._guests.add(session)
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

    async def _admit(self, database: DatabaseRuntime, user: str, own: Any) -> bool:
        """Whether the parent counts this client. ClientError: it may not come in."""
        allowed = database.entry.users
        if (allowed is not None and user not in allowed) or (
            own and own.databases is not None and database.name not in own.databases
        ):
            raise ClientError("42501", f'user "{user}" may not connect to database "{database.name}"')
        if database.name in self._disabled:
            raise ClientError("57P03", f'database "{database.name}" is disabled')
        if not self._limited(database, user):
            return False
        try:
            limit = await self.asked("admit", self._left, database=database.name, user=user)
        except ControlError as error:
            raise ClientError("57P03", f"the limits of clients could not be checked: {error}") from None
        if limit:
            raise ClientError("53300", f"no more connections allowed ({limit})")
        return True

    def _limited(self, database: DatabaseRuntime, user: str) -> bool:
        limit = self.config.pool_for(database.entry, user)
        return bool(limit.max_db_client_connections or limit.max_user_client_connections)

    def _left(self, limit: str, database: str, user: str) -> None:
        """The parent has admitted a client that is not there any more."""
        if not limit:
            self.control.notify("left", database=database, user=user)

    def count_guests(self) -> None:
        """After a reload: limits may be new, and clients that came before count too."""
        for database in self.databases.values():
            for session in database.sessions - self._guests if database.parent is None else ():
                if self._limited(database, session.user):
                    self._guests.add(session)
                    self.control.notify("count", database=database.name, user=session.user)

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


