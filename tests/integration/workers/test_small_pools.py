"""Pools that are smaller than the number of workers, and limits over several pools: nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from .conftest import MakeSpread, Spread

CLIENTS, ROUNDS = 8, 12


async def _work(made: Spread, number: int) -> None:
    """Statements that need one place, all places, or the coordinator too, in and out of transactions."""
    chance = random.Random(number)
    client = await made.client(number % 2)
    for _ in range(ROUNDS):
        kind = chance.randrange(5)
        first, second = sorted(chance.sample(range(1, 61), 2))
        if kind == 0:
            assert await client.fetchval("select count(*) from account") == 60
        elif kind == 1:
            await client.fetch("select id, lag(money) over (order by id) from account")
        elif kind == 2:
            await client.execute("update account set money = money + case id when $1 then 1 else -1 end "
                                 "where id in ($1, $2)", first, second)
        elif kind == 3:
            async with client.transaction():
                await client.execute("update account set money = money + 1 where id = $1", first)
                await client.execute("update account set money = money - 1 where id = $1", second)
        else:
            await client.fetch("select money from account where id = $1", first)
    await client.close()


@pytest.mark.parametrize("settings", [
    {"pool": {"size": 1}}, {"pool": {"size": 2}}, {"pool": {"size": 3}},
    {"pool": {"size": 5}, "database": {"max_db_connections": 1}},
    {"pool": {"size": 5, "max_user_connections": 4}},
    {"pool": {"size": 5, "max_user_connections": 4}, "listen": {"workers": 1}}], ids=str)
async def test_nobody_waits_for_ever(spread: MakeSpread, settings: dict[str, Any]) -> None:
    settings = {**settings, "pool": {"query_wait_timeout": 100, **settings["pool"]}}
    made = await spread(**settings)
    numbers = range(CLIENTS) if "listen" not in settings else range(0, CLIENTS * 2, 2)
    async with asyncio.timeout(90):
        await asyncio.gather(*(_work(made, number) for number in numbers))
    client = await made.client()
    assert await client.fetch("select count(*), sum(money) from account") == [(60, 6000)]


async def test_a_worker_dies_with_tokens(spread: MakeSpread) -> None:
    """What it held of the right to hold several connections is free again."""
    made = await spread(pool={"size": 1, "query_wait_timeout": 60})
    one, two = await made.pair()
    await one.execute("begin; update account set money = money + 1")
    waiting = asyncio.ensure_future(two.execute("update account set money = money + 2"))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.to_thread(made.kill_worker, 0)
    async with asyncio.timeout(30):
        assert await waiting == "UPDATE 60"


async def test_who_waits_may_leave(spread: MakeSpread) -> None:
    made = await spread(pool={"size": 1, "query_wait_timeout": 60})
    one, two = await made.pair()
    three = await made.client(1)
    await one.execute("begin; update account set money = money + 1")
    leaving = asyncio.ensure_future(two.execute("update account set money = money + 2"))
    staying = asyncio.ensure_future(three.execute("update account set money = money + 3"))
    await asyncio.sleep(0.3)
    two.terminate()
    await asyncio.gather(leaving, return_exceptions=True)
    await one.execute("commit")
    async with asyncio.timeout(30):
        assert await staying == "UPDATE 60"
        assert await one.execute("update account set money = money - 1") == "UPDATE 60"
    assert await three.fetchval("select sum(money) from account") in (6180, 6300)
