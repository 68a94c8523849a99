"""One pool: the server connections of one user to one server, for one worker.

Invariants:
* A connection is in exactly one place: in ``idle``, with one client, being opened, or being reset.
* ``idle`` is last in, first out: hot connections stay hot, cold ones grow old and are closed.
* Clients wait first come, first served; nobody waits while a connection is idle (unless the pool is paused).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Link", "Pool", "PoolKey", "Waiter"]

PoolKey = tuple[str, str, str]
"""(database, server id, user on the server)"""

LOOK_BACK = 8
"""How many idle connections are looked at for one whose settings are already the client's."""


class Link(Protocol):
    """What a pool needs of a server connection."""

    settings: Any
    closed: bool
    retiring: bool
    cancels: int
    parked: bool
    released_ns: int
    connected_ns: int

    def close(self, flush: bool = False) -> None: ...


class Waiter(Protocol):
    """What a pool needs of a client."""

    settings: Any
    closed: bool

    def granted(self, server: Any) -> None: ...


class Pool:
    """See the module. ``open_one`` asks for a permit and connects in the background, then calls ``opened`` or
    ``not_opened``; ``closed_one`` hears of every connection that is gone."""

    def __init__(self, key: PoolKey, size: int, open_one: Callable[[Pool, int], None], closed_one: Callable[[Pool], None]):
        self.key = key
        self.size = size
        self.idle: list[Any] = []
        self.waiters: deque[Any] = deque()
        self.opening = 0
        self.links: set[Any] = set()
        self.paused = False
        self.assigned = 0
        self.failing_since = 0.0
        self._open_one = open_one
        self._closed_one = closed_one

    @property
    def active(self) -> int:
        """Connections that serve a client now."""
        return len(self.links) - len(self.idle)

    def acquire(self, client: Waiter) -> Any:
        """A connection for ``client``; or None, then ``client.granted`` is called later."""
        idle = self.idle
        if idle and not self.paused:
            self.assigned += 1
            wanted = client.settings
            if idle[-1].settings is wanted or len(idle) == 1:
                return idle.pop()
            for position in range(len(idle) - 2, max(-1, len(idle) - 1 - LOOK_BACK), -1):
                if idle[position].settings is wanted:
                    return idle.pop(position)
            if len(self.links) + self.opening < self.size and idle[-1].settings is not wanted:
                self._open(1)  # for the next time: a connection for these settings
            return idle.pop()
        self.waiters.append(client)
        self.grow()
        return None

    def grow(self) -> None:
        """Open connections for those who wait."""
        if not self.paused:
            wanted = min(len(self.waiters) - self.opening, self.size - len(self.links) - self.opening)
            if wanted > 0:
                self._open(wanted)

    def _open(self, count: int) -> None:
        self.opening += count
        self._open_one(self, count)

    def opened(self, server: Any) -> None:
        """A new connection is ready."""
        self.opening -= 1
        self.failing_since = 0.0
        self.links.add(server)
        self.release(server)

    def not_opened(self) -> None:
        """An attempt has ended without a connection."""
        self.opening -= 1

    def release(self, server: Any) -> None:
        """A connection is free, clean, and outside a transaction: to the next who waits, else idle."""
        if server.closed:
            return
        if server.cancels:
            server.parked = True
            return
        if server.retiring:
            server.close()
            self.forget(server)
            return
        if not self.paused:
            while self.waiters:
                client = self.waiters.popleft()
                if not client.closed:
                    self.assigned += 1
                    client.granted(server)
                    return
        server.released_ns = time.monotonic_ns()
        self.idle.append(server)

    def forget(self, server: Any) -> None:
        """A connection is closed."""
        if server in self.links:
            self.links.discard(server)
            if server in self.idle:
                self.idle.remove(server)
            self._closed_one(self)
            if self.waiters:
                self.grow()

    def leave(self, client: Any) -> None:
        """A client waits no more."""
        if client in self.waiters:
            self.waiters.remove(client)

    def retire(self, server: Any) -> None:
        """Close a connection: now if it is idle, else when it is released."""
        server.retiring = True
        if server in self.idle:
            server.close()
            self.forget(server)

    def retire_all(self) -> None:
        """Close all connections as soon as each is idle."""
        for server in list(self.links):
            self.retire(server)

    def expire(self, now_ns: int, idle_s: float, lifetime_s: float, keep: int) -> None:
        """Close connections that were idle or lived too long, but keep ``keep`` of those merely idle."""
        for server in list(self.idle):
            old = lifetime_s > 0 and now_ns - server.connected_ns > lifetime_s * 1e9
            unused = idle_s > 0 and now_ns - server.released_ns > idle_s * 1e9
            if old or (unused and len(self.links) > keep):
                self.retire(server)

    def resume(self) -> None:
        """End a pause."""
        self.paused = False
        while self.waiters and self.idle:
            self.release(self.idle.pop())
        self.grow()


