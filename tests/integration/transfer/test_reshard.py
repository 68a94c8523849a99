"""The whole of a transfer, by the command line, under load through two proxies."""

from __future__ import annotations

import asyncio
import json

import pytest

from .city import City, Load


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_from_one_server_to_shards_and_back(city: City) -> None:
    load = Load(city)
    await city.do("reshard", "start", "out", "--from", "main", "--keyspace", "customer", "--tables",
                  "customers,orders", "--to", "s0,s1")
    ready = await city.until("reshard", "out", "READY")
    assert ready["verified"]["mismatches"] == 0 and ready["rows_copied"] >= 2500
    await city.do("reshard", "switch", "out", "--max-hold", "5s")
    status = await city.status("reshard", "out")
    assert status["state"] == "SWITCHED" and 0 < status["pause_ms"] < 5000
    await city.do("reshard", "reverse", "out", "--max-hold", "5s")
    assert (await city.status("reshard", "out"))["state"] == "REVERSED"
    await city.do("reshard", "switch", "out", "--max-hold", "5s")
    await city.do("reshard", "complete", "out")
    await load.stop()
    await load.check()
    layout = json.loads(await city.do("topology", "show", "--json"))[city.name]["keyspaces"]["customer"]
    assert sorted(layout["tables"]) == ["public.customers", "public.orders", "public.settings"]
    async with city.direct("customer/s0") as s0, city.direct("customer/s1") as s1:
        assert min([await one.fetchval("select count(*) from customers") for one in (s0, s1)]) > 100


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_more_shards_and_fewer(city: City) -> None:
    """``settings`` is a reference table: a new shard gets it whole, with what is written to it meanwhile."""
    load, stop = Load(city, clients=3, pause=0.01), asyncio.Event()
    setting = asyncio.create_task(_set(city, stop))
    await _whole(city, "reshard", "out", "--keyspace", "customer", "--to", "s0,s1")
    await city.do("topology", "add-shard", "s2")
    await _whole(city, "reshard", "add-s2")
    stop.set()
    wanted = await setting
    for place in ("", "customer/s0", "customer/s1", "customer/s2"):
        async with city.direct(place) as there:
            assert dict(await there.fetch("select name, value::int from settings")) == wanted, place
    await load.check_now()
    async with city.direct("customer/s2") as s2:
        assert await s2.fetchval("select count(*) from customers") > 50
    await city.do("topology", "drain", "s0")
    await city.do("reshard", "start", "drain-s0")
    await city.until("reshard", "drain-s0", "READY")
    await city.do("reshard", "switch", "drain-s0", "--max-hold", "5s")
    await city.do("reshard", "reverse", "drain-s0", "--max-hold", "5s")
    await load.check_now()
    await city.do("reshard", "switch", "drain-s0", "--max-hold", "5s")
    await city.do("reshard", "complete", "drain-s0")
    await load.stop()
    await load.check()
    async with city.direct("customer/s0") as s0:
        assert await s0.fetchval("select count(*) from customers") == 0


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_tables_to_another_server_and_back(city: City) -> None:
    load = Load(city, clients=2, pause=0.02)
    await _whole(city, "federate", "away", "--tables", "invoices", "--to", "billing")
    async with city.client() as client, city.direct("billing/b0") as there:
        assert await there.fetchval("select count(*) from invoices") == 300
        assert await client.fetchval("select count(*) from invoices join customers c on c.id = customer") == 300
        await client.execute("insert into invoices (customer, text) values (1, 'new')")
        assert await there.fetchval("select count(*) from invoices") == 301
    await _whole(city, "federate", "back", "--tables", "invoices", "--to", "main")
    async with city.direct() as there:
        assert await there.fetchval("select count(*) from invoices") == 301
    await load.stop()
    await load.check()


async def _set(city: City, stop: asyncio.Event) -> dict[str, int]:
    """Write to the reference table until told to stop; what it has then."""
    made: dict[str, int] = {}
    async with city.client(1) as client:
        while not stop.is_set():
            number = sum(made.values())
            name = f"setting {number % 7}"
            await client.execute("insert into settings values ($1, $2) on conflict (name) do update "
                                 "set value = excluded.value", name, str(made.get(name, 0) + 1))
            made[name] = made.get(name, 0) + 1
            await asyncio.sleep(0.01)
    return made


async def _whole(city: City, tool: str, name: str, *options: str) -> None:
    """From start to complete."""
    await city.do(tool, "start", name, *options)
    await city.until(tool, name, "READY")
    await city.do(tool, "switch", name, "--max-hold", "5s")
    await city.do(tool, "complete", name)
