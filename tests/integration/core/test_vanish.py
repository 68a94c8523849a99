"""Clients that vanish, at any byte of a conversation: nothing of them is left on the server, and the pool serves on."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from tests.fixtures.proxy import StartProxy
from tests.fixtures.raw import CD, B, C, D, E, H, P, Q, Raw, S, X, codes, done_copy, parts

from .conftest import Arena

CONVERSATIONS = {
    "simple": Q("begin") + Q("insert into t values (1)") + Q("select 1/0") + Q("rollback") + X,
    "extended": Q("begin")
    + P("a", "insert into t values ($1)")
    + D("S", "a")
    + B("", "a", "1")
    + E()
    + S
    + C("S", "a")
    + S
    + X,
    "copy": Q("begin; lock table t; copy t from stdin") + CD(b"1\n") + CD(b"2\n3\n") + CD(b"x\n"),
    "copy extended": Q("begin")
    + P("", "copy t from stdin")
    + B()
    + E()
    + CD(b"1\n")
    + CD(b"2\n")
    + done_copy
    + S
    + Q("rollback"),
    "locks": Q("begin; lock table t in access exclusive mode; select pg_advisory_lock(5)")
    + Q("select pg_sleep(0.001)"),
    "temporary": Q("create temp table tt (a int)")
    + Q("listen x; set my.own = 'left'; set role other")
    + Q("select 1"),
}
LEFT = """
select (select count(*) from pg_stat_activity where datname = 'arena' and state like 'idle in transaction%%')
     + (select count(*) from pg_locks l join pg_stat_activity a using (pid)
        where a.datname = 'arena' and pid <> pg_backend_pid() and a.state = 'idle')
"""


async def settled(arena: Arena) -> None:
    """Soon no transaction and no lock is left."""
    deadline = time.monotonic() + 5
    while (left := arena.control.execute(LEFT).fetchone()) != (0,):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_at_every_byte(arena: Arena, name: str) -> None:
    """Every position is tried; between two of them the one connection of the pool must serve another client."""
    await arena.fresh("create table s.t (a int)")
    data = CONVERSATIONS[name]
    async with arena.session() as other:
        for position in range(len(data) + 1):
            client = await Raw.open(arena.proxy.port)
            await client.log_in({"user": "postgres", "database": arena.name})
            client.send(data[:position])
            if position % 3:
                await asyncio.sleep(0.001 * (position % 3))
            client.vanish()
            if position % 4 == 0:
                seen = await other.rows(
                    "select count(*), current_user, nullif(current_setting('my.own', true), '') from t"
                )
                assert seen == [("0", "postgres", None)], position
        assert (
            await other.value("select count(*) from pg_class where relnamespace = pg_my_temp_schema()") == "0"
        )
    await settled(arena)


async def test_during_the_login(arena: Arena) -> None:
    body = b"user\0postgres\0database\0arena\0options\0-c work_mem=1MB\0\0"
    startup = struct.pack("!II", len(body) + 8, 0x30000) + body
    for data in (startup, struct.pack("!II", 8, 80877103) + startup):
        for position in range(len(data) + 1):
            client = await Raw.open(arena.proxy.port)
            client.send(*parts(data[:position], [4]))
            client.vanish()
    async with arena.session() as other:
        assert await other.value("show work_mem") == "4MB"
    await settled(arena)


async def test_many_at_once(arena: Arena) -> None:
    """Clients that vanish while they wait for the connection, run something, or are about to be served."""
    await arena.fresh("create table s.t (a int)")

    async def one(number: int) -> None:
        client = await Raw.open(arena.proxy.port)
        await client.log_in({"user": "postgres", "database": arena.name})
        client.send(Q("begin; insert into t values (1); select pg_sleep(0.01)"))
        await asyncio.sleep(0.005 * (number % 20))
        client.vanish()

    for _ in range(4):
        await asyncio.gather(*(one(number) for number in range(50)))
    async with arena.session() as other:
        assert await other.value("select count(*) from t") == "0"
    await settled(arena)


async def test_while_the_session_is_prepared(arena: Arena) -> None:
    """The proxy is setting, or asking for, the client's settings when the client vanishes."""
    for statement in (
        "set work_mem = '1MB'",
        "select change('2MB')",
        "listen x",
        "create temp table tt (a int)",
    ):
        for delay in range(25):
            async with arena.session(options="-c my.own=early") as client:
                client.send(Q(statement))
                await asyncio.sleep(delay / 4000)
                client.vanish()
            async with arena.session() as other:
                seen = await other.rows("show work_mem; select nullif(current_setting('my.own', true), '')")
                assert seen == [("4MB",), (None,)]
    await settled(arena)


SLEEPS = "create function s.late() returns trigger language plpgsql as "
SLEEPS += "'begin perform pg_sleep(1.5); return null; end'; "
SLEEPS += "create constraint trigger late after insert on s.t deferrable initially deferred for each row "
SLEEPS += "execute function s.late()"


async def vanished(arena: Arena, *before: bytes, port: int = 0) -> None:
    """A client that goes while its last message is carried out."""
    client = await Raw.open(port or arena.proxy.port)
    await client.log_in({"user": "postgres", "database": arena.name})
    for data in before[:-1]:
        await client.ask(data)
    client.send(before[-1])
    await asyncio.sleep(0.3)
    client.vanish()


@pytest.mark.parametrize("last", [
    (Q("select count(*) from generate_series(1, 100000000000)"),),
    (P("", "select count(*) from generate_series(1, 100000000000)") + B() + E() + S,),
    (Q("begin; insert into t values (1)"), Q("select pg_sleep(100)")),
    (Q("begin"), P("", "insert into t select 1 from pg_sleep(100)") + B() + E() + S),
])  # fmt: skip
async def test_what_would_not_be_committed_is_cancelled(arena: Arena, last: tuple[bytes, ...]) -> None:
    """The only connection of the pool serves the next client soon."""
    await arena.fresh("create table s.t (a int)")
    await vanished(arena, *last)
    async with arena.session() as other:
        assert await other.value("select count(*) from t") == "0"
    await settled(arena)


@pytest.mark.parametrize("last", [
    (Q("insert into t select 1 from pg_sleep(1.5)"),),
    (P("", "insert into t select 1 from pg_sleep(1.5)") + B() + E() + S,),
    (Q("begin; insert into t values (1)"), Q("commit")),
    (Q("begin; insert into t values (1); commit"),),
    (Q("begin"), P("", "insert into t values (1)") + B() + E() + S + P("", "commit") + B() + E() + S),
])  # fmt: skip
async def test_what_commits_runs_to_its_end(arena: Arena, last: tuple[bytes, ...]) -> None:
    """As it would on a connection of its own."""
    await arena.fresh("create table s.t (a int); " + (SLEEPS if len(last) > 1 or b"commit" in last[0] else ""))
    await vanished(arena, *last)
    async with arena.session() as other:
        assert await other.value("select count(*) from t") == "1"


async def test_without_a_sync_nothing_is_committed(arena: Arena) -> None:
    for port in (arena.pg.port, arena.proxy.port):
        await arena.fresh("create table s.t (a int)")
        client = await Raw.open(port)
        await client.log_in({"user": "postgres", "database": arena.name})
        await client.ask(P("", "insert into t values (1)") + B() + E() + H, until="C")
        client.send(P("", "select 1 from t") + B() + E() + H)
        assert [kind for kind, _ in await client.read(until="C")][-1] == "C"
        client.vanish()
        async with arena.session() as other:
            assert await other.value("select count(*) from t") == "0"
    await settled(arena)


async def test_all_that_was_abandoned(start_proxy: StartProxy, arena: Arena) -> None:
    await arena.fresh("create table s.t (a int); " + SLEEPS)
    own = start_proxy([arena.pg], pool={"size": 1, "cancel_abandoned": "all"})
    await vanished(arena, Q("insert into t select 1 from pg_sleep(100)"), port=own.port)
    async with Raw.session(own.port, "postgres", arena.name) as other:
        assert await other.value("select count(*) from t") == "0"
    await vanished(arena, Q("begin; insert into t values (1)"), Q("commit"), port=own.port)
    async with Raw.session(own.port, "postgres", arena.name) as other:
        assert await other.value("select count(*) from t") == "1"


async def test_logins_that_fail_leave_nothing(arena: Arena) -> None:
    """Neither those that are refused after the password was right, nor those whose client goes meanwhile."""
    held = len(await arena.proxy.admin("SHOW CLIENTS"))
    for number in range(6):
        client = await Raw.open(arena.proxy.port)
        startup = {"user": "postgres", "database": arena.name, "options": f"-c work_mem=no{number}"}
        replies = await client.log_in(startup)
        assert codes(replies) == ["22023"]
        await client.close()
    async with arena.session() as holder:
        await holder.query("begin")
        for number in range(6):  # they wait for the connection
            client = await Raw.open(arena.proxy.port)
            body = b"user\0postgres\0database\0arena\0options\0-c work_mem=%dkB\0\0" % (100 + number)
            client.send(struct.pack("!II", len(body) + 8, 0x30000) + body)
            await asyncio.sleep(0.05)
            client.vanish()
    async with arena.session() as other:
        assert await other.value("select 1") == "1"
    deadline = time.monotonic() + 10
    while len(left := await arena.proxy.admin("SHOW CLIENTS")) > held:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.05)
