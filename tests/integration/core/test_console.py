"""The admin console as drivers use it: extended protocol, binary results, and nothing run twice."""

from __future__ import annotations

import asyncpg
import pytest

from tests.fixtures.proxy import Proxy


async def test_a_driver_that_asks_for_binary_results(proxy: Proxy) -> None:
    async with proxy.client("shardproxy", "postgres") as console:
        rows = await console.fetch("SHOW LAG")
        assert rows
        assert all(isinstance(row["port"], int) and isinstance(row["healthy"], bool) for row in rows)
        assert all(isinstance(row["weight"], float) and isinstance(row["host"], str) for row in rows)


async def test_a_command_runs_once_although_it_is_described_before(proxy: Proxy, database: str) -> None:
    async with proxy.client("shardproxy", "postgres") as console, proxy.client(database) as client:
        await client.fetchval("select 1")
        victim = max(row["id"] for row in await console.fetch("SHOW CLIENTS") if row["database"] == database)
        assert await console.fetch(f"KILL_CLIENT {victim}") == []
        with pytest.raises(asyncpg.PostgresError, match="there is no client"):
            await console.fetch(f"KILL_CLIENT {victim}")


async def test_routes_say_what_was_run_how_often_and_where_it_may_run(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as client:
        await client.execute("create table counted (i int)")
        for _ in range(100):            # a catalog that is read anew, as after this DDL, empties the cache
            await client.execute("insert into counted values (1)")
            rows = [row for row in await proxy.admin("SHOW ROUTES")
                    if row["database"] == database and row["kind"] == "INSERT"]
            if rows and rows[0]["hits"] >= 3:
                break
    assert [(row["target"], row["text"]) for row in rows] == [("write", "insert into counted values (?)")]
