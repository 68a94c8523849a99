"""Settings that no module has defined (``app.tenant``): pg_settings does not list them, and they leak if forgotten."""

from __future__ import annotations

from typing import Any

from tests.fixtures.proxy import Proxy

READ = "select current_setting('app.tenant', true)"


async def seen(connection: Any) -> str:
    """What the session sees, on whatever server connection it is given."""
    return await connection.fetchval(READ) or ""


async def test_a_setting_stays_with_its_client(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as one, proxy.client(database) as other:
        for statement in ("set app.tenant = 'one'", "select set_config('app.tenant', 'one', false)",
                          "do $$begin perform set_config('app.tenant', 'one', false); end$$"):
            await one.execute(statement)
            assert await seen(other) == ""
            assert await seen(one) == "one"
            await other.execute("set app.tenant = 'other'")
            assert (await seen(one), await seen(other)) == ("one", "other")
            await other.execute("reset app.tenant")
            assert (await seen(one), await seen(other)) == ("one", "")
            await one.execute("reset all")
            assert await seen(one) == ""


async def test_a_function_that_sets_one(proxy: Proxy, database: str) -> None:
    async with proxy.client(database, "two") as one, proxy.client(database, "two") as other:
        await one.execute("create function become(name text) returns void language plpgsql as "
                          "$$begin perform set_config('app.tenant', name, false); end$$")
        await one.fetch("select become($1)", "one")
        assert (await seen(other), await seen(one)) == ("", "one")


async def test_a_name_that_is_not_known_keeps_the_connection(proxy: Proxy, database: str) -> None:
    async with proxy.client(database, "two") as one, proxy.client(database, "two") as other:
        await one.fetch("select set_config($1, 'one', false)", "app." + "tenant")
        assert (await seen(other), await seen(one)) == ("", "one")
        rows = await proxy.admin("SHOW CLIENTS")
        assert sum(bool(row["pinned"]) for row in rows) == 1


async def test_a_setting_that_was_rolled_back(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as one:
        await one.execute("begin; set app.tenant = 'one'; rollback")
        assert await seen(one) == ""
        await one.execute("begin; set app.tenant = 'one'; commit")
        assert await seen(one) == "one"


async def test_consistency_of_the_session(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as one, proxy.client(database) as other:
        await one.execute("set shardproxy.consistency = eventual")
        assert await one.fetchval("show shardproxy.consistency") == "eventual"
        assert await other.fetchval("show shardproxy.consistency") == "database"
        await one.execute("reset shardproxy.consistency")
        assert await one.fetchval("show shardproxy.consistency") == "database"
