"""How reads are spread over replicas: by policy, weight, zone and lag; and what an operator changes meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from shardproxy.tools.cluster import Cluster
from tests.fixtures.proxy import Proxy

from .conftest import entry
from .test_where import replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")
StartProxy = Callable[..., Proxy]
READ = "select here() from item limit 1"


def servers(cluster: Cluster, *options: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """An entry whose replicas have these options (weight, zone)."""
    made = entry(cluster, **settings)
    return made | {"replicas": [{"address": address, **(options[number] if number < len(options) else {})}
                                for number, address in enumerate(made["replicas"])]}


async def ready(proxy: Proxy, cluster: Cluster, sql: str = READ) -> None:
    """Until reads go to replicas."""
    async with proxy.client("app") as db, asyncio.timeout(15):
        while await db.fetchval(sql) not in replicas(cluster):
            await asyncio.sleep(0.05)


async def counted(proxy: Proxy, sessions: int = 60, reads: int = 3) -> Counter[int]:
    """Which server the sessions read from."""
    async def one() -> int:
        async with proxy.client("app") as db:
            ports = [await db.fetchval(READ) for _ in range(reads)]
            return int(ports[-1])

    found: Counter[int] = Counter()
    for start in range(0, sessions, 10):
        found.update(await asyncio.gather(*(one() for _ in range(start, min(start + 10, sessions)))))
    return found


@pytest.mark.parametrize("policy", ["round_robin", "least_connections", "fastest"])
async def test_equal_servers_get_equal_shares(app_cluster: Cluster, start_proxy: StartProxy, policy: str) -> None:
    proxy = start_proxy(databases={"app": servers(app_cluster, balance=policy)})
    await ready(proxy, app_cluster)
    found = await counted(proxy)
    low, high = (20, 40) if policy != "fastest" else (1, 59)
    assert set(found) == replicas(app_cluster)
    assert all(low <= count <= high for count in found.values()), found


async def test_weights(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    first, second = (node.port for node in app_cluster.replicas)
    proxy = start_proxy(databases={"app": servers(app_cluster, {"weight": 3.0}, {"weight": 1.0}, balance="weighted")})
    await ready(proxy, app_cluster)
    found = await counted(proxy)
    assert 40 <= found[first] <= 50 and 10 <= found[second] <= 20, found
    await proxy.reload(databases={"app": servers(app_cluster, {"weight": 0.0}, {"weight": 1.0}, balance="weighted")})
    assert set(await counted(proxy, 20)) == {second}
    await proxy.reload(databases={"app": servers(app_cluster, {"weight": 1.0}, {"weight": 4.0}, balance="weighted")})
    found = await counted(proxy)
    assert 8 <= found[first] <= 16, found


async def test_client_hash_keeps_a_client_on_one_server(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    users: dict[str, Any] = {f"user{number}": {} for number in range(12)}
    for user in users:
        await app_cluster.primary.sql(f"create role {user} login; grant pg_read_all_data to {user}")
    await app_cluster.caught_up()
    try:
        proxy = start_proxy(databases={"app": servers(app_cluster, balance="client_hash")}, auth={"users": users})
        await ready(proxy, app_cluster)
        places: dict[str, set[int]] = {user: set() for user in users}
        for _ in range(4):
            for user in users:
                async with proxy.client("app", user) as db:
                    places[user] |= {await db.fetchval(READ) for _ in range(2)}
        assert all(len(ports) == 1 for ports in places.values()), places
        assert set.union(*places.values()) == replicas(app_cluster)
    finally:
        for user in users:
            await app_cluster.primary.sql(f"drop role {user}")


async def test_the_own_zone_is_preferred(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    first, second = (node.port for node in app_cluster.replicas)
    zones = servers(app_cluster, {"zone": "here"}, {"zone": "there"}, balance="round_robin", zone="there")
    proxy = start_proxy(databases={"app": zones})
    await ready(proxy, app_cluster)
    assert set(await counted(proxy, 20)) == {second}
    await proxy.admin("BAN app/main/main/2")
    assert set(await counted(proxy, 20)) == {first}
    await proxy.admin("UNBAN app/main/main/2")
    assert set(await counted(proxy, 20)) == {second}


async def test_a_replica_that_lags_too_far_gets_no_reads(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    """With ``eventual`` nothing else keeps a read away from it."""
    lagging, other = app_cluster.replicas
    made = servers(app_cluster, balance="round_robin", consistency="eventual", max_lag="100kB, 60s")
    proxy = start_proxy(databases={"app": made})
    await ready(proxy, app_cluster)
    assert set(await counted(proxy, 20)) == replicas(app_cluster)
    await lagging.pause_replay()
    try:
        async with proxy.client("app") as db:
            await db.execute("create table bulk as select repeat('x', 1000) from generate_series(1, 1000)")
        async with asyncio.timeout(10):
            while set(await counted(proxy, 10)) != {other.port}:
                await asyncio.sleep(0.1)
        assert set(await counted(proxy, 20)) == {other.port}
        row = next(row for row in await proxy.admin("SHOW LAG") if row["port"] == lagging.port)
        assert row["lag_bytes"] > 100_000
    finally:
        await lagging.resume_replay()
        await app_cluster.primary.sql("drop table if exists bulk", dbname="app")
    async with asyncio.timeout(10):
        while set(await counted(proxy, 10)) != replicas(app_cluster):
            await asyncio.sleep(0.1)


class Readers:
    """Clients that read and write all the time; no error is expected, and none may be disconnected."""

    def __init__(self, proxy: Proxy, count: int = 8) -> None:
        self.proxy, self.count = proxy, count
        self.ports: Counter[int] = Counter()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Readers:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(self.count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _run(self, number: int) -> None:
        async with self.proxy.client("app") as db:
            turn = 0
            while not self._stop.is_set():
                turn += 1
                if number == 0 and turn % 10 == 0:
                    await db.execute("update other set n = n + 1 where id = 3")
                async with db.transaction(readonly=turn % 3 == 0):
                    await db.fetchval(READ)
                self.ports[await db.fetchval(READ)] += 1
                await asyncio.sleep(0.01 + 0.002 * number)

    async def seen(self, seconds: float = 1.5) -> set[int]:
        """Servers that answer from now on; a statement that is under way does not count."""
        await asyncio.sleep(0.3)
        self.ports.clear()
        await asyncio.sleep(seconds)
        return {port for port, count in self.ports.items() if count}

    async def until(self, wanted: set[int]) -> None:
        async with asyncio.timeout(15):
            while await self.seen(0.5) != wanted:
                pass


async def test_servers_are_drained_banned_removed_and_added_under_load(
        app_cluster: Cluster, start_proxy: StartProxy) -> None:
    """By console and RELOAD; no client is dropped and none sees an error."""
    first, second = (node.port for node in app_cluster.replicas)
    both = servers(app_cluster, balance="round_robin")
    proxy = start_proxy(databases={"app": both})
    await ready(proxy, app_cluster)
    async with Readers(proxy) as readers:
        await readers.until({first, second})
        for off, on in (("DRAIN", "UNDRAIN"), ("BAN", "UNBAN")):
            await proxy.admin(f"{off} app/main/main/1")
            assert await readers.seen(0.7) <= {second, app_cluster.primary.port}
            if off == "DRAIN":
                rows = await proxy.admin("SHOW SERVERS")
                assert not [row for row in rows if row["port"] == first], rows
            await proxy.admin(f"{on} app/main/main/1")
            await readers.until({first, second})
        await proxy.admin("BAN app/main/main/1 1")  # for a second
        await readers.until({second})
        await readers.until({first, second})
        await proxy.reload(databases={"app": both | {"replicas": both["replicas"][1:]}})
        assert await readers.seen(0.7) <= {second, app_cluster.primary.port}
        await proxy.reload(databases={"app": both | {"replicas": []}})
        assert await readers.seen(0.7) == {app_cluster.primary.port}
        await proxy.reload(databases={"app": both})
        await readers.until({first, second})
        await proxy.reload(databases={"app": both | {"consistency": "strong"}})
        assert await readers.seen(0.7) == {app_cluster.primary.port}


async def test_a_replica_that_lets_nobody_in_costs_no_read(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    """Its connections are used up; the monitor still reaches it. Reads go elsewhere, at once and without an error."""
    full, other = app_cluster.replicas
    proxy = start_proxy(databases={"app": servers(app_cluster, balance="round_robin")})
    await ready(proxy, app_cluster)
    await proxy.admin("RECONNECT")
    role = "limited"
    await app_cluster.primary.sql(f"create role {role} login connection limit 1; grant pg_read_all_data to {role}")
    await app_cluster.caught_up()
    try:
        async with full.connection("app", user=role), proxy.client("app", role) as db:
            for _ in range(40):
                assert await asyncio.wait_for(db.fetchval(READ), 5) in (other.port, app_cluster.primary.port)
    finally:
        await app_cluster.primary.sql(f"drop role {role}")


async def test_counters_tell_where_statements_went(app_cluster: Cluster, start_proxy: StartProxy) -> None:
    """The servers' own statistics and SHOW POOLS agree."""
    proxy = start_proxy(databases={"app": servers(app_cluster, balance="round_robin")})
    await ready(proxy, app_cluster)
    await counted(proxy, 40, 5)
    rows = [row for row in await proxy.admin("SHOW POOLS") if row["database"] == "app"]
    assert {row["database"] for row in rows} == {"app"}
    count = "select count(*) from pg_stat_activity where datname = 'app' and backend_type = 'client backend'"
    connected = [await node.value(count) for node in app_cluster.replicas]
    assert all(count >= 1 for count in connected), connected
