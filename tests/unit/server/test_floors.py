"""Freshness is never claimed for a write that the replica has not replayed, whatever the order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.replication import Position
from shardproxy.server.floors import SAMPLES_MAX, Floors, Lag


def floors_on(timeline: int) -> Floors:
    floors = Floors()
    floors.reset(timeline)
    return floors


def test_a_replica_is_as_fresh_as_the_newest_sample_it_has_passed() -> None:
    floors = floors_on(1)
    assert floors.replayed(Position(500, 1), 0) is None                 # nothing was sampled
    for at_ms, position in ((1, 100), (2, 200), (3, 200), (4, 300)):
        assert floors.sample(at_ms * 1_000_000, Position(position, 1))
    assert floors.replayed(Position(99, 1), 9_000_000) == Lag(0, 201, 8)
    assert floors.replayed(Position(100, 1), 9_000_000) == Lag(1_000_000, 200, 7)
    assert floors.replayed(Position(250, 1), 9_000_000) == Lag(3_000_000, 50, 5)
    assert floors.replayed(Position(300, 1), 9_000_000) == Lag(4_000_000, 0, 0)


def test_only_on_the_same_timeline() -> None:
    floors = floors_on(2)
    assert not floors.sample(1, Position(100, 1))
    assert not floors.sample(1, Position(100, 3))
    assert floors.sample(1, Position(100, 2))
    assert floors.replayed(Position(900, 1), 5) is None
    assert floors.replayed(Position(900, 0), 5) is None
    floors.reset(3)
    assert floors.replayed(Position(900, 3), 5) is None
    assert not Floors().sample(1, Position(1, 0))


@given(st.lists(st.tuples(st.sampled_from(["write", "sample", "replay", "prune"]), st.integers(1, 50)), max_size=400))
def test_never_early(events: list[tuple[str, int]]) -> None:
    floors = floors_on(1)
    now, written, replayed, claimed = 0, 100, 100, 0
    acknowledged: list[tuple[int, int]] = []        # (when, position)
    for event, amount in events:
        now += 1000
        if event == "write":
            written += amount
            acknowledged.append((now, written))
        elif event == "sample":
            floors.sample(now, Position(written, 1))
        elif event == "prune":
            floors.prune(claimed)
        else:
            replayed = min(written, replayed + amount * 3)
            lag = floors.replayed(Position(replayed, 1), now)
            if lag is not None:
                assert lag.fresh_ns >= claimed or lag.fresh_ns == 0
                claimed = lag.fresh_ns or claimed
                assert all(position <= replayed for at, position in acknowledged if at < lag.fresh_ns)


def test_memory_is_bounded_and_a_slow_replica_is_still_measured() -> None:
    floors = floors_on(1)
    for number in range(5_000):
        floors.sample(number, Position(number, 1))
    assert len(floors._samples) <= SAMPLES_MAX
    slow = floors.replayed(Position(2500, 1), 5_000)
    assert slow is not None
    assert 2400 < slow.fresh_ns <= 2500
    quick = floors.replayed(Position(4_999, 1), 5_000)
    assert quick == Lag(4_999, 0, 0)
    floors.prune(4_999)
    assert floors.replayed(Position(4_999, 1), 5_000) == quick
