"""Long messages and clients that do not read: the worker's memory stays bounded, and others are served."""

from __future__ import annotations

import asyncio
import time

from tests.fixtures.raw import B, D, E, P, Q, S, kinds, message, rows

from .conftest import Arena

MIB = 1 << 20
BOUND = 24 * MIB
"""What the worker may use more, whatever the size of messages."""


SLOW = """create function s.slow() returns trigger language plpgsql as
$$ begin if new.t = 'stop' then perform pg_sleep(0.7); end if; return new; end $$"""


async def test_huge_row(arena: Arena) -> None:
    """64 MiB in one DataRow, read slowly at first."""
    async with arena.session("two") as client, arena.session("two") as other:
        await client.query("select 1")
        before = arena.proxy.worker_memory()
        client.send(Q("select repeat('x', 64 * 1024 * 1024)"))
        await asyncio.sleep(0.5)
        assert await other.value("select 'served'") == "served"
        size = 0
        peak = 0
        while size < 64 * MIB:
            data = await asyncio.wait_for(client.reader.read(4 * MIB), 20)
            assert data
            size += len(data)
            peak = max(peak, arena.proxy.worker_memory())
        assert peak - before < BOUND, (before, peak)
        client.vanish()


async def test_huge_bind(arena: Arena) -> None:
    """20 MiB in one parameter, prepared and not; the statement's name is replaced on the way."""
    value = "y" * (20 * MIB)
    async with arena.session("two") as client, arena.session("two") as other:
        await client.ask(P("a", "select length($1), right($1, 3)", 25) + D("S", "a") + S)
        before = arena.proxy.worker_memory()
        for name in ("a", ""):
            if not name:
                await client.ask(P("", "select length($1), right($1, 3)", 25) + S)
            client.send(B("", name, value) + E() + S)
            assert rows(await client.read()) == [(str(20 * MIB), "yyy")]
            assert await other.value("select 'served'") == "served"
        assert arena.proxy.worker_memory() - before < BOUND


async def test_huge_query(arena: Arena) -> None:
    """A text of 20 MiB must be seen whole; afterwards its memory is free again."""
    async with arena.session("two") as client:
        await client.query("select 1")
        before = arena.proxy.worker_memory()
        text = "select length('" + "z" * (20 * MIB) + "')"
        for _ in range(3):
            assert await client.value(text) == str(20 * MIB)
        await asyncio.sleep(0.1)
        assert arena.proxy.worker_memory() - before < 20 * MIB * 4


async def test_client_that_does_not_read(arena: Arena) -> None:
    """Results of gigabytes for clients that read nothing; who leaves frees the connection at once."""
    async with arena.session("two") as other:
        await other.query("select 1")
        before = arena.proxy.worker_memory()
        async with arena.session("two") as lazy:
            lazy.reader._limit = 1 << 12  # type: ignore[attr-defined]
            lazy.send(Q("select repeat('x', 1000) from generate_series(1, 3000000)"))
            for _ in range(10):
                await asyncio.sleep(0.05)
                assert await other.value("select 'served'") == "served"
            assert arena.proxy.worker_memory() - before < BOUND
            lazy.vanish()
        started = time.monotonic()
        async with arena.session("two") as one, arena.session("two") as two:
            one.send(Q("select pg_sleep(0.05), 1"))
            two.send(Q("select pg_sleep(0.05), 2"))
            assert rows(await one.read()) == [("", "1")]
            assert rows(await two.read()) == [("", "2")]
        assert time.monotonic() - started < 5


async def test_client_that_sends_more_than_the_server_takes(arena: Arena) -> None:
    """COPY into a server that is blocked by a lock: the client is made to wait, not the worker to remember."""
    await arena.fresh("create table s.big (t text); create table s.gate (a int)")
    arena.control.execute(SLOW)
    arena.control.execute("create trigger slow before insert on s.big for each row execute function s.slow()")
    async with arena.session("two") as client:
        await client.ask(Q("copy big from stdin"), until="G")
        before = arena.proxy.worker_memory()
        client.send(message("d", b"stop\n"))
        chunk = message("d", (b"x" * 999 + b"\n") * 64)
        peak = 0
        for _ in range(800):
            client.send(chunk)
            await asyncio.wait_for(client.writer.drain(), 20)
            peak = max(peak, arena.proxy.worker_memory())
        client.send(message("c"))
        assert kinds(await client.read(timeout=30)) == "CZ"
        assert peak - before < BOUND
        assert await client.value("select count(*) from big") == str(800 * 64 + 1)


async def test_batch_that_is_never_finished(arena: Arena) -> None:
    """Messages without an end to their batch do not pile up in the worker."""
    async with arena.session("two") as client:
        before = arena.proxy.worker_memory()
        step = P("", "select 1") + B() + E()
        for _ in range(200):
            client.send(step * 500)
            await asyncio.wait_for(client.writer.drain(), 20)
            if client.reader._buffer:  # type: ignore[attr-defined]
                client.reader._buffer.clear()  # type: ignore[attr-defined]
        assert arena.proxy.worker_memory() - before < BOUND
        client.vanish()
    async with arena.session("two") as other:
        assert await other.value("select 1") == "1"
