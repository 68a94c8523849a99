"""The proxy's own processes: a worker that dies, the end of the service, a new process that takes over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import asyncpg

from tests.fixtures.proxy import ROOT, Proxy

from .conftest import MakePair
from .load import Load


async def clients_of(proxy: Proxy, names: set[str]) -> dict[str, int]:
    """The worker that serves each of these clients, by application_name."""
    return {row["application_name"]: row["worker"] for row in await proxy.admin("SHOW CLIENTS")
            if row["application_name"] in names}


async def test_a_killed_worker_takes_only_its_own_clients(pair: MakePair) -> None:
    """The other worker's clients notice nothing; the worker is replaced, and what it held is free again."""
    _, proxy = await pair(listen={"workers": 2}, pool={"size": 4})
    names = {f"c{number}" for number in range(16)}
    clients = {name: await proxy.connect("app", server_settings={"application_name": name}) for name in names}
    workers = await clients_of(proxy, names)
    assert len(set(workers.values())) == 2
    stop, errors, done = asyncio.Event(), dict.fromkeys(names, ""), dict.fromkeys(names, 0)

    async def use(name: str) -> None:
        try:
            while not stop.is_set():
                async with clients[name].transaction():
                    await clients[name].execute("update looked set n = n + 1 where id = $1", int(name[1:]) + 1)
                done[name] += 1
                await asyncio.sleep(0.005)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            errors[name] = repr(error)

    users = [asyncio.create_task(use(name)) for name in names]
    await asyncio.sleep(0.5)
    victim = proxy.worker_pids[0]
    rows = await proxy.admin("SHOW WORKERS")
    index = next(row["worker"] for row in rows if row["pid"] == victim)
    os.kill(victim, signal.SIGKILL)
    await asyncio.sleep(1.5)
    before = dict(done)
    async with asyncio.timeout(15):
        while len(proxy.worker_pids) < 2 or victim in proxy.worker_pids:
            await asyncio.sleep(0.05)
    proxy.wait_log("worker ended, replacing it")
    fresh = [await proxy.connect("app") for _ in range(12)]  # some on each worker
    held = await asyncio.gather(*(one.fetchval("select n from looked where id = 1") for one in fresh))
    assert len(held) == 12
    await asyncio.gather(*(one.execute("insert into written values ($1, 'x')", n) for n, one in enumerate(fresh)))
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*users)
    for name, worker in workers.items():
        if worker == index:
            assert errors[name], f"{name} was on the killed worker"
        else:
            assert not errors[name] and done[name] > before[name], (name, errors[name])
    pools = {(row["database"], row["user"], row.get("server")): row for row in await proxy.admin("SHOW POOLS")}
    assert pools
    total = sum(row["sv_active"] + row["sv_idle"] + row["sv_used"] for row in await proxy.admin("SHOW POOLS")
                if row["database"] == "app")
    assert total <= 4 * 3  # the limit of a pool, three servers
    await asyncio.gather(*(one.close() for one in fresh))


async def test_sigterm_lets_transactions_end(pair: MakePair) -> None:
    _, proxy = await pair(listen={"shutdown_timeout": 10.0})
    async with proxy.client("app") as busy, proxy.client("app") as idle, proxy.client("app") as slow:
        await busy.execute("begin")
        await busy.execute("insert into written values (1, 'x')")
        running = asyncio.create_task(slow.fetchval("select 7 from pg_sleep(1)"))
        await asyncio.sleep(0.2)
        os.kill(proxy.pid, signal.SIGTERM)
        await asyncio.sleep(0.5)
        try:
            await idle.fetchval("select 1")
            raise AssertionError("an idle client is still served")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            assert getattr(error, "sqlstate", "57P01") == "57P01"
        try:
            await proxy.connect("app", timeout=2)
            raise AssertionError("a new client was let in")
        except (OSError, asyncpg.PostgresError, TimeoutError):
            pass
        assert proxy.running
        await busy.execute("insert into written values (2, 'x')")
        await busy.execute("commit")
        assert await running == 7
        started = time.monotonic()
        while proxy.running:
            assert time.monotonic() - started < 5
            await asyncio.sleep(0.05)


async def test_takeover_refuses_no_one(pair: MakePair) -> None:
    """A new process serves the same sockets; clients come all the time, and the old ones finish what they do."""
    _, proxy = await pair(listen={"control": "proxy.control", "shutdown_timeout": 20.0})
    stop, errors, served = asyncio.Event(), [], 0

    async def come_and_go() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                db = await proxy.connect("app", timeout=30)
                assert await db.fetchval("select count(*) from looked") == 1000
                served += 1
                await db.close()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                errors.append(repr(error))

    guests = [asyncio.create_task(come_and_go()) for _ in range(4)]
    async with proxy.client("app") as stays:
        await stays.execute("begin")
        await stays.execute("insert into written values (1, 'x')")
        await asyncio.sleep(0.5)
        before = served
        heir = await asyncio.to_thread(_take_over, proxy)
        try:
            await asyncio.sleep(1.0)
            assert served > before
            await stays.execute("insert into written values (2, 'x')")
            await stays.execute("commit")
            await stays.close()
            async with asyncio.timeout(15):
                while proxy.running:
                    await asyncio.sleep(0.05)
            after = served
            async with asyncio.timeout(15):
                while served < after + 5:
                    await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*guests)
            assert not errors, errors[:5]
            async with proxy.client("app") as db:
                assert await db.fetchval("select count(*) from written") == 2
        finally:
            stop.set()
            heir.send_signal(signal.SIGQUIT)
            heir.wait(15)


def _take_over(proxy: Proxy) -> subprocess.Popen[bytes]:
    """``serve --takeover`` with the same configuration; returns when it is ready."""
    ready = proxy.folder / "heir"
    command = [sys.executable, "-m", "shardproxy.tools.cli", "serve", "--config", str(proxy.config_path), "--takeover"]
    with ready.open("wb") as out, proxy.log_path.open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=proxy.folder,
                                   env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True)
    deadline = time.monotonic() + 60
    while ready.read_text().count("\n") < 2:
        assert process.poll() is None and time.monotonic() < deadline, proxy.log
        time.sleep(0.02)
    return process


async def test_load_survives_pause_and_reload(pair: MakePair, record_property: Any) -> None:
    """PAUSE, RESUME, RECONNECT and RELOAD under load: everything waits and nothing fails."""
    cluster, proxy = await pair(listen={"workers": 2}, pool={"size": 6})
    async with Load(proxy) as load:
        await load.until_written(50)
        for _ in range(2):
            await proxy.admin("PAUSE app")
            await load.run(0.2)
            await proxy.admin("RESUME app")
            await proxy.admin("RECONNECT")
            await proxy.reload(pool={"size": 5})
            await load.until_written(30)
    record_property("numbers", str(await load.check(cluster.primary)))
    assert not load.read_errors and not load.write_errors and not load.commit_errors and not load.transaction_errors
    assert not load.lost_connections
