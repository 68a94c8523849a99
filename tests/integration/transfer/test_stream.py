"""The replication connection: logins, slots, feedback, and how a stream ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shardproxy.dialects.changes import Begin, Commit, Insert, Message, Relation, SlotLost
from shardproxy.dialects.postgres.change_stream import ChangeStream
from shardproxy.dialects.replication import LinkError, Target
from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.faults import Faults

from .places import Places

pytestmark = pytest.mark.asyncio


def target(node: Node, **changes: object) -> Target:
    fields: dict[str, object] = {"host": node.host, "port": node.port, "unix": None, "dbnames": ("postgres",),
                                 "user": "postgres", "password": "not-a-secret", "ssl": False}
    return Target(**(fields | changes))     # type: ignore[arg-type]


@pytest_asyncio.fixture
async def stream(places: Places) -> AsyncIterator[ChangeStream]:
    """Of the coordinator, with a table and a slot."""
    await places.execute("", "create table t (id int primary key, v text); create publication p for table t")
    made = await ChangeStream.open((await places.primary("")).target)
    await made.create_slot(places.prefix)
    yield made
    made.close()


async def test_logins(binaries: Binaries) -> None:
    async with Cluster(binaries=binaries, auth="scram-sha-256", tls=True) as cluster:
        node = cluster.primary
        context = ssl.create_default_context(cafile=str(cluster.folder / "ca.crt"))
        context.check_hostname = False
        for how in (False, "prefer", context):
            made = await ChangeStream.open(target(node, ssl=how))
            found = await made.identify()
            assert (found.timeline, found.database) == (1, "postgres")
            assert found.position > 0
            made.close()
        if node.sockets is not None:
            (await ChangeStream.open(target(node, unix=str(node.sockets), password=None))).close()
        with pytest.raises(LinkError, match="password authentication failed"):
            await ChangeStream.open(target(node, password="wrong"))
    with pytest.raises(LinkError):
        await ChangeStream.open(target(node))


async def test_changes_and_feedback(places: Places, stream: ChangeStream) -> None:
    await stream.start(places.prefix, ["p"], 0)
    await places.execute("", "insert into t values (1, 'one')")
    await places.execute("", f"insert into t values (2, repeat('long', {1 << 20}))")
    found: list[Message] = []
    while sum(isinstance(message, Commit) for message in found) < 2:
        found += await stream.read(5)
    kinds = [type(message) for message in found]
    assert kinds == [Begin, Relation, Insert, Commit, Begin, Insert, Commit]
    assert [len(message.new[1]) for message in found if isinstance(message, Insert)] == [3, 4 << 20]  # type: ignore
    last = found[-1]
    assert isinstance(last, Commit)
    stream.ask()
    while stream.seen < last.end:
        await stream.read(1)
    stream.confirm(last.end)
    for _ in range(60):
        await asyncio.sleep(0.1)
        if await places.value("", f"select confirmed_flush_lsn - '0/0' = {last.end} from pg_replication_slots "
                                  f"where slot_name = '{places.prefix}'"):
            break
    else:
        raise AssertionError("the server was not told")


async def test_only_what_was_not_confirmed_comes_again(places: Places, stream: ChangeStream) -> None:
    await places.execute("", "insert into t values (1, 'one')")
    position = await places.written("")
    await places.execute("", "insert into t values (2, 'two')")
    await stream.start(places.prefix, ["p"], position)
    found: list[Message] = []
    while not any(isinstance(message, Commit) for message in found):
        found += await stream.read(5)
    assert [message.new for message in found if isinstance(message, Insert)] == [(b"2", b"two")]


async def test_a_slot_that_is_not_there(places: Places, stream: ChangeStream) -> None:
    with pytest.raises(SlotLost):
        await stream.start("no_such_slot", ["p"], 0)
    other = await ChangeStream.open((await places.primary("")).target)
    await other.drop_slot("no_such_slot")
    await other.drop_slot(places.prefix)
    other.close()


async def test_a_connection_that_is_cut(places: Places, stream: ChangeStream) -> None:
    await stream.start(places.prefix, ["p"], 0)
    await places.execute("", "select pg_terminate_backend(active_pid) from pg_replication_slots "
                             f"where slot_name = '{places.prefix}'")
    with pytest.raises(LinkError):
        for _ in range(10):
            await stream.read(1)


async def test_a_network_that_swallows_everything(places: Places) -> None:
    await places.execute("", "create table t (id int primary key, v text); create publication p for table t")
    async with Faults(places.port) as faults:
        found = (await places.primary("")).target
        made = await ChangeStream.open(Target(faults.host, faults.port, None, found.dbnames, found.user))
        try:
            made.silence_s = 1.0
            await made.create_slot(places.prefix)
            await made.start(places.prefix, ["p"], 0)
            deadline = asyncio.get_running_loop().time() + 2
            while asyncio.get_running_loop().time() < deadline:     # nothing happens, and yet it is heard
                await made.read(0.05)
            faults.black_hole = True
            with pytest.raises(LinkError, match="nothing was heard"):
                async with asyncio.timeout(20):
                    while True:
                        await made.read(0.05)
        finally:
            made.close()
            faults.black_hole = False
