"""The control channel: concurrent calls, big messages, failures, garbage and closed peers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shardproxy.errors import ControlClosed, ControlError
from shardproxy.limits import CONTROL_MESSAGE_MAX
from shardproxy.server.control import Endpoint, Handler


@contextlib.asynccontextmanager
async def pair(left: dict[str, Handler] | None = None,
               right: dict[str, Handler] | None = None) -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    first, second = socket.socketpair()
    a, b = await Endpoint.over(first, left or {}, "left"), await Endpoint.over(second, right or {}, "right")
    tasks = [asyncio.create_task(a.run()), asyncio.create_task(b.run())]
    try:
        yield a, b
    finally:
        a.close()
        b.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def echo(value: Any, delay: float = 0) -> Any:
    await asyncio.sleep(delay)
    return value


async def test_calls_are_concurrent_and_symmetrical() -> None:
    async with pair({"echo": echo}, {"echo": echo}) as (a, b):
        answers = await asyncio.gather(*(a.call("echo", value=n, delay=(200 - n) / 2000) for n in range(200)),
                                       *(b.call("echo", value=-n) for n in range(200)))
    assert answers == [*range(200), *(-n for n in range(200))]


async def test_a_handler_may_call_back() -> None:
    ends: list[Endpoint] = []

    async def ask() -> Any:
        return await ends[1].call("echo", value="from the left")

    async with pair({"echo": echo}, {"ask": ask}) as (a, b):
        ends += [a, b]
        assert await a.call("ask") == "from the left"


async def test_big_messages_pass() -> None:
    text = "x" * (10 << 20)
    async with pair({}, {"echo": echo}) as (a, _):
        assert await a.call("echo", value=text) == text


async def test_a_message_that_is_too_long_is_refused_and_nothing_breaks() -> None:
    async def huge() -> str:
        return "x" * CONTROL_MESSAGE_MAX

    async with pair({}, {"echo": echo, "huge": huge}) as (a, _):
        with pytest.raises(ControlError, match="too long to send"):
            await a.call("echo", value="x" * CONTROL_MESSAGE_MAX)
        with pytest.raises(ControlError, match="huge: .*too long"):
            await a.call("huge")
        assert await a.call("echo", value=1) == 1


async def test_failures_are_told_to_the_caller() -> None:
    async def fails() -> None:
        raise ValueError("seven is not prime enough")

    async def no_json() -> object:
        return object()

    async with pair({}, {"fails": fails, "no_json": no_json, "echo": echo}) as (a, _):
        with pytest.raises(ControlError, match="ValueError: seven is not prime enough"):
            await a.call("fails")
        with pytest.raises(ControlError, match="no_json: .*cannot be sent"):
            await a.call("no_json")
        with pytest.raises(ControlError, match="unknown method 'nothing'"):
            await a.call("nothing")
        with pytest.raises(ControlError, match="TypeError"):
            await a.call("echo", wrong=1)
        with pytest.raises(ControlError, match=r"no answer within 0\.05 s"):
            await a.call("echo", timeout=0.05, value=1, delay=5)
        assert await a.call("echo", value=2) == 2


async def test_notifications_start_in_order() -> None:
    seen: list[int] = []
    done = asyncio.Event()

    async def note(n: int) -> None:
        seen.append(n)
        if n == 999:
            done.set()

    async with pair({}, {"note": note}) as (a, _):
        for n in range(1000):
            a.notify("note", n=n)
        await asyncio.wait_for(done.wait(), 5)
    assert seen == [*range(1000)]


async def test_pending_calls_end_when_the_peer_goes() -> None:
    async with pair({}, {"echo": echo}) as (a, b):
        call = asyncio.create_task(a.call("echo", timeout=None, value=1, delay=60))
        await asyncio.sleep(0.05)
        b.close()
        with pytest.raises(ControlClosed):
            await asyncio.wait_for(call, 5)
        with pytest.raises(ControlClosed):
            await a.call("echo", value=1)
        a.notify("echo", value=1)


@pytest.mark.parametrize("garbage", [
    struct.pack("!I", 5) + b"{{{{{",
    struct.pack("!I", 2) + b"[]",
    struct.pack("!I", 4) + b"\xff\xfe\xfd\xfc",
    struct.pack("!I", CONTROL_MESSAGE_MAX + 1),
])
async def test_garbage_ends_the_connection(garbage: bytes) -> None:
    raw, end = socket.socketpair()
    with raw:
        endpoint = await Endpoint.over(end, {}, "victim")
        raw.sendall(garbage)
        with pytest.raises(ControlError):
            await asyncio.wait_for(endpoint.run(), 5)
        assert endpoint.closed


@pytest.mark.parametrize("cut", [b"", b"\x00", struct.pack("!I", 10) + b"{"])
async def test_a_connection_cut_anywhere_is_an_end(cut: bytes) -> None:
    raw, end = socket.socketpair()
    endpoint = await Endpoint.over(end, {}, "victim")
    with raw:
        raw.sendall(cut)
    await asyncio.wait_for(endpoint.run(), 5)
    assert endpoint.closed
