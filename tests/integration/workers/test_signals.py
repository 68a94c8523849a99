"""Signals by the ids that clients know reach clients of other workers, whatever serves them at this moment."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from .conftest import MakeSpread, Spread


async def _terminated(made: Spread, victim: asyncpg.Connection) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await victim.fetchval("select 1")
            except (asyncpg.PostgresError, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("worker", [0, 1])
async def test_terminate_and_cancel_by_id(spread: MakeSpread, worker: int) -> None:
    """Of the same worker, and of another: idle, in a block, while one server or several run its statement."""
    made = await spread()
    one = await made.client(0)

    async def hit(function: str, prepare: str, running: str) -> tuple[asyncpg.Connection, bool, BaseException | None]:
        victim = await made.client(worker)
        if prepare:
            await victim.execute(prepare)
        work = asyncio.ensure_future(victim.execute(running)) if running else None
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            told = await one.fetchval(f"select {function}($1::int)", victim.get_server_pid())
            error = None if work is None else (await asyncio.gather(work, return_exceptions=True))[0]
        return victim, told, error if isinstance(error, BaseException) else None

    for prepare, running in (("", ""), ("begin; select 1", ""), ("", "select pg_sleep(30)"),
                             ("", "select pg_sleep(30) from account where money > 0"),
                             ("begin; update account set money = money + 1", "")):
        victim, told, error = await hit("pg_terminate_backend", prepare, running)
        assert told is True, (prepare, running)
        assert running == "" or isinstance(error, Exception)
        await _terminated(made, victim)
    for running in ("select pg_sleep(30)", "select pg_sleep(30), id from account"):
        victim, told, error = await hit("pg_cancel_backend", "", running)
        assert told is True and isinstance(error, asyncpg.QueryCanceledError), (running, error)
        assert await victim.fetchval("select sum(money) from account") == 6000
    assert await one.fetchval("select sum(money) from account") == 6000


async def test_an_id_of_nobody(spread: MakeSpread) -> None:
    made = await spread()
    one, two = await made.pair()
    gone = two.get_server_pid()
    await two.close()
    assert await one.fetchval(f"select pg_terminate_backend({gone})") is False
    assert await one.fetchval("select pg_cancel_backend($1)", gone) is False


async def test_a_database_is_dropped_while_another_worker_has_idle_connections(spread: MakeSpread) -> None:
    made = await spread()
    name = f"{made.name}_other"
    made.proxy.configure(databases={"*": {"primary": f"{made.node.host}:{made.node.port}"}})
    await made.proxy.admin("RELOAD")
    await made.node.sql(f"create database {name}")
    one, two = await made.pair()
    for worker in (0, 1):
        for _ in range(400):
            client = await made.proxy.connect(name)
            there = client.get_server_pid() % 256
            await client.fetchval("select 1")
            await client.close()
            if there == worker:
                break
    there = await made.proxy.connect("postgres")
    async with asyncio.timeout(30):
        await there.execute(f"drop database {name}")
    await there.close()
    for client in (one, two):
        assert await client.fetchval("select count(*) from account") == 60
