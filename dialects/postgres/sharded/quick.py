"""The short way of a read over several shards: asked when it comes, answered when the last shard has, without a task.

Invariants:
* It begins only where nothing has to be waited for: outside a block, with an idle connection of the client's settings
  at every shard. Otherwise nothing has happened, and the statement goes the long way.
* What is more than a few rows, and every error, goes on the long way from where it stands: nothing was told till then
  but that the statement was parsed and bound.
* The answer is made by the code that makes it on the long way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from shardproxy.planner.plan import Scatter, Select, settled
from shardproxy.router import flags as f

from .asked import Asked, read_batch
from .errors import PgError
from .isolation import check_isolation
from .legs import Leg, Rows, extended, foreign
from .output import Output
from .policy import may_fan_out
from .scatter import Scattered, Seen
from .statement import Statement

__all__ = ["Quick"]

BIND = 0x42
KEPT_BYTES = 16 * 1024
KNOWN_MAX, KNOWN_BYTES = 1000, 4000
LONG_WAY = (f.PROBE | f.UNPIN | f.FOREVER | f.DDL | f.MULTI | f.BEGIN | f.COMMIT | f.ROLLBACK | f.PREPARED_SQL
            | f.DEALLOCATE_ALL | f.SEQUENCE_STATE | f.PROXY_SET | f.PROXY_SHOW | f.COPY_IN | f.COPY_OUT | f.UNPARSED)


class Known:
    """A batch that is sent again and again: how it is carried out as long as ``generation`` and ``routes`` hold."""

    __slots__ = ("asked", "data", "generation", "places", "plan", "routes", "seen")

    def __init__(self, asked: Asked, plan: Scatter, places: tuple[str, ...], data: bytes, generation: int,
                 routes: int) -> None:
        self.asked, self.plan, self.places, self.data = asked, plan, places, data
        self.generation, self.routes = generation, routes
        self.seen: Seen | None = None


class Quick:
    """For one session. ``flight``: what is under way."""

    def __init__(self, session: Any) -> None:
        self.session, self.link = session, session.link
        self.flight: Flight | None = None

    def again(self, batch: bytes) -> bool:
        """Start a batch that went this way before; false: look at it in full."""
        if len(batch) > KNOWN_BYTES:
            return False
        sharding = self.session.places.sharding
        known: Known | None = sharding.quick.get(self._key(batch))
        if (known is None or known.generation != sharding.generation
                or known.routes != self.link.router.generation):
            return False
        limit = self.session.database.entry.max_fanout
        return not (limit and len(known.places) > limit) and self._fly(known)

    def start(self, batch: bytes) -> bool:
        """Start a batch, if it is a read of several shards and nothing has to be waited for."""
        session = self.session
        sharding = session.places.sharding
        try:
            asked = read_batch(session, batch)
            if asked is None or asked.route.flags & LONG_WAY or not asked.route.flags & f.READ:
                return False
            plan = sharding.plan(asked.text, asked.route, session.search_path).plan
            if isinstance(plan, Select):
                plan = plan.spread
            if not isinstance(plan, Scatter) or plan.serial or not isinstance(plan.text, bytes):
                return False
            statement = self._statement(asked)
            places = tuple(statement.shards(plan.filter))
            if len(places) < 2:
                return False
            may_fan_out(places, session.database.entry.max_fanout)
        except PgError:
            return False            # the long way says so
        formats = asked.formats
        wanted = (*formats, *(1,) * plan.hidden) if len(formats) > 1 else formats
        text = settled(plan.text)
        data = extended(text, foreign(asked.bind, text), wanted)
        known = Known(asked, plan, places, data, sharding.generation, self.link.router.generation)
        if not self._fly(known):
            return False
        if len(batch) <= KNOWN_BYTES:
            kept: OrderedDict[Any, Known] = sharding.quick
            kept[self._key(batch)] = known
            if len(kept) > KNOWN_MAX:
                kept.popitem(last=False)
        return True

    def _key(self, batch: bytes) -> tuple[Any, ...]:
        """Names mean what the settings and, in ``$user``, the user make of them; a Bind alone, what was prepared."""
        link = self.link
        prepared = None
        if batch[0] == BIND:
            name = batch[6:batch.find(b"\0", 6)]
            found = (link.statements or {}).get(name) if name else None
            prepared = link.unnamed if found is None else found.statement
        return batch, link.settings, self.session.server_user, prepared

    def _statement(self, asked: Asked) -> Statement:
        sharding, route = self.session.places.sharding, asked.route
        return Statement(asked.text, sharding.layout, sharding.tables, asked.bind, asked.formats, flags=route.flags,
                         write_slots=route.write_slots, read_slots=route.read_slots, simple=asked.simple,
                         search_path=self.session.search_path)

    def _fly(self, known: Known) -> bool:
        session, link, asked = self.session, self.link, known.asked
        if not link.admitted:
            session.admission = session.database.admission(session.server_user)
            link.admitted = session.admission.take()
            if not link.admitted:
                return False
        legs = self._legs(known)
        if legs is None:
            session.outside()
            return False
        asked.applied(link)
        out = Output(link, described=asked.described is None)
        try:
            work = Scattered(session.tx, known.plan, self._statement(asked), out)
        except PgError:             # a LIMIT that is none
            session.tx.settle()
            session.outside()
            return False
        link.write(asked.prelude)
        self.flight = Flight(self, known, work, legs)
        self.flight.start()
        return True

    def _legs(self, known: Known) -> list[Leg] | None:
        """A connection at every place, or None: not all are there at once."""
        tx, link, route = self.session.tx, self.link, known.asked.route
        may_move = not route.flags & f.PRIMARY and self.session.consistency != "strong"
        tx.reads = route.read_slots if may_move else None
        try:
            for place in sorted(known.places):
                check_isolation(tx, place)
                server = tx.idle(place)
                if server is None:
                    tx.settle()
                    return None
                server.linked_ns = server.started_ns = link.requested_ns
                tx.legs[place] = Leg(place, tx.runtime(place), server)
        except PgError:
            tx.settle()
            return None
        tx.track()
        return [tx.legs[place] for place in known.places]

    # -- what ends it otherwise

    def cancel(self) -> bool:
        """A cancel request. False: nothing is under way."""
        if self.flight is None:
            return False
        for leg in self.flight.legs:
            leg.cancel()
        return True

    def drop(self) -> None:
        """The client is gone."""
        if self.flight is not None:
            self.flight.end()


class Flight:
    """One execution: the ``watcher`` of its replies."""

    def __init__(self, quick: Quick, known: Known, work: Scattered, legs: Sequence[Leg]) -> None:
        self.quick, self.known, self.work, self.legs = quick, known, work, legs
        self.session = quick.session
        self.replies: list[Rows] = []
        self.left = len(legs)
        self.bytes = 0
        self.begun = self.failed = self.over = False

    def start(self) -> None:
        """Ask all shards."""
        session, data = self.session, self.known.data
        session.link.busy = True
        session.link.last_route = self.known.asked.route
        self.known.asked.route.hits += 1
        self.replies = [leg.reply(data, self) for leg in self.legs]
        self.begun = True
        if self.failed:
            self._long_way()

    def end(self) -> None:
        """It is no longer under way."""
        self.over = True
        for one in self.replies:
            one.unwatched()
        if self.quick.flight is self:
            self.quick.flight = None

    # -- as the watcher of replies

    def grown(self, size: int) -> None:
        """Rows came."""
        self.bytes += size
        if self.bytes > KEPT_BYTES and not self.over:
            self._long_way()

    def ended(self, failed: bool) -> None:
        """A shard has answered."""
        self.left -= 1
        if self.over:
            return
        if failed and self.begun:
            self._long_way()
        elif failed:
            self.failed = True
        elif self.left == 0:
            self.over = True
            self.session.database.soon(self._answer)

    # -- the answer

    def _answer(self) -> None:
        session = self.session
        if session.link.closed or self.quick.flight is not self:
            return
        try:
            seen = self.work.now(self.known.places, self.replies, self.known.seen)
        except PgError:             # the long way comes to the same, and says so
            seen = None
        if seen is None:
            self._long_way()
            return
        self.known.seen = seen
        self.work.out.complete(f"SELECT {self.work.count}")
        self.end()
        session.runner.statements.told(self.work.out)
        session.tx.settle()
        session.runner.ready()
        session.settled()

    def _long_way(self) -> None:
        self.end()
        asked, places = self.known.asked, self.known.places
        runner = self.session.runner
        self.session.start(runner.follow(asked.simple, asked.route, self.work, places, self.legs, self.replies))
