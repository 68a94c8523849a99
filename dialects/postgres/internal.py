"""Statements of the proxy's own on a server connection: settings, probes, ROLLBACK, clean-up.

Invariant: an internal operation starts only when no reply is owed on the connection, and ends at ReadyForQuery; until
then nobody else sends on it. Nothing of its reply reaches a client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import wire
from .server_link_cy import INTERNAL

__all__ = ["Collector", "Result", "run"]

REPLY_MAX = 4 * 1024 * 1024


class Result:
    """What came back. ``error``: fields of the first error, or None; ``rows``: cells as bytes or None."""

    __slots__ = ("error", "rows", "status")

    def __init__(self) -> None:
        self.rows: list[list[bytes | None]] = []
        self.error: dict[str, str] | None = None
        self.status = "I"


class Collector:
    """Collects replies until ``cycles`` ReadyForQuery have come, then calls ``done(server, result)``."""

    def __init__(self, done: Callable[[Any, Result], None], cycles: int = 1, preparing: bool = False) -> None:
        self.preparing = preparing
        self._done = done
        self._cycles = cycles
        self._rest = b""
        self.result = Result()

    def feed(self, server: Any, data: bytes) -> bytes | None:
        """More bytes. None: not finished; else the bytes that came after the end."""
        messages, self._rest = wire.split(self._rest + data)
        if len(self._rest) > REPLY_MAX:
            raise ValueError("the reply to a statement of the proxy is too long")
        for position, (kind, payload) in enumerate(messages):
            if kind == 0x44:  # D
                self.result.rows.append(wire.parse_data_row(payload))
            elif kind == 0x45:  # E
                fields = wire.error_fields(payload)
                self.result.error = self.result.error or fields
                if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
                    server.events.message(server, kind, payload)
            elif kind in (0x53, 0x41):  # S, A
                server.events.message(server, kind, payload)
            elif kind == 0x5A:  # Z
                self.result.status = payload[:1].decode()
                self._cycles -= 1
                if self._cycles == 0:
                    rest = b"".join(wire.message(bytes([k]), p) for k, p in messages[position + 1 :]) + self._rest
                    return rest
        return None

    def finish(self, server: Any) -> None:
        """The last ReadyForQuery was seen."""
        self._done(server, self.result)


def run(
    server: Any, data: bytes, done: Callable[[Any, Result], None], cycles: int = 1, preparing: bool = False
) -> None:
    """Send ``data`` (messages that cause ``cycles`` ReadyForQuery); ``done(server, result)`` is called at the end.

    ``preparing``: nothing of a client's was sent on this connection yet; if it is lost, another one will do.
    """
    server.mode = INTERNAL
    server.unnamed_serial = 0  # a simple query drops the unnamed statement
    server.collector = Collector(done, cycles, preparing)
    server.write(data)
