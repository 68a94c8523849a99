"""pool.mode = "session" before a primary with replicas."""

from __future__ import annotations

import asyncio

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy, StartProxy

READ = "select count(*) from pg_class"


async def until_replicas_serve(proxy: Proxy) -> None:
    """Reads of a client in transaction mode go to replicas: the proxy knows the catalog, and they are fresh."""
    for _ in range(100):
        async with proxy.client("postgres", "two") as client:
            await client.fetchval(READ)
        if any(row["replica_reads"] for row in await proxy.admin("SHOW READS")):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("no read went to a replica")


async def test_a_session_that_begins_with_a_read_can_write(cluster: Cluster, start_proxy: StartProxy) -> None:
    await cluster.primary.sql("create role two superuser login")
    await cluster.caught_up()
    users = {"postgres": {"pool_mode": "session"}, "two": {}}
    proxy = start_proxy(cluster, auth={"users": users})
    await until_replicas_serve(proxy)
    async with proxy.client("postgres") as client:
        assert await client.fetchval(READ) > 0
        await client.execute("create table of_a_session (i int)")
        await client.execute("insert into of_a_session values (1)")
        assert await client.fetchval("select count(*) from of_a_session") == 1
        await client.execute("drop table of_a_session")
    await cluster.primary.sql("drop role two")
