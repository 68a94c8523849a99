"""A target that is full, a network that is cut, DDL in the middle: writes go on at the old side, status says what is to
be done, and the transfer goes on where it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Node
from tests.fixtures.faults import Faults

from .city import City, Load
from .test_verbs import BLOCKED, DONE, REFUSED, START, Terminal

FULL = """
create function full_disk() returns trigger language plpgsql as $$ begin raise exception
    'could not extend file "base/1/2": No space left on device' using errcode = 'disk_full'; end $$;
create trigger full_disk before insert or update or delete on {0} for each statement execute function full_disk();
alter table {0} enable always trigger full_disk
"""


async def until_waiting(verb: Terminal, text: str) -> None:
    """Until status says that it waits because of this."""
    async with asyncio.timeout(60):
        while text not in (await verb.body("waiting") or ""):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(300)
async def test_a_target_that_is_full(city: City) -> None:
    """The server's own answer is made by a trigger; what is tested is what is made of it."""
    verb, load = Terminal(city), Load(city, clients=2, pause=0.05)
    async with city.direct("customer/s1") as s1:
        await s1.execute("create table orders (id bigint, customer bigint not null, amount numeric(10, 2) not null, "
                         "made timestamptz not null default now(), primary key (id, customer))")
        await s1.execute(FULL.format("orders"))
        await verb("start", *START)
        async with asyncio.timeout(60):
            while not (await city.state("out"))[1]:
                await asyncio.sleep(0.1)
        text = await verb("status", has="No space left on device")
        assert "make room on the disk of the server that says so, then `resume`; or `cancel`" in text
        await verb("switch", code=REFUSED)
        await s1.execute("alter table orders disable trigger full_disk")
        await verb("resume")
        await verb.is_in("READY")
        await s1.execute("alter table orders enable always trigger full_disk")
        await until_waiting(verb, "No space left on device")
        code, _ = await city.say("reshard", "switch", "out", "--max-hold", "1s")
        assert code == BLOCKED
        await load.check_now()
        await s1.execute("drop function full_disk cascade")
    async with asyncio.timeout(60):
        while await verb.body("waiting"):
            await asyncio.sleep(0.1)
    await verb("switch", "--max-hold", "5s")
    await load.stop()
    await load.check()


@dataclass
class Cut(City):
    """A city whose shards are reached through a relay."""

    relay: Faults | None = None

    def servers(self, place: str) -> list[tuple[str, int]]:
        assert self.relay is not None
        return [(self.relay.host, self.relay.port)] if place else super().servers(place)


@pytest_asyncio.fixture
async def cut(logical_node: Node, tmp_path: Path) -> AsyncIterator[Cut]:
    """Before two proxies."""
    async with Faults(logical_node.port) as relay:
        made = Cut(logical_node, f"cut{os.getpid()}", tmp_path, relay=relay)
        try:
            await made.build()
            made.start()
            yield made
        finally:
            relay.black_hole = False
            for proxy in made.proxies:
                proxy.expect_errors = True
            await made.remove()


@pytest.mark.timeout(300)
async def test_a_network_that_is_cut(cut: Cut) -> None:
    """The shards cannot be reached while rows are copied, and again when it is to be switched."""
    assert cut.relay is not None
    verb, load = Terminal(cut), Load(cut, clients=2, pause=0.05)
    await verb("plan", *START)
    await verb("throttle", "--rate", "40kB")
    await verb("start")
    await verb.is_in("COPYING")
    cut.relay.reset_all()
    await verb("throttle", "--rate", "0")
    await verb.is_in("READY")
    cut.relay.black_hole = True
    code, text = await cut.say("reshard", "switch", "out", "--max-hold", "1s")
    assert code == BLOCKED, text
    await load.check_now()                      # writes go on where they were
    cut.relay.black_hole = False
    cut.relay.reset_all()
    async with asyncio.timeout(60):
        while await verb.body("waiting"):
            await asyncio.sleep(0.1)
    for _ in range(20):                         # the proxies must have found the shards again
        code, text = await cut.say("reshard", "switch", "out", "--max-hold", "5s")
        if code != BLOCKED:
            break
        await asyncio.sleep(1)
    assert code == DONE, text
    await load.stop()
    await load.check()


@pytest.mark.timeout(300)
async def test_ddl_in_the_middle(city: City) -> None:
    """It is shown as a difference; undone, or made at the targets as well, the transfer goes on."""
    verb = Terminal(city)
    await verb("start", *START)
    await verb.is_in("READY")
    async with city.direct() as there:
        await there.execute("alter table orders add column extra int default 7")
        await there.execute("insert into orders (customer, amount) values (1, 1)")
        async with asyncio.timeout(60):
            while not (await city.state("out"))[1]:
                await asyncio.sleep(0.1)
        text = await verb("status", has="+public.orders: column extra integer default 7")
        assert "undo the change and `resume`" in text and "`resume --accept`" in text
        await verb("switch", code=REFUSED, has="has failed")
        for place in ("customer/s0", "customer/s1"):
            async with city.direct(place) as shard:
                await shard.execute("alter table orders add column extra int default 7")
        await verb("resume", "--accept")
        await there.execute("update orders set extra = 8 where id < 10")
    await verb("verify", has="rows are equal")
    await verb("switch", "--max-hold", "5s")
    async with city.client() as client:
        assert await client.fetchval("select count(*) from orders where extra = 8") == 9
        assert await client.fetchval("select count(*) from orders where extra = 7") == 1992
