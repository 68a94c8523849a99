"""What the parent does beside its main work: tasks that end with it, counters, temporary bans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shardproxy.errors import ShardproxyError
from shardproxy.log import get_logger
from shardproxy.server.state import State

__all__ = ["Background", "Bans", "count", "report"]

COUNT_EVERY_S = 5.0
"""How much of its counters a worker that dies can take with it."""
PERIOD_S = 60.0
"""Stats period where the log shall not show it."""

_log = get_logger(__name__)


class Background:
    """Tasks whose failure is logged, and which are all ended by ``cancel``."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run in the background."""
        task = asyncio.create_task(self._guard(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except ShardproxyError as error:
            _log.error("background task ended", error=str(error))
        except Exception:
            _log.exception("background task failed")

    def cancel(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()


class Bans:
    """Servers that get no reads, some of them for a time. `ban` is the monitor's."""

    def __init__(self, ban: Callable[[str, bool], None]) -> None:
        self._ban = ban
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def ban(self, server_id: str, seconds: float | None) -> None:
        """Until ``unban``, or for a time."""
        self._forget(server_id)
        self._ban(server_id, True)
        if seconds is not None:
            self._timers[server_id] = asyncio.get_running_loop().call_later(seconds, self.unban, server_id)

    def unban(self, server_id: str) -> None:
        """End a ban; nothing happens if a reload has removed the server."""
        self._forget(server_id)
        try:
            self._ban(server_id, False)
        except KeyError:
            pass

    def cancel(self) -> None:
        """No ban ends any more."""
        for server_id in list(self._timers):
            self._forget(server_id)

    def _forget(self, server_id: str) -> None:
        timer = self._timers.pop(server_id, None)
        if timer is not None:
            timer.cancel()


async def count(state: State) -> None:
    """Ask the workers for their counters again and again."""
    while True:
        await asyncio.sleep(COUNT_EVERY_S)
        await state.totals()


async def report(state: State) -> None:
    """End stats periods, and say in the log what happened in each."""
    while True:
        period_s = state.config.log.stats_period
        await asyncio.sleep(period_s or PERIOD_S)
        await state.totals()
        state.stats.snapshot()
        for database, average in state.stats.averages().items() if period_s else ():
            _log.info("stats", database=database, xacts_per_s=average["xact_count"],
                      queries_per_s=average["query_count"], in_bytes_per_s=average["bytes_received"],
                      out_bytes_per_s=average["bytes_sent"], xact_us=average["xact_time_us"],
                      query_us=average["query_time_us"], wait_us=average["wait_time_us"])
