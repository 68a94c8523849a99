"""The reply to one exchange on a leg, as it arrives: messages for whoever awaits them, with backpressure.

Invariants:
* An exchange starts when no reply is owed on the connection and ends at its ReadyForQuery; nothing of it reaches a
  client by itself.
* At most ``HIGH`` bytes wait here: beyond that the connection is not read until they were taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.server_link_cy import INTERNAL

from .errors import PgError
from .frames_cy import run_end

__all__ = ["DATA_ROW", "Reply"]

HIGH, LOW = 512 * 1024, 128 * 1024
DATA_ROW, COPY_DATA = 0x44, 0x64
RUNS = (DATA_ROW, COPY_DATA)
ERROR, NOTICE, READY, PARAMETER, NOTIFICATION = 0x45, 0x4E, 0x5A, 0x53, 0x41


class Outcome:
    """What ``ServerEvents.collect`` wants to know at the end. ``status``: of the transaction."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status = "I"


class Reply:
    """Collects for one server connection; see ``ServerEvents.collect``. ``next`` is for one coroutine at a time.

    Items are ``(type, payload)``; of rows and COPY data ``(type, whole messages, one behind the other)``.
    """

    preparing = False

    def __init__(self, server: Any, notices: list[bytes]) -> None:
        self.server, self.notices = server, notices
        self.items: deque[tuple[int, bytes]] = deque()
        self.result = Outcome()
        self.error: PgError | None = None
        self.ended = False
        self._size = 0
        self._rest = b""
        self._waiter: asyncio.Future[None] | None = None
        self.watcher: Any = None
        """Told of rows (``grown``) and of the end (``ended``), if nobody awaits them."""

    def send(self, data: bytes) -> None:
        """Begin the exchange."""
        server = self.server
        if server.closed:
            self.lost(PgError.of("08006", "the connection to the server was lost"))
            return
        server.mode = INTERNAL
        server.unnamed_serial = 0
        server.collector = self
        server.borrower = self
        server.write(data)

    # -- as the connection's borrower: it was lost

    def done(self) -> bool:
        """Whether a loss of the connection is no longer of interest."""
        return self.ended

    def set_exception(self, error: BaseException) -> None:
        """The connection is gone."""
        self.lost(PgError.of(getattr(error, "sqlstate", "08006"), str(getattr(error, "message", error))))

    def lost(self, error: PgError) -> None:
        """Nothing more will come."""
        self.error = self.error or error
        self.error.lost = True
        self.ended = True
        self._wake()
        if self.watcher is not None:
            self.watcher.ended(True)

    # -- as the connection's collector

    def feed(self, server: Any, data: bytes) -> bytes | None:
        """More bytes. None: not finished; else what came after the end."""
        data = self._rest + data if self._rest else data
        pos, n = 0, len(data)
        while n - pos >= 5:
            kind = data[pos]
            if kind in RUNS:
                end = run_end(data, pos, kind)
                if end == pos:
                    break
                self._push(kind, data[pos:end])
                pos = end
                continue
            end = pos + 1 + int.from_bytes(data[pos + 1 : pos + 5], "big")
            if end > n:
                break
            if self._message(server, kind, data[pos + 5 : end]):
                return data[end:]
            pos = end
        self._rest = data[pos:]
        return None

    def _message(self, server: Any, kind: int, payload: bytes) -> bool:
        """Any but a row; true at the end."""
        if kind == ERROR:
            fields = wire.error_fields(payload)
            self.error = self.error or PgError.from_server(fields)
            if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
                server.events.message(server, kind, payload)
            self._push(kind, payload)
        elif kind == NOTICE:
            self.notices.append(payload)
        elif kind in (PARAMETER, NOTIFICATION):
            server.events.message(server, kind, payload)
        elif kind == READY:
            self.result.status = payload[:1].decode()
            return True
        else:
            self._push(kind, payload)
        return False

    def finish(self, server: Any) -> None:
        """The last ReadyForQuery was seen."""
        self.ended = True
        server.borrower = None
        if not server.reading:
            server.resume_reading()
        self._wake()
        if self.watcher is not None:
            self.watcher.ended(self.error is not None)

    def _push(self, kind: int, payload: bytes) -> None:
        self.items.append((kind, payload))
        self._size += len(payload)
        if self._size > HIGH and self.server.reading:
            self.server.pause_reading()
        self._wake()
        if self.watcher is not None:
            self.watcher.grown(len(payload))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- for whoever reads it

    async def next(self) -> tuple[int, bytes] | None:
        """The next item; None at the end. An error of the server is raised at the end, after all that came before."""
        while True:
            if self.items:
                kind, payload = self.items.popleft()
                self._size -= len(payload)
                if self._size < LOW and not self.ended and not self.server.reading:
                    self.server.resume_reading()
                if kind == ERROR:
                    continue
                return kind, payload
            if self.ended:
                if self.error is not None:
                    raise self.error
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def rest(self) -> None:
        """Drop what is left, to the end. Errors are dropped, too."""
        while not (self.ended and not self.items):
            try:
                await self.next()
            except PgError:
                return
