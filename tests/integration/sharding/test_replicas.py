"""Reads of shards go to their replicas, and never show less than was written through the proxy before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from shardproxy.tools.cluster import Cluster, Node
from tests.fixtures.proxy import Proxy

SHARDS = ("shop_s0", "shop_s1")


def _server(cluster: Cluster, name: str) -> dict[str, Any]:
    first, *others = cluster.nodes
    return {"primary": f"{first.host}:{first.port}/{name}",
            "replicas": [f"{node.host}:{node.port}/{name}" for node in others]}


async def _reads_on(node: Node, name: str) -> int:
    """Sequential and index scans of the table ``t`` on one server."""
    connection = await asyncpg.connect(node.dsn(name))
    try:
        return int(await connection.fetchval(
            "select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) from pg_stat_user_tables where relname = 't'"))
    finally:
        await connection.close()


async def test_scattered_reads_use_replicas_and_see_all_writes(
        fresh_cluster: Callable[..., Awaitable[Cluster]], tmp_path: Path) -> None:
    cluster = await fresh_cluster(replicas=1)
    for name in ("shop", *SHARDS):
        await cluster.primary.sql(f"create database {name}")
    databases = {"shop": {
        "server_user": "postgres", "default_keyspace": "main", "balance": "round_robin",
        "keyspaces": {
            "main": {"shards": {"main": _server(cluster, "shop")}},
            "rows": {"shards": {name: _server(cluster, name) for name in SHARDS}, "tables": {"t": {"key": "id"}}}}}}
    proxy = Proxy(tmp_path / "proxy", [], databases=databases).start()
    try:
        dsn = f"postgresql://postgres@{proxy.host}:{proxy.port}/shop"
        writer, reader = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        await writer.execute("create table t (id int primary key, v int)")
        for number in range(1, 60):
            await writer.execute("insert into t values ($1, $2)", number, number)
            assert await reader.fetchval("select count(*) from t") == number
            assert await reader.fetchval("select v from t where id = $1", number) == number
        for number in range(120):               # nothing is written any more: replicas are fresh soon
            assert await reader.fetchval("select sum(v) from t") == 59 * 60 // 2
            if number % 40 == 0:
                await asyncio.sleep(1.1)        # servers tell their statistics once a second
        await writer.close()
        await reader.close()
        replica = cluster.nodes[1]
        assert sum([await _reads_on(replica, name) for name in SHARDS]) > 0
    finally:
        proxy.stop()
        proxy.check_log()
