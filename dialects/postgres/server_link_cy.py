"""The server side of the relay: replies pass from one server connection to the client that uses it.

Messages are looked at by their five-byte header only, until ReadyForQuery; a run of messages is copied at once.
Invariants:
* Every ReadyForQuery belongs to exactly one cycle (a Query, a FunctionCall, or all up to a Sync) that this link sent:
  ``awaiting`` counts those that are owed. What the proxy injected for its own use is answered to nobody.
* ``pending`` holds, in the order sent, one entry for each Parse and Close that is not answered yet; an error skips the
  rest of its cycle, so at ReadyForQuery what is left of that cycle did not happen. ``parses`` counts the client's
  unnamed ones before all those, of one cycle (``parses_cycle``).
* While ``holding`` not one byte of the reply has reached the client, so the read can be run again elsewhere.
* While ``quiet`` the next ReadyForQuery is not the client's: it asked for a Flush and we sent a Sync.
* With no client (mode IDLE) only notices, parameters, notifications and a final error can arrive.
"""

from collections import deque

import cython

if cython.compiled:
    from cython.cimports.shardproxy.pool.link_cy import Link
    from cython.cimports.shardproxy.relay.buffer_cy import append, be32, cut, now_ns, pointer
else:
    from shardproxy.pool.link_cy import Link
    from shardproxy.relay.buffer_cy import append, be32, cut, now_ns, pointer

from shardproxy import limits
from shardproxy.session.statements import NAME_PREFIX

__all__ = ["CLIENT", "DRAIN", "IDLE", "INTERNAL", "ServerLink"]

IDLE = 0  # in the pool
CLIENT = 1  # replies go to the client
INTERNAL = 2  # replies go to the proxy's own collector
DRAIN = 3  # the client has left: replies go nowhere

M_IDLE = 0
M_CLIENT = 1
M_INTERNAL = 2
M_DRAIN = 3
OUT_HIGH = limits.OUT_HIGH
WHOLE_MAX = 64 * 1024 * 1024  # of a message that must be seen whole: errors, parameters

# first bytes of the messages the scan tells apart
READY = ord("Z")
ERROR = ord("E")
PARSED = ord("1")
CLOSED = ord("3")
PARAMETER = ord("S")
NOTIFICATION = ord("A")
COPY_IN = ord("G")
COPY_BOTH = ord("W")
NOTICE = ord("N")
KEY = ord("K")
AUTHENTICATION = ord("R")
NEGOTIATE = ord("v")
IN_TRANSACTION = ord("T")
OUTSIDE = ord("I")

SHARED = NAME_PREFIX
SHELL = b"shardproxy_shell"
NO_ROWS = b"is sharded and has no rows"
SMALL = 8192
PEEK_WAIT = 0
PEEK_GO = 1
PEEK_ERROR = 2


class ServerLink(Link):
    """One connection to a database server. ``events`` is the slow path: see ``ServerEvents`` in session.py."""

    def __init__(self, pump, sock):
        Link.__init__(self, pump, sock)
        self.client = None
        self.owner = None
        self.pool = None
        self.events = None
        self.mode = M_IDLE
        self.awaiting = 0
        self.open_cycle = False
        self.quiet = False
        self.extended = False
        self.cycle_done = 0
        self.cycle_sent = 0
        self.pending = deque()
        self.parses = 0
        self.parses_cycle = 0
        self.status = OUTSIDE
        self.holding = False
        self.copying_in = False
        self.mixed = set()
        self.on_primary = True
        self.failed = False
        self.delivered = False
        self.flags = 0
        self.write_slots = []
        self.prepared = {}
        self.parameters = None
        self.unnamed_serial = 0
        self.collector = None
        self.pins = None
        self.own_names = set()
        self.wrote = False
        self.idle_rest = b""
        self.failing = False
        self.session_mode = False
        self.id = 0
        self.borrower = None
        self.fatal_fields = None
        self.started_ns = 0
        self.started = False
        self.slow_us = 0
        self.linked_ns = 0
        self.backend_pid = 0
        self.backend_secret = b""
        self.address = None
        self.last_writer = None
        self.last_client = 0
        self.rest = bytearray()
        self.skip = 0

    def set_counters(self, counters):
        self.counters = counters

    def ended(self, reason):
        self.events.lost(self, reason)

    def drained(self):
        """The server took what we sent: the client may send more."""
        if self.client is not None:
            self.client.resume_reading()

    def process(self, data, n):
        if len(self.rest) > 0:
            append(self.rest, data, 0, n)
            buffer = self.rest
            self.rest = bytearray()
            self.consume(pointer(buffer), len(buffer))
        else:
            self.consume(data, n)
        return 0

    def consume(self, data, n):
        """Scan all of it; keep an incomplete tail for the next time."""
        done: cython.Py_ssize_t = 0
        used: cython.Py_ssize_t
        while done < n and not self.closed:
            if self.holding:
                peeked: cython.int = self.peek(data, done, n)
                if peeked == PEEK_WAIT:
                    break
                self.holding = False
                if peeked == PEEK_ERROR:
                    self.events.repeat(self)
            if self.mode == M_INTERNAL or self.mode == M_IDLE:
                rest = cut(data, done, n)
                self.events.collect(self, rest)
                return 0
            used = self.scan(data, done, n)
            if used == done:
                break
            done = used
        if done < n and not self.closed:
            append(self.rest, data, done, n)
        return 0

    def mid_message(self):
        """Whether the client has got only a part of a message."""
        return self.skip > 0

    def unread(self, data):
        """Give back bytes that a collector did not use."""
        if data:
            buffer = bytearray(data)
            self.rest = bytearray()
            self.consume(pointer(buffer), len(buffer))

    def scan(self, data, pos, n):
        """Pass messages on until the end of the last cycle or of the data; returns the new position."""
        start: cython.Py_ssize_t = pos
        end: cython.Py_ssize_t
        t: cython.int
        if self.skip > 0:
            pos = pos + self.skip if self.skip < n - pos else n
            self.skip -= pos - start
        while n - pos >= 5:
            t = data[pos]
            end = pos + 1 + be32(data, pos + 1)
            if end < pos + 5 or end - pos > 0x40000005:
                self.fail(ValueError("malformed message from the server"))
                return n
            if t == READY:
                if end > n:
                    break
                return self.at_ready(data, start, pos, end)
            if t == PARSED or t == CLOSED:
                if end > n:
                    break
                if self.parses > 0 and self.parses_cycle == self.cycle_done + 1:
                    self.parses -= 1
                elif len(self.pending) > 0 and self.answered(data, pos, end):
                    self.deliver(data, start, pos)
                    start = end
            elif t == ERROR or t == PARAMETER or t == NOTIFICATION or t == KEY or t == AUTHENTICATION:
                if end > n:
                    if end - pos > WHOLE_MAX:
                        self.fail(ValueError("message from the server is too long"))
                        return n
                    break
                self.deliver(data, start, pos)
                start = pos
                if not self.rare(t, data, pos, end):
                    start = end
                if self.closed or self.mode != M_CLIENT and self.mode != M_DRAIN:
                    return end
            elif t == COPY_IN or t == COPY_BOTH:
                self.copy_begins()
            if end > n:
                if end - pos <= SMALL:
                    break  # if the server ends here, the client has got nothing by halves
                self.skip = end - n
                pos = n
                break
            pos = end
        self.deliver(data, start, pos)
        return pos

    def deliver(self, data, start, end):
        """A run of whole or partial messages, to the client."""
        if end > start and self.mode == M_CLIENT:
            client = self.client
            append(client.out, data, start, end)
            client.mark()
            self.delivered = True
            if len(client.out) > OUT_HIGH and not client.high:
                client.high = True
                self.pause_reading()
        return 0

    def at_ready(self, data, start, pos, end):
        """ReadyForQuery: note the status, publish what was written, pass it on, and end the cycle."""
        status: cython.int = data[pos + 5]
        forward: cython.bint = self.ready(status)
        if forward and self.mode == M_CLIENT:
            self.deliver(data, start, end)
        elif self.mode == M_CLIENT:
            self.deliver(data, start, pos)
        if self.awaiting <= 0 and not self.open_cycle:
            self.awaiting = 0
            self.cycle_ends()
        return end

    def ready(self, status):
        """Bookkeeping of one ReadyForQuery; true if it is passed on."""
        self.status = status
        self.copying_in = False
        if self.awaiting > 0:
            self.awaiting -= 1
            self.cycle_done += 1
        elif self.open_cycle:  # an error in COPY made the server answer before our Sync
            self.open_cycle = False
        if self.mixed:
            self.mixed.discard(self.cycle_done)
        unnamed: cython.bint = self.parses > 0 and self.parses_cycle <= self.cycle_done
        if unnamed:
            self.parses = 0
        if unnamed or (len(self.pending) > 0 and self.pending[0][0] <= self.cycle_done):
            self.events.not_done(self, unnamed)
        if status == OUTSIDE:
            self.counters.xact_count += 1
            if self.write_slots:
                self.events.publish(self)
        if self.quiet:
            self.quiet = False
            if self.failed and self.owner is not None:
                self.owner.discarding = 2  # the server skips nothing any more, so we do, up to the client's Sync
            return False
        return True

    def cycle_ends(self):
        """No reply is owed any more."""
        now: cython.longlong = now_ns()
        elapsed_us: cython.longlong = (now - self.started_ns) // 1000
        self.counters.query_time_us += elapsed_us
        self.started_ns = now
        self.started = False
        if self.slow_us > 0 and elapsed_us > self.slow_us:
            self.events.slow(self, elapsed_us)
        if self.mode == M_CLIENT:
            if self.status == OUTSIDE:
                self.counters.xact_time_us += (now - self.linked_ns) // 1000
            self.client.cycle_over()
        else:
            self.events.drained_cycle(self)
        return 0

    def answered(self, data, pos, end):
        """ParseComplete or CloseComplete; true if it was ours and must not be passed on."""
        entry = self.pending[0]
        if entry[0] != self.cycle_done + 1:
            return False
        self.pending.popleft()
        return entry[1]

    def expect(self, swallow, statement, name):
        """``expect_answer`` for the slow path."""
        self.expect_answer(swallow, statement, name)

    def expect_answer(self, swallow, statement, name):
        """One more Parse (``statement`` set) or Close was sent in the current cycle."""
        self.pending.append((self.cycle_sent + 1, swallow, statement, name))
        return 0

    def expect_parse(self):
        """The client's own unnamed Parse was sent in the current cycle: nearly always a number is enough."""
        if len(self.pending) > 0 or (self.parses > 0 and self.parses_cycle != self.cycle_sent + 1):
            self.expect_answer(False, None, b"")
        else:
            self.parses += 1
            self.parses_cycle = self.cycle_sent + 1
        return 0

    def copy_begins(self):
        """CopyInResponse: the server ignores a Sync that came before the data, so no ReadyForQuery is owed for it."""
        self.copying_in = True
        if self.extended and self.awaiting > 0:
            self.awaiting -= 1
            self.cycle_sent -= 1
            self.open_cycle = True
        if self.mode == M_DRAIN:
            self.events.fail_copy(self)

    def rare(self, t, data, pos, end):
        """Messages that the slow path looks at; true if the message is passed on."""
        if t == ERROR:
            self.failed = True
            self.counters.error_count += 1
            if self.mixed and self.cycle_done + 1 in self.mixed:
                self.events.mixed(self)
            if data[pos + 5] == 83 and data[pos + 6] == 69:  # severity 'E...': ERROR
                payload = cut(data, pos + 5, end)
                special: cython.bint = SHARED in payload or SHELL in payload or NO_ROWS in payload
                return not special or self.events.renamed(self, payload)
        return self.events.message(self, t, cut(data, pos + 5, end))

    def peek(self, data, pos, n):
        """Look for the first message that tells whether a held read succeeded, without side effects."""
        start: cython.Py_ssize_t = pos
        t: cython.int
        while n - pos >= 5:
            t = data[pos]
            if t == ERROR:
                if n - pos < 1 + be32(data, pos + 1):
                    return PEEK_WAIT
                return (
                    PEEK_ERROR
                    if self.events.repeatable(self, cut(data, pos + 5, pos + 1 + be32(data, pos + 1)))
                    else PEEK_GO
                )
            if t != PARSED and t != CLOSED and t != NOTICE and t != PARAMETER:
                if t != 50 and t != 84 and t != 116 and t != 110:  # BindComplete, and what Describe is answered with
                    return PEEK_GO
            pos += 1 + be32(data, pos + 1)
        return PEEK_WAIT if n - start <= OUT_HIGH else PEEK_GO
