"""Replication connections among others: limits, rules, what an operator does to them, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator

import pytest

from shardproxy.tools.cluster import Cluster, Node
from tests.fixtures.proxy import Proxy, StartProxy
from tests.fixtures.raw import CD, B, E, P, Q, Raw, S, codes, done_copy, errors, kinds, rows, tags

pytestmark = pytest.mark.asyncio(loop_scope="session")
IDENTIFY = Q("IDENTIFY_SYSTEM")


@contextlib.asynccontextmanager
async def replication(port: int, database: str = "replication", kind: str = "true", user: str = "postgres",
                      **more: str) -> AsyncIterator[Raw]:
    """A connection after its login, which may have failed."""
    client = await Raw.open(port)
    try:
        await client.log_in({"user": user, "database": database, "replication": kind, **more})
        yield client
    finally:
        await client.close()


async def walsenders(pg: Node, count: int, database: str) -> None:
    """Soon there are so many."""
    await pg.until(f"select count(*) = {count} from pg_stat_activity where backend_type = 'walsender' "
                   f"and coalesce(datname, '{database}') = '{database}'")


async def test_the_same_as_directly(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    script = [IDENTIFY, Q("SHOW work_mem"), Q("nonsense"), P("", "select 1") + B() + E() + S, Q("TIMELINE_HISTORY 9"),
              Q('CREATE_REPLICATION_SLOT "s" TEMPORARY PHYSICAL'), Q('READ_REPLICATION_SLOT "s"')]  # fmt: skip
    for name, kind in (("replication", "true"), ("replication", "ON"), (database, "database"), (database, "1")):
        seen = []
        for port in (pg.port, own.port):
            async with replication(port, name, kind, options="-c work_mem=7MB", application_name="one") as client:
                logged_in = kinds(client.login), sorted(client.parameters.items())
                answers = [await client.ask(step) for step in script]
                fields = [[(e["C"], e["M"]) for e in errors(answer)] for answer in answers]
                seen.append((logged_in, [kinds(answer) for answer in answers], fields, rows(answers[0])[0][:2],
                             rows(answers[1])))
        assert seen[0] == seen[1]
    for kind, state in (("maybe", "22023"), ("o", "22023")):
        async with replication(own.port, database, kind) as client:
            assert codes(client.login) == [state]
    for kind in ("false", "off", "0", "no"):
        async with replication(own.port, database, kind) as client:
            assert await client.value("select 1") == "1"


async def test_it_counts_in_its_pool(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg], pool={"size": 2, "query_wait_timeout": 1})
    async with Raw.session(own.port, "postgres", database) as usual:
        assert await usual.value("select 1") == "1"  # its connection is idle now, and makes room
        async with replication(own.port, database, "database") as first, replication(own.port, database) as second:
            assert rows(await first.ask(IDENTIFY))[0][3] == database
            assert rows(await second.ask(IDENTIFY))[0][3] is None
            async with replication(own.port, database) as third:
                assert codes(third.login) == ["53300"]
            assert codes(await usual.query("select 2")) == ["53300"]
            pools = [row for row in await own.admin("SHOW POOLS") if row["database"] == database]
            assert [(row["sv_active"], row["sv_idle"]) for row in pools] == [(2, 0)]
        assert await usual.value("select 3") == "3"
        await walsenders(pg, 0, database)
        await usual.query("begin")
        async with replication(own.port, database) as again, replication(own.port, database) as late:
            assert kinds(again.login)[-1] == "Z"
            assert codes(late.login) == ["53300"]
        assert tags(await usual.query("commit")) == ["COMMIT"]


async def test_a_busy_connection_makes_room_when_it_is_released(
    pg: Node, start_proxy: StartProxy, database: str
) -> None:
    own = start_proxy([pg], pool={"size": 1})
    async with Raw.session(own.port, "postgres", database) as usual:
        await usual.query("begin")
        waiting = await Raw.open(own.port)
        login = asyncio.create_task(
            waiting.log_in({"user": "postgres", "database": database, "replication": "database"}))
        await asyncio.sleep(0.3)
        assert not login.done()
        await usual.query("commit")
        assert kinds(await login)[-1] == "Z"
        usual.send(Q("select 5"))
        await waiting.close()
        assert rows(await usual.read()) == [("5",)]


async def test_who_may(pg: Node, start_proxy: StartProxy, database: str) -> None:
    await pg.sql("create role reader login; create role replicator login replication; create role follower login")
    hosts = [{"source": "all", "user": "follower", "method": "trust"},
             {"source": "all", "user": "all", "database": database, "method": "trust"},
             {"source": "all", "user": "replicator", "database": "replication", "method": "trust"}]
    own = start_proxy([pg], auth={"hosts": hosts, "users": {"follower": {"server_user": "replicator"}, "reader": {},
                                                            "replicator": {}}})
    cases = [("reader", database, "database", "42501"), ("replicator", database, "database", ""),
             ("follower", database, "database", ""), ("replicator", "replication", "true", ""),
             ("reader", database, "true", "28000"), ("follower", "replication", "true", "28000"),
             ("replicator", database, "true", "")]
    for user, name, kind, state in cases:
        async with replication(own.port, name, kind, user) as client:
            assert codes(client.login) == ([state] if state else []), (user, name, kind)
            if not state:
                assert kinds(await client.ask(IDENTIFY)) == "TDCZ"
    closed = start_proxy([pg], databases={"*": {"primary": f"127.0.0.1:{pg.port}", "replication": False}})
    async with replication(closed.port, database, "database") as client:
        assert codes(client.login) == ["42501"]
    await pg.sql("drop role reader; drop role replicator; drop role follower")


async def test_whose_servers(pg: Node, start_proxy: StartProxy, database: str) -> None:
    """Tools name no database where they need none."""
    place = f"127.0.0.1:{pg.port}"
    one = start_proxy([pg], databases={"a": {"primary": f"{place}/{database}"}, "b": {"primary": place}})
    async with replication(one.port) as client:
        assert kinds(await client.ask(IDENTIFY)) == "TDCZ"
    many = start_proxy([pg], databases={"a": {"primary": f"{place}/{database}"}, "b": {"primary": "127.0.0.1:1"}})
    async with replication(many.port) as client:
        assert codes(client.login) == ["3D000"]
    async with replication(many.port, "a") as client:
        assert kinds(await client.ask(IDENTIFY)) == "TDCZ"
    async with replication(many.port, "shardproxy", "database") as client:
        assert codes(client.login) == ["3D000"]


async def test_slow_readers_and_writers(pg: Node, start_proxy: StartProxy, database: str) -> None:
    """Neither side's bytes pile up in the proxy, and none is lost."""
    own = start_proxy([pg])
    await pg.sql("create table t (a int, v text)", dbname=database)
    async with replication(own.port, database, "database") as client:
        assert not codes(await client.ask(Q('CREATE_REPLICATION_SLOT "slow" TEMPORARY LOGICAL "test_decoding"')))
        before = own.worker_memory()
        client.send(Q("copy t from stdin"))
        assert (await client.read(until="G"))[-1][0] == "G"
        line = b"7\t" + b"y" * 9_997 + b"\n"
        for _ in range(6_000):
            client.send(CD(line))
            await client.writer.drain()
        assert tags(await client.ask(done_copy, Q("select 1"))) == ["COPY 6000"]
        assert tags(await client.read()) == ["SELECT 1"]
        client.send(Q('START_REPLICATION SLOT "slow" LOGICAL 0/0'))
        assert (await client.read(until="W"))[-1][0] == "W"
        await asyncio.sleep(1.5)  # nothing is read meanwhile
        assert own.worker_memory() - before < 30_000_000
        count = 0
        while count < 6_000:
            kind, payload = await client.message()
            assert kind == "d", (kind, payload[:200])
            if payload[:1] == b"w" and payload[25:].startswith(b"table public.t: INSERT"):
                assert payload.count(b"y") >= 9_997
                count += 1
        status = struct.pack("!cQQQQB", b"r", 1, 1, 1, 0, 0)
        answers = await client.ask(CD(status), done_copy, Q("IDENTIFY_SYSTEM"))
        while "Z" not in kinds(answers):
            answers += await client.read()


async def test_what_it_writes_is_seen(cluster: Cluster, start_proxy: StartProxy) -> None:
    """SQL on a logical connection is a write like others: reads wait for no replica that does not have it."""
    await cluster.primary.sql("drop table if exists written; create table written (a int)")
    await cluster.caught_up()
    own = start_proxy(cluster)
    for replica in cluster.replicas:
        await replica.pause_replay()
    try:
        async with replication(own.port, "postgres", "database") as client, Raw.session(own.port) as reader:
            for number in range(1, 6):
                assert tags(await client.query(f"insert into written values ({number})")) == ["INSERT 0 1"]
                assert await reader.value("select count(*) from written") == str(number)
            await client.query("begin; insert into written values (6)")
            assert await reader.value("select count(*) from written") == "5"
            assert tags(await client.query("commit")) == ["COMMIT"]
            assert await reader.value("select count(*) from written") == "6"
            assert tags(await client.query("alter table written add b int default 9")) == ["ALTER TABLE"]
            assert await reader.value("select sum(b) from written") == "54"
    finally:
        for replica in cluster.replicas:
            await replica.resume_replay()
    await cluster.primary.sql("drop table written")


async def streaming(proxy: Proxy, database: str) -> Raw:
    """A connection in the middle of CopyBoth."""
    client = await Raw.open(proxy.port)
    await client.log_in({"user": "postgres", "database": database, "replication": "true"})
    start = rows(await client.ask(IDENTIFY))[0][2]
    client.send(Q(f"START_REPLICATION PHYSICAL {start}"))
    assert (await client.read(until="W"))[-1][0] == "W"
    return client


async def test_clients_that_vanish(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg], pool={"size": 1})
    for _ in range(3):
        client = await streaming(own, database)
        client.vanish()
        await walsenders(pg, 0, database)
        async with Raw.session(own.port, "postgres", database) as usual:
            assert await usual.value("select 1") == "1"
    for position in range(0, 60, 7):  # during the login
        body = b"user\0postgres\0database\0" + database.encode() + b"\0replication\0true\0\0"
        client = await Raw.open(own.port)
        client.send((struct.pack("!II", len(body) + 8, 0x30000) + body)[: position or None])
        await asyncio.sleep(0.003 * (position % 4))
        client.vanish()
    async with replication(own.port, database) as again:
        assert kinds(await again.ask(IDENTIFY)) == "TDCZ"
    deadline = time.monotonic() + 10
    while {row["database"] for row in await own.admin("SHOW CLIENTS")} - {"shardproxy"}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_server_that_goes(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    client = await streaming(own, database)
    await pg.sql("select pg_terminate_backend(pid) from pg_stat_replication")
    replies = await client.read(100)
    assert codes(replies) == ["57P01"]
    assert replies[-1] == ("end", b"")
    await client.close()


async def test_what_an_operator_does(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    for command in ("KILL {id}", f"PAUSE {database}", "DRAIN */main/main/0"):
        client = await streaming(own, database)
        row = next(row for row in await own.admin("SHOW CLIENTS") if row["replication"] == "physical")
        server = next(row for row in await own.admin("SHOW SERVERS") if row["replication"] == "physical")
        assert (row["database"], server["pinned"]) == (database, "replication")
        await own.admin(command.format(id=row["id"]))
        replies = await client.read(100)
        assert codes(replies) == ["57P01"], (command, replies)
        await client.close()
        if command.startswith("PAUSE"):
            await own.admin(command.replace("PAUSE", "RESUME"))


async def test_cancel(pg: Node, start_proxy: StartProxy, database: str) -> None:
    own = start_proxy([pg])
    async with replication(own.port, database, "database") as client:
        client.send(Q("select pg_sleep(100)"))
        await asyncio.sleep(0.3)
        await client.cancel(own.port)
        assert codes(await client.read()) == ["57014"]
        assert await client.value("select 1") == "1"
