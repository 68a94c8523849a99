"""Keeps one connection to one server, and asks it again and again what it is.

Invariants: ``observation`` is what the last check saw, None if that failed; ``changed`` is called after every check,
and ``lost`` at once when the connection ends between checks; a check ends within twice the timeout.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from shardproxy.dialects.replication import Link, LinkError, Observation, Position, Replication, Target

__all__ = ["Probe"]

FRESH_LINK_S = 0.1
"""Suspicions within this time of a new connection are answered by it."""

EWMA = 0.2


class Probe:
    """One server of a group. ``run`` is its task."""

    def __init__(self, replication: Replication, target: Target, timeout: float, *,
                 interval: Callable[[], float], changed: Callable[[Probe], None], lost: Callable[[Probe], None],
                 ) -> None:
        self.target = target
        self.observation: Observation | None = None
        self.last: Observation | None = None
        self.error = "not asked yet"
        self.checked_ns = 0
        self.latency_us = 0
        self.losses = 0
        """How often a connection ended by itself: an answer from before may be of another run of the server."""
        self._replication, self._timeout = replication, timeout
        self._interval, self._changed, self._lost = interval, changed, lost
        self._link: Link | None = None
        self._linked_ns = 0
        self._fresh_link = False
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()

    # -- the task

    async def run(self) -> None:
        """Check, wait, check again; for as long as the group lives."""
        try:
            while True:
                self._wake.clear()
                await self.check()
                self._changed(self)
                await self._pause(self._interval())
        finally:
            self.close()

    async def check(self) -> None:
        """One check. Never raises."""
        try:
            async with self._lock:
                link = await self._connected()
                started = time.perf_counter_ns()
                self.observation = self.last = await link.observe()
                took = (time.perf_counter_ns() - started) // 1000
            self.latency_us = round(self.latency_us + EWMA * (took - self.latency_us)) if self.latency_us else took
            self.error = ""
        except LinkError as error:
            if not (error.busy and self.observation is not None):  # busy: alive, and what it was a moment ago
                self.observation = None
            self.error = str(error)
        except Exception as error:  # whatever it is, the next check comes
            self.close()
            self.observation, self.error = None, repr(error)
        self.checked_ns = time.monotonic_ns()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def wake(self) -> None:
        """Check again now."""
        self._wake.set()

    def suspect(self) -> None:
        """Someone could not use this server: check it now, and over a new connection.

        An old connection may go on working while the server takes no new ones (it is shutting down).
        """
        if time.monotonic_ns() - self._linked_ns > FRESH_LINK_S * 1e9:
            self._fresh_link = True
        self.wake()

    # -- the connection

    async def _connected(self) -> Link:
        if self._link is not None and not self._link.lost and not self._fresh_link:
            return self._link
        self._fresh_link = False
        try:
            link = await self._replication.connect(self.target, self._timeout, self._ended)
        except LinkError as error:
            if error.busy and self._link is not None and not self._link.lost:
                return self._link
            self.close()
            raise
        self.close()
        self._link, self._linked_ns = link, time.monotonic_ns()
        return link

    def _ended(self) -> None:
        """A connection ended, perhaps one that we dropped ourselves."""
        if self._link is not None and self._link.lost:
            self._link = None
            self.losses += 1
            self._lost(self)
            self.wake()

    def close(self) -> None:
        """Drop the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.abort()

    # -- positions

    async def written(self) -> Position:
        """See ``Link.written``. LinkError if there is no connection."""
        async with self._lock:
            return await self._usable().written()

    async def replayed(self) -> Position:
        """See ``Link.replayed``. LinkError if there is no connection."""
        async with self._lock:
            return await self._usable().replayed()

    def _usable(self) -> Link:
        if self._link is None or self._link.lost:
            raise LinkError("not connected")
        return self._link
