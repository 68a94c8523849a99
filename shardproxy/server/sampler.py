"""Measures how fresh the replicas of one primary are, as often as it matters.

While there are writes that some replica is not known to show: every ``lag_interval`` (less often for replicas that
are seconds behind). Otherwise once a second, and nothing but a look at the board in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardproxy.dialects.replication import LinkError
from shardproxy.log import Log
from shardproxy.topology.board_cy import ANY_TABLE, Board

from .floors import Floors, Lag
from .probe import Probe

__all__ = ["Replica", "Sampler"]

IDLE_S = 1.0
LOOK_S = 0.025
SLOW_S = 0.25
"""A replica that takes longer to answer is not waited for by the others."""
BEHIND_SHARE = 0.1
"""A replica that is n seconds behind is asked again after this share of n."""


@dataclass(slots=True)
class Replica:
    """A replica whose freshness is measured, and its index on the board."""

    probe: Probe
    index: int


class Sampler:
    """Of one group. ``primary`` and ``replicas`` tell whom to ask now; ``databases`` whose writes count."""

    def __init__(self, board: Board, interval: Callable[[], float], primary: Callable[[], Probe | None],
                 replicas: Callable[[], Sequence[Replica]], databases: Callable[[], Sequence[int]], log: Log,
                 ) -> None:
        self.floors = Floors()
        self.lags: dict[int, Lag] = {}
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._board, self._interval = board, interval
        self._primary, self._replicas, self._databases, self._log = primary, replicas, databases, log

    async def run(self) -> None:
        """For as long as the group lives."""
        try:
            while True:
                try:
                    await self._once()
                except Exception:  # nothing is claimed meanwhile, and the next turn comes
                    self._log.exception("freshness of replicas could not be measured")
                    await asyncio.sleep(IDLE_S)
        finally:
            for task in self._asked.values():
                task.cancel()

    async def _once(self) -> None:
        replicas = self._replicas()
        primary = self._primary()
        if primary is None or not replicas:
            await asyncio.sleep(LOOK_S)
            return
        await self._turn(primary, replicas)
        await self._pause(replicas)

    def reset(self, timeline: int, indexes: Sequence[int]) -> None:
        """Another primary: nothing that was known of a replica holds any more."""
        self.floors.reset(timeline)
        for index in indexes:
            self.forget(index)

    def forget(self, index: int) -> None:
        """A server restarted or cannot be reached: it may show less than it did."""
        self._board.set_fresh(index, 0)
        self.lags.pop(index, None)

    async def _turn(self, primary: Probe, replicas: Sequence[Replica]) -> None:
        started_ns = time.monotonic_ns()
        try:
            position = await primary.written()
        except LinkError:
            primary.wake()
            return
        if not self.floors.sample(started_ns, position):
            primary.wake()
            return
        for replica in replicas:
            if replica.index not in self._asked:
                self._asked[replica.index] = asyncio.create_task(self._ask(replica))
        await asyncio.wait(self._asked.values(), timeout=SLOW_S)
        known = [self.lags[replica.index].fresh_ns for replica in replicas if replica.index in self.lags]
        if len(known) == len(replicas):
            self.floors.prune(min(known))

    async def _ask(self, replica: Replica) -> None:
        timeline, losses = self.floors.timeline, replica.probe.losses
        try:
            position = await replica.probe.replayed()
        except LinkError:
            replica.probe.wake()
            return
        finally:
            self._asked.pop(replica.index, None)
        if self.floors.timeline != timeline or all(now.index != replica.index for now in self._replicas()):
            return  # the roles changed meanwhile
        if replica.probe.losses != losses:
            return  # so did the server
        lag = self.floors.replayed(position, time.monotonic_ns())
        if lag is None:
            self.forget(replica.index)
            self._board.set_figures(replica.index, position.value, position.timeline, -1, -1,
                                    replica.probe.latency_us)
            return
        self.lags[replica.index] = lag
        self._board.set_fresh(replica.index, lag.fresh_ns)
        self._board.set_figures(replica.index, position.value, position.timeline, lag.lag_bytes, lag.lag_ms,
                                replica.probe.latency_us)

    # -- when to ask again

    async def _pause(self, replicas: Sequence[Replica]) -> None:
        wait = self._busy_interval(replicas)
        if wait is not None:
            await asyncio.sleep(wait)
            return
        seen = self._last_write()
        for _ in range(round(IDLE_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if self._last_write() != seen:
                return

    def _busy_interval(self, replicas: Sequence[Replica]) -> float | None:
        """Seconds to the next turn; None if all replicas that can be measured show the last write."""
        last = self._last_write()
        behind = [lag.lag_ms / 1000 for replica in replicas
                  if (lag := self.lags.get(replica.index)) is not None and lag.fresh_ns <= last]
        if not behind:
            return None
        return max(self._interval(), min(IDLE_S, min(behind) * BEHIND_SHARE))

    def _last_write(self) -> int:
        return max((self._board.last_write(database, ANY_TABLE) for database in self._databases()), default=0)
