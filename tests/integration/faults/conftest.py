"""A cluster to break, with a proxy and new tables for each test. What a test breaks is mended before the next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.proxy import Proxy

from .load import SCHEMA

TIMELINE = "select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
MakePair = Callable[..., Awaitable[tuple[Cluster, Proxy]]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def battered(binaries: Binaries) -> AsyncIterator[Cluster]:
    """A primary and two replicas."""
    async with Cluster(replicas=2, binaries=binaries) as made:
        yield made


async def mend(cluster: Cluster, leader: str) -> None:
    """All servers run, and follow one primary. ``leader``: name of the one that was promoted last."""
    for node in cluster.nodes:
        if node.running:
            node.thaw()
    head = next((node for node in cluster.nodes if node.name == leader), cluster.primary)
    if not head.running:
        await head.start()
    for node in cluster.nodes:
        if node is not head and node.upstream is not head:
            if node.running:
                await node.stop("fast")
            await cluster.rejoin(node, head)
        elif not node.running:
            await node.start()
    await cluster.caught_up()


@pytest.fixture
def pair(battered: Cluster, start_proxy: Any) -> MakePair:
    """``cluster, proxy = await pair(synchronous="ANY 1 (*)", entry={...}, listen={...})``."""
    async def make(synchronous: str = "", entry: dict[str, Any] | None = None,
                   **settings: Any) -> tuple[Cluster, Proxy]:
        cluster = battered
        await cluster.set_synchronous("")
        heads = [node for node in cluster.nodes if node.upstream is None]
        timelines = {node.name: 0 for node in heads}
        for node in heads:
            if node.running:
                node.thaw()
                timelines[node.name] = int(await node.value(TIMELINE))
        await mend(cluster, max(timelines, key=lambda name: timelines[name]))
        await cluster.set_synchronous(synchronous)
        await cluster.primary.sql("drop database if exists app with (force)")
        await cluster.primary.sql("create database app")
        await cluster.primary.sql(SCHEMA, dbname="app")
        await cluster.caught_up()
        first, *others = (f"{node.host}:{node.port}/app" for node in (cluster.primary, *cluster.replicas))
        database = {"primary": first, "replicas": others, "balance": "round_robin", "health_interval": 0.5,
                    "health_timeout": 1.0, **(entry or {})}
        return cluster, start_proxy(databases={"app": database}, **settings)

    return make
