"""Counters of all workers added up, and their averages over the last stats period.

Invariant: a total never falls. What a worker had counted when it was last asked stays in the totals after it died.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shardproxy.server.figures import COUNTERS

__all__ = ["Averages", "Stats", "Totals"]

Totals = dict[str, Counter[str]]
"""Counters by database."""

Averages = dict[str, dict[str, int]]
"""By database: counts and bytes per second; times in microseconds per event."""

_PER_EVENT = {"xact_time_us": "xact_count", "query_time_us": "query_count",
              "wait_time_us": "server_assignment_count"}


class Stats:
    """Fed by ``record`` whenever workers were asked; ``snapshot`` ends a period."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._alive: dict[int, Totals] = {}
        self._dead: Totals = {}
        self._before: tuple[float, Totals] = (clock(), {})
        self._latest: tuple[float, Totals] | None = None

    def record(self, worker: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """What a worker answered to ``show("stats")``."""
        self._alive[worker] = {
            row["database"]: Counter({name: int(row.get(name, 0)) for name in COUNTERS}) for row in rows}

    def worker_gone(self, worker: int) -> None:
        """Its counters begin again at zero; what it had counted is kept."""
        for database, counters in self._alive.pop(worker, {}).items():
            self._dead.setdefault(database, Counter()).update(counters)

    def totals(self) -> Totals:
        """Since the proxy began."""
        found: Totals = {}
        for part in (self._dead, *self._alive.values()):
            for database, counters in part.items():
                found.setdefault(database, Counter()).update(counters)
        return found

    def snapshot(self) -> None:
        """A stats period has ended."""
        if self._latest is not None:
            self._before = self._latest
        self._latest = (self._clock(), self.totals())

    def averages(self) -> Averages:
        """Of the last full period; of the time since the beginning while there is none."""
        since, before = self._before
        until, latest = self._latest or (self._clock(), self.totals())
        return {database: _average(counters, before.get(database, Counter()), until - since)
                for database, counters in latest.items()}


def _average(latest: Counter[str], before: Counter[str], seconds: float) -> dict[str, int]:
    grown = {name: latest[name] - before[name] for name in COUNTERS}
    averages = {name: int(grown[name] / seconds) if seconds > 0 else 0 for name in COUNTERS}
    for name, events in _PER_EVENT.items():
        averages[name] = grown[name] // grown[events] if grown[events] else 0
    return averages
