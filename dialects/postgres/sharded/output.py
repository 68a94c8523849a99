"""What a client is sent by statements that the proxy itself carries out.

Invariant: what waits to be sent stays bounded: whoever writes rows awaits ``drain`` often.
"""

from __future__ import annotations

import asyncio
from typing import Any

from shardproxy import limits
from shardproxy.dialects.postgres import wire

__all__ = ["Later", "Output", "taken"]


async def taken(link: Any) -> None:
    """Wait until most of what was written to this connection has left (or it is closed)."""
    while len(link.out) > limits.OUT_HIGH and not link.closed:
        await asyncio.sleep(0 if len(link.out) < 4 * limits.OUT_HIGH else 0.001)


class Output:
    """``described``: whether RowDescription is sent (a simple query, or Describe was asked for)."""

    def __init__(self, link: Any, described: bool = True) -> None:
        self.link, self.describe = link, described
        self.count = 0
        self.tag: str | None = None
        self.columns: bytes | None = None

    def description(self, payload: bytes) -> None:
        """RowDescription."""
        self.columns = payload
        if self.describe:
            self.link.write(wire.message(b"T", payload))

    def row(self, payload: bytes) -> None:
        """One DataRow."""
        self.count += 1
        self.link.write(wire.message(b"D", payload))

    def rows(self, run: bytes, count: int = 0) -> None:
        """Whole DataRow messages as they came."""
        self.count += count
        self.link.write(run)

    def message(self, data: bytes) -> None:
        """Any other message, whole."""
        self.link.write(data)

    async def drain(self) -> None:
        """Wait for a slow client."""
        if len(self.link.out) > limits.OUT_HIGH:
            await taken(self.link)
        if self.link.closed:
            raise ConnectionError("the client has left")

    def complete(self, tag: str) -> None:
        """CommandComplete, once."""
        self.tag = tag
        self.link.write(wire.command_complete(tag))

    def notice(self, payload: bytes) -> None:
        """NoticeResponse as it came."""
        self.link.write(wire.message(b"N", payload))


class Later(Output):
    """What ``out`` is told, but for the end of the statement: the client hears of that when all is done."""

    def __init__(self, out: Output) -> None:
        super().__init__(out.link, out.describe)
        self._out = out

    def description(self, payload: bytes) -> None:
        self.columns = payload
        self._out.description(payload)

    def row(self, payload: bytes) -> None:
        self._out.row(payload)

    def rows(self, run: bytes, count: int = 0) -> None:
        self._out.rows(run, count)

    async def drain(self) -> None:
        """As the client takes it."""
        await self._out.drain()

    def complete(self, tag: str) -> None:
        self.tag = tag
