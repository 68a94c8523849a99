"""A client of a sharded database: which of its batches one server can serve as they came, and which cannot.

Invariants:
* A batch goes through the relay only if all of it belongs to one place, and no other place takes part in the
  client's transaction; everything else is carried out by ``BatchRunner``, while the link is busy.
* A statement that names nothing sharded belongs to the coordinator. If it reads a sharded table all the same (in a
  function, a rule), it meets the shell, which raises.
* What touches a table that is held (``server/holds.py``) waits before it has begun, unless its transaction has touched
  one before.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.session import PgSession
from shardproxy.log import get_logger
from shardproxy.router import flags as f

from .batches import BatchRunner
from .errors import PgError
from .places import COORDINATOR_ONLY, Places
from .quick import Quick
from .runner import EVERY_LEG
from .transaction import OUTSIDE, Transaction

__all__ = ["RELAY", "TAKEN", "ShardedSession"]

_log = get_logger(__name__)
RELAY, TAKEN = 0, 1
NOTED = f.BEGIN | f.COMMIT | f.ROLLBACK | f.PROBE | f.MULTI


class ShardedSession(PgSession):
    """See the module; ``database.layout`` says what is sharded."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.become_sharded()

    def become_sharded(self) -> None:
        """What a session of a sharded database has besides; also of one that was not sharded when the client came."""
        self.stopped = False
        self.ran: set[Any] = set()      # routes of the block
        self.tx = Transaction(self)
        self.in_doubt = self.database.worker.transactions.of(self.database.name).in_doubt
        self.places = Places(self)
        self.runner = BatchRunner(self)
        self.quick = Quick(self)
        self.task: asyncio.Task[None] | None = None
        self.shard: Any = None
        self.admission: Any = None      # that the session is inside of, or waits for
        self.link.sharded = 1

    @property
    def search_path(self) -> tuple[str, ...]:
        """Schemas of unqualified names, as far as they are not the server's own."""
        return self.places.search_path()

    # -- deciding

    def target(self) -> Any:
        """The pool for the batch in hand, at the shard that ``where`` found, or at the coordinator; None: it waits."""
        if self.stopped:
            return None
        shard = self.shard
        if shard is None:
            if self.link.batch_flags & f.BEGIN:
                return self.database.write_pool(self)
            return super().target()
        link = self.link
        if link.batch_read and shard.has_replicas and self.consistency != "strong" and not link.force_primary:
            pool = shard.read_pool(self, tuple(link.batch_slots) or (0,))
            if pool is not None:
                return pool
        return shard.write_pool(self)

    def where(self, batch: bytes) -> int:
        """What becomes of a batch that was scanned: RELAY, or TAKEN (it is being carried out; the link is busy)."""
        link, server = self.link, self.link.server
        if server is None or server.status != OUTSIDE or server.pins is not None or link.session_mode or (
                self.tx.begin or self.tx.legs or self.runner.open):
            return self._where(batch)
        link.in_block = False           # it was waited for, and nothing has run on it
        found = self._where(batch)
        if found == RELAY and not self.stopped and server.pool.key[0] == (self.shard or self.database).name:
            link.in_block = True
        elif link.server is server:
            server.holding = False
            link.unlink(server)
        return found

    def _where(self, batch: bytes) -> int:
        link = self.link
        self.shard = None
        link.write_pool = None
        tx = self.tx
        outside = link.server is None or link.server.status == OUTSIDE
        if tx.begin and outside:
            tx.ended()
            self.outside()
        if self._stops(outside):
            return RELAY                # as far as ``target`` or ``may_stay``
        if not (tx.legs or self.runner.open or link.batch_flushed or self.runner.portals):
            quick = self._may_be_quick()
            if quick and self.quick.again(batch):
                return TAKEN
            place = self.places.of(batch)
            if self.in_doubt and not link.in_block and ("" if place is COORDINATOR_ONLY else place) in self.in_doubt:
                self.start(self.runner.run(batch))      # which refuses it
                return TAKEN
            if place is COORDINATOR_ONLY and self._may_begin():
                self._note_block(batch)
                return RELAY
            if place and not link.in_block:
                self.shard = self.database.shards[place]
                self._open_gate(place)
                return RELAY
            if quick and place is None and self.quick.start(batch):
                return TAKEN
        self.start(self.runner.run(batch))
        return TAKEN

    def _may_be_quick(self) -> bool:
        """Whether nothing of the session's state is in the way of the short way for reads."""
        link, tx = self.link, self.tx
        return not (link.server is not None or tx.begin or tx.overlay is not None or tx.unseen or link.session_mode
                    or self.in_doubt or link.opaque or link.in_block or link.force_primary)

    def _open_gate(self, place: str) -> None:
        """From now on batches like this one find their shard by one value, while nothing else decides."""
        database, link = self.database, self.link
        gate = database.gate
        if self.in_doubt or database.holds.held is not None or any(
                shard.has_replicas for shard in database.shards.values()):
            return
        gate.generation = self.places.sharding.generation
        if link.gate is not gate or link.gate_epoch != gate.epoch:
            link.gate, link.gate_epoch, link.point_pools = gate, gate.epoch, {}
        pool = self.database.shards[place].write_pool(self)
        if pool is not None:
            link.point_pools[place] = pool

    # -- tables that are held

    def _routes(self) -> list[Any]:
        link = self.link
        return link.routes if link.noted is None else [*link.routes, link.noted]

    def _stops(self, outside: bool) -> bool:
        """Whether the batch in hand has to wait for a held table. Notes what the block runs."""
        link = self.link
        if outside and self.ran and not self.tx.begin and not self.runner.open:
            self.ran.clear()
        held = self.database.holds.held
        if held is not None and not self.runner.open and not held.touching(self.ran) and (
                link.opaque or link.batch_portal or held.touching(self._routes())):
            self.stopped = True
            return True
        if not outside or link.batch_flags & f.BEGIN or self.tx.begin:
            self.ran.update(self._routes())
        return False

    def may_stay(self) -> bool:
        if self.stopped:
            self._wait()
            return False
        return super().may_stay()

    def _wait(self) -> None:
        self.link.busy = True
        self.database.holds.waiting.add(self)

    def released(self) -> None:
        """The hold is over: look at the batch again."""
        if self.stopped and not self.link.closed:
            self.stopped = False
            self.release_hold()

    def quiet(self, held: Any) -> bool:
        """Whether nothing is under way that touches what is held."""
        link, server = self.link, self.link.server
        if self.stopped or link.closed:
            return True
        inside = bool(self.tx.begin or self.runner.open or (server is not None and server.status != OUTSIDE))
        if inside and held.touching(self.ran):
            return False
        running = self.task is not None or self.quick.flight is not None or (server is not None and bool(
            server.awaiting or server.open_cycle or server.copying_in or link.body))
        return not (running and (link.opaque or link.batch_portal or held.touching(self._routes())))

    def _note_block(self, batch: bytes) -> None:
        """Remember what a leg that joins the block later has to be told."""
        link = self.link
        routes = link.routes if link.noted is None else [*link.routes, link.noted]
        if not (link.batch_flags & NOTED or any(route.kind in EVERY_LEG for route in routes)):
            return
        for route, text in self.places.statements(batch):
            self.runner.note(route, text)

    def announce(self, server: Any) -> None:
        """The client has another connection to the coordinator: tell it of parameters that differ."""
        self._announce(server)

    # -- carrying out

    def start(self, work: Any) -> None:
        """Carry something out while the link is busy."""
        self.link.requested_ns = time.monotonic_ns()
        self.link.busy = True
        self.task = self.database.worker.task(self._guarded(self._inside(work)))

    # -- who may hold several connections

    def _may_begin(self) -> bool:
        """Whether the batch in hand may run at the coordinator now: a block may come to hold several connections."""
        link = self.link
        if not link.batch_flags & f.BEGIN or link.admitted or link.in_block:
            return True
        self.admission = self.database.admission(self.server_user)
        link.admitted = self.admission.take()
        return bool(link.admitted)

    async def _inside(self, work: Any) -> None:
        """Carry out, when there is room for one more session that may hold several connections."""
        link = self.link
        if not link.admitted and link.server is None:
            patience = self.database.config.pool_for(self.database.entry, self.server_user).query_wait_timeout
            try:
                self.admission = self.database.admission(self.server_user)
                link.admitted = await self.admission.wait(patience or None)
            except BaseException:
                work.close()
                raise
            if not link.admitted:
                work.close()
                raise PgError.of("53300", "no server connections became free within query_wait_timeout",
                                 hint="Raise pool.size, or look at SHOW POOLS and SHOW TRANSACTIONS.")
        await work

    def outside(self) -> None:
        """It holds no connections any more, or only one."""
        if self.link.admitted and not (self.tx.begin or self.tx.legs or self.runner.open):
            self.link.admitted = False
            self.admission.give()

    def transaction_over(self, server: Any) -> None:
        """The transaction on the client's own connection is over."""
        self.tx.ended()
        self.outside()
        super().transaction_over(server)

    async def _guarded(self, work: Any) -> None:
        link = self.link
        try:
            await work
        except (ConnectionError, asyncio.CancelledError):
            self.task = None
            self.tx.abandon()
            if not link.closed:
                raise
            self.leave()
            return
        except PgError as error:        # it never began
            self.refuse(error)
            link.write(error.message())
            self.runner.failed = self.runner.open = bool(link.batch_flushed)
            if not link.batch_flushed:
                link.write(wire.ready())
        except Exception as error:
            _log.exception("a statement over several servers failed", connection=link.id)
            self.task = None
            self.tx.abandon()
            self.fatal("XX000", f"internal error: {type(error).__name__}")
            return
        finally:
            self.task = None
        if link.closed:
            self.leave()
            return
        self.settled()

    def settled(self) -> None:
        """After a batch: the client's own connection may be free now."""
        link = self.link
        link.busy = False
        link.sharded = 2 if self.runner.open else 1
        server = link.server
        if server is not None and server.closed:
            link.server = None
        elif server is not None and server.status == OUTSIDE and not self.runner.open:
            server.mode = 1
            link.cycle_over()
        self.outside()
        link.resume()

    def begin_write(self, server: Any, slots: tuple[int, ...]) -> None:
        """A statement that may write is about to be sent through the relay, maybe to a shard."""
        server.write_slots.append(slots)
        server.events.database.begin_write(slots)

    def hold(self) -> None:
        """No primary where the batch has to go, or it touches a held table."""
        if self.stopped:
            self._wait()
            return
        if self.shard is not None:
            self.hold_since_ns = self.link.requested_ns
            self.shard.hold(self)
            return
        super().hold()

    @property
    def carrying_out(self) -> bool:
        return self.task is not None or self.quick.flight is not None

    def cancel_running(self) -> bool:
        """A cancel request of the client: stop what runs on every leg. False: nothing is being carried out."""
        if self.stopped:
            self.stopped = False
            self.database.holds.waiting.discard(self)
            self.fail("57014", "canceling statement due to user request")
            return True
        if self.task is None:
            return self.quick.cancel()
        self.runner.cancelled = True
        for leg in list(self.tx.legs.values()):
            leg.cancel()
        return True

    def leave(self) -> None:
        """The client is gone. What is being carried out ends first: its connections are in use, a commit goes on."""
        if self.link.leaving:
            return
        if self.task is not None:
            self.task.cancel()
            return
        self.quick.drop()
        self.tx.ended()
        self.runner.open = False
        self.outside()
        if self.tx.changed_catalog:         # its DDL may be committed, and nobody has been told
            self.database.worker.task(self.runner.statements.catalog_known())
        self.database.holds.waiting.discard(self)
        for shard in self.database.shards.values():
            shard.held.discard(self)
            for pool in shard.pools.values():
                pool.leave(self.link)
        super().leave()

    def refuse(self, error: PgError) -> None:
        """For the log."""
        self.database.refused(self.link, error.sqlstate, str(error))


