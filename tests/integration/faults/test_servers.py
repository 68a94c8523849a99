"""Servers that die, hang and stop under load: what the clients are told is what happened."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import asyncpg
import pytest

from tests.fixtures.proxy import Proxy

from .conftest import MakePair
from .load import Load

SYNC = {"synchronous": "ANY 1 (*)"}


def note(record_property: Any, numbers: dict[str, Any]) -> None:
    print(numbers)
    for name, value in numbers.items():
        record_property(name, value)


async def test_a_killed_replica_costs_no_read(pair: MakePair, record_property: Any) -> None:
    cluster, proxy = await pair()
    async with Load(proxy) as load:
        await load.until_written()
        for replica in cluster.replicas:
            await replica.kill9()
            await load.run(0.5)
            await replica.start()
            await load.run(0.5)
    note(record_property, await load.check(cluster.primary))
    assert not load.read_errors and not load.write_errors and not load.lost_connections
    assert not load.transaction_errors and not load.commit_errors
    assert load.reads > 200


async def roles(proxy: Proxy, load: Load, wanted: dict[int, str]) -> None:
    """Until the proxy sees these roles."""
    async with asyncio.timeout(15):
        while {row["port"]: row["role"] for row in await proxy.admin("SHOW LAG")}.items() < wanted.items():
            await load.run(0.1)


async def failover(cluster: Any, load: Load, kill: Any) -> float:
    """Seconds from the fault to the end of the promotion."""
    started = time.monotonic()
    await kill()
    await asyncio.sleep(0.5)
    await cluster.failover()
    return time.monotonic() - started


async def test_a_killed_primary_with_synchronous_replication_loses_nothing(
        pair: MakePair, record_property: Any) -> None:
    cluster, proxy = await pair(**SYNC)
    old = cluster.primary
    async with Load(proxy) as load:
        await load.until_written(100)
        took = await failover(cluster, load, old.kill9)
        await load.until_written(100)
        new = cluster.primary
        await old.start()  # as an operator might, by mistake: it believes that it is the primary
        await roles(proxy, load, {old.port: "fenced", new.port: "primary"})
        await load.until_written(50)
        newest = max(load.acknowledged)
        assert await old.value("select coalesce(max(id), 0) from written", dbname="app") < newest
    numbers = await load.check(new)
    note(record_property, numbers | {"failover_s": round(took, 3)})
    assert not load.read_errors
    assert set(load.write_errors) <= {"08007"}
    assert set(load.commit_errors) <= {"08007", "40001"}  # 40001: the COMMIT was not sent any more
    assert set(load.transaction_errors) <= {"40001"}
    assert load.lost_connections == 0
    fenced = {row[0] for row in await old.sql("select id from written", dbname="app")}
    assert fenced <= {row[0] for row in await new.sql("select id from written", dbname="app")} | load.unknown
    assert load.longest_write < took + 3


async def test_a_stopped_primary_is_a_failover_too(pair: MakePair, record_property: Any) -> None:
    cluster, proxy = await pair(**SYNC)
    async with Load(proxy) as load:
        await load.until_written(100)
        await failover(cluster, load, lambda: cluster.primary.stop("fast"))
        await load.until_written(50)
    note(record_property, await load.check(cluster.primary))
    assert not load.read_errors
    assert set(load.write_errors) <= {"08007"} and set(load.commit_errors) <= {"08007", "40001"}
    assert set(load.transaction_errors) <= {"40001"}
    assert load.lost_connections == 0


async def test_a_restarted_primary_needs_no_failover(pair: MakePair, record_property: Any) -> None:
    """Statements wait while it is away; nobody is promoted."""
    cluster, proxy = await pair()
    async with Load(proxy) as load:
        await load.until_written(100)
        await cluster.primary.restart("fast")
        await load.until_written(50)
        await cluster.primary.kill9()
        await cluster.primary.start()
        await load.until_written(50)
    note(record_property, await load.check(cluster.primary))
    assert not load.read_errors and not load.lost_connections
    assert set(load.write_errors) <= {"08007"} and set(load.commit_errors) <= {"08007", "40001"}


async def test_an_asynchronous_failover_tells_what_it_lost(pair: MakePair, record_property: Any) -> None:
    """With asynchronous replication the loss is the database's; the log says how much."""
    cluster, proxy = await pair()
    old, replicas = cluster.primary, cluster.replicas
    async with Load(proxy, readers=2) as load:
        await load.until_written(50)
        for replica in replicas:  # they receive nothing any more
            await replica.sql("alter system set primary_conninfo = ''")
            await replica.sql("select pg_reload_conf()")
            await replica.until("select not exists (select from pg_stat_wal_receiver)")
        await load.until_written(100)
        await load.run(0.3)
        await old.kill9()
        await asyncio.sleep(0.3)
        for replica in replicas:
            await replica.sql("alter system reset primary_conninfo")
        await cluster.failover()
        await load.until_written(20)
    kept = {row[0] for row in await cluster.primary.sql("select id from written", dbname="app")}
    lost = load.acknowledged - kept
    note(record_property, load.numbers | {"lost": len(lost)})
    assert len(lost) >= 100
    line = next(line for line in proxy.log.splitlines() if "failover from" in line)
    assert "bytes of the old timeline are not part of the new one" in line and re.search(r"timeline \d+ began at", line)
    assert not load.read_errors


async def test_statements_wait_for_a_primary_no_longer_than_failover_hold(pair: MakePair) -> None:
    cluster, proxy = await pair(entry={"failover_hold": 1.5})
    async with proxy.client("app") as db, proxy.client("app") as reader, proxy.client("app") as idle:
        await db.execute("insert into written values (1, 'x')")
        await cluster.primary.kill9()
        started = time.monotonic()
        with pytest.raises(asyncpg.PostgresError) as caught:
            await db.execute("insert into written values (2, 'x')")
        assert caught.value.sqlstate in ("57P03", "08007")
        with pytest.raises(asyncpg.CannotConnectNowError) as caught:
            await idle.execute("insert into written values (3, 'x')")
        assert caught.value.sqlstate == "57P03" and "failover_hold" in caught.value.hint
        assert 1 < time.monotonic() - started < 6
        assert await reader.fetchval("select count(*) from looked") == 1000  # replicas still serve
        with pytest.raises(asyncpg.CannotConnectNowError):
            await proxy.connect("app", user="postgres", server_settings={"work_mem": "5MB"})
        await cluster.failover()
        async with asyncio.timeout(15):
            while True:
                try:
                    await db.execute("insert into written values (4, 'x')")
                    break
                except asyncpg.CannotConnectNowError:
                    pass
        assert await idle.fetchval("select count(*) from written where id in (2, 3)") == 0


async def test_a_primary_that_hangs_is_waited_for_until_another_is_promoted(
        pair: MakePair, record_property: Any) -> None:
    """Nothing is decided about it while it may come back; its connections end when it is replaced."""
    cluster, proxy = await pair(**SYNC)
    old = cluster.primary
    async with Load(proxy) as load:
        await load.until_written(100)
        old.freeze()
        await load.run(3.0)
        reads = load.reads
        await load.run(0.5)
        assert load.reads > reads  # replicas go on serving
        old.thaw()
        await load.until_written(50)
        assert not load.read_errors and not load.lost_connections
        assert not load.write_errors and not load.commit_errors and not load.transaction_errors
        old.freeze()
        await load.run(1.0)
        new = await cluster.failover()
        await load.until_written(50)
        old.thaw()
        await roles(proxy, load, {old.port: "fenced"})
        await load.until_written(50)
    note(record_property, await load.check(new))
    assert not load.read_errors and not load.lost_connections
    assert set(load.write_errors) <= {"08007"} and set(load.commit_errors) <= {"08007", "40001"}
    assert set(load.transaction_errors) <= {"40001"}


async def test_a_replica_that_hangs_costs_no_read(pair: MakePair, record_property: Any) -> None:
    cluster, proxy = await pair()
    async with Load(proxy) as load:
        await load.until_written()
        cluster.replicas[0].freeze()
        await load.run(4.0)
        cluster.replicas[0].thaw()
        await load.run(0.5)
    note(record_property, await load.check(cluster.primary))
    assert not load.read_errors and not load.write_errors and not load.lost_connections
    assert load.longest_read < 4


async def test_a_recovery_conflict_is_no_error_for_a_read(pair: MakePair) -> None:
    """A replica cancels a read that is in the way of replay: it runs again on the primary."""
    cluster, proxy = await pair(entry={"consistency": "eventual"})
    conflicts = "select coalesce(sum(confl_snapshot + confl_lock), 0)::int from pg_stat_database_conflicts"
    for node in cluster.replicas:
        await node.sql("alter system set max_standby_streaming_delay = 0")
        await node.sql("select pg_reload_conf()")
    await cluster.caught_up()
    slow = "select count(*) from looked a, looked b, generate_series(1, 6) where a.n + b.n >= 0 and a.id <= 900"
    try:
        async with proxy.client("app") as db:
            before = sum([await node.value(conflicts) for node in cluster.replicas])
            for _ in range(4):
                read = asyncio.create_task(db.fetchval(slow))
                await asyncio.sleep(0.15)
                await cluster.primary.sql("delete from looked where id > 900", dbname="app")
                await cluster.primary.sql("vacuum looked", dbname="app")
                assert await read in (900 * 1000 * 6, 900 * 900 * 6)
                await cluster.primary.sql("insert into looked select i, 0 from generate_series(901, 1000) i",
                                          dbname="app")
                await cluster.caught_up()
            assert sum([await node.value(conflicts) for node in cluster.replicas]) > before, "no conflict was caused"
    finally:
        for node in cluster.replicas:
            await node.sql("alter system reset max_standby_streaming_delay")
            await node.sql("select pg_reload_conf()")
