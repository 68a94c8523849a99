"""One pool: the server connections of one user to one server, for one worker.

Invariants:
* A connection is in exactly one place: in ``idle``, with one client, being opened, or being reset.
* ``idle`` is last in, first out: hot connections stay hot, cold ones grow old and are closed.
* Clients wait first come, first served; nobody waits while a connection is idle (unless the pool is paused).
"""

from collections import deque

import cython

if cython.compiled:
    from cython.cimports.shardproxy.pool.link_cy import Link
    from cython.cimports.shardproxy.relay.buffer_cy import now_ns
else:
    from shardproxy.pool.link_cy import Link
    from shardproxy.relay.buffer_cy import now_ns

__all__ = ["Pool"]

LOOK_BACK = 8
"""How many idle connections are looked at for one whose settings are already the client's."""


class Pool:
    """See the module. ``key``: (database, server id, user on the server).

    ``open_one(pool, count)`` asks for permits and connects in the background, then calls ``opened`` or ``not_opened``;
    ``closed_one(pool)`` hears of every connection that is gone. Of a client a pool needs ``settings``, ``closed`` and
    ``granted(server)``; of a server connection what ``Link`` has.
    """

    def __init__(self, key, size, open_one, closed_one):
        self.key = key
        self.size = size
        self.idle = []
        self.waiters = deque()
        self.opening = 0
        self.links = set()
        self.paused = False
        self.assigned = 0
        self.failing_since = 0.0
        self.owed = 0
        self.open_one = open_one
        self.closed_one = closed_one

    @property
    def active(self):
        """Connections that serve a client now."""
        return len(self.links) - len(self.idle)

    def acquire(self, client):
        """A connection for ``client``; or None, then ``client.granted`` is called later."""
        last: cython.Py_ssize_t = len(self.idle) - 1
        position: cython.Py_ssize_t
        link: Link
        if last >= 0 and not self.paused:
            self.assigned += 1
            wanted = client.settings
            link = self.idle[last]
            if link.settings is wanted:
                return self.idle.pop()
            position = last - 1
            while position >= 0 and position > last - LOOK_BACK:
                link = self.idle[position]
                if link.settings is wanted:
                    return self.idle.pop(position)
                position -= 1
            if len(self.links) + self.opening < self.size:
                self.open_more(1)  # for the next time: a connection for these settings
            return self.idle.pop()
        self.waiters.append(client)
        self.grow()
        return None

    def idle_with(self, settings):
        """A connection with these settings that is idle now, or None."""
        position: cython.Py_ssize_t = len(self.idle) - 1
        link: Link
        while position >= 0 and not self.paused:
            link = self.idle[position]
            if link.settings is settings:
                self.assigned += 1
                return self.idle.pop(position)
            position -= 1
        return None

    def take(self, server):
        """This connection, if it is idle; false if it is not."""
        if self.paused or server not in self.idle:
            return False
        self.idle.remove(server)
        self.assigned += 1
        return True

    def grow(self):
        """Open connections for those who wait."""
        if not self.paused:
            wanted = min(len(self.waiters) - self.opening, self.size - len(self.links) - self.opening)
            if wanted > 0:
                self.open_more(wanted)

    def open_more(self, count):
        self.opening += count
        self.open_one(self, count)

    def opened(self, server):
        """A new connection is ready."""
        self.opening -= 1
        self.failing_since = 0.0
        self.links.add(server)
        if self.owed > 0:  # another worker waits for this permit
            self.owed -= 1
            server.retiring = True
        self.release(server)

    def not_opened(self):
        """An attempt has ended without a connection."""
        self.opening -= 1

    def release(self, server):
        """A connection is free, clean, and outside a transaction: to the next who waits, else idle."""
        link: Link = server
        if link.closed:
            return
        if link.cancels:
            link.parked = True
            return
        if link.retiring:
            server.close()
            self.forget(server)
            return
        if not self.paused:
            while len(self.waiters) > 0:
                client = self.waiters.popleft()
                if not client.closed:
                    self.assigned += 1
                    client.granted(server)
                    return
        link.released_ns = now_ns()
        self.idle.append(server)

    def forget(self, server):
        """A connection is closed."""
        if server in self.links:
            self.links.discard(server)
            if server in self.idle:
                self.idle.remove(server)
            self.closed_one(self)
            if self.waiters:
                self.grow()

    def leave(self, client):
        """A client waits no more."""
        if client in self.waiters:
            self.waiters.remove(client)

    def retire(self, server):
        """Close a connection: now if it is idle, else when it is released."""
        server.retiring = True
        if server in self.idle:
            server.close()
            self.forget(server)

    def retire_all(self):
        """Close all connections as soon as each is idle."""
        for server in list(self.links):
            self.retire(server)

    def expire(self, now_ns, idle_s, lifetime_s, keep):
        """Close connections that were idle or lived too long, but keep ``keep`` of those merely idle."""
        for server in list(self.idle):
            old = lifetime_s > 0 and now_ns - server.connected_ns > lifetime_s * 1e9
            unused = idle_s > 0 and now_ns - server.released_ns > idle_s * 1e9
            if old or (unused and len(self.links) > keep):
                self.retire(server)

    def resume(self):
        """End a pause."""
        self.paused = False
        while self.waiters and self.idle:
            self.release(self.idle.pop())
        self.grow()
