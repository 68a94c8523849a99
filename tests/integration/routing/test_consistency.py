"""Reads see what was written before them, as far as the session's consistency promises; counted, with replay paused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

from .conftest import entry
from .test_where import replicas, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(app_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A proxy with two workers."""
    made = Proxy(tmp_path_factory.mktemp("two"), [], listen={"workers": 2},
                 databases={"app": entry(app_cluster, balance="round_robin")})
    made.start()
    yield made
    made.stop()
    made.check_log()


@contextlib.asynccontextmanager
async def paused(cluster: Cluster) -> AsyncIterator[None]:
    """The replicas show nothing new."""
    await asyncio.gather(*(node.pause_replay() for node in cluster.replicas))
    try:
        yield
    finally:
        await asyncio.gather(*(node.resume_replay() for node in cluster.replicas))


@contextlib.asynccontextmanager
async def flickering(cluster: Cluster) -> AsyncIterator[None]:
    """Replay stops and goes on, now here, now there, so that replicas are fresh at times."""
    async def flicker() -> None:
        while True:
            for node in cluster.replicas:
                await node.pause_replay()
                await asyncio.sleep(0.05)
                await node.resume_replay()
                await asyncio.sleep(0.1)

    task = asyncio.create_task(flicker())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(node.resume_replay() for node in cluster.replicas))


async def connections(proxy: Proxy, count: int) -> list[asyncpg.Connection]:
    """On both workers, if there are two."""
    while True:
        made = [await proxy.connect("app", server_settings={"application_name": f"c{number}"})
                for number in range(count)]
        rows = {row["application_name"]: row["worker"] for row in await proxy.admin("SHOW CLIENTS")}
        workers = {rows[f"c{number}"] for number in range(count)}
        if len(workers) == min(2, len(proxy.worker_pids)):
            return made
        await asyncio.gather(*(one.close() for one in made))


async def test_own_writes_are_read_while_replay_is_paused(two: Proxy, app_cluster: Cluster) -> None:
    """A pooled application: what one connection wrote, any other reads, on whichever worker."""
    pool = await connections(two, 8)
    stale = reads = 0
    async with paused(app_cluster):
        for number in range(400):
            await pool[number % 8].execute("update item set n = $1 where id = 20", number)
            values = await asyncio.gather(*(one.fetchval("select n from item where id = 20") for one in pool))
            reads += len(values)
            stale += sum(value != number for value in values)
    assert (stale, reads) == (0, 3200)
    await asyncio.gather(*(one.close() for one in pool))


async def test_own_writes_are_read_while_replay_stops_and_goes_on(two: Proxy, app_cluster: Cluster) -> None:
    """Replicas do serve, and never what is older than a write that was acknowledged before."""
    pool = await connections(two, 8)
    reads = stale = elsewhere = 0
    written = dict.fromkeys(range(30, 34), 0)

    async def use(db: asyncpg.Connection, number: int) -> None:
        nonlocal reads, stale, elsewhere
        key = 30 + number % 4
        for turn in range(150):
            if turn % 15 == 0:
                written[key] += 1
                value = written[key]
                await db.execute("update item set n = greatest(n, $2) where id = $1", key, value)
            known = {key: min(value, acknowledged.get(key, 0)) for key, value in written.items()}
            if turn % 15 == 0:
                acknowledged[key] = max(acknowledged.get(key, 0), value)
                known[key] = max(known[key], value)
            port, n = await db.fetchrow("select here(), n from item where id = $1", key)
            reads += 1
            stale += n < known[key]
            elsewhere += port != app_cluster.primary.port
            await asyncio.sleep(0.003)

    acknowledged: dict[int, int] = {}
    await pool[0].execute("update item set n = 0 where id between 30 and 33")
    async with flickering(app_cluster):
        await asyncio.gather(*(use(db, number) for number, db in enumerate(pool)))
    assert (stale, reads) == (0, 1200)
    assert elsewhere > 50
    await asyncio.gather(*(one.close() for one in pool))


async def test_what_was_not_written_is_still_read_from_replicas(two: Proxy, app_cluster: Cluster) -> None:
    """Only reads of the tables that were written to stay on the primary."""
    await settled(two, app_cluster)
    async with two.client("app") as db, paused(app_cluster):
        await db.execute("update item set n = 1 where id = 1")
        assert await db.fetchval("select here() from item limit 1") == app_cluster.primary.port
        assert await db.fetchval("select here() from other limit 1") in replicas(app_cluster)
        assert await db.fetchval("select here()") in replicas(app_cluster)
        assert await db.fetchval("select here() from calm limit 1") == app_cluster.primary.port


async def test_reads_are_monotonic(two: Proxy, app_cluster: Cluster) -> None:
    """A counter that is written past the proxy too never goes back for a session."""
    pool = await connections(two, 6)
    back = reads = 0
    ports: set[int] = set()
    done = asyncio.Event()

    async def write() -> None:
        async with app_cluster.primary.connection("app") as past, two.client("app") as through:
            n = 0
            await through.execute("update other set n = 0 where id = 9")
            while not done.is_set():
                n += 1
                await (past if n % 2 else through).execute("update other set n = $1 where id = 9", n)
                await asyncio.sleep(0.01)

    async def read(db: asyncpg.Connection) -> None:
        nonlocal back, reads
        last = -1
        for turn in range(250):
            port, n = await db.fetchrow("select here(), n from other where id = 9")
            back += n < last
            last, reads = n, reads + 1
            ports.add(port)
            await asyncio.sleep(0.002 if turn % 50 else 0.1)

    async with flickering(app_cluster):
        writer = asyncio.create_task(write())
        await asyncio.sleep(0.1)
        await asyncio.gather(*map(read, pool))
        done.set()
        await writer
    assert (back, reads) == (0, 1500)
    assert ports & replicas(app_cluster)
    await asyncio.gather(*(one.close() for one in pool))


@pytest.mark.parametrize("consistency, own, others", [
    ("database", "primary", "primary"), ("session", "primary", "replica"),
    ("strong", "primary", "primary"), ("eventual", "replica", "replica"),
])
async def test_each_consistency_keeps_its_promise(two: Proxy, app_cluster: Cluster, consistency: str, own: str,
                                                  others: str) -> None:
    """``SET shardproxy.consistency`` in a session: what it reads after its own write, and after another's."""
    await settled(two, app_cluster)

    def kind(port: int) -> str:
        return "replica" if port in replicas(app_cluster) else "primary"

    async with two.client("app") as db, two.client("app") as other:
        await db.execute(f"set shardproxy.consistency = '{consistency}'")
        assert await db.fetchval("show shardproxy.consistency") == consistency
        assert await other.fetchval("show shardproxy.consistency") == "database"
        async with asyncio.timeout(5):
            wanted = "primary" if consistency == "strong" else "replica"
            while kind(await db.fetchval("select here() from item")) != wanted:
                await asyncio.sleep(0.02)
        async with paused(app_cluster):
            await other.execute("update item set n = 1 where id = 2")
            assert kind(await db.fetchval("select here() from item limit 1")) == others
            assert kind(await other.fetchval("select here() from item limit 1")) == "primary"
            await db.execute("update item set n = 2 where id = 2")
            assert kind(await db.fetchval("select here() from item limit 1")) == own
        await db.execute("reset shardproxy.consistency")
        assert await db.fetchval("show shardproxy.consistency") == "database"
    async with two.client("app") as db:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"shardproxy\.consistency"):
            await db.execute("set shardproxy.consistency = 'wrong'")


async def test_consistency_of_a_startup_option(two: Proxy, app_cluster: Cluster) -> None:
    async with two.client("app", server_settings={"shardproxy.consistency": "strong"}) as db:
        assert await db.fetchval("show shardproxy.consistency") == "strong"
        assert await db.fetchval("select here()") == app_cluster.primary.port


async def test_a_token_carries_what_was_written_to_another_proxy(app: Proxy, two: Proxy, app_cluster: Cluster) -> None:
    """Two processes know nothing of each other's writes; the token says how far to wait."""
    await settled(two, app_cluster)
    async with app.client("app") as writer, two.client("app") as reader:
        assert await reader.fetchval("select here() from item") in replicas(app_cluster)
        async with paused(app_cluster):
            await writer.execute("update item set n = 4242 where id = 70")
            token = await writer.fetchval("show shardproxy.token")
            assert await reader.fetchval("select here() from item where id = 70") in replicas(app_cluster)
            assert await reader.fetchval("select n from item where id = 70") != 4242
            await reader.execute(f"set shardproxy.token = '{token}'")
            assert await reader.fetchrow("select here(), n from item where id = 70") == (app_cluster.primary.port, 4242)
        async with asyncio.timeout(10):
            while await reader.fetchval("select here() from item where id = 70") == app_cluster.primary.port:
                await asyncio.sleep(0.02)
        assert await reader.fetchval("select n from item where id = 70") == 4242
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await reader.execute("set shardproxy.token = 'nonsense'")
