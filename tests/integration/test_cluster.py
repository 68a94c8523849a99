"""The cluster that other tests stand on: replication, failover and rejoin work, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shardproxy.tools.cluster import Cluster, Node, NodeError
from shardproxy.tools.cluster.place import free_port
from shardproxy.tools.cluster.watchdog import inside
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.postgres import MakeCluster

STARTER = """
import asyncio
from shardproxy.tools.cluster import Cluster

async def main():
    cluster = await Cluster(replicas=1).start()
    print(cluster.folder, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_write_on_primary_read_on_replicas(cluster: Cluster) -> None:
    await cluster.primary.sql("create table seen (i int); insert into seen values (7)")
    await cluster.caught_up()
    for replica in cluster.replicas:
        assert await replica.value("select i from seen") == 7
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await replica.sql("insert into seen values (8)")


async def test_replay_can_be_held_back(cluster: Cluster) -> None:
    await cluster.primary.sql("create table lagging (i int)")
    await cluster.caught_up()
    late, other = cluster.replicas
    await late.pause_replay()
    await cluster.primary.sql("insert into lagging values (1)")
    await other.until("select exists (select from lagging)")
    assert await late.value("select count(*) from lagging") == 0
    await late.resume_replay()
    await late.until("select exists (select from lagging)")


async def test_database_of_its_own(pg: Node, database: str) -> None:
    assert await pg.value("select current_database()", dbname=database) == database
    connection: Any = await asyncpg.connect(pg.dsn(database))
    assert await connection.fetchval("select 1") == 1
    await connection.close()


async def test_kill_promote_rejoin(fresh_cluster: MakeCluster) -> None:
    cluster = await fresh_cluster(replicas=2, synchronous="ANY 1 (*)")
    old = cluster.primary
    await old.sql("create table kept (i int); insert into kept values (1)")
    await old.kill9()
    assert not old.running
    new = await cluster.failover()
    assert new is not old
    assert cluster.primary is new
    await new.sql("insert into kept values (2)")
    await cluster.rejoin(old)
    await cluster.caught_up()
    for replica in cluster.replicas:
        assert await replica.value("select array_agg(i order by i) from kept") == [1, 2]
    assert {node.name for node in cluster.replicas} == {node.name for node in cluster.nodes} - {new.name}


async def test_rejoin_gives_up_what_only_the_old_primary_had(fresh_cluster: MakeCluster) -> None:
    cluster = await fresh_cluster(replicas=1)
    old, replica = cluster.nodes
    await old.sql("create table t (i int)")
    await cluster.caught_up()
    await replica.stop()
    await old.sql("insert into t values (1)")
    await old.kill9()
    await replica.start()
    await cluster.failover()
    await cluster.rejoin(old)
    await cluster.caught_up()
    assert await old.value("select count(*) from t") == 0


async def test_restart_keeps_port_and_data(fresh_cluster: MakeCluster) -> None:
    cluster = await fresh_cluster(replicas=0)
    node, port = cluster.primary, cluster.primary.port
    await node.sql("create table t (i int)")
    await node.restart("fast")
    await node.restart("immediate")
    assert node.port == port
    await node.kill9()
    await node.start()
    assert await node.value("select count(*) from t") == 0


async def test_port_taken_meanwhile(fresh_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = await fresh_cluster(replicas=0)
    ports = [cluster.primary.port, free_port()]
    monkeypatch.setattr("shardproxy.tools.cluster.node.free_port", lambda: ports.pop(0))
    other = await fresh_cluster(replicas=0)
    assert other.primary.port != cluster.primary.port
    assert await other.primary.value("show port") == str(other.primary.port)


async def test_scram(fresh_cluster: MakeCluster) -> None:
    cluster = await fresh_cluster(replicas=1, auth="scram-sha-256", password="it's \\ odd")
    assert await cluster.replicas[0].value("select 1") == 1
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with cluster.primary.connection(password="wrong"):
            pass


async def test_tls(binaries: Binaries, fresh_cluster: MakeCluster) -> None:
    if not binaries.tls:
        with pytest.raises(NodeError, match="without TLS"):
            await fresh_cluster(replicas=0, tls=True)
        return
    cluster = await fresh_cluster(replicas=0, tls=True, hba=("hostnossl all all all reject",))
    context = ssl.create_default_context(cafile=str(cluster.folder / "ca.crt"))
    async with cluster.primary.connection(ssl=context) as connection:
        assert await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")


async def test_failure_to_start_shows_the_log(fresh_cluster: MakeCluster) -> None:
    with pytest.raises(NodeError, match="no_such_setting"):
        await fresh_cluster(replicas=0, extra={"no_such_setting": "1"})


async def test_close_leaves_nothing(binaries: Binaries) -> None:
    cluster = await Cluster(replicas=1, binaries=binaries).start()
    folder = cluster.folder
    await cluster.close()
    await cluster.close()
    assert not folder.exists()
    assert not inside(folder)


async def test_starter_killed_leaves_nothing(binaries: Binaries) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, stdout=subprocess.PIPE,
        env={"SHARDPROXY_PG_BIN": str(binaries.path), "PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)})
    assert starter.stdout
    folder = Path((await starter.stdout.readline()).decode().strip())
    assert inside(folder)
    starter.kill()
    await starter.wait()
    for _ in range(400):
        if not folder.exists():
            break
        await asyncio.sleep(0.05)
    assert not folder.exists()
    assert not inside(folder)


async def test_root_without_user_namespaces(fresh_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has to become another user")
    monkeypatch.setattr("shardproxy.tools.cluster.place.NAMESPACE", ("false",))
    cluster = await fresh_cluster(replicas=1)
    old = cluster.primary
    await old.sql("create table t (i int)")
    await old.kill9()
    await (await cluster.failover()).sql("insert into t values (1)")
    await cluster.rejoin(old)
    await cluster.caught_up()
    assert await old.value("select count(*) from t") == 1
