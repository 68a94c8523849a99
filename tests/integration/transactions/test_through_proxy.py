"""Clients move money between shards through the proxy while its workers are killed: no money is made or lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg.rows
import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.proxy import Proxy

ACCOUNTS, START, PLACES = 40, 1000, ("till", "till_s0", "till_s1", "till_s2")
SETTINGS = {"max_prepared_transactions": "100", "max_connections": "300"}


class Till:
    """A sharded table of accounts, and a table at the coordinator that counts transfers."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node

        def at(place: str) -> dict[str, Any]:
            return {"primary": f"{node.host}:{node.port}/{place}"}

        shards = {f"s{number}": at(f"till_s{number}") for number in range(3)}
        self.proxy = Proxy(folder, [], listen={"workers": 2}, databases={"till": {
            "server_user": "postgres", "default_keyspace": "main", "keyspaces": {
                "main": {"shards": {"main": at("till")}},
                "customer": {"shards": shards, "tables": {"account": {"key": "id"}}}}}})

    async def start(self) -> None:
        for place in PLACES:
            await self.node.sql(f"create database {place}")
        await self.node.sql("create role teller login")
        self.proxy.start()
        with self.client("postgres") as owner:
            owner.execute("create table account (id int primary key, money int not null)")
            owner.execute("create table journal (id bigserial primary key, amount int)")
            owner.execute("grant all on account, journal to teller")
            owner.execute("grant all on sequence journal_id_seq to teller")
            for number in range(ACCOUNTS):
                owner.execute("insert into account values (%s, %s)", (number, START))

    def dsn(self, user: str) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.proxy.port}/till"

    def client(self, user: str = "teller") -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(user), autocommit=True, connect_timeout=20)

    def console(self, command: str) -> list[dict[str, Any]]:
        """A command of the admin console."""
        dsn = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/shardproxy"
        with psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as admin:
            return admin.execute(command).fetchall()

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [row["pid"] for row in self.console("show workers") if row["pid"]]

    def kill(self) -> None:
        """The parent is killed; its workers end by themselves."""
        process = self.proxy._process
        assert process is not None
        process.kill()
        process.wait()

    async def total(self) -> tuple[int, int]:
        """(money in all accounts, accounts), read past the proxy."""
        money = count = 0
        for place in PLACES[1:]:
            row = (await self.node.sql("select coalesce(sum(money), 0)::int, count(*)::int from account",
                                       dbname=place))[0]
            money, count = money + row[0], count + row[1]
        return money, count

    async def quiet(self, timeout: float = 60) -> None:
        """Until nothing is prepared any more."""
        async with asyncio.timeout(timeout):
            while await self.node.value("select count(*) from pg_prepared_xacts"):
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def till(binaries: Binaries, tmp_path: Path) -> AsyncIterator[Till]:
    """A till of one test's own."""
    async with Cluster(binaries=binaries, extra=SETTINGS) as cluster:
        made = Till(cluster.primary, tmp_path / "proxy")
        try:
            await made.start()
            yield made
        finally:
            made.proxy.stop()
        made.proxy.check_log()


async def test_a_transfer_between_shards(till: Till) -> None:
    with till.client() as client:
        with client.transaction():
            for account, amount in ((1, -10), (2, 4), (3, 6)):
                client.execute("update account set money = money + %s where id = %s", (amount, account))
            client.execute("insert into journal (amount) values (10)")
        assert client.execute("select money from account where id in (1, 2, 3) order by id").fetchall() == [
            (START - 10,), (START + 4,), (START + 6,)]
        with contextlib.suppress(ZeroDivisionError), client.transaction():
            for account in (1, 2, 3):
                client.execute("update account set money = 0 where id = %s", (account,))
            raise ZeroDivisionError
        assert client.execute("select sum(money), count(*) from account").fetchall() == [(ACCOUNTS * START, ACCOUNTS)]
    assert await till.node.value("select count(*) from journal", dbname="till") == 1
    await till.quiet(5)


async def test_deadlocks_over_shards_are_reported(till: Till) -> None:
    accounts = await two_shards(till)
    one, two = await asyncpg.connect(till.dsn("teller")), await asyncpg.connect(till.dsn("teller"))
    take = "update account set money = money + 1 where id = {}"
    for client, account in ((one, accounts[0]), (two, accounts[1])):
        await client.execute("begin")
        await client.execute(take.format(account))
    works = [asyncio.ensure_future(one.execute(take.format(accounts[1]))),
             asyncio.ensure_future(two.execute(take.format(accounts[0])))]
    async with asyncio.timeout(20):
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(asyncpg.DeadlockDetectedError) as caught:
            done.pop().result()
        assert "customer/s" in (caught.value.detail or "")
        failed, other = (one, two) if works[0].done() and works[0].exception() else (two, one)
        await failed.execute("rollback")
        await asyncio.gather(*works, return_exceptions=True)
        await other.execute("commit")
    assert (await till.total())[0] == ACCOUNTS * START + 2
    await one.close()
    await two.close()


async def test_the_console(till: Till) -> None:
    points = till.console("restore point noon")
    assert [row["place"] for row in points] == ["coordinator", "customer/s0", "customer/s1", "customer/s2"]
    with pytest.raises(psycopg.Error, match="not a sharded database"):
        till.console("restore point noon nowhere")
    installation = await till.node.value("select id from shardproxy.installation", dbname="till")
    stray = f"shardproxy:{installation}:gone:customer/s0:0123456789abcdef0001:1"
    client = await asyncpg.connect(till.node.dsn("till_s0"))
    await client.execute(f"begin; select 1; prepare transaction '{stray}'")
    async with asyncio.timeout(20):
        while not (rows := [row for row in till.console("show transactions") if row["gid"]]):
            await asyncio.sleep(0.2)
    assert [(row["gid"], row["server"], row["database"]) for row in rows] == [(stray, "customer/s0", "till")]
    assert "gone is not a place" in rows[0]["state"]
    await client.execute(f"rollback prepared '{stray}'")
    await client.close()


async def two_shards(till: Till) -> list[int]:
    """An account on each of two shards."""
    found = []
    for place in PLACES[1:]:
        account = await till.node.value("select min(id) from account", dbname=place)
        if account is not None:
            found.append(account)
    return found[:2]


async def transfers(till: Till, until: float, seed: int, done: list[int]) -> None:
    """Move money at random; a lost connection is opened again."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        try:
            client = await asyncpg.connect(till.dsn("teller"), timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.sleep(0.05)
            continue
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            while time.monotonic() < until:
                accounts = sorted(dice.sample(range(ACCOUNTS), 3))
                async with client.transaction():
                    for account, amount in zip(accounts, (5, -7, 2), strict=True):
                        await client.execute("update account set money = money + $1 where id = $2", amount, account)
                done.append(seed)
        client.terminate()


async def catch(till: Till, deadline: float) -> bool:
    """Wait until something is prepared, and kill a worker just then."""
    pids = await asyncio.to_thread(till.workers)
    watch = await asyncpg.connect(till.node.dsn())
    try:
        while time.monotonic() < deadline:
            if pids and await watch.fetchval("select exists (select from pg_prepared_xacts)"):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return True
            await asyncio.sleep(0.001)
    finally:
        await watch.close()
    return False


async def test_workers_are_killed(till: Till) -> None:
    assert await till.total() == (ACCOUNTS * START, ACCOUNTS)
    done: list[int] = []
    until = time.monotonic() + 15
    clients = [asyncio.ensure_future(transfers(till, until, seed, done)) for seed in range(8)]
    kills = 0
    while time.monotonic() < until - 2:
        with contextlib.suppress(psycopg.Error):
            kills += await catch(till, until - 2)
        await asyncio.sleep(0.5)
    await asyncio.gather(*clients)
    assert kills >= 2 and len(done) > 5
    await till.quiet()
    assert await till.total() == (ACCOUNTS * START, ACCOUNTS)
    assert "a transaction was finished by recovery" in till.proxy.log


async def test_the_whole_proxy_is_killed(till: Till) -> None:
    done: list[int] = []
    for turn in range(2):
        until = time.monotonic() + 4
        clients = [asyncio.ensure_future(transfers(till, until, seed, done)) for seed in range(6)]
        await asyncio.sleep(1.5 + turn)
        till.kill()
        till.proxy.start()
        await asyncio.gather(*clients)
    assert len(done) > 20
    await till.quiet()
    assert await till.total() == (ACCOUNTS * START, ACCOUNTS)


@pytest.mark.parametrize("both", [False, True])
async def test_the_servers_are_killed(till: Till, both: bool) -> None:
    """All shards crash at once, in the second case with the proxy; prepared transactions outlive that."""
    done: list[int] = []
    for turn in range(2):
        until = time.monotonic() + 5
        clients = [asyncio.ensure_future(transfers(till, until, seed, done)) for seed in range(6)]
        await asyncio.sleep(1.5 + turn / 3)
        if both:
            till.kill()
        await till.node.kill9()
        await till.node.start()
        if both:
            till.proxy.start()
        await asyncio.gather(*clients)
    assert len(done) > 20
    await till.quiet()
    assert await till.total() == (ACCOUNTS * START, ACCOUNTS)


async def test_clients_leave_while_they_commit(till: Till) -> None:
    """Nothing is waited for after COMMIT was sent: it happens at all shards or at none, and nothing hangs."""
    dice = random.Random(3)
    for _ in range(40):
        client = await asyncpg.connect(till.dsn("teller"), timeout=20)
        await client.execute("begin")
        await client.execute("insert into journal (amount) values (1)")
        for account, amount in zip(sorted(dice.sample(range(ACCOUNTS), 3)), (5, -7, 2), strict=True):
            await client.execute(f"update account set money = money + {amount} where id = {account}")
        leaving = asyncio.ensure_future(client.execute("commit"))
        await asyncio.sleep(dice.choice((0, 0.001, 0.003, 0.01)))
        client.terminate()
        await asyncio.gather(leaving, return_exceptions=True)
    await till.quiet(20)
    async with asyncio.timeout(20):
        while await till.node.value("select count(*) from pg_stat_activity where state like 'idle in tr%'"):
            await asyncio.sleep(0.05)
    assert await till.total() == (ACCOUNTS * START, ACCOUNTS)
    with till.client() as client:
        assert client.execute("select sum(money) from account").fetchall() == [(ACCOUNTS * START,)]
