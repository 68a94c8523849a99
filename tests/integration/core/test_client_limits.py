"""Limits of clients hold over all workers together, and all of each can be used, whichever worker the clients meet."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy, StartProxy
from tests.fixtures.raw import Raw, codes, kinds

WORKERS = 4


async def log_in(proxy: Proxy, user: str = "postgres", database: str = "postgres") -> tuple[Raw, str]:
    """A client, and the SQLSTATE of its login; empty if it is in."""
    client = await Raw.open(proxy.port)
    replies = await client.log_in({"user": user, "database": database})
    return client, "" if kinds(replies)[-1:] == "Z" else (codes(replies) or ["gone"])[0]


async def close(clients: list[Raw]) -> None:
    for client in clients:
        await client.close()


async def enter(proxy: Proxy, tries: int, **login: str) -> tuple[list[Raw], Counter[str]]:
    """Try so many logins, one after the other; those that are in, and what all heard."""
    inside, heard = [], Counter[str]()
    for _ in range(tries):
        client, state = await log_in(proxy, **login)
        heard[state] += 1
        if state:
            await client.close()
        else:
            inside.append(client)
    return inside, heard


async def test_all_clients(start_proxy: StartProxy, pg: Node) -> None:
    own = start_proxy([pg], listen={"workers": WORKERS}, pool={"max_client_conn": 11})
    inside, heard = await enter(own, 40)
    assert heard == {"": 11, "53300": 29}
    await inside.pop().close()
    deadline = time.monotonic() + 10
    while (answer := await log_in(own))[1]:
        assert time.monotonic() < deadline
        await answer[0].close()
    await close([*inside, answer[0]])


async def test_many_at_once_never_exceed_the_limit(start_proxy: StartProxy, pg: Node) -> None:
    own = start_proxy([pg], listen={"workers": WORKERS}, pool={"max_client_conn": 20})
    for _ in range(3):
        answers = await asyncio.gather(*(log_in(own) for _ in range(80)))
        inside = [client for client, state in answers if not state]
        assert {state for _, state in answers} == {"", "53300"}
        assert 1 <= len(inside) <= 20
        await close([client for client, _ in answers])
        await asyncio.sleep(0.2)


async def test_of_a_database_and_of_a_user(start_proxy: StartProxy, pg: Node, database: str) -> None:
    await pg.sql("create role guest superuser login")
    own = start_proxy([pg], listen={"workers": WORKERS}, auth={"users": {"guest": {"max_user_client_connections": 5},
                                                                         "postgres": {}}})
    before = (await log_in(own))[0]
    await own.reload(pool={"max_db_client_connections": 7})
    inside, heard = await enter(own, 20)
    assert heard == {"": 6, "53300": 14}, "the client that was there before the limit counts"
    guests, heard = await enter(own, 20, user="guest", database=database)
    assert heard == {"": 5, "53300": 15}
    await close(guests)
    deadline = time.monotonic() + 10
    while (again := await enter(own, 5, user="guest", database=database))[1] != {"": 5}:
        assert time.monotonic() < deadline
        await close(again[0])
    await close([before, *inside, *again[0]])
    await pg.sql("drop role guest")


async def test_clients_of_a_dead_worker_count_no_more(start_proxy: StartProxy, pg: Node) -> None:
    own = start_proxy([pg], listen={"workers": 2}, pool={"max_client_conn": 10, "max_db_client_connections": 8})
    inside, heard = await enter(own, 12)
    assert heard[""] == 8
    for pid in own.worker_pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    again: list[Raw] = []
    while len(again) < 8:
        assert time.monotonic() < deadline
        try:
            client, state = await log_in(own)
        except OSError:
            continue
        if state:
            await client.close()
            await asyncio.sleep(0.05)
        else:
            again.append(client)
    assert (await enter(own, 1))[1] == {"53300": 1}
    await close([*inside, *again])
    own.expect_errors = True
