"""Counters over workers and periods; temporary bans."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.server.background import Bans
from shardproxy.server.figures import COUNTERS
from shardproxy.server.stats import Stats


def row(count: int, database: str = "shop") -> dict[str, object]:
    return {"database": database, **dict.fromkeys(COUNTERS, count)}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100), st.booleans()), max_size=50))
def test_a_total_never_falls(steps: list[tuple[int, int, bool]]) -> None:
    stats, counted, before = Stats(), dict.fromkeys(range(3), 0), 0
    for worker, more, dies in steps:
        counted[worker] += more
        stats.record(worker, [row(counted[worker])])
        if dies:
            stats.worker_gone(worker)
            counted[worker] = 0
        total = stats.totals()["shop"]["query_count"]
        assert total >= before
        before = total
    assert before == sum(more for _, more, _ in steps)


def test_averages_are_of_the_last_period() -> None:
    now = 0.0
    stats = Stats(lambda: now)
    stats.record(0, [{"database": "shop", "xact_count": 100, "query_count": 200, "xact_time_us": 5_000}])
    now = 10.0
    assert stats.averages()["shop"]["xact_count"] == 10  # no period has ended: since the start
    stats.snapshot()
    stats.record(0, [{"database": "shop", "xact_count": 200, "query_count": 200, "xact_time_us": 25_000}])
    now = 20.0
    stats.snapshot()
    average = stats.averages()["shop"]
    assert (average["xact_count"], average["query_count"], average["xact_time_us"]) == (10, 0, 200)


async def test_a_ban_may_end_by_itself() -> None:
    done: list[tuple[str, bool]] = []
    bans = Bans(lambda server, on: done.append((server, on)))
    bans.ban("a", 0.05)
    bans.ban("b", 0.05)
    bans.ban("b", None)
    bans.ban("c", 60)
    bans.cancel()
    bans.ban("a", 0.05)
    await asyncio.sleep(0.2)
    assert done == [("a", True), ("b", True), ("b", True), ("c", True), ("a", True), ("a", False)]
