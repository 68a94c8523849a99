"""The client side of the relay: from the client's bytes to the server connection that serves them.

A client without a server waits until one batch is complete (see batch_cy), decides where it may run, takes a server
connection, and from then on passes message by message until the transaction is over.

Invariant: a batch runs on a replica only if every statement in it is a proven read.
"""

import cython

if cython.compiled:
    from cython.cimports.shardproxy.dialects.postgres.batch_cy import NOT_PLAIN
    from cython.cimports.shardproxy.dialects.postgres.kinds_cy import (
        BIND,
        CLOSE,
        COPY_DATA,
        COPY_DONE,
        COPY_FAIL,
        DESCRIBE,
        EXECUTE,
        FLUSH,
        FUNCTION,
        PARSE,
        QUERY,
        SYNC,
        TERMINATE,
        known,
    )  # fmt: skip
    from cython.cimports.shardproxy.dialects.postgres.passing_cy import LOOK, Passing
    from cython.cimports.shardproxy.dialects.postgres.server_link_cy import ServerLink
    from cython.cimports.shardproxy.dialects.postgres.sharded.points_cy import Point
    from cython.cimports.shardproxy.pool.pool_cy import Pool
    from cython.cimports.shardproxy.relay.buffer_cy import append, be32, cut, now_ns
    from cython.cimports.shardproxy.router.gate_cy import Gate
else:
    from shardproxy.dialects.postgres.batch_cy import NOT_PLAIN
    from shardproxy.dialects.postgres.kinds_cy import (
        BIND,
        CLOSE,
        COPY_DATA,
        COPY_DONE,
        COPY_FAIL,
        DESCRIBE,
        EXECUTE,
        FLUSH,
        FUNCTION,
        PARSE,
        QUERY,
        SYNC,
        TERMINATE,
        known,
    )  # fmt: skip
    from shardproxy.dialects.postgres.passing_cy import LOOK, Passing
    from shardproxy.dialects.postgres.server_link_cy import ServerLink
    from shardproxy.dialects.postgres.sharded.points_cy import Point
    from shardproxy.pool.pool_cy import Pool
    from shardproxy.relay.buffer_cy import append, be32, cut, now_ns
    from shardproxy.router.gate_cy import Gate

from shardproxy import limits
from shardproxy.router import flags as f

__all__ = ["ClientLink"]

OUT_HIGH = limits.OUT_HIGH
MESSAGE_MAX = limits.MESSAGE_MAX
SYNC_MESSAGE = b"S\0\0\0\4"
REPEAT_MAX = 64 * 1024  # a longer read is not kept for another try
MODE_CLIENT = 1

IDLE_STATUS = ord("I")
IN_BLOCK = ord("T")

BEGIN = f.BEGIN
NOT_JUST_BEGIN = ~(f.BEGIN | f.BEGIN_READ_ONLY | f.PRIMARY)


class ClientLink(Passing):
    """One client connection after its login. ``session`` is the slow path: see session.py."""

    def __init__(self, pump, sock):
        Passing.__init__(self, pump, sock)
        self.database = None
        self.registry = None
        self.settings = None
        self.parameters = None
        self.session_mode = False
        self.leaving = False
        self.repeatable = None
        self.connected_ns = now_ns()
        self.requested_ns = 0
        self.read_ns = 0
        self.wrote_ns = 0
        self.sticky = None
        self.force_primary = False
        self.repeats = 0
        self.read_primary = False
        self.reopen = None
        self.pending_error = None
        self.cancel_key = None
        self.arrival = None
        self.console = None

    def ended(self, reason):
        self.session.client_lost(reason)

    def drained(self):
        """The client took what we sent: its server may send more."""
        if self.server is not None:
            self.server.resume_reading()

    def work(self, data, n):
        """Serve complete messages; returns how many bytes were used."""
        pos: cython.Py_ssize_t = 0
        used: cython.Py_ssize_t
        self.pumping = True
        try:
            while pos < n and not self.busy and not self.closed:
                if self.pending_error is not None:
                    self.write(self.pending_error)
                    self.pending_error = None
                    self.discarding = 1
                if self.discarding:
                    used = self.discard(data, pos, n)
                    if used == pos and self.discarding:
                        break
                    pos = used
                    continue
                if self.sharded and self.server is not None and self.not_yet(data[pos]):
                    break
                if self.server is None or self.on_replica() or (self.sharded and self.between()):
                    self.in_block = self.server is not None
                    used = self.scan(data, pos, n)
                    if used < 0:
                        break
                    pos = used
                    if pos >= n or self.closed:
                        break
                    if self.sharded and not self.short_way(data, pos) and self.session.where(
                        cut(data, pos, pos + self.batch_size)
                    ):
                        pos += self.batch_size  # it is carried out by the session
                        self.batch_size = 0
                        self.quiet_flush = False
                        continue
                    if not (self.session.may_stay() if self.in_block else self.link()):
                        break
                used = self.forward(data, pos, n)
                if used == pos:
                    break
                pos = used
        finally:
            self.pumping = False
        return pos

    # -- from batch to server --------------------------------------------------------------------

    def on_replica(self):
        """Between two batches of a transaction on a replica."""
        server: ServerLink = self.server
        return not (server.on_primary or server.status != IN_BLOCK or server.awaiting or server.open_cycle or self.body)

    def between(self):
        """Nothing is under way on the client's server connection."""
        server: ServerLink = self.server
        return server.awaiting == 0 and not (server.open_cycle or server.copying_in or server.quiet or self.body)

    def not_yet(self, t):
        """Of a sharded database: the next batch may belong elsewhere, so it waits for the answers that are owed."""
        server: ServerLink = self.server
        if server.awaiting == 0 or server.open_cycle or server.copying_in or self.body > 0:
            return False
        return t != COPY_DATA and t != COPY_DONE and t != COPY_FAIL

    def short_way(self, data, pos):
        """Whether one value of the batch names its shard, and nothing else decides: then its pool is chosen."""
        gate: Gate = self.gate
        index: cython.int
        if gate is None or gate.epoch != self.gate_epoch or self.noted is None or self.in_block or self.sharded != 1:
            return False
        if self.opaque or self.batch_flushed or self.batch_portal or len(self.more_routes) > 0:
            return False
        found = self.noted.point
        if found is None:
            return False
        point: Point = found
        if point.generation != gate.generation or not point.proved:
            return False
        index = point.index_of(cut(data, pos, pos + self.batch_size), self)
        if index < 0:
            return False
        pool = self.point_pools.get(point.places[index])
        if pool is None:
            return False
        self.write_pool = pool
        self.reads_elsewhere = False
        return True

    def counters_retry(self):
        """A read runs again."""
        self.counters.retry_count += 1

    def link(self):
        """Find a server connection for the batch; false if we must wait."""
        self.requested_ns = now_ns()
        pool: Pool = self.write_pool
        server: ServerLink
        if self.batch_flags & LOOK and self.session.last_server is not None:
            server = self.session.take_own()
            if server is not None:
                return self.attach(server)
            if self.busy:
                return 0
        if pool is None or (self.reads_elsewhere and not self.batch_other):
            pool = self.session.target()
        if pool is None:
            self.busy = True
            self.session.hold()
            return 0
        server = pool.acquire(self)
        if server is None:
            self.busy = True
            return 0
        return self.attach(server)

    def granted(self, server):
        """A server connection that we waited for; called by the pool."""
        self.busy = False
        self.counters.wait_time_us += (now_ns() - self.requested_ns) // 1000
        if self.attach(server):
            self.resume()

    def refused(self, sqlstate, text, hint=""):
        """There will be no server connection; called by the pool's owner."""
        self.session.fail(sqlstate, text, hint=hint)

    def elsewhere(self):
        """The pool that we wait for serves no more: choose again."""
        self.busy = False
        self.write_pool = None
        self.resume()

    def attach(self, server):
        """Take the server; false if its settings must be made ours first."""
        now: cython.longlong = now_ns()
        self.server = server
        server.client = self
        server.owner = self
        server.last_client = self.id
        server.mode = MODE_CLIENT
        server.session_mode = self.session_mode
        server.linked_ns = now
        server.started_ns = now
        server.started = True
        server.failed = False
        server.delivered = False
        # like a read, a mere BEGIN may run again elsewhere if its server dies before it has answered
        server.holding = not self.batch_flushed and (
            self.batch_read or self.quiet_flush
            or (self.batch_flags & BEGIN != 0 and self.batch_flags & NOT_JUST_BEGIN == 0)
        )
        if server.settings is not self.settings or server.parameters is not self.parameters or (
                server.last_writer is not None and server.last_writer != self.id
                and (not self.batch_read or self.session_mode or self.reopen is not None)):  # see sequences.py
            if not self.session.adopt(server):
                return 0
        return 1 if self.reopen is None else self.session.begin_again(server)

    # -- with a server: pass messages on -------------------------------------------------------------------------

    def forward(self, data, pos, n):
        """Pass messages on from ``pos``; returns the new position."""
        server: ServerLink = self.server
        end: cython.Py_ssize_t
        t: cython.int
        if self.batch_size > 0:
            pos = self.begin_batch(server, data, pos, n)
        while pos < n and not self.busy:
            if self.body > 0:
                end = pos + self.body if self.body <= n - pos else n
                self.body -= end - pos
                self.copy_message(data, pos, end)
                pos = end
                if self.body == 0 and server.awaiting == 0 and not server.open_cycle and not server.copying_in:
                    server.mark()
                    self.cycle_over()
                    if self.server is not server:
                        return pos
                continue
            if n - pos < 5:
                break
            t = data[pos]
            end = pos + 1 + be32(data, pos + 1)
            if end < pos + 5 or end - pos > MESSAGE_MAX or not known(t):
                self.session.violation(t, end - pos)
                return n
            if server.awaiting > 0 and self.must_wait(t):
                break
            if t == COPY_DATA:
                if end > n:
                    self.body = end - n
                    end = n
                self.copy_message(data, pos, end)
            elif t == BIND:
                end = self.bind(data, pos, end, n)
                if end == pos:
                    break
            elif end > n:
                break
            elif t == QUERY:
                if not self.query(data, pos, end):
                    break
            elif t == PARSE:
                if not self.parse(data, pos, end):
                    break
            elif t == DESCRIBE:
                self.describe(data, pos, end)
            elif t == CLOSE:
                self.close_object(data, pos, end)
            elif t == TERMINATE:
                self.session.terminate()
                return n
            elif end - pos != 5 and (t == SYNC or t == FLUSH):
                self.session.violation(t, end - pos)
                return n
            elif t == FLUSH and self.quiet_flush:
                self.end_quietly(server)
            else:
                self.pass_on(t, data, pos, end)
            pos = end
        if server.closed:
            return n
        server.mark()
        if len(server.out) > OUT_HIGH and not server.high:
            server.high = True
            self.pause_reading()
        return pos

    def begin_batch(self, server, data, pos, n):
        """The batch that ``scan`` looked at. A read may have to run again: it is kept, unless it is long.

        A plain batch is passed on at once. Returns the new position.
        """
        end: cython.Py_ssize_t = pos + self.batch_size
        if server.holding and self.batch_size <= REPEAT_MAX and self.batch_size <= n - pos:
            self.repeatable = cut(data, pos, end)
        else:
            server.holding = False
        self.batch_size = 0
        if self.plain != NOT_PLAIN and server.awaiting == 0 and not server.open_cycle and self.ordinary(self.noted):
            self.pass_plain(server, data, pos, end)
            return end
        return pos

    def pass_on(self, t, data, pos, end):
        """A message that goes to the server as it is."""
        server: ServerLink = self.server
        self.copy_message(data, pos, end)
        if t == SYNC:
            if not server.copying_in:
                server.extended = True
                self.cycle_sent(server)
        elif t == EXECUTE:
            server.open_cycle = True
        elif t == COPY_DONE or t == COPY_FAIL:
            server.copying_in = False
        elif t == FUNCTION:
            self.session.note_values(cut(data, pos, end))
            server.flags |= f.PROBE
            self.used(None)
            server.extended = False
            if server.open_cycle:
                self.mix(server)
            self.cycle_sent(server)
        return 0

    def must_wait(self, t):
        """While replies are owed: may another message of type ``t`` follow on this server now?"""
        server: ServerLink = self.server
        if server.quiet:
            return True
        if server.holding:
            return not server.open_cycle
        if server.open_cycle or server.copying_in or t == COPY_DATA or t == COPY_DONE or t == COPY_FAIL:
            return False
        if not server.on_primary:
            return True
        return server.awaiting > 1000

    def end_quietly(self, server):
        """A Sync in place of a Flush; its ReadyForQuery is not the client's."""
        self.quiet_flush = False
        server.out += SYNC_MESSAGE
        server.quiet = True
        server.extended = True
        server.failed = False
        server.open_cycle = False
        server.awaiting += 1
        server.cycle_sent += 1
        return 0

    # -- the server has answered ----------------------------------------------------------------------------------

    def cycle_over(self):
        """No reply is owed. Outside a transaction the server connection may serve others."""
        server: ServerLink = self.server
        if self.body > 0:
            return  # COPY has failed in the middle of a message: the server still takes the rest of it as ours
        self.repeatable = None
        self.repeats = 0
        self.force_primary = False
        if self.reads_elsewhere:
            self.read_ns = server.started_ns
            self.read_primary = server.on_primary
        if server.status == IDLE_STATUS:
            if self.admitted or self.session_mode or server.flags & SLOW or server.pins is not None or server.retiring:
                self.session.transaction_over(server)
            else:
                self.unlink(server)
        if not self.pumping and len(self.inbox) > 0 and not self.busy:
            self.resume()

    def unlink(self, server):
        """Give the server connection back."""
        server.flags = 0
        server.wrote = False
        server.mode = 0
        server.client = None
        server.owner = None
        self.server = None
        server.pool.release(server)


SLOW = f.PROBE | f.UNPIN | f.FOREVER | f.DDL | f.DEALLOCATE_ALL | f.PREPARED_SQL | f.PROXY_SET
"""Flags that need the slow path when the transaction is over."""
