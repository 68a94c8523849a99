"""A slot is dropped, gives up its WAL, or stays behind on a primary that died: the transfer compares and goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries

from .city import City, Load
from .conftest import CITY_SETTINGS

MAX_HOLD = ("--max-hold", "5s")
START = ("--keyspace", "customer", "--tables", "customers,orders,settings", "--to", "s0,s1")


async def compared(city: City, times: int, *states: str) -> str:
    """Wait until the sides were compared so often because of a lost slot; what the log says of the last time."""
    deadline = time.monotonic() + 90
    async with city.direct() as there:
        while True:
            found = await there.fetch("select fields ->> 'result' as result from shardproxy.transfer_log "
                                      "where event = 'compared again' order by id")
            if len(found) >= times:
                break
            error = await there.fetchval("select body ->> 'error' from shardproxy.transfers")
            assert not error and time.monotonic() < deadline, (error, city.log())
            await asyncio.sleep(0.1)
    await city.until("reshard", "out", *states)
    return str(found[times - 1]["result"])


async def drop_slot(city: City, place: str) -> None:
    """By hand, while it is in use."""
    async with city.direct(place) as there, asyncio.timeout(20):
        while await there.fetchval("select count(*) from pg_replication_slots where database = current_database()"):
            try:
                await there.execute("select pg_terminate_backend(active_pid) from pg_replication_slots "
                                    "where database = current_database() and active")
                await there.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                                    "where database = current_database()")
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)


@pytest.mark.timeout(300)
async def test_a_slot_that_was_dropped(city: City) -> None:
    load = Load(city, clients=2, pause=0.05)
    await city.do("reshard", "start", "out", *START)
    await city.until("reshard", "out", "READY")
    await drop_slot(city, "")
    async with city.direct("customer/s0") as s0:
        await s0.execute("delete from orders where id < 50; update customers set name = 'other' where id < 20")
    assert await compared(city, 1, "READY") != ""
    assert (await city.status("reshard", "out"))["verified"]["mismatches"] == 0
    await city.do("reshard", "switch", "out", *MAX_HOLD)
    async with city.direct() as there:
        await there.execute("set session_replication_role = replica; alter table shardproxy_old.orders disable trigger "
                            "shardproxy_fence; delete from shardproxy_old.orders where id < 50; "
                            "alter table shardproxy_old.orders enable always trigger shardproxy_fence")
    await drop_slot(city, "customer/s1")
    await compared(city, 2, "SWITCHED")
    await city.do("reshard", "reverse", "out", *MAX_HOLD)
    async with city.direct() as there:
        assert await there.fetchval("select count(*) from orders where id < 50") == 49
    await drop_slot(city, "")                   # after the way back: as before the switch
    await compared(city, 3, "READY", "REVERSED")
    await city.do("reshard", "switch", "out", *MAX_HOLD)
    await city.do("reshard", "complete", "out")
    await load.stop()
    await load.check()


@dataclass
class Pairs(City):
    """A city whose coordinator and whose shards have a replica each."""

    shards: Cluster = field(default=None)       # type: ignore[assignment]
    main: Cluster = field(default=None)         # type: ignore[assignment]

    def at(self, place: str) -> Node:
        return (self.shards if place else self.main).primary

    def servers(self, place: str) -> list[tuple[str, int]]:
        return [(node.host, node.port) for node in (self.shards if place else self.main).nodes]


@pytest_asyncio.fixture
async def pairs(binaries: Binaries, tmp_path: Path) -> AsyncIterator[Pairs]:
    """Two proxies before it."""
    async with (Cluster(replicas=1, binaries=binaries, extra=CITY_SETTINGS) as main,
                Cluster(replicas=1, binaries=binaries, extra=CITY_SETTINGS) as shards):
        made = Pairs(main.primary, "pairs", tmp_path, main=main, shards=shards, settings={"health_interval": 0.3})
        try:
            await made.build()
            await asyncio.gather(main.caught_up(), shards.caught_up())
            made.start()
            yield made
        finally:
            for proxy in made.proxies:          # they have seen servers die
                proxy.expect_errors = True
            await made.remove()


async def fail_over(cluster: Cluster, surplus: str = "", database: str = "") -> None:
    """The primary dies, and has committed something that its replica never got, but its slot has passed on."""
    await cluster.caught_up()
    old, replica = cluster.primary, cluster.replicas[0]
    if surplus:
        await replica.stop()
        await old.sql(surplus, dbname=database)
        await asyncio.sleep(1.5)
    await old.kill9()
    if surplus:
        await replica.start()
    await cluster.failover(replica)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["COPYING", "READY"])
async def test_the_source_fails_over(pairs: Pairs, moment: str) -> None:
    if moment == "COPYING":
        await pairs.do("reshard", "plan", "out", *START)
        await pairs.do("reshard", "throttle", "out", "--rate", "40kB")
    await pairs.do("reshard", "start", "out", *START)
    await pairs.until("reshard", "out", moment)
    surplus = "insert into orders (customer, amount) select n, 1 from generate_series(1, 100) n"
    await fail_over(pairs.main, "" if moment == "COPYING" else surplus, pairs.name)
    if moment == "COPYING":
        await pairs.do("reshard", "throttle", "out", "--rate", "0")
    found = await compared(pairs, 1, "READY")
    assert found.endswith("chunks were copied again")
    async with pairs.client() as client:
        await client.execute("insert into orders (customer, amount) values (1, 5)")
        assert await client.fetchval("select count(*) from orders") == 2001
    assert (await pairs.status("reshard", "out"))["verified"]["mismatches"] == 0
    await pairs.do("reshard", "switch", "out", *MAX_HOLD)
    async with pairs.client() as client:
        assert await client.fetchval("select count(*) from orders") == 2001


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_the_new_side_fails_over(pairs: Pairs) -> None:
    """Once as a target, which loses what its slot has given up, and once as the source of the way back."""
    await pairs.do("reshard", "start", "out", *START)
    await pairs.until("reshard", "out", "READY")
    await pairs.shards.replicas[0].stop()
    async with pairs.client() as client:
        await client.execute("insert into orders (customer, amount) select n, 1 from generate_series(1, 100) n")
    await asyncio.sleep(2.5)                    # it is at the shards, and the slot was told so
    await pairs.shards.primary.kill9()
    await pairs.shards.replicas[0].start()
    await pairs.shards.failover()
    await compared(pairs, 1, "READY")
    assert (await pairs.status("reshard", "out"))["verified"]["mismatches"] == 0
    await pairs.do("reshard", "switch", "out", *MAX_HOLD)
    await pairs.shards.rejoin(pairs.shards.nodes[0])
    await fail_over(pairs.shards, "update orders set amount = 77 where id < 100", f"{pairs.name}_s0")
    await compared(pairs, 2, "SWITCHED")
    await pairs.do("reshard", "reverse", "out", *MAX_HOLD)
    async with pairs.client() as client:
        assert await client.fetchval("select count(*) from orders where amount = 77") == 1
        assert await client.fetchval("select count(*) from orders") == 2100


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_slot_that_gave_up_its_wal(pairs: Pairs) -> None:
    await pairs.do("reshard", "start", "out", *START)
    await pairs.until("reshard", "out", "READY")
    await pairs.do("reshard", "pause", "out")
    node = pairs.main.primary
    await node.sql("alter system set max_slot_wal_keep_size = '1MB'")
    await node.sql("alter system set wal_keep_size = 0")
    node.reload()
    async with pairs.client() as client:
        await client.execute("update orders set amount = amount + 1 where id < 10")
    for _ in range(4):
        await node.sql("select pg_logical_emit_message(false, 'x', repeat('x', 1000)) from generate_series(1, 20000)")
        await node.sql("select pg_switch_wal()")
        await node.sql("checkpoint")
    await node.until("select wal_status = 'lost' from pg_replication_slots where slot_type = 'logical'")
    await node.sql("alter system reset max_slot_wal_keep_size")
    node.reload()
    await pairs.do("reshard", "resume", "out")
    await compared(pairs, 1, "READY")
    assert (await pairs.status("reshard", "out"))["verified"]["mismatches"] == 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_copy_waits_for_replicas_of_its_targets(pairs: Pairs) -> None:
    """Not a slot that was lost, but servers of the same kind."""
    await pairs.do("reshard", "plan", "out", *START)
    await pairs.do("reshard", "throttle", "out", "--lag", "20kB", "--rate", "60kB")
    replica = pairs.shards.replicas[0]
    await replica.pause_replay()
    await pairs.do("reshard", "start", "out", *START)
    await pairs.until("reshard", "out", "COPYING")
    await asyncio.sleep(8)                      # at that rate alone it would be done
    status = await pairs.status("reshard", "out")
    assert status["state"] == "COPYING" and status["rows_copied"] < 2500, status
    await replica.resume_replay()
    await pairs.until("reshard", "out", "READY")
