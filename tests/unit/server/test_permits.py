"""Permits: never above a limit, no one starves, nothing is lost with a worker."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy.server.permits import HOLD_S, Limit, Permits
from shardproxy.server.worker_api import PoolKey

A, B, C = ("shop", "s0", "app"), ("shop", "s0", "web"), ("shop", "s1", "app")


class Told:
    """Collects who was told, and a clock that only moves by hand."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.now, self.told = limit, 0.0, deque[tuple[int, PoolKey]]()
        self.permits = Permits(lambda pool: self.limit, lambda worker, pool: self.told.append((worker, pool)),
                               lambda: self.now)


def test_all_at_once_up_to_the_size() -> None:
    permits = Told(Limit(size=3)).permits
    assert [permits.acquire(0, A) for _ in range(5)] == [True, True, True, False, False]
    assert permits.acquire(0, C)
    assert permits.held(A) == 3


def test_the_reserve_is_for_those_who_waited() -> None:
    permits = Told(Limit(size=1, reserve=1)).permits
    assert permits.acquire(0, A)
    assert not permits.acquire(0, A)
    assert permits.acquire(0, A, priority=1)
    assert not permits.acquire(1, A, priority=1)


def test_limits_of_database_and_user_hold_over_pools() -> None:
    permits = Told(Limit(size=9, database=2, user=3)).permits
    assert [permits.acquire(0, A), permits.acquire(1, B), permits.acquire(2, A)] == [True, True, False]
    assert [permits.acquire(0, C), permits.acquire(0, C), permits.acquire(0, C)] == [True, True, False]


def test_a_freed_permit_goes_to_the_first_in_the_queue() -> None:
    told = Told(Limit(size=1))
    assert told.permits.acquire(0, A)
    assert not told.permits.acquire(1, A)
    assert not told.permits.acquire(2, A)
    told.permits.release(0, A)
    assert list(told.told) == [(1, A)]
    assert not told.permits.acquire(0, A)  # it may not overtake
    assert told.permits.acquire(1, A)
    told.permits.release(1, A)
    assert list(told.told) == [(1, A), (2, A)]


def test_what_is_not_fetched_passes_on() -> None:
    told = Told(Limit(size=1))
    assert told.permits.acquire(0, A)
    assert not told.permits.acquire(1, A)
    assert not told.permits.acquire(2, A)
    told.permits.release(0, A)
    told.now += HOLD_S + 0.1
    told.permits.tick()
    assert list(told.told) == [(1, A), (2, A)]
    assert told.permits.acquire(2, A)


def test_a_dead_worker_gives_everything_back() -> None:
    told = Told(Limit(size=2))
    assert [told.permits.acquire(0, A) for _ in range(3)] == [True, True, False]
    assert not told.permits.acquire(1, A)
    told.permits.worker_died(0)
    assert list(told.told) == [(1, A)]
    assert told.permits.acquire(1, A)
    assert told.permits.held(A) == 1
    told.permits.worker_died(1)
    assert told.permits.pools() == {}


def test_a_permit_that_was_never_given_cannot_be_released() -> None:
    permits = Told(Limit(size=1)).permits
    permits.release(0, A)
    assert permits.acquire(0, A)
    permits.release(1, A)
    assert not permits.acquire(1, A)


def test_who_must_give_up_a_connection() -> None:
    permits = Told(Limit(size=3, database=4)).permits
    for _ in range(3):
        assert permits.acquire(0, A)
    assert not permits.acquire(1, A)
    assert [(wish.holder, wish.holder_pool, wish.owed) for wish in permits.wishes()] == [(0, A, True)]
    permits.worker_died(1)
    assert permits.acquire(2, B)
    assert not permits.acquire(3, B)
    assert {(wish.holder, wish.holder_pool, wish.owed) for wish in permits.wishes()} == {
        (0, A, False), (2, B, True)}


def test_lowered_limits_name_what_is_too_much() -> None:
    told = Told(Limit(size=4))
    for worker in (0, 0, 0, 1):
        assert told.permits.acquire(worker, A)
    told.limit = Limit(size=1)
    assert sum(count for _, _, count in told.permits.excess()) == 3


POOLS = [A, B, C, ("other", "s0", "app")]
ACTS = ["acquire", "urgent", "release", "die", "late"]
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3),
                           st.sampled_from(POOLS)), max_size=120)

LIMITS = st.builds(Limit, size=st.integers(1, 4), reserve=st.integers(0, 2), database=st.integers(0, 5),
                   user=st.integers(0, 5))


@given(STEPS, LIMITS)
@settings(max_examples=300, deadline=None)
def test_limits_hold_and_no_one_waits(steps: list[tuple[str, int, PoolKey]], limit: Limit) -> None:
    told = Told(limit)
    held: Counter[tuple[int, PoolKey]] = Counter()
    for what, worker, pool in steps:
        if what in ("acquire", "urgent"):
            held[(worker, pool)] += told.permits.acquire(worker, pool, what == "urgent")
        elif what == "release" and held[(worker, pool)]:
            held[(worker, pool)] -= 1
            told.permits.release(worker, pool)
        elif what == "die":
            told.permits.worker_died(worker)
            held = Counter({key: count for key, count in held.items() if key[0] != worker})
        elif what == "late":
            told.now += HOLD_S + 1
            told.permits.tick()
        _check_limits(told.permits, held, limit)
    # Everyone who waits is told once those who hold give up: no starvation.
    told.told.clear()
    told.now += HOLD_S + 1
    waiting, rounds = told.permits.waiting, 0
    while any(held.values()) or told.permits.waiting:
        for (worker, pool), count in list(held.items()):
            for _ in range(count):
                told.permits.release(worker, pool)
        held.clear()
        told.now += HOLD_S + 1
        told.permits.tick()
        rounds += 1
        assert rounds <= waiting + 2
    told.now += HOLD_S + 1
    told.permits.tick()
    assert told.permits.pools() == {}


def _check_limits(permits: Permits, held: Counter[tuple[int, PoolKey]], limit: Limit) -> None:
    totals: Counter[object] = Counter()
    for (_, pool), count in held.items():
        for key in (pool, pool[:2], pool[2]):
            totals[key] += count
    for pool in POOLS:
        assert totals[pool] <= permits.held(pool) <= limit.size + limit.reserve
        assert not limit.database or totals[pool[:2]] <= limit.database
        assert not limit.user or totals[pool[2]] <= limit.user


@given(st.integers(2, 5), st.integers(1, 4), st.integers(20, 60))
@settings(max_examples=50, deadline=None)
def test_turns_are_shared_evenly(workers: int, size: int, turns: int) -> None:
    told = Told(Limit(size=size))
    holders = deque(worker for worker in range(workers) if told.permits.acquire(worker, A))
    got: Counter[int] = Counter()
    for _ in range(turns):
        worker = holders.popleft()
        told.permits.acquire(worker, A)  # it wants the next one too: to the end of the queue
        told.permits.release(worker, A)
        while told.told:
            turn, pool = told.told.popleft()
            assert told.permits.acquire(turn, pool)
            holders.append(turn)
            got[turn] += 1
        if not holders:
            break
    if workers > size:
        assert max(got.values()) - min(got[worker] for worker in range(workers)) <= 1 + size
