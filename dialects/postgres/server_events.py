"""The slow path of server connections: rare messages, repeated reads, lost connections, cleaning up.

Invariants:
* A connection returns to its pool only outside a transaction, with no reply owed and no session state of a client that
  left: what is not certain ends in DISCARD ALL or in closing the connection.
* What was written is marked on the consistency board before the client hears of it.
"""

from __future__ import annotations

import re
import time
from typing import Any

from shardproxy.errors import ServerError
from shardproxy.router import flags as f
from shardproxy.session.settings import EMPTY, intern_settings
from shardproxy.session.statements import NAME_PREFIX, Prepared, Statement

from . import internal, outcome, process_ids, wire
from .client_statements import UNNAMED
from .custom import CustomNames
from .probe import FOREVER_PIN
from .server_link_cy import CLIENT, DRAIN, IDLE

__all__ = ["ServerEvents"]

REPLICA_REPEATS = frozenset({"25006", "0A000", "40001", "57P03", "57P01", "57P02"})
"""Errors of a replica after which a read runs on the primary instead."""

PRIMARY_REPEATS = frozenset({"57P01", "57P02", "57P03"})
"""Errors of a primary that goes down: a read of which nothing was delivered waits for its successor."""

REPEATS_MAX = 5
SHARED_NAME = re.compile(NAME_PREFIX + rb"\d+")
OUTSIDE = 0x49
NEVER = wire.message(b"E", b"of a client that has left\0\0\0\0\0")
"""Execute of a portal that does not exist: what came before it since the last Sync fails with it."""

HIDDEN_PARAMETERS = frozenset({"in_hot_standby"})  # one database is never a standby


class ServerEvents:
    """Shared by all server connections of one database of one worker."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.signalled_ns = -(1 << 62)
        self.custom = CustomNames()

    # -- messages ----------------------------------------------------------------------------------------------

    def collect(self, server: Any, data: bytes) -> None:
        """Bytes while an internal operation runs, or while the connection is idle."""
        collector = server.collector
        if collector is None:
            self._idle_messages(server, data)
            return
        try:
            rest = collector.feed(server, data)
        except ValueError as error:
            self.discard(server, str(error))
            return
        if rest is None:
            return
        server.collector = None
        server.status = ord(collector.result.status)
        server.mode = CLIENT if server.client is not None else IDLE
        collector.finish(server)
        server.unread(rest)

    def _idle_messages(self, server: Any, data: bytes) -> None:
        messages, rest = wire.split(server.idle_rest + data)
        server.idle_rest = rest
        for kind, payload in messages:
            if kind in (0x45, 0x53):  # E, S
                self.message(server, kind, payload)
            elif kind not in (0x4E, 0x41):  # N, A
                self.discard(server, f"unexpected message {chr(kind)!r} from an idle server connection")
                return

    def message(self, server: Any, kind: int, payload: bytes) -> bool:
        """A rare message; true if it is passed on to the client."""
        if kind == 0x53:  # ParameterStatus
            name, value = wire.parse_parameter_status(payload)
            if name in HIDDEN_PARAMETERS:
                return False
            server.parameters = intern_settings({**server.parameters.values, name: value})
            return bool(
                server.owner is not None
                and server.mode == CLIENT
                and server.owner.session.parameter(server, name, value)
            )
        if kind == 0x45:  # ErrorResponse
            fields = wire.error_fields(payload)
            if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
                server.fatal_fields = fields
                return False
            return True
        if kind == 0x41 and server.owner is not None:  # NotificationResponse, for a listening session
            server.owner.write(process_ids.notification(self.database, server, payload))
        return False  # nothing else belongs here

    def mixed(self, server: Any) -> None:
        """An error, and extended messages were followed by a Query without a Sync between them.

        Whether the server skips the Query, and so how many answers it owes, cannot be known: it ends with its client.
        """
        server.pins = list(dict.fromkeys([*(server.pins or ()), FOREVER_PIN]))

    def renamed(self, server: Any, payload: bytes) -> bool:
        """An error that names a shared statement, or a shell: the client gets its own name, or what it means."""
        link = server.owner
        if link is None or server.mode != CLIENT:
            return False
        if b"shardproxy_shell" in payload or b"is sharded and has no rows" in payload:
            from .sharded.errors import PgError

            link.write(PgError.from_server(wire.error_fields(payload)).message())
            return False
        names = {prepared.statement.name: name for name, prepared in (link.statements or {}).items()}
        text = SHARED_NAME.sub(lambda found: names.get(found[0], found[0]), payload)
        link.write(wire.message(b"E", text))
        return False

    def not_done(self, server: Any, unnamed: bool) -> None:
        """An error skipped the Parses and Closes that are left of a cycle; ``unnamed``: some before ``pending``, too.

        A name that the client has prepared again since, in a later cycle, stays: the later one counts.
        """
        skipped = [(0, False, None, b"")] if unnamed else []
        while server.pending and server.pending[0][0] <= server.cycle_done:
            skipped.append(server.pending.popleft())
        again = {name for _, _, what, name in server.pending if not isinstance(what, Prepared)}
        for _, _, statement, name in skipped:
            self._not_done(server, statement, name, name in again)

    def _not_done(self, server: Any, statement: Any, name: bytes | None, again: bool) -> None:
        if isinstance(statement, Statement):
            server.prepared.pop(statement, None)
        if name == UNNAMED:
            server.unnamed_serial = -1
            return
        link = server.owner
        if link is None or name is None or again:
            return
        if name == b"":
            server.unnamed_serial = 0
            link.unnamed = link.unnamed_route = None
        elif isinstance(statement, Prepared):  # a Close
            if link.statements is not None:
                link.statements.setdefault(name, statement)
        elif link.statements and name in link.statements and link.statements[name].statement is statement:
            del link.statements[name]

    def publish(self, server: Any) -> None:
        """A transaction that wrote has ended: mark it before the client hears of it."""
        now = time.monotonic_ns()
        self.database.publish(server.write_slots, now, bool(server.flags & f.DDL))
        server.write_slots.clear()
        if server.owner is not None:
            server.owner.wrote_ns = now

    def slow(self, server: Any, elapsed_us: int) -> None:
        """A statement took longer than slow_statement_ms."""
        link = server.owner
        if link is not None and link.last_route is not None:
            self.database.slow(server, link, link.last_route.digest, elapsed_us)

    # -- reads that run again ------------------------------------------------------------------------------------

    def repeatable(self, server: Any, payload: bytes) -> bool:
        """Whether this error is one after which a read may run again."""
        codes = PRIMARY_REPEATS if server.on_primary else REPLICA_REPEATS
        return wire.error_fields(payload).get("C", "") in codes

    def repeat(self, server: Any) -> bool:
        """Run the read in hand again, elsewhere. False: it cannot be."""
        link = server.owner
        batch = link.repeatable if link is not None else None
        if (
            batch is None
            or link.closed
            or link.repeats >= REPEATS_MAX
            or link.session_mode
            or server.pins is not None
            or process_ids.aimed_at(link.session)
        ):
            return False
        link.repeats += 1
        link.counters_retry()
        for _, _, _, name in server.pending:  # statements that the batch prepares: it will prepare them again
            if name and link.statements:
                link.statements.pop(name, None)
        link.repeatable = None
        link.server = None
        link.force_primary = not server.on_primary
        link.write_pool = None
        server.client = server.owner = None
        if not server.closed:
            server.mode = DRAIN
        link.inbox[:0] = batch
        link.busy = True
        self.database.soon(self.go_on, link)
        return True

    def go_on(self, link: Any) -> None:
        """What the link waits with is looked at again."""
        link.busy = False
        link.resume()

    # -- the client has left --------------------------------------------------------------------------------------

    def abandoned(self, server: Any) -> None:
        """The client left this connection in whatever state it is."""
        if server.collector is not None:  # what comes after the operation sees that the client has left
            return
        if server.mixed or (server.pins is not None and FOREVER_PIN in server.pins):
            self.discard(server, "session state that cannot be reset")
            return
        if server.awaiting == 0 and not server.open_cycle and not server.copying_in:
            self.drained_cycle(server)
            return
        server.mode = DRAIN
        server.holding = False
        server.resume_reading()
        server.mark()  # what the client sent in its last turn has not left yet
        committing = self._committing(server)
        if server.copying_in:
            self.fail_copy(server)
        elif server.open_cycle:
            if server.wrote and server.status == OUTSIDE:
                server.write(NEVER)  # without the client's Sync it is rolled back
            self._sync(server)
        if not committing:
            self.database.cancel(server)  # nobody waits for it, and nothing of it would be committed
        self.database.drain_deadline(server)

    def _committing(self, server: Any) -> bool:
        """Whether something under way may commit: that runs to its end, as it would without us."""
        if server.awaiting == 0:
            return False
        if server.flags & f.COMMIT:
            return True
        alone = server.status == OUTSIDE and server.wrote or bool(server.flags & f.UNPARSED)
        return alone and self.database.config.pool.cancel_abandoned != "all"

    def fail_copy(self, server: Any) -> None:
        """The server waits for data that will not come; a cancel request would not end that."""
        server.write(wire.copy_fail(b"the client has left"))
        if server.open_cycle or server.extended:
            self._sync(server)
        server.copying_in = False

    def _sync(self, server: Any) -> None:
        server.write(wire.SYNC)
        server.extended = True
        server.open_cycle = False
        server.awaiting += 1
        server.cycle_sent += 1

    def drained_cycle(self, server: Any) -> None:
        """No reply is owed and there is no client: clean up, then back to the pool."""
        server.client = server.owner = None
        if server.closed:
            return
        if server.awaiting > 0 or server.open_cycle:
            self.abandoned(server)
            return
        dirty = (server.pins is not None or server.session_mode or bool(server.own_names)
                 or bool(server.flags & (f.PROBE | f.FOREVER | f.DEALLOCATE_ALL | f.PREPARED_SQL)))  # fmt: skip
        if server.flags & f.FOREVER or (server.pins is not None and FOREVER_PIN in server.pins):
            self.discard(server, "session state that cannot be reset")
        elif server.status != 0x49:
            internal.run(server, wire.query(b"ROLLBACK"), self._rolled_back)
        elif dirty:
            internal.run(server, wire.query(self._reset_query(server)), self._reset)
        else:
            self._back(server)

    def _reset_query(self, server: Any) -> bytes:
        """DISCARD ALL, or in session mode what the configuration says. What pins a session needs DISCARD ALL."""
        configured = self.database.config.pool.server_reset_query
        if configured is None or server.pins is not None or not server.session_mode:
            return b"DISCARD ALL"
        return str(configured).encode()

    def _rolled_back(self, server: Any, result: internal.Result) -> None:
        if result.error is not None or result.status != "I":
            self.discard(server, "ROLLBACK failed")
            return
        if server.write_slots:
            self.publish(server)
        self.drained_cycle(server)

    def _reset(self, server: Any, result: internal.Result) -> None:
        if result.error is not None:
            self.discard(server, "DISCARD ALL failed")
            return
        server.prepared.clear()
        server.own_names.clear()
        server.pins = None
        server.flags = 0
        server.session_mode = False
        server.settings = EMPTY
        server.unnamed_serial = 0
        self._back(server)

    def _back(self, server: Any) -> None:
        server.flags = 0
        server.wrote = False
        server.failed = False
        server.mode = IDLE
        server.pool.release(server)

    # -- the connection is gone ------------------------------------------------------------------------------------

    def discard(self, server: Any, why: str) -> None:
        """Close a connection that is not in a known state."""
        self.database.log_server(server, "closed", why)
        if server.write_slots:
            self.publish(server)  # maybe committed
        server.close()
        self._forget(server)

    def _forget(self, server: Any) -> None:
        server.collector = None
        if server.write_slots:
            self.publish(server)  # whatever it was doing may have been committed
        server.pool.forget(server)

    def lost(self, server: Any, reason: object) -> None:
        """The server closed the connection, or it broke."""
        fields = server.fatal_fields
        why = (
            fields.get("M", "")
            if fields
            else (str(reason) if reason else "the server closed the connection unexpectedly")
        )
        self.database.log_server(server, "lost", why)
        link = server.owner
        collector = server.collector
        self._forget(server)
        if server.mode != IDLE or fields is None or fields.get("C") not in ("57P01", "57P05"):
            self.database.suspect(server, why)
        if server.write_slots:
            self.publish(server)  # maybe committed
        if server.borrower is not None and not server.borrower.done():
            server.borrower.set_exception(ServerError("08006", f"the connection to the server was lost: {why}"))
        if link is None or link.closed:
            return
        server.failing = True
        if collector is not None and collector.preparing:
            self._lost_in_preparation(server, link)
        elif not (server.holding and not server.wrote and server.status == 0x49 and self.repeat(server)):
            outcome.tell(server, link, fields, why)

    def _lost_in_preparation(self, server: Any, link: Any) -> None:
        """An operation of ours was under way and nothing of the client's batch was sent: try another connection."""
        pinned = server.pins is not None
        link.server = None
        server.client = server.owner = None
        link.write_pool = None
        if pinned:
            link.session.fatal("57P01", "the server connection that held this session's state was lost")
            return
        link.busy = True
        self.database.soon(self.go_on, link)
