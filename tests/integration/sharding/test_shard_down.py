"""A shard that is down refuses what needs it, by its name, and nothing else; when it is back all goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

MakeCluster = Callable[..., Awaitable[Cluster]]


async def _value(connection: asyncpg.Connection, sql: str, *values: object) -> object:
    return await asyncio.wait_for(connection.fetchval(sql, *values), 20)


async def test_only_what_needs_the_shard_is_refused(fresh_cluster: MakeCluster, tmp_path: Path) -> None:
    main, other = await fresh_cluster(replicas=0), await fresh_cluster(replicas=0)
    await main.primary.sql("create database shop")
    await main.primary.sql("create database shop_s0")
    await other.primary.sql("create database shop_s1")
    places = {"s0": (main.primary, "shop_s0"), "s1": (other.primary, "shop_s1")}
    databases = {"shop": {
        "server_user": "postgres", "default_keyspace": "main", "failover_hold": 1.0,
        "keyspaces": {
            "main": {"shards": {"main": {"primary": f"{main.primary.host}:{main.primary.port}/shop"}}},
            "rows": {"shards": {shard: {"primary": f"{node.host}:{node.port}/{name}"}
                                for shard, (node, name) in places.items()},
                     "tables": {"t": {"key": "id"}}}}}}
    proxy = Proxy(tmp_path / "proxy", [], databases=databases).start()
    try:
        client = await asyncpg.connect(f"postgresql://postgres@{proxy.host}:{proxy.port}/shop")
        await client.execute("create table t (id int primary key, v int)")
        await client.execute("create table u (id int primary key)")
        await client.execute("insert into t select g, g from generate_series(1, 100) g")
        where = {}
        for shard, (node, name) in places.items():
            direct = await asyncpg.connect(node.dsn(name))
            where[shard] = [row[0] for row in await direct.fetch("select id from t order by id")]
            await direct.close()
        assert sorted(where["s0"] + where["s1"]) == list(range(1, 101)) and where["s0"] and where["s1"]
        alive, dead = where["s0"][0], where["s1"][0]
        assert await _value(client, "select count(*) from t") == 100
        await other.primary.kill9()
        await asyncio.sleep(0.5)
        assert await _value(client, "select v from t where id = $1", alive) == alive
        assert await _value(client, "select count(*) from u") == 0
        for sql in ("select count(*) from t", f"select v from t where id = {dead}", "update t set v = v + 1",
                    f"insert into t values ({alive + 1000}, 1), ({dead + 1000}, 1), (2001, 1), (2002, 1), (2003, 1)"):
            with pytest.raises(asyncpg.PostgresError) as caught:
                await _value(client, sql)
            assert caught.value.sqlstate.startswith("08") or caught.value.sqlstate == "40001", (sql, caught.value)
            assert "rows/s1" in str(caught.value) or "connection" in str(caught.value), (sql, str(caught.value))
        assert await _value(client, "select v from t where id = $1", alive) == alive, "nothing was changed"
        await other.primary.start()
        for _ in range(100):
            try:
                assert await _value(client, "select count(*) from t") == 100
                break
            except asyncpg.PostgresError:
                await asyncio.sleep(0.2)
        assert await _value(client, "select sum(v) from t") == 5050
        assert await _value(client, "update t set v = v + 1 returning 1") == 1
        assert await _value(client, "select sum(v) from t") == 5150
        await client.close()
    finally:
        proxy.stop()
        proxy.check_log()
