"""What a replica is known to show: positions sampled on the primary, matched with positions replayed by replicas.

A sample is (t0, position, timeline) with t0 taken *before* the position was asked for. A replica that has replayed
the position on that timeline shows everything that was acknowledged before t0.

Invariants: a claim is never early (the replica was seen at the sample's position, on the sample's timeline, after
the sample was taken); ``reset`` forgets every sample, so nothing of an old timeline is claimed after a promotion.
No I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shardproxy.dialects.replication import Position

__all__ = ["Floors", "Lag", "Sample"]

SAMPLES_MAX = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """A position of the primary, and the last moment whose acknowledged writes lie before it."""

    at_ns: int
    position: int
    first_ns: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a replica is behind. ``fresh_ns``: all acknowledged before is visible (0: nothing is known)."""

    fresh_ns: int
    lag_bytes: int
    lag_ms: int


class Floors:
    """Samples of one primary, on one timeline."""

    def __init__(self) -> None:
        self.timeline = 0
        self._samples: deque[Sample] = deque()

    @property
    def newest(self) -> Sample | None:
        """The last sample."""
        return self._samples[-1] if self._samples else None

    def reset(self, timeline: int) -> None:
        """Another primary or another timeline."""
        self.timeline = timeline
        self._samples.clear()

    def sample(self, at_ns: int, position: Position) -> bool:
        """A position that was asked for at ``at_ns``. False if it is of another timeline, and so was not taken."""
        if position.timeline != self.timeline or self.timeline == 0:
            return False
        if len(self._samples) >= SAMPLES_MAX:
            self._thin()
        newest = self.newest
        if newest is not None and newest.position >= position.value:
            self._samples[-1] = Sample(at_ns, newest.position, newest.first_ns)
        else:
            self._samples.append(Sample(at_ns, position.value, at_ns))
        return True

    def replayed(self, position: Position, now_ns: int) -> Lag | None:
        """What follows from a position that a replica has replayed. None: of another timeline, nothing follows."""
        if position.timeline != self.timeline or not self._samples:
            return None
        fresh = 0
        for sample in self._samples:
            if sample.position > position.value:
                behind = self._samples[-1].position - position.value
                return Lag(fresh, behind, max(1, (now_ns - sample.first_ns) // 1_000_000))
            fresh = sample.at_ns
        return Lag(fresh, 0, 0)

    def _thin(self) -> None:
        """Give up the sample whose neighbours are closest: a replica far behind needs no more than steps."""
        samples = self._samples
        least = min(range(1, len(samples) - 1), key=lambda at: samples[at + 1].at_ns - samples[at - 1].at_ns)
        del samples[least]

    def prune(self, slowest_ns: int) -> None:
        """Forget samples that every replica has passed, but the last such."""
        while len(self._samples) > 1 and self._samples[1].at_ns <= slowest_ns:
            self._samples.popleft()
