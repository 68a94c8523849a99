"""Which server a statement runs on: proven reads on replicas, all else on the primary; in every way to send them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import psycopg
import pytest

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

READS = [
    "select here()",
    "select here(), 'a literal', 5, null",
    "select here() from item where id = 7",
    "select here(), doubled(3), lower('A'), now()",
    "select here() from calm limit 1",
    "with x as (select * from item) select here() from x limit 1",
    "select here() from item join other using (id) limit 1",
    "select here(), count(*) from item group by 1",
    "values (here())",
    "select here() from pg_class limit 1",
    "select here() union all select here() limit 1",
]
NOT_READS = [
    "select here(), nextval('seq')",
    "select here(), drawn()",
    "select here(), counted()",
    "select here() from item where id = 1 for update",
    "select here() from item where id = 1 for share",
    "with x as (update item set n = n + 1 where id = 1 returning 1) select here() from x",
    "insert into item values (1000000) on conflict (id) do update set n = 1 returning here()",
    "update item set n = 0 where id = 1 returning here()",
    "select here(), pg_backend_pid()",
    "select here(), txid_current()",
    "select here(), inet_server_port()",
    "select here(), pg_is_in_recovery()",
    "select here(), pg_current_wal_lsn()",
    "select here() from pg_stat_activity limit 1",
    "select here() from pg_locks limit 1",
    "select here() from wild limit 1",
    "select here(), pg_advisory_xact_lock(1)",
    "select here(), set_config('work_mem', '1MB', true)",
    "/* shardproxy: primary */ select here()",
    "select here(), does_not_matter from (select random() as does_not_matter) x",
]


async def settled(proxy: Proxy, cluster: Cluster) -> None:
    """Until the replicas show all that was written, and the proxy knows."""
    await cluster.caught_up()
    async with proxy.client("app") as db:
        async with asyncio.timeout(10):
            while await db.fetchval("select here() from item limit 1") == cluster.primary.port:
                await asyncio.sleep(0.02)


def replicas(cluster: Cluster) -> set[int]:
    return {node.port for node in cluster.replicas}


async def simple(proxy: Proxy, sql: str) -> int:
    async with proxy.psycopg("app", cursor_factory=psycopg.AsyncClientCursor) as db:
        row = await (await db.execute(sql)).fetchone()
    return int(row[0])


async def extended(proxy: Proxy, sql: str) -> int:
    async with proxy.psycopg("app") as db:
        row = await (await db.execute(sql, prepare=False)).fetchone()
    return int(row[0])


async def named(proxy: Proxy, sql: str) -> int:
    async with proxy.psycopg("app") as db:
        await db.execute(sql, prepare=True)
        row = await (await db.execute(sql, prepare=True)).fetchone()
    return int(row[0])


async def flushed(proxy: Proxy, sql: str) -> int:
    """asyncpg: Parse, Describe, Flush; then Bind, Execute, Sync."""
    async with proxy.client("app", statement_cache_size=0) as db:
        return int(await db.fetchval(sql))


WAYS = [simple, extended, named, flushed]
Way = Callable[[Proxy, str], Awaitable[int]]


@pytest.mark.parametrize("way", WAYS)
async def test_reads_go_to_replicas(app: Proxy, app_cluster: Cluster, way: Way) -> None:
    await settled(app, app_cluster)
    for sql in READS:
        assert await way(app, sql) in replicas(app_cluster), sql


@pytest.mark.parametrize("way", WAYS)
async def test_everything_else_goes_to_the_primary(app: Proxy, app_cluster: Cluster, way: Way) -> None:
    for sql in NOT_READS:
        await settled(app, app_cluster)
        assert await way(app, sql) == app_cluster.primary.port, sql


async def test_statements_with_parameters(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.client("app") as db:
        ports = [await db.fetchval("select here() from item where id = $1", number % 100 + 1) for number in range(50)]
        names = [await db.fetchval("select name from item where id = $1", number + 1) for number in range(50)]
    assert set(ports) <= replicas(app_cluster)
    assert names == [f"item {number + 1}" for number in range(50)]


async def test_what_is_executed_after_a_flush_is_routed_anew(app: Proxy, app_cluster: Cluster) -> None:
    """A statement prepared on a replica is executed wherever it may run when it is executed."""
    await settled(app, app_cluster)
    async with app.client("app") as db, app.client("app") as writer:
        read = await db.prepare("select here(), n from item where id = 50")
        await app_cluster.replicas[0].pause_replay()
        await app_cluster.replicas[1].pause_replay()
        try:
            await writer.execute("update item set n = 777 where id = 50")
            assert await read.fetchrow() == (app_cluster.primary.port, 777)
        finally:
            for node in app_cluster.replicas:
                await node.resume_replay()
        await settled(app, app_cluster)
        assert (await read.fetchrow())[0] in replicas(app_cluster)
        write = await db.prepare("update item set n = 778 where id = 50 returning here()")
        assert await write.fetchval() == app_cluster.primary.port


async def test_an_error_before_a_flush_ends_with_the_clients_sync(app: Proxy, app_cluster: Cluster) -> None:
    async with app.client("app") as db:
        for _ in range(3):
            with pytest.raises(asyncpg.UndefinedTableError):
                await db.fetchval("select * from nothing_here")
            with pytest.raises(asyncpg.PostgresSyntaxError):
                await db.fetchval("selectt 1")
            assert await db.fetchval("select 1") == 1
        async with db.transaction(readonly=True):
            assert await db.fetchval("select 1") == 1
            with pytest.raises(asyncpg.UndefinedTableError):
                async with db.transaction():
                    await db.fetchval("select * from nothing_here")


async def test_a_pipeline_is_one_transaction(app: Proxy, app_cluster: Cluster) -> None:
    """All up to a Sync is on one server: on the primary, unless all of it is reads."""
    await settled(app, app_cluster)
    primary = app_cluster.primary.port
    async with app.psycopg("app") as db:
        async with db.pipeline():
            one = await db.execute("select here()")
            two = await db.execute("update item set n = 5 where id = 60 returning here()")
            three = await db.execute("select here(), n from item where id = 60")
        assert [(await one.fetchone())[0], (await two.fetchone())[0]] == [primary, primary]
        assert await three.fetchone() == (primary, 5)


async def test_texts_of_several_statements_are_all_or_nothing(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.psycopg("app", cursor_factory=psycopg.AsyncClientCursor) as db:
        async def ports(sql: str) -> list[Any]:
            cursor = await db.execute(sql)
            found = []
            while True:
                if cursor.description is not None:
                    found.append((await cursor.fetchone())[0])
                if not cursor.nextset():
                    return found

        first, second = await ports("select here(); select here() from item")
        assert first == second and first in replicas(app_cluster)
        primary = app_cluster.primary.port
        assert await ports("select here(); update item set n = 1 where id = 61; select here()") == [primary] * 2
        await settled(app, app_cluster)
        assert await ports("select here(); select here(), nextval('seq')") == [primary] * 2
        with pytest.raises(psycopg.errors.DivisionByZero):
            await db.execute("update item set n = 99 where id = 61; select 1/0")
        assert (await (await db.execute("select n from item where id = 61")).fetchone())[0] == 1


async def test_a_replica_hint_is_the_users_word(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    assert await simple(app, "/* shardproxy: replica */ select here(), drawn()") in replicas(app_cluster)
    primary = app_cluster.primary.port
    assert await simple(app, "/* shardproxy: replica */ update item set n = 0 where id = 2 returning here()") == primary


async def test_serializable_sessions_stay_on_the_primary(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.client("app", server_settings={"default_transaction_isolation": "serializable"}) as db:
        assert await db.fetchval("select here()") == app_cluster.primary.port
        async with db.transaction(readonly=True):
            assert await db.fetchval("select here()") == app_cluster.primary.port
    async with app.client("app") as db:
        async with db.transaction(isolation="serializable", readonly=True):
            assert await db.fetchval("select here()") == app_cluster.primary.port
        await db.execute("set default_transaction_isolation = 'serializable'")
        assert await db.fetchval("select here()") == app_cluster.primary.port
        await db.execute("reset default_transaction_isolation")
        assert await db.fetchval("select here()") in replicas(app_cluster)


async def test_copy_and_function_calls(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.psycopg("app") as db:
        async with db.cursor().copy("copy (select here()) to stdout") as copy:
            assert int(b"".join([bytes(data) async for data in copy])) in replicas(app_cluster)
        async with db.cursor().copy("copy item (id, name) from stdin") as copy:
            await copy.write_row((2_000_000, "copied"))
        assert (await (await db.execute("select name from item where id = 2000000")).fetchone())[0] == "copied"
        await db.execute("delete from item where id >= 1000000")
