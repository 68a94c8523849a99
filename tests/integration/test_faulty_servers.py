"""Servers that are slow, silent, or break off: the client gets a clear error or an answer, and the pool recovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.faults import Faults
from tests.fixtures.proxy import Proxy, StartProxy
from tests.fixtures.raw import B, E, P, Q, Raw, S, codes, kinds, rows, statuses

Session = Callable[..., contextlib.AbstractAsyncContextManager[Raw]]


@contextlib.asynccontextmanager
async def behind_faults(
    start_proxy: StartProxy, pg: Node, **settings: object
) -> AsyncIterator[tuple[Proxy, Faults]]:
    """A proxy that reaches its server through ``Faults``; health checks are rare, so that they do not help."""
    async with Faults(pg.port) as faults:
        entry = {
            "primary": f"{faults.host}:{faults.port}",
            "failover_hold": 2,
            "health_interval": 0.2,
            "health_timeout": 1,
        }
        pool = {"size": 1, "server_connect_timeout": 1, **settings}
        yield start_proxy(databases={"*": entry}, pool=pool), faults


async def test_broken_off_at_some_byte_of_a_result(start_proxy: StartProxy, pg: Node, database: str) -> None:
    async with behind_faults(start_proxy, pg) as (proxy, faults):
        await pg.sql("create table t (a int)", dbname=database)
        unknown = retryable = 0
        for cut in (*range(1, 60, 3), 5_000, 70_000):
            async with (
                Raw.session(proxy.port, "postgres", database) as client,
                Raw.session(proxy.port, "postgres", database) as other,
            ):
                await client.query("begin; insert into t values (1)")
                faults.cut_after = cut
                replies = await client.query(
                    "insert into t select 2; select repeat('x', 50) from generate_series(1, 3000)"
                )
                faults.cut_after = None
                if kinds(replies)[-1] == "Z":
                    assert codes(replies) == ["40001"], (cut, replies)
                    assert statuses(replies) == "I"
                    assert kinds(await client.query("select 1")) == "TDCZ"
                    retryable += 1
                else:
                    unknown += 1  # a part of a message had been passed on: nothing but the end can follow
                assert await other.value("select count(*) from t") == "0"
        assert retryable > 5, (retryable, unknown)


async def test_what_is_certain_and_what_is_not(start_proxy: StartProxy, pg: Node, database: str) -> None:
    """SQLSTATEs of outcome.py: a commit that may have happened is never called retryable."""
    await pg.sql("create table t (a int)", dbname=database)
    async with behind_faults(start_proxy, pg) as (proxy, faults):
        cases = [
            ("begin; insert into t values (1)", "commit", ["08007"]),
            ("begin; insert into t values (1)", "insert into t values (2)", ["40001"]),
            ("", "insert into t values (1)", ["08007"]),
            ("", "insert into t values (1); insert into t values (2)", ["08007"]),
            ("begin", "rollback", ["40001"]),
            ("", "copy t from stdin", ["08007"]),
        ]  # fmt: skip
        for before, statement, expected in cases:
            async with Raw.session(proxy.port, "postgres", database) as client:
                await client.query(before or "select 1")
                faults.black_hole = True
                client.send(Q(statement))
                await asyncio.sleep(0.1)
                faults.reset_all()
                faults.black_hole = False
                replies = await client.read(timeout=15)
                assert (codes(replies), statuses(replies)) == (expected, "I"), statement
                assert kinds(await client.query("select 1")) == "TDCZ"


async def test_in_a_pipeline(start_proxy: StartProxy, pg: Node, database: str) -> None:
    """Every ReadyForQuery that is owed arrives, however much had been sent."""
    async with (
        behind_faults(start_proxy, pg) as (proxy, faults),
        Raw.session(proxy.port, "postgres", database) as client,
    ):
        await client.query("begin")
        faults.black_hole = True
        step = P("", "select 1") + B() + E() + S
        client.send(step * 3 + Q("select 2") + P("", "select 3") + B())
        await asyncio.sleep(0.1)
        faults.reset_all()
        faults.black_hole = False
        replies = await client.read(4)
        assert set(codes(replies)) == {"40001"}
        client.send(E() + S)
        assert statuses(await client.read()) == "I"
        assert rows(await client.query("select 'fine'")) == [("fine",)]


async def test_idle_connections_that_broke(start_proxy: StartProxy, pg: Node, database: str) -> None:
    async with (
        behind_faults(start_proxy, pg) as (proxy, faults),
        Raw.session(proxy.port, "postgres", database) as client,
    ):
        await client.query("set work_mem = '1MB'")
        await client.query("select 1")
        faults.reset_all()
        await asyncio.sleep(0.05)
        assert await client.value("show work_mem") == "1MB"
        await client.query("begin")
        faults.reset_all()
        await asyncio.sleep(0.05)
        replies = await client.query("select 1")
        assert (codes(replies), statuses(replies)) == (["40001"], "I")
        assert await client.value("show work_mem") == "1MB"


async def test_pinned_session_that_is_lost(start_proxy: StartProxy, pg: Node, database: str) -> None:
    async with (
        behind_faults(start_proxy, pg) as (proxy, faults),
        Raw.session(proxy.port, "postgres", database) as client,
    ):
        await client.query("create temp table tt (a int)")
        faults.reset_all()
        replies = await client.query("select * from tt")
        assert codes(replies) == ["57P01"]
        assert kinds(replies)[-3:] == "end"


@pytest.mark.parametrize("fault", ["refuse", "black_hole"])
async def test_server_down(start_proxy: StartProxy, pg: Node, database: str, fault: str) -> None:
    """Statements wait for failover_hold and then fail with 57P03; logins too; when it is back all goes on."""
    async with (
        behind_faults(start_proxy, pg) as (proxy, faults),
        Raw.session(proxy.port, "postgres", database) as client,
    ):
        await client.query("select 1")
        setattr(faults, fault, True)
        faults.reset_all()
        started = time.monotonic()
        replies = await client.query("insert into nothing values (1)")
        assert codes(replies) in (["57P03"], ["08007"], ["53300"])
        assert time.monotonic() - started < 12
        newcomer = await Raw.open(proxy.port)
        replies = await newcomer.log_in({"user": "postgres", "database": "postgres"})
        assert codes(replies) in (["57P03"], ["53300"])
        await newcomer.close()
        setattr(faults, fault, False)
        deadline = time.monotonic() + 15
        while kinds(await client.query("select 1")) != "TDCZ":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_slow_server(start_proxy: StartProxy, pg: Node, database: str) -> None:
    """A delay in every chunk breaks nothing, and does not let a client wait beyond query_wait_timeout."""
    async with (
        behind_faults(start_proxy, pg, query_wait_timeout=1) as (proxy, faults),
        Raw.session(proxy.port, "postgres", database) as client,
        Raw.session(proxy.port, "postgres", database) as other,
    ):
        faults.delay = 0.05
        assert await client.value("select count(*) from generate_series(1, 10)") == "10"
        faults.delay = 0.0
        await client.query("begin")
        started = time.monotonic()
        replies = await other.query("select 1")
        assert (codes(replies), statuses(replies)) == (["53300"], "I")
        assert 0.9 < time.monotonic() - started < 5
        await client.query("commit")
        assert kinds(await other.query("select 1")) == "TDCZ"
