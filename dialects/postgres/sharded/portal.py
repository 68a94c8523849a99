"""A portal: a statement with its parameters, and the rows of it that the client has not fetched yet.

Invariant: with a row limit the statement runs once, to its end; what the client did not fetch is kept, up to a bound.
"""

from __future__ import annotations

from typing import Any

from shardproxy.dialects.postgres import wire

from .described import Described
from .errors import PgError
from .legs import Bind
from .output import Output

__all__ = ["Portal"]

KEPT_MAX = 256 * 1024 * 1024
SUSPENDED = wire.message(b"s", b"")


class Kept(Output):
    """Keeps messages instead of sending them."""

    def __init__(self, link: Any) -> None:
        super().__init__(link, described=False)
        self.waiting: list[bytes] = []
        self.size = 0

    def row(self, payload: bytes) -> None:
        self._keep(wire.message(b"D", payload))

    def rows(self, run: bytes, count: int = 0) -> None:
        pos, n = 0, len(run)
        while pos < n:
            end = pos + 1 + int.from_bytes(run[pos + 1 : pos + 5], "big")
            self._keep(run[pos:end])
            pos = end

    def _keep(self, message: bytes) -> None:
        self.waiting.append(message)
        self.size += len(message)
        if self.size > KEPT_MAX:
            raise PgError.of("54000", "a portal with a row limit has too many rows over several servers",
                             hint="DECLARE a cursor and FETCH from it, or fetch without a limit.")

    async def drain(self) -> None:
        """Nothing is sent yet."""

    def complete(self, tag: str) -> None:
        self.tag = tag


class Portal:
    """See the module."""

    def __init__(self, text: bytes, route: Any, bind: Bind, formats: tuple[int, ...], described: Described) -> None:
        self.text, self.route, self.bind, self.formats, self.described = text, route, bind, formats, described
        self.depth = 0
        """How much of the block's log stood when it was bound: what goes back before that drops it."""
        self._kept: Kept | None = None
        self._at = 0
        self._done = False

    async def execute(self, statements: Any, link: Any, limit: int) -> None:
        """Execute, at most ``limit`` rows (0: all)."""
        if self._kept is None and limit == 0 and not self._done:
            self._done = True
            await statements.run(self.text, self.bind, self.formats, Output(link, described=False), simple=False)
            return
        if self._kept is None:
            self._kept = Kept(link)
            await statements.run(self.text, self.bind, self.formats, self._kept, simple=False)
        await self._send(link, limit)

    async def _send(self, link: Any, limit: int) -> None:
        kept = self._kept
        assert kept is not None
        end = len(kept.waiting) if limit == 0 else min(len(kept.waiting), self._at + limit)
        out = Output(link)
        count = end - self._at
        for number in range(self._at, end):
            link.write(kept.waiting[number])
            if number % 256 == 0:
                await out.drain()
        self._at = end
        if limit and count == limit:        # as the server: it does not look whether there is another row
            link.write(SUSPENDED)
            return
        tag = kept.tag or ""
        verb = tag.split(" ")[0]
        link.write(wire.command_complete(f"{verb} {count}" if verb in ("SELECT", "FETCH") else tag))
