"""Who may open a server connection: exact accounting over all workers, without asking any database.

A *permit* stands for one server connection of a pool (database, server, user). Three limits hold at once:
of the pool (size, and its reserve for requests with priority), of a database on a server, of a user over all.

Invariants:
* permits given out plus permits set aside never exceed a limit as it was when they were given;
* after every change no waiting worker could be served: so a newcomer never overtakes one that waits;
* a worker that waits is served in its turn: one entry per (worker, pool) in a first-in-first-out queue, and
  each turn is one permit. The permit is *set aside* and the worker told; if it does not fetch it in `HOLD_S`
  (its client may have left), it passes to the next;
* what a worker held is free again when it died.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shardproxy.server.worker_api import PoolKey

__all__ = ["HOLD_S", "Limit", "Permits", "Wish"]

HOLD_S = 1.0
"""How long a permit stays set aside for a worker that was told of it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds for one pool; 0 in the last two: no limit."""

    size: int
    reserve: int = 0
    database: int = 0
    user: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """A worker that waits, and a (worker, pool) that could give up a connection for it."""

    worker: int
    pool: PoolKey
    holder: int
    holder_pool: PoolKey
    owed: bool  # the holder has more than its share: it must give one up even if none is idle


class Permits:
    """All permits of one proxy. Not thread-safe: used by the parent's event loop only."""

    def __init__(self, limits: Callable[[PoolKey], Limit], tell: Callable[[int, PoolKey], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`tell(worker, pool)` is called when a permit was set aside; it must not call back."""
        self._limits, self._tell, self._clock = limits, tell, clock
        self._held: Counter[tuple[int, PoolKey]] = Counter()
        self._aside: dict[tuple[int, PoolKey], float] = {}
        self._waiting: OrderedDict[tuple[int, PoolKey], int] = OrderedDict()
        self._pool: Counter[PoolKey] = Counter()
        self._database: Counter[tuple[str, str]] = Counter()
        self._user: Counter[str] = Counter()

    def acquire(self, worker: int, pool: PoolKey, priority: int = 0) -> bool:
        """Take a permit, or get in the queue and answer False."""
        key = (worker, pool)
        if self._aside.pop(key, None) is not None:
            self._held[key] += 1
            return True
        if self._fits(pool, priority):
            self._count(pool, 1)
            self._held[key] += 1
            self._waiting.pop(key, None)
            return True
        self._waiting[key] = max(priority, self._waiting.get(key, 0))
        self._serve()  # a higher priority may have made an entry servable: it is told, not answered
        return False

    def release(self, worker: int, pool: PoolKey) -> None:
        """Give a permit back. One that was never given is ignored."""
        key = (worker, pool)
        if self._held[key] <= 0:
            return
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._count(pool, -1)
        self._serve()

    def worker_died(self, worker: int) -> None:
        """Everything this worker held or waited for is gone."""
        for key in [key for key in self._waiting if key[0] == worker]:
            del self._waiting[key]
        for key in [key for key in self._aside if key[0] == worker]:
            del self._aside[key]
            self._count(key[1], -1)
        for key, held in [(key, held) for key, held in self._held.items() if key[0] == worker]:
            del self._held[key]
            self._count(key[1], -held)
        self._serve()

    def tick(self) -> None:
        """Call often: passes on what was set aside and not fetched, and sees limits that have changed."""
        late = self._clock() - HOLD_S
        for key in [key for key, since in self._aside.items() if since < late]:
            del self._aside[key]
            self._count(key[1], -1)
        self._serve()

    def wishes(self) -> Iterator[Wish]:
        """For each worker that waits, the connections of others that could make room, the best first."""
        for (worker, pool) in list(self._waiting):
            own = self._held[(worker, pool)]
            holders = [(held, *key) for key, held in self._held.items()
                       if key != (worker, pool) and self._in_the_way(pool, key[1])]
            for held, holder, holder_pool in sorted(holders, reverse=True):
                same = holder_pool == pool
                yield Wish(worker, pool, holder, holder_pool, owed=same and held > own + (1 if own else 0))

    def excess(self) -> Iterator[tuple[int, PoolKey, int]]:
        """After limits were lowered: (worker, pool, count) that must be given up, busy or not."""
        for pool, total in self._pool.items():
            limit = self._limits(pool)
            over = total - limit.size - limit.reserve
            for (worker, held_pool), held in self._held.items():
                if over > 0 and held_pool == pool:
                    yield worker, pool, min(over, held)
                    over -= held

    def held(self, pool: PoolKey) -> int:
        """Permits of a pool that are in use or set aside."""
        return self._pool[pool]

    @property
    def waiting(self) -> int:
        """Entries in the queue."""
        return len(self._waiting)

    def pools(self) -> dict[PoolKey, int]:
        """Permits in use or set aside, by pool."""
        return dict(self._pool)

    def _fits(self, pool: PoolKey, priority: int) -> bool:
        limit = self._limits(pool)
        size = limit.size + (limit.reserve if priority > 0 else 0)
        return (self._pool[pool] < size
                and (not limit.database or self._database[pool[:2]] < limit.database)
                and (not limit.user or self._user[pool[2]] < limit.user))

    def _in_the_way(self, pool: PoolKey, other: PoolKey) -> bool:
        """Would a connection of `other`, closed, make room for one of `pool`?"""
        limit = self._limits(pool)
        if self._pool[pool] >= limit.size:
            return other == pool
        if limit.database and self._database[pool[:2]] >= limit.database:
            return other[:2] == pool[:2]
        return bool(limit.user) and self._user[pool[2]] >= limit.user and other[2] == pool[2]

    def _count(self, pool: PoolKey, change: int) -> None:
        counters: tuple[tuple[Counter[object], object], ...] = (
            (self._pool, pool), (self._database, pool[:2]), (self._user, pool[2]))  # type: ignore[assignment]
        for counter, key in counters:
            counter[key] += change
            if not counter[key]:
                del counter[key]

    def _serve(self) -> None:
        """Set permits aside for those who wait, first come, first served, until no one fits."""
        for key, priority in list(self._waiting.items()):
            if key not in self._aside and self._fits(key[1], priority):
                del self._waiting[key]
                self._count(key[1], 1)
                self._aside[key] = self._clock()
                self._tell(*key)
