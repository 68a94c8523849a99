"""Idle server connections move from workers that do not need them to workers that wait for a permit.

Invariant: for each waiting (worker, pool), one holder at a time is asked for one connection; a holder that has more
than its share is asked at most once per `OWED_AGAIN_S` to give up a busy one when it becomes free.
"""

from __future__ import annotations

import asyncio
import time

from shardproxy.errors import ControlError
from shardproxy.server.permits import Permits
from shardproxy.server.state import WorkerPool
from shardproxy.server.worker_api import PoolKey

__all__ = ["Reclaimer"]

PACE_S = 0.05
TICK_S = 0.25
OWED_AGAIN_S = 1.0


class Reclaimer:
    """``run`` it; ``poke`` it when someone has begun to wait."""

    def __init__(self, permits: Permits, workers: WorkerPool, *others: Permits) -> None:
        """``others``: of what cannot be taken from anybody, only given back."""
        self._permits, self._workers, self._others = permits, workers, others
        self._poked = asyncio.Event()
        self._owed: dict[tuple[int, PoolKey], float] = {}

    def poke(self) -> None:
        """A worker waits for a permit."""
        self._poked.set()

    async def run(self) -> None:
        """Forever."""
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()
            for permits in (self._permits, *self._others):
                permits.tick()
            await self._lower()
            if self._permits.waiting:
                await self._sweep()
                await asyncio.sleep(PACE_S)
                if self._permits.waiting:
                    self._poked.set()

    async def _sweep(self) -> None:
        served: set[tuple[int, PoolKey]] = set()
        for wish in list(self._permits.wishes()):
            if (wish.worker, wish.pool) in served:
                continue
            owed = wish.owed and self._may_owe(wish.holder, wish.holder_pool)
            closed = await self._ask(wish.holder, wish.holder_pool, 1, owed)
            if closed or owed:
                served.add((wish.worker, wish.pool))

    async def _lower(self) -> None:
        """Limits were lowered by a reload: what is too much goes, as soon as it is free."""
        for worker, pool, count in list(self._permits.excess()):
            if self._may_owe(worker, pool):
                await self._ask(worker, pool, count, owed=True)

    def _may_owe(self, holder: int, pool: PoolKey) -> bool:
        now = time.monotonic()
        if now - self._owed.get((holder, pool), -OWED_AGAIN_S) < OWED_AGAIN_S:
            return False
        if len(self._owed) > 10_000:
            self._owed.clear()
        self._owed[(holder, pool)] = now
        return True

    async def _ask(self, holder: int, pool: PoolKey, count: int, owed: bool) -> int:
        try:
            return int(await self._workers.call(holder, "reclaim", pool=list(pool), count=count, owed=owed))
        except ControlError:
            return 0  # a dead worker's permits come back by themselves
