"""What a client sends, understood before a server is taken for it: one *batch* at a time.

A batch is a Query, or all messages up to a Sync (or a Flush).
Invariants:
* Bytes leave ``inbox`` only when they were passed on or answered; while ``busy`` (waiting for a server, or for an
  operation of the proxy's own on it) nothing leaves it.
* ``scan`` changes nothing but its own ``batch_*`` fields: an incomplete batch is scanned again when more has come.
* ``batch_read`` is true only if every statement of the batch is a proven read and the whole batch was seen.
* ``batch_other`` is false only if all its statements are proven reads, or BEGIN READ ONLY.
* A Flush behind nothing but Parse and Describe is sent as a Sync of our own (``quiet_flush``): the server is free,
  and what is executed later is a batch of its own, which may run elsewhere.
* ``plain``: the batch is Parse, Bind, Describe, Execute and Sync of the unnamed statement with an ordinary text, so it
  goes to the server as it came; ``SAME_PLAIN``: its Parse is, to the byte, the client's last one.
* While ``discarding`` (a failed batch) messages are dropped up to the end of the batch, which is then answered.
"""

import cython

if cython.compiled:
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
    from cython.cimports.shardproxy.pool.pool_cy import Pool
    from cython.cimports.shardproxy.relay.buffer_cy import append, be32, cut, find_zero, pointer, same
    from cython.cimports.shardproxy.relay.stream_cy import Stream
    from cython.cimports.shardproxy.router.route_cy import Route
    from cython.cimports.shardproxy.router.router_cy import Router
else:
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
    from shardproxy.relay.buffer_cy import append, be32, cut, find_zero, pointer, same
    from shardproxy.relay.stream_cy import Stream
    from shardproxy.router.route_cy import Route

from shardproxy import limits
from shardproxy.router import flags as f

__all__ = ["Batching"]

OUT_HIGH = limits.OUT_HIGH
MESSAGE_MAX = limits.MESSAGE_MAX
BATCH_MAX = 256 * 1024  # a longer batch goes to the primary before it is complete
READ = f.READ
BEGIN_READ_ONLY = f.BEGIN_READ_ONLY
MULTI = f.MULTI
SYNC_MESSAGE = b"S\0\0\0\4"
AFTER_BIND = b"D\0\0\0\6P\0E\0\0\0\x09\0\0\0\0\0" + SYNC_MESSAGE
"""What most drivers send after Bind: Describe and Execute of the unnamed portal, and Sync."""

SPECIAL = f.PREPARED_SQL | f.DEALLOCATE_ALL | f.SEQUENCE_STATE | f.PROXY_SET | f.PROXY_SHOW | f.TERMINATE | f.SESSIONS
SPECIAL |= f.PROBE | f.DDL
"""Flags that need the slow path before the statement is sent."""

NOT_PLAIN = 0
PLAIN = 1
SAME_PLAIN = 2


class Batching(Stream):
    """The part of a client connection that understands batches; ``ClientLink`` is the whole."""

    def __init__(self, pump, sock):
        Stream.__init__(self, pump, sock)
        self.session = None
        self.busy = False
        self.pumping = False
        self.router = None
        self.statements = None
        self.unnamed = None
        self.unnamed_route = None
        self.opaque = False
        self.first_route = None
        self.more_routes = []
        self.next_route = 0
        self.batch_flags = 0
        self.batch_read = False
        self.batch_other = False
        self.batch_runs = False
        self.batch_flushed = False
        self.batch_portal = False
        self.unnamed_here = False
        self.batch_slots = set()
        self.quiet_flush = False
        self.in_block = False
        self.begins = None
        self.noted = None
        self.batch_size = 0
        self.plain = NOT_PLAIN
        self.body = 0
        self.discarding = 0
        self.reads_elsewhere = False
        self.write_pool = None
        self.sharded = 0  # 1: the session decides where each batch goes; 2: it is in the middle of a pipeline
        self.taker = None  # called when bytes came while busy
        self.admitted = False  # it may hold connections of several pools
        self.gate = None
        self.gate_epoch = -1
        self.point_pools = {}

    def process(self, data, n):
        if self.busy or len(self.inbox) > 0 or self.pumping:
            append(self.inbox, data, 0, n)
            if len(self.inbox) > OUT_HIGH and self.busy:
                self.pause_reading()
            if self.taker is not None:
                self.taker()
            if not self.busy and not self.pumping:
                self.resume()
            return 0
        used: cython.Py_ssize_t = self.work(data, n)
        if used < n and not self.closed:
            append(self.inbox, data, used, n)
        return 0

    def resume(self):
        """Go on with what is in ``inbox``, if anything."""
        buffer: bytearray
        if self.pumping or self.closed:
            return
        while len(self.inbox) > 0 and not self.busy and not self.closed:
            buffer = self.inbox
            self.inbox = bytearray()
            used: cython.Py_ssize_t = self.work(pointer(buffer), len(buffer))
            if used > 0:
                del buffer[:used]
            if len(self.inbox) > 0:  # arrived meanwhile
                buffer += self.inbox
            self.inbox = buffer
            if used == 0:
                break
        if not self.reading and not self.closed and (len(self.inbox) <= OUT_HIGH or not self.busy):
            self.resume_reading()

    def work(self, data, n):
        """Serve complete messages; returns how many bytes were used."""
        return n

    def new_batch(self):
        """Nothing is known of it yet."""
        self.forget_routes()
        self.plain = NOT_PLAIN
        self.batch_flags = 0
        self.batch_read = True
        self.batch_other = False
        self.batch_runs = False
        self.batch_flushed = False
        self.batch_portal = False
        self.unnamed_here = False
        self.quiet_flush = False
        self.begins = None
        self.noted = None
        if len(self.batch_slots) > 0:
            self.batch_slots.clear()
        return 0

    @property
    def routes(self):
        """Of all texts in the batch, as ``scan`` found them."""
        return [self.first_route, *self.more_routes] if self.first_route is not None else []

    def forget_routes(self):
        """The routes of the batch's texts are looked up again."""
        self.first_route = None
        if len(self.more_routes) > 0:
            self.more_routes.clear()
        self.next_route = 0

    def scan(self, data, pos, n):
        """Look at one batch from ``pos``. Returns -1 if it is incomplete; else the position from which it is to be
        forwarded, which is past what could be answered without a server (maybe ``n``)."""
        start: cython.Py_ssize_t = pos
        end: cython.Py_ssize_t
        t: cython.int
        only_closes: cython.bint = not self.in_block and self.sharded != 2  # else a portal is the server's to close
        part: cython.int = 0
        self.new_batch()
        if self.as_before(data, pos, n):
            return pos
        while n - pos >= 5:
            t = data[pos]
            end = pos + 1 + be32(data, pos + 1)
            if end < pos + 5 or end - pos > MESSAGE_MAX or not known(t):
                self.session.violation(t, end - pos)
                return n
            if end > n:
                if n - start > BATCH_MAX and t != QUERY and t != PARSE and not self.sharded:
                    self.unproven()  # too long to wait for its end: the primary serves anything
                    self.batch_size = 0
                    return start
                return -1
            if t == SYNC:
                if only_closes:
                    self.session.answer_closes(cut(data, start, end))
                    return self.scan(data, end, n) if end < n else n
                self.batch_size = end - start
                self.plain = PLAIN if part == 3 and end - pos == 5 else NOT_PLAIN
                return start
            if t == TERMINATE:
                self.session.terminate()
                return n
            if t == COPY_DATA or t == COPY_DONE or t == COPY_FAIL:  # of a failed COPY: ignored, as by PostgreSQL
                if pos == start:
                    return self.scan(data, end, n) if end < n else n
            elif t == QUERY or t == FUNCTION:
                only_closes = False
                self.scan_one(t, data, pos, end, n)
                self.batch_size = end - start
                return start
            elif t == FLUSH:
                if pos == start:
                    return self.scan(data, end, n) if end < n else n
                if only_closes or (self.batch_runs and not self.in_block):
                    self.unproven()  # what comes before the Sync belongs to the same transaction
                    self.batch_flushed = True
                else:
                    self.quiet_flush = True
                self.batch_size = end - start
                return start
            elif t == CLOSE:
                part = -1
                if end - pos < 7 or data[end - 1] != 0 or (data[pos + 5] != 83 and data[pos + 5] != 80):
                    only_closes = False  # malformed: the server says so
            else:
                only_closes = False
                self.scan_one(t, data, pos, end, n)
                part = self.next_part(part, t, data, pos, end)
            pos = end
            if pos - start > MESSAGE_MAX:
                self.session.violation(t, end - pos)
                return n
            if pos - start > BATCH_MAX and not self.sharded:
                self.unproven()
                self.batch_size = 0
                return start
        return -1

    def as_before(self, data, pos, n):
        """Most batches of most clients: the Parse of the last one, Bind, and what always follows. False: look closely.

        What is known of the batch is then what its one statement says.
        """
        body: bytes = self.unnamed
        route: Route = self.unnamed_route
        bind: cython.Py_ssize_t
        end: cython.Py_ssize_t
        if body is None or route is None or n - pos < 13 + len(body) or data[pos] != PARSE or data[pos + 5] != 0:
            return False
        bind = pos + 6 + len(body)
        if data[bind] != BIND or be32(data, pos + 1) != bind - pos - 1 or not same(data, pos + 6, body):
            return False
        end = bind + 1 + be32(data, bind + 1)
        if end < bind + 7 or end - pos > BATCH_MAX or n - end < len(AFTER_BIND) or data[bind + 5] or data[bind + 6]:
            return False
        if not same(data, end, AFTER_BIND) or not self.ordinary(route):
            return False
        self.batch_runs = True
        self.unnamed_here = True
        self.first_route = route
        self.note(route)
        self.batch_size = end - pos + len(AFTER_BIND)
        self.plain = SAME_PLAIN
        return True

    def ordinary(self, route):
        """A text with this route, which holds now, is sent as it came."""
        return not (
            route.flags & SPECIAL or self.opaque or route.rewrite is not None
            or route.generation != self.router.generation
        )

    def next_part(self, part, t, data, pos, end):
        """How far a plain batch has come with one more message: 1 Parse, 2 Bind, 3 Execute; -1: it is not plain."""
        if t == PARSE and part == 0 and self.unnamed_here:
            return 1 if self.ordinary(self.noted) and find_zero(data, pos + 6, end) >= 0 else -1
        if t == BIND and part == 1:
            return 2 if end - pos > 7 and data[pos + 5] == 0 and data[pos + 6] == 0 else -1
        if t == DESCRIBE and part > 0 and part < 3:
            return part if end - pos == 7 else -1
        return 3 if t == EXECUTE and part == 2 else -1

    def skip_batch(self, extended=False):
        """Drop the batch in hand (``extended``: what is left of it, up to its Sync) and say ReadyForQuery after it."""
        self.discarding = 2 if extended else 1
        self.resume()

    def discard(self, data, pos, n):
        """Drop messages to the end of the batch; returns the new position, -1 if more is needed."""
        end: cython.Py_ssize_t
        t: cython.int
        if self.body > 0:
            end = self.body if self.body < n - pos else n - pos
            self.body -= end
            pos += end
        while n - pos >= 5:
            t = data[pos]
            end = pos + 1 + be32(data, pos + 1)
            if not known(t) or end < pos + 5 or t == TERMINATE:
                self.discarding = 0
                return pos
            if end > n:
                if t == SYNC or t == QUERY or t == FUNCTION:
                    return pos
                self.body = end - n
                self.discarding = 2
                return n
            pos = end
            if t == SYNC or (self.discarding == 1 and (t == QUERY or t == FUNCTION)):
                self.discarding = 0
                self.session.answer_closes(SYNC_MESSAGE)
                return pos
            self.discarding = 2
        return pos

    def scan_one(self, t, data, pos, end, n):
        """Add one message to what is known of the batch."""
        zero: cython.Py_ssize_t
        if t == QUERY:
            self.note(self.route_of(cut(data, pos + 5, end - 1)))
        elif t == PARSE:
            zero = find_zero(data, pos + 5, end)
            if zero >= 0:
                self.note(self.route_of(cut(data, zero + 1, find_zero(data, zero + 1, end))))
                if zero == pos + 5:
                    self.unnamed_here = True
            else:
                self.unproven()
        elif t == BIND:
            zero = find_zero(data, pos + 5, end)
            self.batch_runs = True
            if zero > pos + 5:
                self.batch_portal = True
            if zero >= 0 and data[zero + 1] != 0:
                prepared = (
                    self.statements.get(cut(data, zero + 1, find_zero(data, zero + 1, end)))
                    if self.statements
                    else None
                )
                if prepared is not None:
                    self.note(self.current(prepared.statement.route, prepared.statement.body))
                elif self.first_route is None:
                    self.unproven()
            elif not self.unnamed_here:
                if self.unnamed_route is not None:
                    self.note(self.current(self.unnamed_route, self.unnamed))
                else:
                    self.unproven()
        elif t == EXECUTE:
            self.batch_runs = True
        elif t == FUNCTION:
            self.unproven()
        return 0

    def route_of(self, sql):
        """The route of a text; kept, so that forwarding does not look it up again."""
        route: Route = self.router.opaque if self.opaque else self.router.route(sql)
        if self.first_route is None:
            self.first_route = route
        else:
            self.more_routes.append(route)
        return route

    def current(self, route, body):
        """A route that was kept with a statement, or, if the catalog has changed since, the one of now.

        ``body``: of a Parse message, the text first.
        """
        if route is None or route.generation == self.router.generation or self.opaque:
            return route
        return self.router.route(body[: body.index(b"\0")])

    def unproven(self):
        """The batch does, or may do, what a replica cannot."""
        self.batch_read = False
        self.batch_other = True
        return 0

    def note(self, route):
        """One more statement in the batch."""
        flags: cython.int = route.flags
        self.batch_flags |= flags
        self.noted = route
        if not flags & READ:
            self.batch_read = False
            if flags & BEGIN_READ_ONLY and not flags & MULTI and route.names:
                self.begins = route
            else:
                self.batch_other = True
        elif route.read_slots and (self.reads_elsewhere or self.write_pool is None):
            self.batch_slots.update(route.read_slots)
        return 0

    def next_known(self, data, start, end):
        """The route of the next statement: found by ``scan``, or looked up now."""
        if self.next_route == 0 and self.first_route is not None:
            self.next_route = 1
            return self.first_route
        if self.next_route > 0 and self.next_route <= len(self.more_routes):
            self.next_route += 1
            return self.more_routes[self.next_route - 2]
        return self.router.opaque if self.opaque else self.router.route(cut(data, start, end))
