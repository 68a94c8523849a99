"""One database in one worker: its pools, its router, who is connected, and where a statement may go.

Invariants:
* A pool belongs to one server and one user on it. Writes go only to the server that the topology names as primary.
* A read goes to a replica only if the board proves it fresh enough for the session's consistency.
* Who waits for a primary (``held``) is looked at again whenever the topology changes, and fails after failover_hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from shardproxy.config.model import Config, Database
from shardproxy.errors import ConfigError, ServerError
from shardproxy.log import get_logger
from shardproxy.pool.admission import Admission, SharedAdmission
from shardproxy.pool.counters_cy import Counters
from shardproxy.pool.pool_cy import Pool
from shardproxy.router.gate_cy import Gate
from shardproxy.server.holds import Holds
from shardproxy.server.replicas import Replicas
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import DOWN, FENCED, REPLICA, DatabaseView, ServerView

__all__ = ["DatabaseRuntime"]

_log = get_logger(__name__)
CONNECT_AGAIN_S = 0.2
FACTS_WAIT_S = 1.0
"""How long a statement whose effects are unknown waits for the facts of a database that was just met."""
FAILED_FAST = frozenset({"28P01", "28000", "3D000", "42501"})
"""Refusals that waiting will not change."""


def _place(server: ServerView | None) -> tuple[object, ...] | None:
    """What connections to a server are connections to."""
    return None if server is None else (server.host, server.port, server.unix, server.dbname)


class DatabaseRuntime:
    """See the module. ``worker`` gives the loop, the board and the parent; ``dialect`` opens connections."""

    def __init__(
        self, worker: Any, name: str, entry: Database, config: Config, view: DatabaseView, dialect: Any
    ) -> None:
        self.worker, self.name, self.dialect = worker, name, dialect
        self.board = worker.board
        self.view = view
        self.index = view.index
        self.last_primary: str | None = None
        self.counters = Counters()
        self.extra = {"held_statements": 0, "client_errors": 0, "slow_statements": 0}
        self.pools: dict[tuple[str, str], Pool] = {}
        self.failed_until: dict[tuple[str, str], float] = {}
        self.sessions: set[Any] = set()
        self.dedicated_to: set[Any] = set()  # sessions with a server connection of their own
        self.held: set[Any] = set()
        self.welcomes: dict[Any, Any] = {}
        self.credentials: dict[str, Any] = {}
        self.paused = False
        self.layout: Layout | None = None  # None: nothing is sharded
        self.shards: dict[str, DatabaseRuntime] = {}  # by keyspace/shard
        self.parent: DatabaseRuntime | None = None  # of a shard: the database that clients ask for
        self.sharding: Any = None  # the dialect's plans for what is sharded
        self.gate = Gate()
        self.admissions: dict[str, Admission | SharedAdmission] = {}  # by user on the servers
        self.holds = Holds(self)
        self.unexplained: list[Any] = []  # sessions whose statement waits for the facts of a database just met
        self.enabled = True
        self.router = dialect.new_router(view.index)
        self.events = dialect.new_events(self)
        self.configure(entry, config)
        self.replicas = Replicas(self)

    def configure(self, entry: Database, config: Config) -> None:
        """Take over settings, at start and at reload."""
        self.entry, self.config = entry, config
        self.consistency = entry.consistency
        self.max_prepared = config.pool.max_prepared_statements
        self._load_tls(entry)
        for (_, user), pool in self.pools.items():
            for link in pool.links:
                link.slow_us = int(config.log.slow_statement_ms * 1000)
            pool.size = config.pool_for(entry, user).size
            pool.grow()
        for user, admission in list(self.admissions.items()):
            share = self._sessions_over_pools(user)
            if isinstance(admission, Admission) and share:
                admission.limit = share
            elif isinstance(admission, Admission) or share:
                del self.admissions[user]       # those inside leave it, others ask elsewhere
        for session in self.sessions:
            session.settings_changed()

    def _load_tls(self, entry: Database) -> None:
        """Certificates towards the servers; at a reload, mistakes leave the old ones in force."""
        try:
            self.tls = self.dialect.server_tls(entry)
        except ConfigError as error:
            if not hasattr(self, "tls"):
                raise
            _log.error("TLS settings were not reloaded", database=self.name, error=str(error))

    def admission(self, user: str) -> Admission | SharedAdmission:
        """Who of a user's sessions may hold connections of several pools."""
        found = self.admissions.get(user)
        if found is None:
            share = self._sessions_over_pools(user)
            found = self.admissions[user] = Admission(share) if share else self.worker.shared_admission(self.name, user)
        return found

    def _sessions_over_pools(self, user: str) -> int:
        """This worker's share of them; 0: the parent counts those of all workers."""
        limits = self.config.pool_for(self.entry, user)
        return 0 if limits.max_db_connections or limits.max_user_connections else (
            limits.size // self.config.listen.workers)

    # -- topology ----------------------------------------------------------------------------------------------

    @property
    def has_replicas(self) -> bool:
        return bool(self.view.replicas)

    def lay_out(self, layout: Layout | None) -> None:
        """What is sharded is known, or another by now. Sessions that came before take part from their next batch on."""
        self.layout = layout
        self.gate.close()
        if layout is not None:
            for session in self.sessions:
                session.link.sharded = session.link.sharded or 1
            self.end_dedicated("the database is sharded now")

    def set_view(self, view: DatabaseView) -> None:
        """The topology changed: routes of sessions are looked up anew, and who waits is served."""
        old, self.view = self.view, view
        (self.parent or self).gate.close()
        self.last_primary = old.primary or self.last_primary
        for session in self.sessions:
            session.link.write_pool = None
        for pool in self.pools.values():
            for link in pool.links:
                link.on_primary = view.primary == pool.key[1]
        for (server_id, user), pool in list(self.pools.items()):
            server = view.server(server_id)
            if server is not None and _place(server) != _place(old.server(server_id)):
                self._move_waiters(pool)  # another server has this id now
                pool.retire_all()
                continue
            if server is None or server.role == FENCED or server.draining or old.primary == server_id != view.primary:
                self._move_waiters(pool)
                pool.retire_all()
            elif server.role == DOWN or server.banned:
                self._move_waiters(pool)
            self._give_up(pool, view)
            if server is None:
                del self.pools[(server_id, user)]
        for pool in self.pools.values():
            pool.grow()
        for session in list(self.dedicated_to):
            server = session.link.server
            if server is not None and self._must_leave(server.pool.key[1], view, old):
                session.fatal("57P01", "terminating connection: its server is not the primary any more, or is drained")
        for session in list(self.held):
            self.held.discard(session)
            session.release_hold()

    def _give_up(self, pool: Pool, view: DatabaseView) -> None:
        """Close at once what can bring no answer that counts, instead of waiting for what may never come.

        A fenced server must not be written to. One that was the primary and has a successor will not be again. Of a
        replica that does not answer, only reads that can run elsewhere are taken; the others may yet be answered.
        """
        server = view.server(pool.key[1])
        replaced = pool.key[1] == self.last_primary and view.primary not in (None, pool.key[1])
        if server is not None and (server.role == FENCED or (replaced and server.role == DOWN)):
            for link in list(pool.links):
                link.abort(OSError("this server was a primary that has been replaced"))
        elif server is not None and server.role == DOWN and pool.key[1] != self.last_primary:
            for link in list(pool.links):
                if link.holding or link.client is None:
                    link.abort(OSError("the replica does not answer"))

    def _move_waiters(self, pool: Pool) -> None:
        waiting, pool.waiters = list(pool.waiters), type(pool.waiters)()
        for client in waiting:
            client.elsewhere()

    def hold(self, session: Any) -> None:
        """There is no primary: wait."""
        if self.view.conflict:
            self.worker.loop.call_soon(session.fail, "57P03", f"writes are refused: {self.view.conflict}")
            return
        self.extra["held_statements"] += 1
        self.held.add(session)

    # -- pools -------------------------------------------------------------------------------------------------

    def write_pool(self, session: Any) -> Pool | None:
        """The pool of the primary; None while there is none."""
        primary = self.view.primary
        return None if primary is None or self.view.hold else self.pool(primary, session.server_user)

    def read_pool(self, session: Any, slots: tuple[int, ...]) -> Pool | None:
        """The pool of a replica that may serve a read of these tables; None: the primary has to."""
        server = self.replicas.choose(session, slots)
        if server is None:
            return None
        return self.pool(server.id, session.server_user)

    def pool(self, server_id: str, user: str) -> Pool:
        """The pool of a user on a server."""
        found = self.pools.get((server_id, user))
        if found is None:
            size = self.config.pool_for(self.entry, user).size
            found = Pool((self.name, server_id, user), size, self._open, self._closed)
            found.paused = self.paused
            self.pools[(server_id, user)] = found
        return found

    def failing(self, server_id: str, user: str) -> bool:
        """Whether a replica let nobody in a moment ago: reads go elsewhere."""
        if not self.failed_until or self.failed_until.get((server_id, user), 0.0) < time.monotonic():
            return False
        pool = self.pools.get((server_id, user))
        return pool is None or not pool.links

    def in_use(self, server_id: str) -> int:
        """Connections to a server that serve a client now."""
        return sum(pool.active for (known, _), pool in self.pools.items() if known == server_id)

    def _open(self, pool: Pool, count: int) -> None:
        for _ in range(count):
            self.worker.task(self._open_one(pool))

    async def _open_one(self, pool: Pool) -> None:
        """One more connection: a permit, then the connection; failures are the waiting clients' to hear."""
        permitted = False
        if self.view.primary != pool.key[1] and self.failed_until.get(pool.key[1:], 0.0) > time.monotonic():
            pool.not_opened()  # ``_later`` tries again
            return
        try:
            permitted = await self.worker.permit(pool)
            if not permitted:
                pool.not_opened()
                return
            link = await self._connect(pool)
        except ServerError as error:
            pool.not_opened()
            await self._given_back(pool, permitted)
            await self._refused(pool, error)
        except (OSError, TimeoutError) as error:
            pool.not_opened()
            await self._given_back(pool, permitted)
            await self._unreachable(pool, error)
        except asyncio.CancelledError:
            pool.not_opened()
            raise
        else:
            pool.opened(link)
            server = self.view.server(pool.key[1])
            if pool.paused or (server is not None and server.draining):  # asked for while it was opened
                pool.retire(link)

    def _must_leave(self, server_id: str, view: DatabaseView, old: DatabaseView) -> bool:
        """Whether a client with a connection of its own may not stay on this server."""
        server = view.server(server_id)
        return (server is None or server.draining or server.role in (REPLICA, FENCED)
                or view.primary not in (None, server_id) or _place(server) != _place(old.server(server_id)))

    def end_dedicated(self, why: str) -> None:
        """Close the clients that have a server connection of their own: they would never give it back."""
        for session in list(self.dedicated_to):
            session.fatal("57P01", f"terminating connection: {why}")

    async def dedicated(self, session: Any, wanted: Any) -> Any:
        """A connection to the primary for this session alone, opened as ``wanted``; it counts as one in use.

        Raises ServerError, OSError or TimeoutError.
        """
        pool = await self.worker.primary_pool(session)
        await self.worker.dedicated_permit(pool, self.config.pool_for(self.entry, pool.key[2]).query_wait_timeout)
        try:
            link = await self._connect(pool, wanted)
        except BaseException:
            self.worker.give_back(pool)
            raise
        pool.links.add(link)
        pool.assigned += 1
        self.dedicated_to.add(session)
        return link

    async def _connect(self, pool: Pool, wanted: Any = None) -> Any:
        _, server_id, user = pool.key
        server = self.view.server(server_id)
        if server is None:
            raise OSError("the server is no longer part of the topology")
        async with asyncio.timeout(self.config.pool.server_connect_timeout or None):
            link = await self.dialect.connect(
                self.worker.pump,
                (server.host, server.port, server.unix),
                user,
                server.dbname,
                self.credentials.get(user),
                self.tls.current,
                wanted,
            )
        if self.pools.get((server_id, user)) is not pool or _place(self.view.server(server_id)) != _place(server):
            link.close()
            raise OSError("the server is no longer part of the topology")
        link.pool = pool
        link.events = self.events
        link.on_primary = self.view.primary == server_id
        link.id = self.worker.next_id()
        link.set_counters(self.counters)
        link.slow_us = int(self.config.log.slow_statement_ms * 1000)
        return link

    async def _given_back(self, pool: Pool, permitted: bool) -> None:
        if permitted:
            self.worker.give_back(pool)

    async def _refused(self, pool: Pool, error: ServerError) -> None:
        _log.warning("a server refused a connection", database=self.name, server=pool.key[1], user=pool.key[2],
                     sqlstate=error.sqlstate, error=error.message)  # fmt: skip
        if error.sqlstate in FAILED_FAST and self.view.primary == pool.key[1]:
            for client in self._take_waiters(pool):
                client.refused(error.sqlstate, error.message, error.hint)
            return
        self.worker.suspect(self.name, pool.key[1], error.message)
        await self._later(pool)

    async def _unreachable(self, pool: Pool, error: Exception) -> None:
        _log.warning(
            "a server is not reachable", database=self.name, server=pool.key[1], error=str(error) or "timed out"
        )
        self.worker.suspect(self.name, pool.key[1], str(error) or "timed out")
        await self._later(pool)

    async def _later(self, pool: Pool) -> None:
        """Try again for those who still wait, or send them elsewhere if this is a replica."""
        pool.failing_since = pool.failing_since or time.monotonic()
        wait = CONNECT_AGAIN_S
        if self.view.primary != pool.key[1]:
            wait = self.config.pool.server_login_retry
            self.failed_until[pool.key[1:]] = time.monotonic() + wait
            if not pool.links:
                self._move_waiters(pool)
        elif time.monotonic() - pool.failing_since >= 2:
            wait = self.config.pool.server_login_retry
        await asyncio.sleep(wait)
        pool.grow()

    @staticmethod
    def _take_waiters(pool: Pool) -> list[Any]:
        waiting, pool.waiters = list(pool.waiters), type(pool.waiters)()
        return waiting

    def _closed(self, pool: Pool) -> None:
        self.worker.give_back(pool)

    # -- what sessions and server connections ask for --------------------------------------------------------------

    def begin_write(self, slots: tuple[int, ...]) -> None:
        """A write is about to be sent."""
        self.board.begin_write(self.index, slots)

    def publish(self, writes: list[tuple[int, ...]], now_ns: int, ddl: bool) -> None:
        """Mark what was written on the board, before it is acknowledged to the client."""
        if ddl:
            self.board.bump_catalog(self.index)
            if self.parent is not None:
                self.board.bump_catalog(self.parent.index)
        for slots in writes:
            self.board.end_write(self.index, slots, now_ns)

    def ddl(self) -> None:
        """The catalog changed."""
        self.welcomes.clear()
        self.worker.ddl(self.view.owner or self.name)

    def suspect(self, server: Any, why: str) -> None:
        """A connection was lost: look at its server."""
        self.worker.suspect(self.name, server.pool.key[1], why)

    def cancel(self, server: Any) -> None:
        """Cancel what a server connection runs."""
        server.cancels += 1  # at once: from now on the connection is nobody else's until the server has taken it
        self.worker.task(self._send_cancel(server))

    async def _cancel(self, server: Any) -> None:
        server.cancels += 1
        await self._send_cancel(server)

    async def _send_cancel(self, server: Any) -> None:
        try:
            timeout = self.config.pool.cancel_wait_timeout or 60.0
            await self.dialect.send_cancel(server, self.tls.current, timeout)
        except (OSError, TimeoutError, ServerError) as error:
            _log.warning("a cancel request failed", database=self.name, server=server.pool.key[1], error=str(error))
        finally:
            server.cancels -= 1
            if server.parked and not server.cancels:
                server.parked = False
                server.pool.release(server)

    def drain_deadline(self, server: Any) -> None:
        """A connection whose client has left must become clean in time."""

        def check() -> None:
            if not server.closed and server.client is None and server.mode == 3:
                self.events.discard(server, "its client left, and its statement did not end in time")

        self.worker.loop.call_later(30.0, check)

    def until_facts(self, session: Any) -> None:
        """Resume a session when the facts are there, or have not come in time."""
        if not self.unexplained:
            self.worker.loop.call_later(FACTS_WAIT_S, self.explained)
        self.unexplained.append(session)

    def explained(self) -> None:
        """The facts are there, or nobody waits for them any more."""
        waiting, self.unexplained = self.unexplained, []
        for session in waiting:
            session.explained()

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call in the next turn of the loop."""
        self.worker.loop.call_soon(call, *arguments)

    def left(self, session: Any) -> None:
        """A client is gone."""
        self.sessions.discard(session)
        self.dedicated_to.discard(session)
        self.held.discard(session)
        for pool in self.pools.values():
            pool.leave(session.link)
        self.worker.client_left(session)

    def refused(self, link: Any, sqlstate: str, text: str) -> None:
        """The proxy itself answers with an error."""
        self.extra["client_errors"] += 1
        _log.info("error to a client", connection=link.id, sqlstate=sqlstate, error=text)

    def slow(self, server: Any, link: Any, digest: str, elapsed_us: int) -> None:
        """A statement took longer than slow_statement_ms; its literals are not logged."""
        self.extra["slow_statements"] += 1
        _log.warning(
            "slow statement",
            connection=link.id,
            database=self.name,
            server=server.pool.key[1],
            ms=round(elapsed_us / 1000, 1),
            statement=digest[:1000],
        )

    def log_server(self, server: Any, event: str, why: str) -> None:
        """A server connection ended for a reason that an operator may want to know."""
        _log.info(f"server connection {event}", database=self.name, server=server.pool.key[1], reason=why,
                  connection=server.id)  # fmt: skip
