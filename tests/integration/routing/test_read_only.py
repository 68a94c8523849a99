"""READ ONLY transactions begin on a replica, and leave it for what it may not answer; others are on the primary."""

from __future__ import annotations

import asyncpg
import psycopg
import pytest

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

from .test_where import replicas, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")
PORT = "select here()"


async def test_read_only_begins_on_a_replica(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.client("app") as db:
        for isolation in (None, "read_committed", "repeatable_read"):
            async with db.transaction(readonly=True, isolation=isolation):
                ports = [await db.fetchval("select here() from item limit 1") for _ in range(5)]
            assert len(set(ports)) == 1 and set(ports) <= replicas(app_cluster), isolation
        async with db.transaction():
            assert await db.fetchval(PORT) == app_cluster.primary.port
    async with app.psycopg("app", autocommit=False) as db:
        await db.set_read_only(True)
        assert (await (await db.execute(PORT)).fetchone())[0] in replicas(app_cluster)
        row = await (await db.execute("select here() from item where id = %s", [3])).fetchone()
        assert row[0] in replicas(app_cluster)
        await db.commit()


async def test_also_after_the_session_has_written(app: Proxy, app_cluster: Cluster) -> None:
    async with app.client("app") as db:
        await db.execute("update item set n = 3 where id = 3")
        await settled(app, app_cluster)
        async with db.transaction(readonly=True):
            assert await db.fetchval("select here(), n from item where id = 3") in replicas(app_cluster)


@pytest.mark.parametrize("sql", [
    "select here(), pg_backend_pid()", "select here(), pg_is_in_recovery()", "select here(), drawn()",
    "select here(), pg_advisory_xact_lock(7)", "select here(), txid_current_if_assigned()",
    "select here() from pg_stat_activity limit 1",
])
async def test_what_is_no_read_takes_the_transaction_to_the_primary(app: Proxy, app_cluster: Cluster, sql: str) -> None:
    await settled(app, app_cluster)
    async with app.client("app") as db:
        async with db.transaction(readonly=True):
            assert await db.fetchval("select here() from item limit 1") in replicas(app_cluster)
            assert await db.fetchval(sql) == app_cluster.primary.port
            assert await db.fetchval("show transaction_read_only") == "on"
            assert await db.fetchval(PORT) == app_cluster.primary.port
        assert await db.fetchval("show transaction_read_only") == "off"
    async with app.client("app") as db, db.transaction(readonly=True):
        assert await db.fetchval(sql) == app_cluster.primary.port


async def test_writes_fail_as_they_do_on_the_primary(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.client("app") as db:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="cannot execute UPDATE in a read-only"):
            async with db.transaction(readonly=True):
                assert await db.fetchval(PORT) in replicas(app_cluster)
                await db.execute("update item set n = 1 where id = 1")
        assert await db.fetchval("select 1") == 1


async def test_each_statement_sees_what_was_committed_before_it(app: Proxy, app_cluster: Cluster) -> None:
    """READ COMMITTED: the replica is left when it lags; REPEATABLE READ: the snapshot stays."""
    await settled(app, app_cluster)
    async with app.client("app") as reader, app.client("app") as writer:
        await writer.execute("update item set n = 1 where id = 90")
        await settled(app, app_cluster)
        repeatable = await app.connect("app")
        begun = repeatable.transaction(readonly=True, isolation="repeatable_read")
        await begun.start()
        assert await repeatable.fetchval("select n from item where id = 90") == 1
        async with reader.transaction(readonly=True):
            port, n = await reader.fetchrow("select here(), n from item where id = 90")
            assert port in replicas(app_cluster) and n == 1
            for node in app_cluster.replicas:
                await node.pause_replay()
            try:
                for n in range(2, 12):
                    await writer.execute("update item set n = $1 where id = 90", n)
                    row = await reader.fetchrow("select here(), n from item where id = 90")
                    assert row == (app_cluster.primary.port, n)
                    assert await repeatable.fetchval("select n from item where id = 90") == 1
            finally:
                for node in app_cluster.replicas:
                    await node.resume_replay()
        await begun.commit()
        await repeatable.close()


async def test_a_snapshot_does_not_move(app: Proxy, app_cluster: Cluster) -> None:
    """REPEATABLE READ: what needs the primary is refused once there is a snapshot, and before it is served there."""
    await settled(app, app_cluster)
    async with app.client("app") as db:
        async with db.transaction(readonly=True, isolation="repeatable_read"):
            assert await db.fetchval("select here(), pg_is_in_recovery()") == app_cluster.primary.port
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="needs the primary"):
            async with db.transaction(readonly=True, isolation="repeatable_read"):
                assert await db.fetchval(PORT) in replicas(app_cluster)
                await db.fetchval("select pg_advisory_lock(1)")
        assert await db.fetchval("select 1") == 1


async def test_cursors_stay_where_they_are(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.client("app") as db, app.client("app") as writer:
        async with db.transaction(readonly=True):
            cursor = await db.cursor("select here(), id from item where id <= 100 order by id")
            rows = [await cursor.fetchrow() for _ in range(10)]
            await writer.execute("update item set n = n + 1 where id = 1")
            rows += await cursor.fetch(1000)
        assert [row[1] for row in rows] == list(range(1, 101))
        assert {row[0] for row in rows} <= replicas(app_cluster)
    await settled(app, app_cluster)
    async with app.psycopg("app", autocommit=False) as db:
        await db.set_read_only(True)
        async with db.cursor("named") as cursor:
            await cursor.execute("select here(), id from item where id <= 100 order by id")
            cursor.itersize = 7
            rows = [row async for row in cursor]
        assert len(rows) == 100 and {row[0] for row in rows} <= replicas(app_cluster)


async def test_commit_and_rollback_end_it(app: Proxy, app_cluster: Cluster) -> None:
    await settled(app, app_cluster)
    async with app.psycopg("app", cursor_factory=psycopg.AsyncClientCursor) as db:
        for end in ("commit", "rollback", "end", "abort"):
            await db.execute("begin read only")
            assert (await (await db.execute(PORT)).fetchone())[0] in replicas(app_cluster)
            await db.execute(end)
            assert db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            await db.execute("update item set n = n + 1 where id = 5")
            await settled(app, app_cluster)
        await db.execute("start transaction read only, isolation level read committed")
        assert (await (await db.execute(PORT)).fetchone())[0] in replicas(app_cluster)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await db.execute("select * from nothing_here")
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        await db.execute("rollback")
