"""A database goes from one server to two shards, to four, to three, and two of its tables to another server and back,
while clients of all kinds work through two proxies, and others past them.

Nobody hears an error through the proxies; all that was acknowledged is there exactly once; who goes past the proxies is
refused as soon as the tables have left.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .city import City
from .traffic import KEYS, MORE, Traffic

OUT = ("--from", "main", "--keyspace", "customer", "--tables", "customers,orders,events,visits", "--to", "s0,s1")


class Judged:
    """A city, its traffic, and what was measured."""

    def __init__(self, city: City, traffic: Traffic) -> None:
        self.city, self.traffic = city, traffic
        self.pauses: dict[str, float] = {}

    async def move(self, tool: str, name: str, *options: str) -> None:
        """From start to complete."""
        city = self.city
        await city.do(tool, "start", name, *options)
        ready = await city.until(tool, name, "READY", seconds=120)
        assert ready["verified"]["mismatches"] == 0, ready
        assert not self.traffic.errors, self.traffic.errors
        self.pauses[name] = await self.switch(tool, name, "switch")
        assert not self.traffic.errors, self.traffic.errors
        await asyncio.sleep(0.5)
        print(name, round(self.pauses[name]), "ms;", self.traffic.told(), flush=True)
        await city.do(tool, "complete", name)
        assert not self.traffic.errors, self.traffic.errors

    async def switch(self, tool: str, name: str, verb: str) -> float:
        """Again while something stands in the way, as its message says."""
        for _ in range(20):
            code, out = await self.city.cli(tool, verb, name, "--max-hold", "5s", "--json")
            if code == 0:
                return float((await self.city.status(tool, name))["pause_ms"])
            assert code == 4, f"{code} {out}\n{self.city.log()}"
            print(f"{name}: {out.strip()}", flush=True)
            await asyncio.sleep(0.5)
        raise AssertionError(f"{name} cannot be switched: {out}")


async def judged(city: City) -> Judged:
    """Traffic on a city that has all tables."""
    traffic = Traffic(city)
    traffic.start()
    await asyncio.sleep(0.5)
    return Judged(city, traffic)


@pytest.fixture
def more_tables() -> dict[str, Any]:
    return {"more": KEYS, "more_sql": MORE}


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_one_two_four_three_shards_and_two_tables_away_and_back(city: City) -> None:
    run = await judged(city)
    try:
        await run.move("reshard", "out", *OUT)
        assert run.traffic.fenced > 0
        run.traffic.stray("customer/s0", "customer/s1")
        await run.move("reshard", "more", "--keyspace", "customer", "--to", "s0,s1,s2,s3")
        run.traffic.stray("customer/s2", "customer/s3")
        await run.move("federate", "away", "--tables", "invoices,receipts", "--to", "billing")
        await run.move("reshard", "fewer", "--keyspace", "customer", "--to", "s1,s2,s3")
        await run.move("federate", "back", "--tables", "invoices,receipts", "--to", "main")
    finally:
        await run.traffic.stop()
        print(run.traffic.told(), "pauses, ms:", run.pauses)
    assert run.traffic.errors == []
    await run.traffic.check()
    layout = json.loads(await city.do("topology", "show", "--json"))[city.name]["keyspaces"]["customer"]
    assert [name for name, shard in layout["shards"].items() if shard["slots"]] == ["s1", "s2", "s3"]


@pytest.mark.timeout(300)
async def test_a_long_transaction_is_named_and_waited_for_by_nobody(city: City) -> None:
    """The short way of the above: a client's open transaction puts the switch off, and holds nobody up meanwhile."""
    run = await judged(city)
    try:
        await city.do("reshard", "start", "out", *OUT)
        await city.until("reshard", "out", "READY", seconds=120)
        async with city.client(1) as client:
            async with client.transaction():
                await client.execute("insert into events values (7, 'a long one')")
                await asyncio.sleep(0.5)
                refused = json.loads(await city.do("reshard", "switch", "out", "--json", code=4))
                assert "a long one" in "".join(one["what"] for one in refused["blocked_by"]), refused
                told = (await city.status("reshard", "out"))["blocked_by"]
                assert any(one["pid"] and one["remedy"] and "a long one" in one["what"] for one in told), told
                before = sum(run.traffic.steps.values())
                await asyncio.sleep(1)
                assert sum(run.traffic.steps.values()) > before
            run.traffic.events.add((7, "a long one"))
            await run.switch("reshard", "out", "switch")
        await asyncio.sleep(0.5)
    finally:
        await run.traffic.stop()
        print(run.traffic.told())
    assert run.traffic.errors == []
    assert run.traffic.fenced > 0
    await run.traffic.check()
