"""A cancel request ends the statement that it was meant for, or none."""

from __future__ import annotations

import asyncio
import random
import time

import psycopg
import pytest

from tests.fixtures.raw import B, E, P, Q, Raw, S, codes, kinds, rows, statuses

from .conftest import Arena


async def test_psycopg_cancels(arena: Arena) -> None:
    async with arena.proxy.psycopg(arena.name) as client:
        started = time.monotonic()
        sleeping = asyncio.create_task(client.execute("select pg_sleep(20)"))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(client.cancel)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
        assert time.monotonic() - started < 10
        assert await (await client.execute("select 1")).fetchone() == (1,)


async def test_extended_and_in_a_transaction(arena: Arena) -> None:
    async with arena.session() as client:
        await client.query("begin; set local work_mem = '1MB'")
        client.send(P("", "select pg_sleep(20)") + B() + E() + S)
        await asyncio.sleep(0.1)
        await client.cancel(arena.proxy.port)
        replies = await client.read()
        assert (codes(replies), statuses(replies)) == (["57014"], "E")
        assert statuses(await client.query("rollback")) == "I"


async def test_a_client_that_waits_for_a_connection(arena: Arena) -> None:
    async with arena.session() as holder, arena.session() as waiting, arena.session() as third:
        await holder.query("begin")
        waiting.send(P("", "select 'no'") + B() + E() + S + Q("select 'yes'"))
        await asyncio.sleep(0.1)
        third.send(Q("select 'third'"))
        await waiting.cancel(arena.proxy.port)
        replies = await waiting.read()
        assert codes(replies) == ["57014"]
        await holder.query("commit")
        assert rows(await waiting.read()) == [("yes",)]
        assert rows(await third.read()) == [("third",)]


@pytest.mark.parametrize(("version", "length"), [(0x30000, 4), (0x30002, 32)])
async def test_keys(arena: Arena, version: int, length: int) -> None:
    client = await Raw.open(arena.proxy.port)
    replies = await client.log_in({"user": "postgres", "database": arena.name}, version)
    assert statuses(replies) == "I"
    pid, secret = client.key
    assert len(secret) == length
    client.send(Q("select pg_sleep(0.5), 'done'"))
    await asyncio.sleep(0.1)
    for wrong in (secret[::-1] + b"", bytes(len(secret)), secret + b"\0", secret[:-1], b""):
        if wrong != secret:
            await client.cancel(arena.proxy.port, (pid, wrong))
    await client.cancel(arena.proxy.port, (pid + 256, secret))
    replies = await client.read()
    assert rows(replies) == [("", "done")]
    client.send(Q("select pg_sleep(20)"))
    await asyncio.sleep(0.1)
    await client.cancel(arena.proxy.port)
    assert codes(await client.read()) == ["57014"]
    await client.close()


async def test_when_idle_it_does_nothing(arena: Arena) -> None:
    async with arena.session() as client, arena.session() as other:
        for _ in range(20):
            other.send(Q("select pg_sleep(0.005), 'fine'"))
            await client.cancel(arena.proxy.port)
            assert rows(await other.read()) == [("", "fine")]
            assert kinds(await client.query("select 1")) == "TDCZ"


async def test_a_storm_hits_nobody_else(arena: Arena) -> None:
    """Half of the clients cancel themselves all the time, on one server connection; the others never notice."""
    deadline = time.monotonic() + 4
    dice = random.Random(7)
    counts = {"cancelled": 0, "ran": 0, "innocent": 0}

    async def restless() -> None:
        async with arena.session() as client:
            while time.monotonic() < deadline:
                client.send(Q("select pg_sleep(0.01), 1"))
                await asyncio.sleep(dice.random() * 0.03)
                cancels = [
                    asyncio.create_task(client.cancel(arena.proxy.port)) for _ in range(dice.randint(1, 3))
                ]
                replies = await client.read()
                assert codes(replies) in ([], ["57014"])
                counts["cancelled" if codes(replies) else "ran"] += 1
                if dice.random() < 0.5:
                    await asyncio.gather(*cancels)

    async def innocent() -> None:
        async with arena.session() as client:
            while time.monotonic() < deadline:
                replies = await client.query("select pg_sleep(0.002), 1")
                assert rows(replies) == [("", "1")], replies
                counts["innocent"] += 1

    await asyncio.gather(*(restless() for _ in range(5)), *(innocent() for _ in range(5)))
    assert counts["cancelled"] > 10, counts
    assert counts["innocent"] > 10, counts
