"""The monitor against real servers: it never claims freshness too early, and never trusts the wrong primary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.dialects.postgres.replication import REPLICATION
from shardproxy.log import get_logger
from shardproxy.server.monitor import Monitor
from shardproxy.tools.cluster import Cluster, Node
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import FENCED, PRIMARY, REPLICA, ServerView, TopologyView
from tests.fixtures.postgres import MakeCluster

DIALECT = SimpleNamespace(replication=REPLICATION)
TABLE = (17,)


class Watched:
    """A monitor over the nodes of a cluster, and what it said."""

    def __init__(self, folder: Path, nodes: list[Node], user: str = "postgres") -> None:
        self.folder, self.nodes, self.user = folder, nodes, user
        self.views: list[tuple[float, TopologyView]] = []
        self.board = Board.create()
        self.monitor = Monitor(self.config(nodes).databases, self.board, lambda name: DIALECT, self._on_view,
                               get_logger("monitor"), folder / "primaries.json")

    def config(self, nodes: list[Node]) -> Config:
        """The configuration with these servers."""
        first, *others = (f'"{node.host}:{node.port}"' for node in nodes)
        path = self.folder / "shardproxy.toml"
        path.write_text(f"""
            [listen]
            postgres = "127.0.0.1:6432"
            [auth]
            method = "trust"
            [databases.postgres]
            server_user = "{self.user}"
            lag_interval = "20ms"
            health_interval = "500ms"
            health_timeout = "1s"
            primary = {first}
            replicas = [{", ".join(others)}]
            """)
        return load(path)

    def _on_view(self, view: TopologyView) -> None:
        self.views.append((time.monotonic(), view))

    def server(self, node: Node) -> ServerView:
        """A node in the present view."""
        database = self.monitor.view.databases["postgres"]
        return next(server for server in database.servers if server.port == node.port)

    def mark(self) -> int:
        """A write to TABLE was acknowledged."""
        now = time.monotonic_ns()
        self.board.mark_write(0, TABLE, now)
        return now

    def may_read(self, node: Node) -> bool:
        """Whether a read of TABLE may go there."""
        return self.board.may_read(self.server(node).index, 0, TABLE)


@asynccontextmanager
async def watch(folder: Path, nodes: list[Node], user: str = "postgres") -> AsyncIterator[Watched]:
    watched = Watched(folder, nodes, user)
    await watched.monitor.start()
    try:
        yield watched
    finally:
        await watched.monitor.stop()


def has_sync(watched: Watched, node: Node, sync: str) -> bool:
    return watched.server(node).sync == sync


async def until(fact: Callable[[], object], seconds: float = 5) -> float:
    """Wait until it is true; seconds that took."""
    began = time.monotonic()
    while not fact():
        assert time.monotonic() - began < seconds, "did not become true in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest.mark.asyncio(loop_scope="module")
async def test_roles_are_discovered_whatever_the_configuration_says(module_cluster: Cluster, tmp_path: Path) -> None:
    nodes = [module_cluster.nodes[2], module_cluster.nodes[0], module_cluster.nodes[1]]
    async with watch(tmp_path, nodes) as watched:
        assert watched.server(module_cluster.primary).role == PRIMARY
        for replica in module_cluster.replicas:
            assert watched.server(replica).role == REPLICA
            await until(partial(has_sync, watched, replica, "async"))
        await module_cluster.set_synchronous("ANY 1 (*)")
        try:
            for replica in module_cluster.replicas:
                await until(partial(has_sync, watched, replica, "quorum"))
        finally:
            await module_cluster.set_synchronous("")
        assert TopologyView.from_json(watched.monitor.view.to_json()) == watched.monitor.view


@pytest.mark.asyncio(loop_scope="module")
async def test_freshness_is_never_claimed_early(module_cluster: Cluster, tmp_path: Path) -> None:
    primary, (held, free) = module_cluster.primary, module_cluster.replicas
    await primary.sql("create table if not exists fresh (i int)")
    await module_cluster.caught_up()
    async with watch(tmp_path, module_cluster.nodes) as watched:
        watched.mark()
        await until(lambda: watched.may_read(held) and watched.may_read(free), 2)
        await held.pause_replay()
        try:
            await primary.sql("insert into fresh values (1)")
            watched.mark()
            assert not watched.may_read(free)
            await until(lambda: watched.may_read(free), 1)
            assert await free.value("select count(*) from fresh") == 1
            for _ in range(50):
                await asyncio.sleep(0.01)
                assert not watched.may_read(held)
            assert await held.value("select count(*) from fresh") == 0
            row = next(row for row in watched.monitor.snapshot() if row["port"] == held.port)
            assert row["lag_bytes"] > 0
            assert row["lag_ms"] >= 300
        finally:
            await held.resume_replay()
        await until(lambda: watched.may_read(held), 1)
        assert await held.value("select count(*) from fresh") == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_what_may_be_read_is_there(module_cluster: Cluster, tmp_path: Path) -> None:
    """Many writes; whenever the board allows a replica, the replica shows the last acknowledged one."""
    primary, replica = module_cluster.primary, module_cluster.replicas[0]
    await primary.sql("create table if not exists counted (i int)")
    await primary.sql("truncate counted")
    await module_cluster.caught_up()
    allowed = 0
    async with watch(tmp_path, module_cluster.nodes) as watched, primary.connection() as writer, \
            replica.connection() as reader:
        for number in range(1, 151):
            # Asynchronously committed, a row reaches the replica when the log writer next wakes up.
            await writer.execute(f"set synchronous_commit = {'off' if number % 3 else 'on'}")
            await writer.execute("insert into counted values ($1)", number)
            watched.mark()
            await asyncio.sleep(0.004 * (number % 9))
            if watched.may_read(replica):
                allowed += 1
                assert await reader.fetchval("select max(i) from counted") == number
        await until(lambda: watched.may_read(replica), 1)
    assert allowed


@pytest.mark.asyncio(loop_scope="module")
async def test_fresh_again_after_a_log_switch_in_idleness(module_cluster: Cluster, tmp_path: Path) -> None:
    async with watch(tmp_path, module_cluster.nodes) as watched:
        await module_cluster.primary.sql("select pg_switch_wal()")
        watched.mark()
        for replica in module_cluster.replicas:
            await until(partial(watched.may_read, replica), 1)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_user_who_may_not_look_is_told_what_to_do(module_cluster: Cluster, tmp_path: Path,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    primary, replica = module_cluster.nodes[:2]
    await primary.sql("drop role if exists watcher")
    await primary.sql("create role watcher login")
    await module_cluster.caught_up()
    async with watch(tmp_path, [primary, replica], user="watcher") as watched:
        assert watched.server(primary).role == PRIMARY
        assert "cannot be measured" in caplog.text
        await asyncio.sleep(0.2)
        assert not watched.may_read(replica)
        await primary.sql("grant pg_monitor to watcher")
        await until(partial(watched.may_read, replica), 3)


@pytest.mark.asyncio(loop_scope="module")
async def test_servers_come_and_go_while_running(module_cluster: Cluster, tmp_path: Path) -> None:
    first, second, third = module_cluster.nodes
    async with watch(tmp_path, [first, second]) as watched:
        index = watched.server(second).index
        changed = watched.config([first, second, third])
        await watched.monitor.reload(changed.databases)
        await until(lambda: watched.server(third).role == REPLICA)
        assert watched.server(second).index == index
        assert all(not view.databases["postgres"].hold for _, view in watched.views)
        server_id = watched.server(third).id
        watched.monitor.drain(server_id)
        assert watched.server(third).draining
        watched.monitor.ban(server_id)
        watched.monitor.drain(server_id, False)
        assert watched.server(third).banned
        assert not watched.server(third).draining
        with pytest.raises(KeyError):
            watched.monitor.drain("postgres/main/main/9")
        await watched.monitor.reload(watched.config([first, second]).databases)
        assert [server.port for server in watched.monitor.view.databases["postgres"].servers] == [
            first.port, second.port]
        assert all(not view.databases["postgres"].hold for _, view in watched.views)


@pytest.mark.asyncio(loop_scope="module")
async def test_databases_on_one_cluster_share_its_watch(module_cluster: Cluster, tmp_path: Path) -> None:
    first, second, _ = module_cluster.nodes
    async with watch(tmp_path, [first, second]) as watched:
        path = tmp_path / "shardproxy.toml"
        names = "".join(f"""
            [databases.{name}]
            primary = "127.0.0.1:{first.port}"
            replicas = ["127.0.0.1:{second.port}"]
            """ for name in ("shop", "crm", '"*"'))
        path.write_text(path.read_text().partition("[databases")[0] + names)
        await watched.monitor.reload(load(path).databases)
        view = watched.monitor.view
        shop, other = view.database("shop"), view.database("any other")
        assert shop is not None
        assert other is not None
        assert [server.index for server in shop.servers] == [server.index for server in other.servers]
        assert len({shop.index, other.index, view.databases["crm"].index}) == 3
        query = "select count(*) from pg_stat_activity where application_name = 'shardproxy monitor'"
        await first.until(f"select ({query}) = 1")
        watched.board.mark_write(other.index, TABLE, time.monotonic_ns())
        await until(lambda: watched.board.may_read(other.servers[1].index, other.index, TABLE), 1)
        watched.monitor.drain("any other/main/main/1")
        drained = watched.monitor.view.database("yet another")
        assert drained is not None
        assert [server.draining for server in drained.servers] == [False, True]


async def test_failover_and_fencing(fresh_cluster: MakeCluster, tmp_path: Path,
                                    caplog: pytest.LogCaptureFixture) -> None:
    cluster = await fresh_cluster(replicas=2)
    old = cluster.primary
    await old.sql("create table t (i int)")
    await cluster.caught_up()
    async with watch(tmp_path, cluster.nodes) as watched:
        watched.mark()
        await until(lambda: all(watched.may_read(replica) for replica in cluster.replicas), 2)
        await old.kill9()
        await until(lambda: watched.monitor.view.databases["postgres"].hold, 1)
        new = cluster.replicas[0]
        await new.promote()
        noticed = await until(lambda: watched.monitor.view.databases["postgres"].primary, 2)
        assert noticed < 0.35
        assert watched.server(new).role == PRIMARY
        other = cluster.replicas[0]
        watched.mark()
        assert not watched.may_read(other)
        await asyncio.sleep(0.2)
        assert not watched.may_read(other)          # follows no one yet: knows nothing of the new timeline
        await other.follow(new)
        await until(lambda: watched.may_read(other), 3)
        assert "failover from" in caplog.text
        await old.start()
        await until(lambda: watched.server(old).role == FENCED, 3)
        assert watched.server(new).role == PRIMARY
        assert await watched.monitor.wait_primary("postgres", 1) == watched.server(new)
        await old.stop("immediate")
        await cluster.rejoin(old)
        await until(lambda: watched.server(old).role == REPLICA, 3)
        await until(lambda: watched.may_read(old), 3)


async def test_a_restarted_proxy_does_not_trust_an_old_primary(fresh_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = await fresh_cluster(replicas=1)
    old, new = cluster.nodes
    async with watch(tmp_path, cluster.nodes) as watched:
        await old.kill9()
        await new.promote()
        await until(lambda: watched.server(new).role == PRIMARY, 3)
    await new.kill9()
    await old.start()
    async with watch(tmp_path, cluster.nodes) as watched:
        assert watched.server(old).role == FENCED
        assert watched.monitor.view.databases["postgres"].hold
        assert await watched.monitor.wait_primary("postgres", 0.3) is None
        await new.start()
        primary = await watched.monitor.wait_primary("postgres", 3)
        assert primary is not None
        assert primary.port == new.port


async def test_two_primaries_on_one_timeline(fresh_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = await fresh_cluster(replicas=2)
    _, left, right = cluster.nodes
    async with watch(tmp_path, cluster.nodes) as watched:
        await cluster.nodes[0].kill9()
        await asyncio.gather(left.promote(), right.promote())
        await until(lambda: watched.monitor.view.databases["postgres"].conflict, 3)
        database = watched.monitor.view.databases["postgres"]
        assert database.hold
        assert database.primary is None
        assert "2 writable servers on timeline 2" in database.conflict
        await right.kill9()
        primary = await watched.monitor.wait_primary("postgres", 3)
        assert primary is not None
        assert primary.port == left.port


async def test_a_replica_that_hangs_or_crashes_is_down(fresh_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = await fresh_cluster(replicas=2)
    frozen, other = cluster.replicas
    async with watch(tmp_path, cluster.nodes) as watched:
        frozen.freeze()
        try:
            await until(lambda: not watched.server(frozen).healthy, 4)
            await cluster.primary.sql("create table t (i int)")
            watched.mark()
            await until(lambda: watched.may_read(other), 2)
            assert not watched.may_read(frozen)
        finally:
            frozen.thaw()
        await until(lambda: watched.server(frozen).healthy and watched.may_read(frozen), 4)
        await other.kill9()
        await until(lambda: not watched.server(other).healthy, 0.5)
        assert watched.board.fresh_as_of(watched.server(other).index) == 0      # it may come back with less
        assert not watched.monitor.view.databases["postgres"].hold
        await other.start()
        await until(lambda: watched.server(other).healthy and watched.may_read(other), 4)
