"""A worker's side of permits: asks the parent before a server connection is opened, tells it after one is closed.

Invariant: what was granted to someone who does not wait any more goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from shardproxy.config.model import Config
from shardproxy.errors import ControlClosed, ControlError, ServerError
from shardproxy.log import get_logger
from shardproxy.pool.pool_cy import Pool
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.worker_tasks import BackgroundTasks

__all__ = ["PermitOperations"]

_log = get_logger(__name__)


class PermitOperations(BackgroundTasks):
    """The part of ``Worker`` that has to do with permits; the fields are the worker's."""

    config: Config
    databases: dict[str, DatabaseRuntime]
    _permits: dict[Any, asyncio.Event]

    async def permit(self, pool: Pool) -> Any:
        """A permit for one more server connection of a pool; False if nobody waits for it any more."""
        key = list(pool.key)
        while pool.waiters or not pool.links:
            waited_ns = time.monotonic_ns() - min(
                (getattr(w, "requested_ns", 0) or time.monotonic_ns() for w in pool.waiters), default=0
            )
            reserve_after = self.config.pool.reserve_timeout
            priority = int(bool(pool.waiters) and reserve_after > 0 and waited_ns > reserve_after * 1e9)
            event = self._permits.setdefault(tuple(key), asyncio.Event())
            event.clear()
            try:    # without a limit: an answer that comes late is a permit all the same, and nobody else asks again
                if await self.control.call("acquire", timeout=None, pool=key, priority=priority):
                    return True
            except ControlClosed:
                return False
            except ControlError as error:
                _log.warning("no permit for a server connection", pool=key, error=str(error))
            if not pool.waiters:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await event.wait()
        return False

    async def dedicated_permit(self, pool: Pool, patience: float) -> None:
        """A permit for a connection that one client will have to its end. ServerError: none is free in time (0: ever).

        An idle connection makes room, or one that is in use when it is released.
        """
        key = list(pool.key)
        event = self._permits.setdefault(pool.key, asyncio.Event())
        made_room = False
        try:
            async with asyncio.timeout(patience or None):
                while True:
                    event.clear()
                    if not pool.paused and await self.asked("acquire", self._not_wanted, pool=key):
                        return
                    if not made_room:
                        made_room = True
                        await self.reclaim(key, 1, owed=True)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            await event.wait()
        except TimeoutError:
            raise ServerError("53300", "no server connection became free within query_wait_timeout",
                              hint="Raise pool.size, or look at SHOW POOLS.") from None  # fmt: skip
        except ControlError as error:
            raise ServerError("57P03", f"no permit for a server connection: {error}") from None

    def _not_wanted(self, granted: bool, pool: list[str]) -> None:
        if granted:
            self.control.notify("release", pool=pool)

    def give_back(self, pool: Pool) -> None:
        """A server connection is closed."""
        self.control.notify("release", pool=list(pool.key))

    async def reclaim(self, pool: list[str], count: int, owed: bool = False) -> int:
        found = self._pool(pool)
        if found is None:
            return 0
        closed = 0
        for server in list(found.idle)[:count]:
            found.retire(server)
            closed += 1
        if owed:  # the missing ones close as soon as they are released, those opened later included
            found.owed += count - closed
            pinned_last = sorted(found.links, key=lambda server: server.pins is not None)
            for server in [s for s in pinned_last if not s.retiring][: found.owed]:
                found.owed -= 1
                found.retire(server)
        return closed

    def _pool(self, key: list[str]) -> Pool | None:
        database = self.databases.get(key[0])
        return database.pools.get((key[1], key[2])) if database else None

    async def permit_ready(self, pool: list[str]) -> None:
        event = self._permits.get(tuple(pool))
        if event is not None:
            event.set()
