"""Shards that come, go and get other slots: --move, --split, rebalance, add-shard and drain, by the command line."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Node

from .city import CUSTOMERS, City, Load
from .test_verbs import DONE, FAILED, REFUSED, USAGE, Terminal

HOLD = ("--max-hold", "5s")


async def whole(city: City, name: str, *options: str) -> None:
    """From start to complete."""
    verb = Terminal(city, name)
    await verb("start", *options)
    await verb.is_in("READY")
    await verb("switch", *HOLD)
    await verb("complete")


async def shards_of(city: City) -> dict[str, int]:
    """How many slots each shard has."""
    code, text = await city.say("topology", "show", "--json")
    assert code == DONE
    shards = json.loads(text)[city.name]["keyspaces"]["customer"]["shards"]
    return {name: found["slots"] for name, found in shards.items()}


async def counts(city: City) -> dict[str, int]:
    """How many customers each shard has: all of them together, each once."""
    found = {}
    for place in city.places:
        if place.startswith("customer/"):
            async with city.direct(place) as there:
                found[place[-2:]] = await there.fetchval("select count(*) from customers") if await there.fetchval(
                    "select to_regclass('customers') is not null") else 0
    assert sum(found.values()) == CUSTOMERS, found
    return found


@pytest.mark.long
@pytest.mark.timeout(800)
async def test_slots(city: City) -> None:
    load = Load(city, clients=2, pause=0.05)
    await whole(city, "out", "--keyspace", "customer", "--to", "s0")
    assert await shards_of(city) == {"s0": 64, "s1": 0, "s2": 0, "s3": 0}
    verb = Terminal(city, "some")
    await verb("plan", "--keyspace", "customer", "--from", "customer", "--move", "0-99=s1", code=USAGE, has="--move")
    await verb("plan", "--keyspace", "customer", "--from", "customer", "--move", "0-63=s0", code=USAGE,
               has="nothing to do")
    await verb("plan", "--keyspace", "customer", "--from", "customer", "--split", "5=s1", code=USAGE, has="range")
    await whole(city, "some", "--keyspace", "customer", "--from", "customer", "--move", "0-9=s1", "--move", "63=s2")
    assert await shards_of(city) == {"s0": 53, "s1": 10, "s2": 1, "s3": 0}
    found = await counts(city)
    assert found["s0"] > found["s1"] > found["s2"] > 0
    await load.check_now()
    code, text = await city.say("topology", "rebalance", "--by", "slots")
    assert code == DONE and "s0 53 -> 22, s1 10 -> 21, s2 1 -> 21" in text, text
    code, text = await city.say("topology", "rebalance")        # by size; the plan before was not started
    assert code == DONE, text
    await whole(city, "rebalance")
    found = await counts(city)
    assert max(found[name] for name in ("s0", "s1", "s2")) < 0.6 * CUSTOMERS
    await load.check_now()
    code, text = await city.say("topology", "add-shard", "s3")
    assert code == DONE and "s3 0 -> 16" in text, text
    await whole(city, "add-s3")
    assert (await city.say("topology", "add-shard", "s3")) == (FAILED, "shardproxy: shard s3 has slots already\n")
    code, text = await city.say("topology", "drain", "s0")
    assert code == DONE, text
    await whole(city, "drain-s0")
    assert (await shards_of(city))["s0"] == 0 and (await counts(city))["s0"] == 0
    assert (await city.say("topology", "drain", "s0")) == (FAILED, "shardproxy: shard s0 has no slots\n")
    await load.stop()
    await load.check()


@dataclass
class Ranges(City):
    """A city whose shards have ranges of customers."""

    def config(self) -> Mapping[str, Any]:
        found = super().config()
        space = found[self.name]["keyspaces"]["customer"]
        del space["slots"]
        space |= {"function": "range", "ranges": {"s0": {"below": 200}, "s1": {"at_least": 200}}}
        for name in ("s0", "s1"):
            del space["shards"][name]["empty"]
        return found


@pytest_asyncio.fixture
async def ranges(logical_node: Node, tmp_path: Path) -> AsyncIterator[Ranges]:
    """Before two proxies."""
    made = Ranges(logical_node, f"ranges{os.getpid()}", tmp_path)
    try:
        await made.build()
        made.start()
        yield made
    finally:
        await made.remove()


@pytest.mark.long
@pytest.mark.timeout(500)
async def test_ranges(ranges: Ranges) -> None:
    load = Load(ranges, clients=2, pause=0.05)
    await whole(ranges, "out", "--keyspace", "customer", "--to", "s0,s1")
    assert (await counts(ranges))["s0"] == 199
    verb = Terminal(ranges, "cut")
    await verb("plan", "--keyspace", "customer", "--from", "customer", "--split", "200=s2", code=USAGE,
               has="begins one")
    await whole(ranges, "cut", "--keyspace", "customer", "--from", "customer", "--split", "300=s2")
    assert await counts(ranges) == {"s0": 199, "s1": 100, "s2": 201, "s3": 0}
    async with ranges.client() as client:
        assert await client.fetchval("select count(*) from customers where id between 290 and 310") == 21
    await load.stop()
    await load.check()
    await verb("complete")
    await verb("reverse", code=REFUSED)
