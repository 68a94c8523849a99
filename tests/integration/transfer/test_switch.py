"""The cutover through two proxies under load: nobody hears an error, nothing is lost, strays are refused."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Node
from shardproxy.tools.transfer.fence import fence_sql
from shardproxy.tools.transfer.parts import NotNow

from .town import Town

_numbers = itertools.count(1)


@pytest_asyncio.fixture
async def town(sharded_node: Node, tmp_path: Path) -> AsyncIterator[Town]:
    made = Town(sharded_node, f"town{os.getpid()}_{next(_numbers)}", tmp_path)
    try:
        await made.build()
        made.start()
        yield made
    finally:
        await made.remove()


class Load:
    """Clients that write and read through the proxies, and count what was acknowledged."""

    def __init__(self, town: Town, clients: int = 4) -> None:
        self.town, self.done, self.errors = town, 0, []  # type: ignore[var-annotated]
        self.longest = 0.0
        self._stop = False
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(clients)]

    async def _client(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        async with self.town.client(number % 2) as client:
            at = number
            while not self._stop:
                at += 1
                started = loop.time()
                account = at * 7 % 50 + 1
                try:
                    if number % 2:
                        async with client.transaction():
                            await client.execute("update accounts set balance = balance + 1 where id = $1", account)
                            await client.execute("insert into entries (account, delta) values ($1, 1)", account)
                    else:
                        await client.execute(f"with one as (select 1) update accounts set balance = balance + 1 "
                                             f"where id = {account}")
                        await client.execute("insert into entries (account, delta) values ($1, 1)", account)
                    await client.fetch("select * from accounts where id = $1", account)
                    self.done += 1
                except Exception as error:
                    self.errors.append(f"{type(error).__name__} {error}")
                    return
                self.longest = max(self.longest, loop.time() - started)

    async def stop(self) -> None:
        self._stop = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)


async def totals(town: Town) -> tuple[int, int, int]:
    async with town.client() as client:
        return (await client.fetchval("select count(*) from accounts"),
                await client.fetchval("select sum(balance) from accounts"),
                await client.fetchval("select sum(delta) from entries"))


@pytest.mark.timeout(120)
async def test_there_and_back_under_load(town: Town) -> None:
    load = Load(town)
    await asyncio.sleep(1.5)
    pause = await town.switch()
    await asyncio.sleep(1.0)
    assert load.errors == []
    async with town.direct(f"{town.name}_s0") as shard:
        assert await shard.fetchval("select count(*) from accounts") > 10
    async with town.direct() as stray:
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await stray.execute("insert into accounts values (1000, 0, 'stray')")
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await stray.execute("update shardproxy_old.accounts set balance = 0")
    back = await town.switch(backwards=True)
    await asyncio.sleep(1.0)
    await load.stop()
    assert load.errors == []
    assert load.done > 20
    assert await totals(town) == (50, load.done, load.done)
    async with town.direct() as there:
        assert await there.fetchval("select sum(balance) from balances") == load.done
        assert await there.fetchval("select sum(balance) from accounts") == load.done
    async with town.direct(f"{town.name}_s0") as shard:
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await shard.execute("update accounts set balance = 0")
    print(f"paused {pause:.0f} ms and {back:.0f} ms; {load.done} rounds, the longest {load.longest:.2f} s")
    assert pause < 2000 and back < 2000


@pytest.mark.timeout(120)
async def test_from_two_shards_to_three_and_back_under_load(town: Town) -> None:
    await town.switch()
    load = Load(town)
    await asyncio.sleep(0.5)
    pauses = [await town.switch(way="between")]
    await asyncio.sleep(0.5)
    async with town.client() as client:
        assert await client.fetchval("select count(*) from accounts") == 50
    counts = []
    for name in town.databases[1:]:
        async with town.direct(name) as shard:
            counts.append(await shard.fetchval("select count(*) from accounts"))
    assert sum(counts) == 50 and min(counts) > 5
    pauses.append(await town.switch(backwards=True, way="between"))
    await asyncio.sleep(0.5)
    pauses.append(await town.switch(way="between"))
    await asyncio.sleep(0.5)
    await load.stop()
    assert load.errors == []
    assert await totals(town) == (50, load.done, load.done)
    print(f"paused {[round(pause) for pause in pauses]} ms; {load.done} rounds, the longest {load.longest:.2f} s")


@pytest.mark.timeout(120)
async def test_a_long_transaction_blocks_and_is_named(town: Town) -> None:
    load = Load(town)
    async with town.direct() as direct, direct.transaction():
        await direct.execute("update accounts set name = 'long' where id = 50")
        await asyncio.sleep(0.3)
        with pytest.raises(NotNow) as refused:
            await town.switch(max_hold=1.0)
        assert direct.get_server_pid() in [blocker.pid for blocker in refused.value.blockers]
        assert await town.phase() == "announced"
    async with town.client() as client:
        async with client.transaction():
            await client.execute("update accounts set name = 'long' where id = 50")
            with pytest.raises(NotNow):
                await town.switch(max_hold=1.0)
            await client.execute("update accounts set name = 'longer' where id = 50")
        assert await client.fetchval("select name from accounts where id = 50") == "longer"
    assert await town.switch() < 3000
    await load.stop()
    assert load.errors == []
    assert await totals(town) == (50, load.done, load.done)


@pytest.mark.timeout(120)
async def test_a_long_reader_keeps_nothing_fenced(town: Town) -> None:
    async with town.direct() as reader, reader.transaction():
        with pytest.raises(NotNow):     # found out before anybody is held
            task = asyncio.create_task(town.switch(max_hold=1.0))
            await reader.fetch("select * from accounts")
            await asyncio.sleep(0.5)
            await task
        async with town.client() as client, town.direct() as direct:
            await client.execute("update accounts set balance = 1", timeout=2)
            body = {"fences": [["", [["public", "accounts"], ["public", "entries"]]]]}
            await direct.execute(";".join(fence_sql([("public", "accounts"), ("public", "entries")])))
            with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
                await client.execute("update accounts set balance = 2")
            await direct.execute("update shardproxy.holds set phase = 'hold', deadline = now(), body = $1",
                                 json.dumps(body))
            await asyncio.sleep(3)      # it is undone, although the reader still reads
            await client.execute("update accounts set balance = 2", timeout=2)
            await direct.execute("update accounts set balance = 3", timeout=2)


@pytest.mark.timeout(120)
async def test_what_does_not_touch_the_tables_goes_on_while_they_are_held(town: Town) -> None:
    async with town.direct() as direct, town.client() as one, town.client(1) as other:
        await direct.execute("create table others (id int primary key)")
        await direct.execute("update shardproxy.holds set phase = 'announced'")
        await direct.execute("insert into shardproxy.holds (transfer, tables, phase, deadline, body) values "
                             "('by hand', '[[\"public\", \"accounts\"]]', 'hold', now() + interval '3 s', "
                             "'{\"fences\": []}'); notify shardproxy")
        async with asyncio.timeout(2):
            while await direct.fetchval("select count(*) from shardproxy.proxies where holding -> 'drained' ? 'by hand'"
                                        ) < 2:
                await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await one.execute("insert into others values (1)")
        assert await other.fetchval("select count(*) from others") == 1
        async with one.transaction():
            await one.execute("insert into others values (2)")
            assert loop.time() - started < 1
            assert await one.fetchval("select count(*) from balances") == 50     # a view over a held table: waits
        assert 1 < loop.time() - started < 8
        shown = await town.proxies[0].admin("SHOW TRANSFERS")
        assert [(row["name"], row["phase"], row["tables"]) for row in shown] == [
            ("by hand", "announced", "public.accounts")]
