"""Who may hold connections of several pools at once: no more sessions than each pool has connections.

Whoever holds one connection and waits for another can wait for ever if the others do the same. With at most as many
such sessions as the smallest pool has connections, each of which holds at most one connection of a pool, there is
always one for each of them; sessions that need only one connection never wait while they hold it.

A worker lets in its share of them. Where that is less than one, or where limits hold over several pools, a session
needs a token of the parent, which counts for all workers (``SharedAdmission``).

Invariants:
* ``taken`` sessions are inside; those that wait get in in the order in which they came.
* A token that was given is given back, whatever became of whoever asked for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

__all__ = ["Admission", "SharedAdmission"]

AGAIN_S = 1.0
"""A token is asked for again this often, should the news that one is free not come."""


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


class SharedAdmission:
    """The same, over all workers. ``ask`` gets a token, or a place in the parent's queue; ``freed`` is set when it may
    be this worker's turn; ``back`` gives a token back."""

    def __init__(self, ask: Callable[[], Awaitable[bool]], back: Callable[[], None]) -> None:
        self._ask, self._back = ask, back
        self._turn = asyncio.Lock()
        self._asking: set[asyncio.Future[bool]] = set()
        self.freed = asyncio.Event()

    def take(self) -> bool:
        """Never at once."""
        return False

    async def wait(self, timeout: float | None) -> bool:
        """Go in as soon as possible. False: not in time."""
        try:
            async with asyncio.timeout(timeout), self._turn:
                while not await self._token():
                    try:
                        async with asyncio.timeout(AGAIN_S):
                            await self.freed.wait()
                    except TimeoutError:
                        pass
        except TimeoutError:
            return False
        return True

    def give(self) -> None:
        """Leave."""
        self._back()

    async def _token(self) -> bool:
        """Ask. If the answer is not waited for to its end, a token that it brings goes back."""
        self.freed.clear()
        asking = asyncio.ensure_future(self._ask())
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, asking: asyncio.Future[bool]) -> None:
        if not asking.cancelled() and asking.exception() is None and asking.result():
            self._back()
