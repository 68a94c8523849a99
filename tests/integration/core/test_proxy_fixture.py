"""The proxy that all other tests use: what it says of itself is so."""

from __future__ import annotations

import aiohttp

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy, StartProxy


async def test_it_serves_any_database(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as client, proxy.psycopg(database, "two") as other:
        assert await client.fetchval("select current_database()") == database
        assert await (await other.execute("select current_user")).fetchone() == ("two",)
    assert len(proxy.worker_pids) == 1
    assert proxy.worker_memory() > 1 << 20


async def test_console_and_http_answer(proxy: Proxy) -> None:
    rows = await proxy.admin("SHOW VERSION")
    assert "shardproxy" in str(rows).lower()
    url = f"http://{proxy.host}:{proxy.http_port}/healthz"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url) as answer,
    ):
        assert answer.status == 200


async def test_reload_changes_what_was_configured(start_proxy: StartProxy, pg: Node) -> None:
    own = start_proxy([pg], pool={"size": 3})
    assert own.running
    await own.reload(pool={"size": 2})
    found = {row["key"]: row["value"] for row in await own.admin("SHOW CONFIG")}
    assert found.get("pool.size", found.get("default_pool_size")) == "2"
