"""One client's transaction over several places: its legs, what they must be told, and how it ends.

Invariants:
* In a block, every leg has run the client's own BEGIN and everything in ``log``, in order, before anything else.
* Outside a block a leg is free of state when it goes back to its pool; one in an unknown state is closed.
* ``legs[""]``, while the client has a connection to the coordinator, is that connection (``home``): it stays the
  client's, and its transaction status is what the client is told.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from shardproxy.dialects.postgres.probe import sync_sql
from shardproxy.dialects.postgres.sequences import DISCARD
from shardproxy.dialects.postgres.server_link_cy import CLIENT, IDLE
from shardproxy.errors import ServerError
from shardproxy.router import flags as f

from .altered import hold, outdated, release
from .errors import PgError, lost_at, undone
from .isolation import check_isolation
from .laid_out import lay_out_sql
from .legs import NO_BIND, Bind, Leg
from .planning import sharding_of
from .policy import check_fanout, check_writer
from .reading_side import ReadingSide
from .tracked import Tracked

__all__ = ["Outdated", "Transaction"]

OUTSIDE, IN_BLOCK, ABORTED = 0x49, 0x54, 0x45
BEGIN = "BEGIN"


class Outdated(Exception):
    """The statement in hand was planned by another catalog, and nothing of it has been said yet."""


class Waiter:
    """Waits in a pool's queue like a client."""

    def __init__(self, link: Any) -> None:
        self.settings = link.settings
        self.requested_ns = link.requested_ns
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def closed(self) -> bool:
        return self.future.done()

    def granted(self, server: Any) -> None:
        if self.future.done():
            server.pool.release(server)
        else:
            self.future.set_result(server)

    def refused(self, sqlstate: str, text: str, hint: str = "") -> None:
        if not self.future.done():
            self.future.set_exception(PgError.of(sqlstate, text, hint=hint))

    def elsewhere(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Transaction(Tracked):
    """``session``: the client's. ``begin``: text of the BEGIN of its block; '' outside one.

    ``reads``: board slots of the tables that the statement in hand reads, if it is a proven read; else None.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.link = session.link
        self.database = session.database
        self.legs: dict[str, Leg] = {}
        self.begin = ""
        self.log: list[tuple[bytes, Bind]] = []
        self.atomic = False
        self.failed = False
        self.changed_catalog = False
        self.reads: tuple[int, ...] | None = None
        self.sides: dict[str, ReadingSide] = {}
        self.laid_out = self.unseen = False     # rows of ``laid_out``; DDL that ``overlay`` does not know yet
        self.overlay: Any = None
        self.altered: set[tuple[str, str]] = set()      # see altered.py
        self.hold = ""
        self.planned: tuple[bytes, Any, Any] | None = None      # text, layout and tables of the statement in hand
        self.fresh = False                                      # it has no leg yet
        self.flags = 0                          # of the statement that is being carried out
        self.fanout: set[str] = set()           # shards that it uses; at most ``fanout_max``, if that is not 0
        self.fanout_max = 0

    # -- what is asked of it

    @property
    def home(self) -> Any:
        """The client's own connection to the coordinator, if it has one."""
        return self.link.server

    @property
    def in_block(self) -> bool:
        """Whether the client has begun a block."""
        return bool(self.begin)

    @property
    def search_path(self) -> tuple[str, ...]:
        """Schemas in which unqualified names are looked up."""
        found: tuple[str, ...] = self.session.search_path
        return found

    @property
    def writers(self) -> list[Leg]:
        """Legs that wrote."""
        return [leg for leg in self.legs.values() if leg.wrote]

    def runtime(self, place: str) -> Any:
        """The database behind a place."""
        return self.database if not place else self.database.shards[place]

    # -- legs

    async def leg(self, place: str, write: bool = False) -> Leg:
        """The leg at a place, begun as far as the transaction is. Raises PgError."""
        check_fanout(self, (place,))
        leg = self.legs.get(place)
        if leg is not None and leg.server.closed:
            raise lost_at(place)
        if leg is None:
            check_isolation(self, place)
            self.check_place(place)
            leg = self.legs[place] = await self._take(place)
            self.track()
        self.fresh = False
        await self._adopt(leg)
        if (self.in_block or self.atomic) and not leg.in_block:
            await self._begin(leg)
        if write and not leg.wrote:
            check_writer(self, leg)
            leg.wrote = True
        if not place and self.flags & f.ADVANCES:
            await self.forget_sequences(leg)
            self.session.advanced(leg.server)
        return leg

    async def forget_sequences(self, leg: Leg) -> None:
        """What the connection to the coordinator remembers of another client's sequences is not this client's."""
        if self.session.sequences.foreign(leg.server) and not (leg.busy or leg.aborted):
            await leg.run(DISCARD)
            leg.server.last_writer = None

    async def all(self, places: Sequence[str], write: bool = False) -> list[Leg]:
        """Legs at all these places.

        Connections are taken one after the other, in one order for all sessions, so that two sessions never wait for
        each other's; what must be said on them before is said side by side.
        """
        check_fanout(self, places)
        for place in sorted(places):
            if place not in self.legs:
                check_isolation(self, place)
                self.check_place(place)
                self.legs[place] = await self._take(place)
                self.track()
        self.fresh = False
        if not write and all(self._ready(self.legs[place]) for place in places):
            return [self.legs[place] for place in places]
        found = await asyncio.gather(*(self.leg(place, write) for place in places), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return list(found)  # type: ignore[arg-type]

    def _ready(self, leg: Leg) -> bool:
        """Whether nothing has to be said on a leg before a read."""
        return (bool(leg.place) and not leg.server.closed and leg.server.settings is self.link.settings
                and (leg.in_block or not (self.in_block or self.atomic)))

    async def begin_atomic(self) -> None:
        """What follows happens at all places or at none, in autocommit too."""
        self.atomic = True
        for leg in self.legs.values():
            if not leg.in_block:
                await self._begin(leg)

    async def _take(self, place: str) -> Leg:
        """A connection, on which nothing was said yet."""
        runtime = self.runtime(place)
        if not place and self.home is not None:
            leg = Leg(place, runtime, self.home)
            leg.in_block = self.home.status != OUTSIDE
            leg.wrote = self.home.wrote
            return leg
        own = None if place or self.reads is not None else self.session.sequences.own()
        server = own or await self._acquire(runtime, place)
        server.linked_ns = server.started_ns = self.link.requested_ns
        return Leg(place, runtime, server)

    async def _adopt(self, leg: Leg) -> None:
        """The client's settings on a leg that is not its own connection."""
        server = leg.server
        if server is self.home or server.settings is self.link.settings:
            return
        try:
            sql = sync_sql(server.settings, self.link.settings)
            if sql:
                await leg.run(sql)
            server.settings = self.link.settings
        except BaseException:
            self._drop(leg, "settings could not be applied")
            raise

    def _pool(self, runtime: Any, place: str) -> Any:
        """A replica's pool for a read that may go there, else the primary's; None: there is no primary now."""
        reads = self.reads
        if place and reads is not None and not (self.in_block or self.atomic) and runtime.has_replicas:
            side = self.sides.setdefault(place, ReadingSide(self.session))
            pool = side.pool(runtime, reads or (0,))
            if pool is not None:
                return pool
        return runtime.write_pool(self.session)

    def idle(self, place: str) -> Any:
        """A connection at a place with the client's settings, if one is idle now."""
        self.check_place(place)
        pool = self._pool(self.runtime(place), place)
        return None if pool is None else pool.idle_with(self.link.settings)

    async def _acquire(self, runtime: Any, place: str) -> Any:
        """A server connection of a place."""
        where = place or "the coordinator"
        while True:
            pool = self._pool(runtime, place)
            if pool is None:
                try:
                    pool = await self.database.worker.primary_pool(Seeker(self.session, runtime))
                except ServerError as error:
                    raise PgError.of("08006", f"{where} has no primary at the moment", detail=error.message) from None
            waiter = Waiter(self.link)
            server = pool.acquire(waiter)
            try:
                server = server or await waiter.future
            finally:
                pool.leave(waiter)
                if server is None and waiter.future.done() and not waiter.future.cancelled():
                    if waiter.future.exception() is None and waiter.future.result() is not None:
                        waiter.future.result().pool.release(waiter.future.result())
            if server is not None:
                self._still_planned(server)
                return server

    def _still_planned(self, server: Any) -> None:
        """A connection was got, perhaps after a while: the statement must still mean what it was planned for."""
        if self.planned is None:
            return
        text, *old = self.planned
        now = self.overlay if self.overlay is not None else sharding_of(self.database)
        if outdated(text, (old[0], old[1]), now):
            server.pool.release(server)
            if self.fresh:
                raise Outdated
            raise PgError.of("40001", "a table was changed by DDL while the statement waited for a connection",
                             hint="Repeat the transaction.")

    async def _begin(self, leg: Leg) -> None:
        await leg.run(self.begin or BEGIN)
        leg.in_block = True
        for text, bind in self.log:
            await self._repeat(leg, text, bind)

    @staticmethod
    async def _repeat(leg: Leg, text: bytes, bind: Bind) -> None:
        if bind is NO_BIND or not bind.values:
            await leg.run(text)
        else:
            await leg.rows(text, bind).done()

    async def attach(self) -> Leg:
        """The leg at the coordinator, on a connection that is the client's own from now on."""
        if self.home is None:
            leg = await self.leg("")
            await self.forget_sequences(leg)        # it stays for what is not known yet
            server = leg.server
            link = self.link
            link.server = server
            server.client = server.owner = link
            server.last_client = link.id
            server.session_mode = link.session_mode
            server.mode = CLIENT
            server.failed = server.holding = False
            link.session.announce(server)
        return await self.leg("")

    def back_to(self, savepoint: str) -> None:
        """ROLLBACK TO: what was said after the savepoint is not said to legs that join later."""
        wanted = re.compile(rb"(?is)^\W*savepoint\s+" + re.escape(savepoint.encode()) + rb"\W*$")
        for number in range(len(self.log) - 1, -1, -1):
            if wanted.match(self.log[number][0]):
                del self.log[number + 1 :]
                break
        self.unseen = self.unseen or self.overlay is not None

    # -- writing

    def wrote(self, leg: Leg, slots: tuple[int, ...]) -> None:
        """A write to tables with these slots is about to be sent on a leg."""
        if not leg.wrote:
            check_writer(self, leg)
            leg.wrote = True
        server = leg.server
        if slots and slots not in server.write_slots:
            server.write_slots.append(slots)
            leg.runtime.begin_write(slots)

    def publish(self) -> None:
        """Mark what was written, before the client hears of it."""
        for leg in self.legs.values():
            if leg.server.write_slots and leg.server.status == OUTSIDE:
                leg.server.events.publish(leg.server)
                self.link.wrote_ns = time.monotonic_ns()

    async def lay_out(self, change: Any) -> None:
        """A table is sharded, or is no more, if and when this transaction commits."""
        leg = await self.leg("", write=True)
        await leg.run(lay_out_sql(change))
        self.laid_out = True

    # -- statements that concern every leg

    async def everywhere(self, text: bytes, bind: Bind) -> None:
        """Run a statement on every leg but the coordinator's, where it has run."""
        for leg in self.legs.values():
            if leg.place and leg.in_block:
                await self._repeat(leg, text, bind)

    # -- the end

    async def end(self, commit: bool) -> str:
        """COMMIT or ROLLBACK of all legs. Gives the tag. Raises PgError if it did not become permanent."""
        from .two_phase import commit as commit_all

        if self.home is not None and self.home.status != OUTSIDE:
            await self.leg("")
        legs = [leg for leg in self.legs.values() if leg.in_block]
        for leg in legs:
            if leg.server is self.home:     # what the relay sent there counts, too
                leg.wrote = leg.wrote or leg.server.wrote
                leg.temporary = leg.temporary or leg.server.pins is not None or bool(leg.server.flags & f.PROBE)
        if commit and not self.failed and not any(leg.aborted for leg in legs):
            try:
                await hold(self.session)
                legs = [leg for leg in self.legs.values() if leg.in_block]
                for leg in legs:
                    if leg.wrote:           # what only read has nothing to lose
                        leg.raise_if_lost()
                await commit_all(self, legs)
            except BaseException as error:
                await self.rollback()
                self.settle()
                release(self.session)
                if isinstance(error, PgError):
                    raise undone(error) from error
                raise
            tag = "COMMIT"
        else:
            await self.rollback()
            self.altered.clear()
            tag = "ROLLBACK"
        self.settle()
        return tag

    async def rollback(self) -> None:
        """ROLLBACK of every leg; what cannot be rolled back in an orderly way is closed."""
        await asyncio.gather(*(self._roll_back(leg) for leg in list(self.legs.values())))

    async def _roll_back(self, leg: Leg) -> None:
        if leg.server.closed:
            return
        try:
            if leg.busy:
                leg.cancel()
                await leg.quiet()
            if leg.server.status != OUTSIDE:
                await leg.run("ROLLBACK")
        except PgError as error:
            self._drop(leg, f"ROLLBACK failed: {error}")

    def settle(self) -> None:
        """The transaction is over, or the statement in autocommit: legs go back to their pools."""
        self.publish()
        legs, self.legs = self.legs, {}
        self.untrack()
        self.begin, self.log, self.atomic, self.failed = "", [], False, False
        self.overlay, self.unseen = None, False
        for place, leg in legs.items():
            if leg.server is self.home:
                leg.server.mode = CLIENT
                continue
            if place in self.sides:
                self.sides[place].read(leg.server, leg.server.started_ns)
            self._release(leg)

    async def finish(self) -> None:
        """The end of a statement in autocommit, or of an implicit transaction that succeeded."""
        if self.atomic and not self.in_block:
            await self.end(True)
        elif not self.in_block:
            self.settle()

    async def give_up(self) -> None:
        """A statement failed. In a block, the block is aborted; else everything is rolled back."""
        if not self.in_block or self.home is None or self.home.closed:
            await self.rollback()
            self.settle()
            release(self.session)
            return
        self.failed = True
        for leg in self.legs.values():
            if leg.busy:
                leg.cancel()
                await leg.quiet()

    def _release(self, leg: Leg) -> None:
        server = leg.server
        if server.closed:
            return
        if leg.busy or server.status != OUTSIDE:
            self._drop(leg, "a transaction over several servers was given up")
            return
        server.wrote = False
        server.mode = IDLE
        server.flags = 0
        server.pool.release(server)

    def _drop(self, leg: Leg, why: str) -> None:
        self.legs.pop(leg.place, None)
        if not leg.server.closed and leg.server is not self.home:
            leg.server.events.discard(leg.server, why)

    def ended(self) -> None:
        """The block ended in the relay, or with the client's own connection: no leg outlives it."""
        if self.legs:
            self.abandon()
        self.begin, self.log, self.failed = "", [], False

    def abandon(self) -> None:
        """The client is gone, or the session ends: nothing of it stays."""
        self.untrack()
        legs, self.legs = self.legs, {}
        for leg in legs.values():
            if leg.server is self.home or leg.server.closed:
                continue
            if leg.busy:
                leg.cancel()
            if leg.busy or leg.server.status != OUTSIDE:
                leg.server.events.discard(leg.server, "its client left")
            else:
                self._release(leg)


class Seeker:
    """Who ``Worker.primary_pool`` looks for a primary for."""

    def __init__(self, session: Any, database: Any) -> None:
        self.database, self.server_user = database, session.server_user


