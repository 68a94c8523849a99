"""One message of the client at a time, onto the server connection that serves it.

Invariants:
* A statement name of the client never reaches a server: it is replaced by the shared statement's name, which was
  prepared on that connection no earlier than this client prepared it.
* What a statement may do is noted (``used``) before it is sent.
"""

import cython

if cython.compiled:
    from cython.cimports.shardproxy.dialects.postgres.batch_cy import NOT_PLAIN, SAME_PLAIN, SPECIAL, Batching
    from cython.cimports.shardproxy.dialects.postgres.kinds_cy import BIND, PARSE
    from cython.cimports.shardproxy.dialects.postgres.server_link_cy import ServerLink
    from cython.cimports.shardproxy.relay.buffer_cy import (
        append,
        append_bytes,
        append_header,
        be32,
        cut,
        find_zero,
        now_ns,
    )
    from cython.cimports.shardproxy.router.route_cy import Route
else:
    from shardproxy.dialects.postgres.batch_cy import NOT_PLAIN, SAME_PLAIN, SPECIAL, Batching
    from shardproxy.dialects.postgres.kinds_cy import BIND, PARSE
    from shardproxy.dialects.postgres.server_link_cy import ServerLink
    from shardproxy.relay.buffer_cy import append, append_bytes, append_header, be32, cut, find_zero, now_ns
    from shardproxy.router.route_cy import Route

from shardproxy.router import flags as f

__all__ = ["Passing"]

READ = f.READ
BEGIN = f.BEGIN
MULTI = f.MULTI
SIGNALS = f.TERMINATE

ADVANCES = f.ADVANCES
LOOK = f.SEQUENCE_STATE | f.ADVANCES | f.BEGIN
"""Flags with which the connection that remembers the client's sequences is preferred."""


class Passing(Batching):
    """The part of a client connection that passes messages on; ``ClientLink`` is the whole."""

    def __init__(self, pump, sock):
        Batching.__init__(self, pump, sock)
        self.server = None
        self.last_route = None
        self.unnamed_serial = -1
        self.id = 0

    def set_counters(self, counters):
        self.counters = counters

    def cycle_sent(self, server):
        """A Query, Sync or FunctionCall was sent: one more ReadyForQuery is owed."""
        server.awaiting += 1
        server.cycle_sent += 1
        server.open_cycle = False
        if not server.started:
            server.started = True
            server.started_ns = now_ns()
        self.counters.query_count += 1
        return 0

    def mix(self, server):
        """A Query or FunctionCall follows extended messages without a Sync: if one of them fails, it is skipped."""
        server.mixed.add(server.cycle_sent + 1)
        if server.failed:
            server.events.mixed(server)

    def copy_message(self, data, pos, end):
        return append(self.server.out, data, pos, end)

    def used(self, route):
        """A statement is about to run on the server: remember what it may do."""
        server: ServerLink = self.server
        if route is None:
            self.session.begin_write(server, (0,))
            server.wrote = True
            self.session.advanced(server)
            return 0
        flags: cython.int = route.flags
        server.flags |= flags
        self.last_route = route
        route.hits += 1
        if flags & READ:
            self.counters.read_count += 1
            if not server.on_primary:
                self.counters.replica_read_count += 1
        else:
            self.counters.write_count += 1
            if flags & BEGIN and not flags & MULTI:
                return 0
            server.wrote = True
            if flags & ADVANCES:
                self.session.advanced(server)
            if route.write_slots and route.write_slots not in server.write_slots:
                self.session.begin_write(server, route.write_slots)
        return 0

    def pass_plain(self, server, data, pos, end):
        """A plain batch at once: what ``parse``, ``bind``, ``describe`` and ``pass_on`` would do together."""
        if self.plain != SAME_PLAIN:
            parsed: cython.Py_ssize_t = pos + 1 + be32(data, pos + 1)
            self.unnamed = cut(data, pos + 6, parsed)
            self.unnamed_route = self.noted
            self.unnamed_serial = now_ns()  # a number that no other statement of this worker has
        self.plain = NOT_PLAIN
        server.unnamed_serial = self.unnamed_serial
        server.expect_parse()
        self.counters.client_parse_count += 1
        self.counters.bind_count += 1
        self.used(self.unnamed_route)
        append(server.out, data, pos, end)
        server.extended = True
        self.cycle_sent(server)
        return 0

    def query(self, data, pos, end):
        """A simple Query. Returns 0 if it cannot go yet."""
        server: ServerLink = self.server
        first: cython.Py_ssize_t = self.next_route
        route: Route = self.next_known(data, pos + 5, end - 1)
        if route.flags & SPECIAL or route.rewrite is not None:
            sql = self.session.special(route, cut(data, pos + 5, end - 1), server, True)
            if sql is None:
                self.next_route = first
                return 0
            server.out += b"Q" + (len(sql) + 5).to_bytes(4, "big") + sql + b"\0"
        else:
            append(server.out, data, pos, end)
        self.used(route)
        self.unnamed = None
        self.unnamed_route = None
        server.unnamed_serial = 0
        server.extended = False
        if server.open_cycle:
            self.mix(server)
        self.cycle_sent(server)
        return 1

    def parse(self, data, pos, end):
        """Parse: under the shared name. Returns 0 if it cannot go yet."""
        server: ServerLink = self.server
        zero: cython.Py_ssize_t = find_zero(data, pos + 5, end)
        text_end: cython.Py_ssize_t = find_zero(data, zero + 1, end) if zero >= 0 else -1
        if text_end < 0:
            self.session.violation(PARSE, end - pos)
            return 0
        if zero > pos + 5 and server.awaiting > 0 and not server.open_cycle and self.statements is not None:
            name = cut(data, pos + 5, zero)
            if name in self.statements:
                for entry in server.pending:
                    if entry[3] == name:
                        return 0  # taken, or free because of an error: the server has not said yet
        first: cython.Py_ssize_t = self.next_route
        route: Route = self.next_known(data, zero + 1, text_end)
        body = cut(data, zero + 1, end)
        changed = None
        if route.flags & SPECIAL or route.rewrite is not None:
            changed = self.session.special(route, cut(data, zero + 1, text_end), server, False)
            if changed is None:
                self.next_route = first
                return 0
            body = changed + bytes(data[text_end:end])
        self.counters.client_parse_count += 1
        server.open_cycle = True
        if zero == pos + 5:
            self.unnamed = body
            self.unnamed_route = route
            self.unnamed_serial = now_ns()  # a number that no other statement of this worker has
            server.unnamed_serial = self.unnamed_serial
            server.expect_parse()
            if changed is None:
                append(server.out, data, pos, end)
            else:
                server.out += b"P" + (len(body) + 5).to_bytes(4, "big") + b"\0" + body
            return 1
        self.session.prepare(server, cut(data, pos + 5, zero), body, route)
        return 1

    def ensure(self, server, statement, prepared):
        """Make sure that the server has this statement, prepared no earlier than the client did."""
        at = server.prepared.get(statement)
        if at is None or at < prepared.since:
            self.session.inject_parse(server, statement)
        return 0

    def bind(self, data, pos, end, n):
        """Bind: the statement's name is replaced. A long one passes in parts. Returns ``pos`` if more is needed."""
        server: ServerLink = self.server
        have: cython.Py_ssize_t = end if end <= n else n
        zero: cython.Py_ssize_t = find_zero(data, pos + 5, have)
        name_end: cython.Py_ssize_t = find_zero(data, zero + 1, have) if zero >= 0 else -1
        if name_end < 0:
            if end <= n:
                self.session.violation(BIND, end - pos)
            return pos
        route: Route = None
        prepared = None
        statement = None
        if name_end == zero + 1:
            route = self.current(self.unnamed_route, self.unnamed)
        elif self.statements is not None:
            prepared = self.statements.get(cut(data, zero + 1, name_end))
            if prepared is not None:
                statement = prepared.statement
                route = self.current(statement.route, statement.body)
        aimed = None
        if route is not None and route.flags & SIGNALS:
            if end <= n:
                aimed = self.session.aim(cut(data, pos + 5, end), prepared)
            if aimed is None:
                return pos
        self.counters.bind_count += 1
        server.open_cycle = True
        name = None
        if prepared is not None:
            self.used(route)
            if route.flags & SPECIAL:
                name = self.session.bound(route, statement.body, cut(data, zero + 1, have), server)
            if name is None:
                self.ensure(server, statement, prepared)
                name = statement.name
        elif name_end == zero + 1:
            self.used(route)
            if route is not None and route.flags & SPECIAL:
                name = self.session.bound(route, self.unnamed, cut(data, zero + 1, have), server)
            if server.unnamed_serial != self.unnamed_serial or self.unnamed is None:
                self.session.restore_unnamed(server)
        if aimed is not None:
            server.out += aimed
            return end
        if name is None:
            append(server.out, data, pos, have)
        else:
            append_header(server.out, BIND, end - pos - 1 - (name_end - zero - 1) + len(name))
            append(server.out, data, pos + 5, zero + 1)
            append_bytes(server.out, name)
            append(server.out, data, name_end, have)
        if end > n:
            self.body = end - n
        return have

    def describe(self, data, pos, end):
        """Describe: of a statement under its shared name; of a portal as it is."""
        server: ServerLink = self.server
        server.open_cycle = True
        if end - pos > 7 and data[pos + 5] == 83 and self.statements is not None:
            prepared = self.statements.get(cut(data, pos + 6, end - 1))
            if prepared is not None:
                statement = prepared.statement
                self.ensure(server, statement, prepared)
                name = statement.name
                server.out += b"D" + (len(name) + 6).to_bytes(4, "big") + b"S" + name + b"\0"
                return 0
        elif end - pos == 7 and data[pos + 5] == 83 and (
            server.unnamed_serial != self.unnamed_serial or self.unnamed is None
        ):
            self.session.restore_unnamed(server)
        append(server.out, data, pos, end)
        return 0

    def close_object(self, data, pos, end):
        """Close: the client's name is forgotten; the server, which does not know it, confirms."""
        server: ServerLink = self.server
        prepared = None
        name = None
        server.open_cycle = True
        if end - pos >= 7 and data[pos + 5] == 83:
            if end - pos == 7:
                self.unnamed = None
                self.unnamed_route = None
                server.unnamed_serial = 0
            elif self.statements is not None:
                name = cut(data, pos + 6, end - 1)
                prepared = self.statements.pop(name, None)
        server.expect_answer(False, prepared, name)
        append(server.out, data, pos, end)
        return 0
