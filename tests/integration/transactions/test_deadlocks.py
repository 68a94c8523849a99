"""Transactions that wait for each other on different servers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.log import get_logger
from shardproxy.server.deadlocks import Deadlocks, Edge, circles

from .bank import Bank, Fault, Process, TestLeg

S0, S1 = "customer/s0", "customer/s1"
TAKE = "update account set money = money + 1"


class Client:
    """A transaction of a client, with its legs begun."""

    def __init__(self, process: Process, bank: Bank, legs: Sequence[TestLeg]) -> None:
        self.places = {leg.place: leg for leg in legs}
        self.detail = ""
        self.number = process.transactions.enter(bank.name, self)

    def backends(self) -> list[tuple[str, int]]:
        return [(place, leg.connection.get_server_pid()) for place, leg in self.places.items()]

    def deadlocked(self, detail: str) -> None:
        self.detail = detail

    async def take(self, place: str) -> None:
        await self.places[place].connection.execute(TAKE)

    def waits_at(self, place: str) -> asyncio.Future[None]:
        return asyncio.ensure_future(self.take(place))


async def client(process: Process, bank: Bank, *places: str) -> Client:
    return Client(process, bank, await bank.legs(Fault(), {}, readers=places))


async def waiting(bank: Bank, count: int) -> None:
    """Until so many tellers wait for a lock."""
    async with asyncio.timeout(10):
        while await bank.value("", "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                                   f"usename = '{bank.name}_teller'") != count:
            await asyncio.sleep(0.02)


def detector(bank: Bank) -> Deadlocks:
    return Deadlocks(bank.links, bank.workers, bank.incarnations.workers, get_logger("deadlocks"))


async def test_a_circle_over_two_servers_is_broken(bank: Bank) -> None:
    first, second = await bank.worker(0), await bank.worker(1)
    one, two = await client(first, bank, S0, S1), await client(second, bank, S0, S1)
    await one.take(S0)
    await two.take(S1)
    works = [one.waits_at(S1), two.waits_at(S0)]
    await waiting(bank, 2)
    deadlocks = detector(bank)
    assert await deadlocks.look() == 0, "it must be seen twice"
    assert await deadlocks.look() == 1
    done, pending = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    failed = done.pop()
    with pytest.raises(asyncpg.QueryCanceledError):
        failed.result()
    victim, other = (one, two) if failed is works[0] else (two, one)
    assert S0 in victim.detail and S1 in victim.detail and not other.detail
    for leg in victim.places.values():
        await leg.run("rollback")
    await pending.pop()
    assert await deadlocks.look() == await deadlocks.look() == 0
    await bank.close([*one.places.values(), *two.places.values()])


async def test_waiting_alone_is_no_deadlock(bank: Bank) -> None:
    process = await bank.worker()
    one, two = await client(process, bank, S0, S1), await client(process, bank, S0, S1)
    await one.take(S0)
    await one.take(S1)
    works = [two.waits_at(S0)]
    await waiting(bank, 1)
    deadlocks = detector(bank)
    assert [await deadlocks.look() for _ in range(3)] == [0, 0, 0]
    for leg in one.places.values():
        await leg.run("commit")
    await asyncio.gather(*works)
    await bank.close([*one.places.values(), *two.places.values()])


async def test_a_circle_through_somebody_who_is_not_a_client(bank: Bank) -> None:
    """A direct session stands between the two: one -> direct session -> two at s0, two -> one at s1."""
    process = await bank.worker()
    keeper = await bank.connect(S0, f"{bank.name}_keeper")
    await keeper.execute("insert into account values (2, 0)")
    one, two = await client(process, bank, S0, S1), await client(process, bank, S0, S1)
    await one.take(S1)
    await two.places[S0].run(f"{TAKE} where id = 1")
    await keeper.execute(f"begin; {TAKE} where id = 2")
    works = [asyncio.ensure_future(keeper.execute(f"{TAKE} where id = 1")),
             asyncio.ensure_future(one.places[S0].connection.execute(f"{TAKE} where id = 2")), two.waits_at(S1)]
    await waiting(bank, 2)
    await asyncio.sleep(0.1)
    deadlocks = detector(bank)
    await deadlocks.look()
    assert await deadlocks.look() == 1
    assert bool(one.detail) != bool(two.detail)
    await bank.close([*one.places.values(), *two.places.values()])
    await asyncio.gather(*works, return_exceptions=True)
    await keeper.close()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_circles_are_circles_and_none_is_missed(pairs: list[tuple[int, int]]) -> None:
    edges = [Edge(("t", 0, a), ("t", 0, b), "", 0) for a, b in pairs]
    reach = {(a, b) for a, b in pairs if a != b}
    for _ in range(7):
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c}
    on_one = {("t", 0, a) for a, b in reach if a == b}
    found = circles(edges)
    for circle in found:
        assert sorted(edge.waiter for edge in circle) == sorted(edge.blocker for edge in circle)
        assert len({edge.waiter for edge in circle}) == len(circle)
    assert {edge.waiter for circle in found for edge in circle} == on_one
