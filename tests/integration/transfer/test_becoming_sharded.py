"""Clients that were connected before their database was sharded, and a proxy that has lost sight of the coordinator."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shardproxy.tools.cluster import Node
from shardproxy.tools.transfer.parts import NotNow
from tests.fixtures.proxy import Proxy

from .test_switch import Load, totals, town
from .town import Town

__all__ = ["town"]


@pytest_asyncio.fixture
async def plain(sharded_node: Node, tmp_path: Path) -> AsyncIterator[Town]:
    """A town whose proxies know of no shards yet."""
    made = Town(sharded_node, f"plain{os.getpid()}", tmp_path)
    try:
        await made.build()
        for number in range(2):
            made.proxies.append(Proxy(
                tmp_path / f"proxy{number}", [], topology="database", listen={"workers": 1},
                databases={made.name: {"primary": f"{sharded_node.host}:{sharded_node.port}/{made.name}"}}).start())
        yield made
    finally:
        await made.remove()


@pytest.mark.timeout(120)
async def test_sessions_from_before_the_first_shard(plain: Town) -> None:
    load = Load(plain)
    async with plain.client() as idle, plain.client(1) as pinned, plain.client() as inside:
        await pinned.execute("create temporary table mine as select 1 as one")
        prepared = await idle.prepare("select count(*) from accounts where id > $1")
        assert await prepared.fetchval(0) == 50
        transaction = inside.transaction()
        await transaction.start()
        await inside.execute("update accounts set name = 'inside' where id = 3")
        for proxy in plain.proxies:
            proxy.settings["databases"] = {}
            await proxy.reload(databases=plain.config())
        await asyncio.sleep(1)
        await inside.execute("update accounts set name = 'outside' where id = 3")
        await transaction.commit()
        await asyncio.sleep(3)
        await plain.switch()
        await asyncio.sleep(0.3)
        await load.stop()
        assert load.errors == []
        assert await prepared.fetchval(0) == 50
        assert await idle.fetchval("select name from accounts where id = 3") == "outside"
        assert await inside.fetchval("select sum(balance) from accounts") == load.done
        assert await pinned.fetchval("select one from mine") == 1
        assert await pinned.fetchval("select count(*) from accounts") == 50
        async with inside.transaction():
            await inside.execute("update accounts set balance = 0")
    async with plain.direct(f"{plain.name}_s1") as shard:
        assert await shard.fetchval("select count(*) from accounts where balance = 0") > 10


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_proxy_that_stands_still_is_not_waited_for_longer_than_its_lease(town: Town) -> None:
    await town.switch()
    await town.switch(backwards=True)
    os.kill(town.proxies[1].pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(6)
        try:
            pause = await town.switch()
        except NotNow as blocked:       # it was stopped in the middle of a transaction: what the remedy says
            async with town.direct() as there:
                for one in blocked.blockers:
                    await there.execute(f"select pg_terminate_backend({one.pid})")
            pause = await town.switch()
        assert pause < 3000
    finally:
        os.kill(town.proxies[1].pid, signal.SIGCONT)
    async with town.client(1) as client:        # it has to find out, and must not write to the old side
        async with asyncio.timeout(45):
            while True:
                try:
                    await client.execute("update accounts set balance = 1 where id = 1")
                    break
                except Exception as error:
                    assert getattr(error, "sqlstate", "") == "55000", error
                    await asyncio.sleep(0.1)
    assert (await totals(town))[1] == 1
