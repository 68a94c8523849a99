"""Places of each test's own on the shared server."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries

from .city import City
from .places import Places

_numbers, _cities = itertools.count(1), itertools.count(1)
CITY_SETTINGS = {"max_replication_slots": "40", "max_wal_senders": "40", "max_connections": "400",
                 "max_prepared_transactions": "50", "shared_buffers": "64MB"}


@pytest_asyncio.fixture
async def places(pg: Node) -> AsyncIterator[Places]:
    """The coordinator and two shards."""
    names = ("", "shop/s0", "shop/s1")
    made = Places(pg.host, pg.port, f"tr_{os.getpid()}_{next(_numbers)}")
    await made.make(*names)
    yield made
    await made.remove(*names)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logical_node(binaries: Binaries) -> AsyncIterator[Node]:
    """The server of all cities, for the whole run."""
    async with Cluster(binaries=binaries, extra=CITY_SETTINGS) as made:
        yield made.primary


@pytest.fixture
def more_tables() -> dict[str, Any]:
    """What a city has besides (``more``, ``more_sql``): test modules say."""
    return {}


@pytest_asyncio.fixture
async def city(logical_node: Node, tmp_path: Path, more_tables: dict[str, Any]) -> AsyncIterator[City]:
    """A city before two proxies."""
    made = City(logical_node, f"city{os.getpid()}_{next(_cities)}", tmp_path, **more_tables)
    try:
        await made.build()
        made.start()
        yield made
    finally:
        await made.remove()
