"""The hint from Patroni's REST interface, over a real HTTP server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from shardproxy.dialects.replication import Target
from shardproxy.server.patroni import Patroni, leader_of


def member(role: str, port: int, state: str = "running", host: str = "127.0.0.1") -> dict[str, Any]:
    return {"name": f"n{port}", "role": role, "state": state, "host": host, "port": port, "timeline": 1}


@pytest.mark.parametrize(("cluster", "leader"), [
    ({"members": [member("replica", 1), member("leader", 2)]}, ("127.0.0.1", 2)),
    ({"members": [member("master", 2)]}, ("127.0.0.1", 2)),
    ({"members": [member("leader", 2, "starting")]}, None),
    ({"members": [{"role": "leader", "state": "running"}, 7]}, None),
    ({"members": None}, None),
    ([], None),
])
def test_the_running_leader(cluster: Any, leader: tuple[str, int] | None) -> None:
    assert leader_of(cluster) == leader


async def test_follows_the_leader() -> None:
    cluster = {"members": [member("replica", 5001), member("leader", 5002, host="localhost")]}
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(cluster)

    app.router.add_get("/cluster", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    targets = [Target("127.0.0.1", port, None, ("postgres",), "postgres") for port in (5001, 5002)]
    changes: list[int | None] = []
    changed = asyncio.Event()

    def noted() -> None:
        changes.append(patroni.leader)
        changed.set()

    patroni = Patroni(["http://127.0.0.1:1", url], lambda: targets, 0.02, 1.0, noted)
    task = asyncio.create_task(patroni.run())
    try:
        async with asyncio.timeout(5):
            await changed.wait()
            assert changes == [1]
            changed.clear()
            cluster["members"] = [member("leader", 5001)]
            await changed.wait()
            assert changes == [1, 0]
            changed.clear()
            await runner.cleanup()
            await changed.wait()
        assert changes == [1, 0, None]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
