"""Connections move to workers that wait: idle ones at once, busy ones only from those with more than their share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from shardproxy.server.permits import Limit, Permits
from shardproxy.server.reclaim import Reclaimer
from shardproxy.server.worker_api import PoolKey

POOL: PoolKey = ("shop", "s0", "app")


class Workers:
    """Each has so many idle connections; closing one gives its permit back."""

    processes: Sequence[tuple[int, int, float, int]] = ()

    def __init__(self) -> None:
        self.idle = {0: 0, 1: 0, 2: 0}
        self.asked: list[tuple[int, bool]] = []
        self.permits = Permits(lambda pool: Limit(size=4), lambda worker, pool: None)

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> int:
        assert method == "reclaim"
        assert params["pool"] == list(POOL)
        self.asked.append((index, params["owed"]))
        closed: int = min(self.idle[index], params["count"])
        self.idle[index] -= closed
        for _ in range(closed):
            self.permits.release(index, POOL)
        return closed

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        return []

    async def show(self, what: str) -> list[tuple[int, dict[str, Any]]]:
        return []


@contextlib.asynccontextmanager
async def reclaiming(workers: Workers) -> Any:
    reclaimer = Reclaimer(workers.permits, workers)
    task = asyncio.create_task(reclaimer.run())
    try:
        yield reclaimer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_idle_connection_is_given_up_for_one_who_waits() -> None:
    workers = Workers()
    assert all(workers.permits.acquire(0, POOL) for _ in range(2))
    assert all(workers.permits.acquire(1, POOL) for _ in range(2))
    workers.idle[1] = 1
    assert not workers.permits.acquire(0, POOL)
    async with reclaiming(workers) as reclaimer:
        reclaimer.poke()
        await asyncio.sleep(0.1)
        assert workers.permits.acquire(0, POOL)
    assert workers.asked == [(1, False)]


async def test_who_has_more_than_his_share_owes() -> None:
    workers = Workers()
    assert all(workers.permits.acquire(0, POOL) for _ in range(4))
    assert not workers.permits.acquire(1, POOL)
    async with reclaiming(workers) as reclaimer:
        reclaimer.poke()
        await asyncio.sleep(0.4)
    assert workers.asked[0] == (0, True)
    assert workers.asked.count((0, True)) == 1  # not again and again for the same wish


async def test_nobody_is_asked_while_nobody_waits() -> None:
    workers = Workers()
    assert workers.permits.acquire(0, POOL)
    async with reclaiming(workers):
        await asyncio.sleep(0.6)
    assert workers.asked == []
