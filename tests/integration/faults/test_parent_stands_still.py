"""A parent that stands still for longer than calls wait: clients wait for it, and go on when it does."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import StartProxy

STILL_S = 12.0
"""Longer than the ten seconds after which calls between worker and parent fail."""


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_client_that_waits_for_a_permit(pg: Node, start_proxy: StartProxy) -> None:
    proxy = start_proxy([pg], pool={"size": 1}, listen={"workers": 1})
    async with proxy.client() as client:
        assert await client.fetchval("select 1") == 1
        await proxy.admin("RECONNECT")
        await proxy.admin("WAIT_CLOSE")
        os.kill(proxy.pid, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(client.fetchval("select 2"))
            await asyncio.sleep(STILL_S)
            assert not waiting.done()
        finally:
            os.kill(proxy.pid, signal.SIGCONT)
        assert await asyncio.wait_for(waiting, 30) == 2
        await proxy.admin("RECONNECT")          # the only permit was given back, and is there again
        await proxy.admin("WAIT_CLOSE")
        assert await asyncio.wait_for(client.fetchval("select 3"), 30) == 3
