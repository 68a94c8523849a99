"""Sizes, statistics and activity of a database whose shards are on servers of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.proxy import Proxy
from tests.fixtures.sharded import SETTINGS

SHARDS = 2


class Servers:
    """The proxy, and each server's own address."""

    def __init__(self, proxy: Proxy, clusters: list[Cluster]) -> None:
        self.proxy, self.clusters = proxy, clusters

    async def client(self, user: str = "postgres") -> asyncpg.Connection:
        return await asyncpg.connect(f"postgresql://{user}@{self.proxy.host}:{self.proxy.port}/shop")

    async def direct(self, number: int) -> asyncpg.Connection:
        """0 is the coordinator."""
        return await asyncpg.connect(self.clusters[number].primary.dsn("shop" if not number else "part"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servers(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(Cluster(binaries=binaries, extra=SETTINGS)) for _ in range(SHARDS + 1)]
        yield await _started(stack, made, tmp_path_factory.mktemp("proxy"))


async def _started(stack: AsyncExitStack, made: list[Cluster], folder: Path) -> Servers:
    await made[0].primary.sql("create database shop")
    for shard in made[1:]:
        await shard.primary.sql("create database part")
    places = [f"{one.primary.host}:{one.primary.port}/{'part' if number else 'shop'}"
              for number, one in enumerate(made)]
    databases = {"shop": {
        "server_user": "postgres", "default_keyspace": "main", "failover_hold": 1.0,
        "keyspaces": {
            "main": {"shards": {"main": {"primary": places[0]}}},
            "rows": {"shards": {f"s{number}": {"primary": place} for number, place in enumerate(places[1:])},
                     "tables": {"t": {"key": "id"}, "ref": {"reference": True}}}}}}
    proxy = Proxy(folder, [], databases=databases).start()
    stack.callback(proxy.check_log)
    stack.callback(proxy.stop)
    servers = Servers(proxy, made)
    await _fill(servers)
    return servers


async def _fill(servers: Servers) -> None:
    client = await servers.client()
    await client.execute("create table t (id int primary key, v text)")
    await client.execute("create index t_v on t (left(v, 20))")
    await client.execute("create table ref (id int primary key)")
    await client.execute("create table u (id int primary key)")
    await client.execute("insert into t select g, repeat(md5(g::text), 100) from generate_series(1, 3000) g")
    await client.execute("insert into t select 3001, string_agg(md5(g::text), '') from generate_series(1, 9999) g")
    await client.execute("insert into ref select generate_series(1, 500)")
    await client.execute("insert into u select generate_series(1, 50)")
    await client.close()


async def _sum(servers: Servers, sql: str) -> int:
    """Over the shards, asked directly."""
    found = 0
    for number in range(1, SHARDS + 1):
        direct = await servers.direct(number)
        found += await direct.fetchval(sql)
        await direct.close()
    return found


async def test_sizes(servers: Servers) -> None:
    client = await servers.client()
    await client.execute("checkpoint")
    for call in ("pg_relation_size('t')", "pg_relation_size('t', 'fsm')", "pg_table_size('t')", "pg_indexes_size('t')",
                 "pg_total_relation_size('public.t')", "pg_table_size('t_pkey')", "pg_relation_size('t_v'::regclass)",
                 "pg_relation_size((select reltoastrelid from pg_class where oid = 't'::regclass)::regclass)"):
        assert await client.fetchval(f"select {call}") == await _sum(servers, f"select {call}"), call
    direct = await servers.direct(0)
    for call in ("pg_total_relation_size('u')", "pg_total_relation_size('ref')", "pg_total_relation_size('pg_proc')"):
        assert await client.fetchval(f"select {call}") == await direct.fetchval(f"select {call}"), call
    own = await direct.fetchval("select pg_database_size('shop')")
    shards = await _sum(servers, "select pg_database_size('part')")
    assert await client.fetchval("select pg_database_size('shop')") == pytest.approx(own + shards, rel=0.02)
    assert await client.fetchval("select pg_size_pretty(pg_total_relation_size($1::regclass))", "t") != "0 bytes"
    rows = await client.fetch("select relname, pg_total_relation_size(oid) size from pg_class where relkind = 'r' and "
                              "relnamespace = 'public'::regnamespace order by size desc")
    assert rows[0]["relname"] == "t" and len(rows) == 3
    await direct.close()
    await client.close()


async def test_counters(servers: Servers) -> None:
    client = await servers.client()
    await client.execute("analyze")
    assert await client.fetchval("select reltuples from pg_class where relname = 't'") == 3001
    pages = "select relpages from pg_class where oid = 't'::regclass"
    assert await client.fetchval(pages) == await _sum(servers, pages)
    assert await client.fetchval("select count(*) from t where v like 'a%'") > 0
    rows: list[asyncpg.Record] = []
    for _ in range(100):                # counters reach the views some time after the statement
        rows = await client.fetch("select * from pg_stat_user_tables order by n_live_tup desc")
        if rows[0]["n_tup_ins"] == 3001 and rows[0]["seq_scan"] + rows[0]["idx_scan"] >= SHARDS:
            break
        await asyncio.sleep(0.1)
    first = rows[0]
    assert first["relname"] == "t" and first["n_tup_ins"] == 3001 and first["last_analyze"] is not None
    assert first["relid"] == await client.fetchval("select 't'::regclass::oid")
    assert {row["relname"] for row in rows} == {"t", "u", "ref"}
    sizes = "select heap_blks_read + heap_blks_hit from pg_statio_user_tables where relname = 't'"
    assert await client.fetchval(sizes) > 0
    indexes = await client.fetch("select indexrelname, relname from pg_stat_user_indexes where relid = 't'::regclass")
    assert {row["indexrelname"] for row in indexes} == {"t_pkey", "t_v"}
    await client.close()


async def test_activity(servers: Servers) -> None:
    client, watcher = await servers.client(), await servers.client()
    blockers = [await servers.direct(number) for number in range(1, SHARDS + 1)]
    for blocker in blockers:
        await blocker.execute("begin; lock table t")
    running = asyncio.ensure_future(client.fetchval("select count(v) from t /* mark */"))
    rows: list[asyncpg.Record] = []
    for _ in range(100):
        rows = await watcher.fetch("select pid, datname, datid, usename, usesysid, query from pg_stat_activity where "
                                   "state = 'active' and query like '%mark%' and pid <> pg_backend_pid()")
        if len(rows) == SHARDS:
            break
        await asyncio.sleep(0.05)
    assert len(rows) == SHARDS and len({row["pid"] for row in rows}) == SHARDS
    assert all(row["pid"] > 1 << 22 and row["datname"] == "shop" for row in rows)
    ids = await watcher.fetchrow("select d.oid base, r.oid role from pg_database d, pg_roles r where "
                                 "d.datname = current_database() and r.rolname = current_user")
    assert all((row["datid"], row["usesysid"]) == (ids["base"], ids["role"]) for row in rows)
    assert await watcher.fetchval("select pg_terminate_backend($1)", rows[0]["pid"]) is False, "nobody else is hit"
    for blocker in blockers:
        await blocker.close()
    assert await running == 3001
    own = await watcher.fetch("select count(*) from pg_stat_activity where pid = pg_backend_pid()")
    assert own[0][0] == 1
    leaders = await watcher.fetch("select backend_type from pg_stat_activity where backend_type = 'checkpointer'")
    assert len(leaders) == SHARDS + 1
    await client.close()
    await watcher.close()


async def test_activity_is_seen_with_the_rights_of_the_client(servers: Servers) -> None:
    client = await servers.client()
    await client.execute("create role modest login")
    other = await servers.client("modest")
    holder = await servers.client()
    await holder.execute("begin")
    await holder.fetchval("select count(v) from t /* secret */")
    seen = await other.fetch("select query from pg_stat_activity where usename = 'postgres' and pid > 4194304")
    assert seen and not any("secret" in row["query"] for row in seen)
    seen = await client.fetch("select query from pg_stat_activity where usename = 'postgres' and pid > 4194304")
    assert sum("secret" in row["query"] for row in seen) == SHARDS
    await holder.close()
    assert await other.fetchval("select pg_total_relation_size('t') > 0 and (select n_tup_ins > 0 from "
                                "pg_stat_user_tables where relname = 'ref')")
    await other.close()
    await client.close()


async def test_prepared_transactions(servers: Servers) -> None:
    client = await servers.client()
    for number in range(SHARDS + 1):
        direct = await servers.direct(number)
        await direct.execute("begin; create table left_over (x int); prepare transaction 'mine'")
        await direct.close()
    rows = await client.fetch("select gid, owner, database from pg_prepared_xacts where gid = 'mine'")
    assert [tuple(row) for row in rows] == [("mine", "postgres", "shop")] * (SHARDS + 1)
    for number in range(SHARDS + 1):
        direct = await servers.direct(number)
        await direct.execute("rollback prepared 'mine'")
        await direct.close()
    await client.close()


async def test_in_a_transaction_and_with_a_shard_down(servers: Servers) -> None:
    client = await servers.client()
    async with client.transaction():
        before = await client.fetchval("select pg_relation_size('t')")
        await client.execute("insert into t select g, repeat('x', 1000) from generate_series(4001, 6000) g")
        assert await client.fetchval("select pg_relation_size('t')") > before
        assert await client.fetchval("select current_setting('shardproxy.figures', true)") == ""
    async with client.transaction(readonly=True):
        assert await client.fetchval("select reltuples <> 0 from pg_class where relname = 't'")
    await servers.clusters[1].primary.kill9()
    with pytest.raises(asyncpg.PostgresError) as caught:
        await asyncio.wait_for(client.fetchval("select pg_total_relation_size('t')"), 30)
    assert caught.value.sqlstate.startswith("08"), caught.value
    await servers.clusters[1].primary.start()
    await client.close()
