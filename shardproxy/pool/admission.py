"""Who may hold connections of several pools at once: no more sessions than each pool has connections.

Whoever holds one connection and waits for another can wait for ever if the others do the same. With at most as many
such sessions as the smallest pool has connections, each of which holds at most one connection of a pool, there is
always one for each of them; sessions that need only one connection never wait while they hold it.

Invariant: ``taken`` sessions are inside; those that wait get in in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Admission"]


class Admission:
    """For one user of one database in one worker. ``limit``: how many at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Go in, if that is possible at once."""
        if self.taken >= self.limit or self._waiting:
            return False
        self.taken += 1
        return True

    async def wait(self, timeout: float | None) -> bool:
        """Go in as soon as possible. False: not in time."""
        if self.take():
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(timeout):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give()
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give(self) -> None:
        """Leave; the next one comes in."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1
