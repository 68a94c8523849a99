"""Listening sockets pass from process to process: what goes wrong on the way changes nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardproxy.server.takeover import TakeoverFailed, take_over

Start = Callable[..., Any]


def same_address(proxy: Any, **changes: str) -> None:
    """Write the addresses that the system chose into the configuration, for the next process."""
    text = proxy.config.read_text()
    for kind in ("postgres", "http"):
        text = text.replace(f'{kind} = "127.0.0.1:0"', f'{kind} = "127.0.0.1:{proxy.address(kind)[1]}"')
    for old, new in changes.items():
        text = text.replace(old, new)
    proxy.config.write_text(text)


async def test_a_successor_that_fails_changes_nothing(start: Start) -> None:
    proxy = await asyncio.to_thread(start)
    path = proxy.config.with_suffix(".control")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for _ in range(2):
        predecessor = await take_over(path)
        assert predecessor is not None
        assert [f"ready {listener.kind} {listener.address}" for listener in predecessor.listeners] == proxy.ready
        assert [len(listener.sockets) for listener in predecessor.listeners] == [2, 1]
        predecessor.endpoint.close()
        for listener in predecessor.listeners:
            listener.close()
        await predecessor.gone()
    client = await asyncio.to_thread(proxy.client)
    assert await asyncio.to_thread(client.ask, "pid")
    assert proxy.process.poll() is None


async def test_no_one_there(tmp_path: Path) -> None:
    assert await take_over(tmp_path / "none.control") is None


async def test_something_else_there(tmp_path: Path) -> None:
    path = tmp_path / "other.control"

    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff\xff\xff\xffHTTP/1.1 400 Bad Request\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(chat, path)
    with pytest.raises(TakeoverFailed, match="is not shardproxy"):
        await take_over(path)
    server.close()


async def test_a_peer_that_says_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardproxy.server.takeover._TIMEOUT_S", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.control"))
        silent.listen()
        with pytest.raises(TakeoverFailed, match="timed out"):
            await take_over(tmp_path / "silent.control")


def test_cancel_requests_reach_clients_of_the_old_process(start: Start) -> None:
    old = start(workers=2)
    stay: dict[str, Any] = {}
    while len(stay) < 2:  # both workers must have a reason to stay
        held = old.client()
        stay[held.ask("pid")] = held
    same_address(old, **{"workers = 2": "workers = 1"})
    new = start("--takeover", config=old.config)
    client = new.client()
    ask = "call cancel " + json.dumps({"pid": 1, "secret_hex": "00"})  # known to worker 1: only the old one has it
    assert client.ask(ask) == "true"
    for held in stay.values():
        held.close()
    assert old.exit_code() == 0
    assert client.ask(ask) == "false"
