"""The first statement in a database that the proxy has just met: it waits for the facts rather than pin its session."""

from __future__ import annotations

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import StartProxy


async def test_a_harmless_function_pins_nobody(pg: Node, database: str, start_proxy: StartProxy) -> None:
    await pg.sql("create function one() returns int language sql as 'select 1'", dbname=database)
    proxy = start_proxy([pg], pool={"size": 1})
    async with proxy.client(database) as first, proxy.client(database) as second:
        assert await first.fetchval("select one()") == 1
        assert await second.fetchval("select one()") == 1  # on the same, only connection
        pinned = [row["pinned"] for row in await proxy.admin("SHOW CLIENTS") if row["database"] == database]
    assert pinned == ["", ""]
