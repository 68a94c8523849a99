"""Many clients on pools of one connection: whoever holds one never waits for ever for another."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import asyncpg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

CLIENTS, ROUNDS = 8, 25
NAMES = ("small", "small_s0", "small_s1")


async def _work(dsn: str, seed: int) -> None:
    """Statements that need one place, all places, or the coordinator too, in and out of transactions."""
    chance = random.Random(seed)
    client = await asyncpg.connect(dsn, statement_cache_size=0)
    for _ in range(ROUNDS):
        kind = chance.randrange(5)
        if kind == 0:
            assert await client.fetchval("select count(*) from t") == 50
        elif kind == 1:
            await client.fetch("select id, lag(v) over (order by id) from t")
        elif kind == 2:
            await client.fetch("select v from t where id = $1", chance.randrange(50))
        elif kind == 3:
            async with client.transaction():
                first, second = sorted(chance.sample(range(1, 51), 2))
                await client.execute("update t set v = v + 1 where id = $1", first)
                await client.execute("update t set v = v - 1 where id = $1", second)
        else:
            assert await client.fetchval("select sum(v) from t") is not None
    await client.close()


@pytest.mark.parametrize("size", [1, 2])
async def test_nobody_waits_for_ever(pg: Node, tmp_path: Path, size: int) -> None:
    for name in NAMES:
        await pg.sql(f"create database {name}")
    place = f"{pg.host}:{pg.port}"
    databases = {"small": {
        "server_user": "postgres", "default_keyspace": "main",
        "keyspaces": {
            "main": {"shards": {"main": {"primary": f"{place}/small"}}},
            "rows": {"shards": {f"s{n}": {"primary": f"{place}/small_s{n}"} for n in (0, 1)},
                     "tables": {"t": {"key": "id"}}}}}}
    proxy = Proxy(tmp_path / "proxy", [], databases=databases, pool={"size": size, "query_wait_timeout": 30}).start()
    try:
        dsn = f"postgresql://postgres@{proxy.host}:{proxy.port}/small"
        client = await asyncpg.connect(dsn)
        await client.execute("create table t (id int primary key, v int)")
        await client.execute("insert into t select g, 0 from generate_series(1, 50) g")
        async with asyncio.timeout(60):
            await asyncio.gather(*(_work(dsn, seed) for seed in range(CLIENTS)))
        assert await client.fetchval("select sum(v) from t") == 0
        await client.close()
    finally:
        proxy.stop()
        proxy.check_log()
        for name in NAMES:
            await pg.sql(f"drop database {name} with (force)")
