"""The whole of a transfer, by the command line, under load through two proxies."""

from __future__ import annotations

import json

from .city import City, Load


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
    assert sorted(layout["tables"]) == ["public.customers", "public.orders"]
    async with city.direct("customer/s0") as s0, city.direct("customer/s1") as s1:
        assert min([await one.fetchval("select count(*) from customers") for one in (s0, s1)]) > 100
