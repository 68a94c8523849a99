"""The admin console on PostgreSQL's protocol: simple queries (psql, exporters) and the extended protocol (drivers).

Invariant: a statement is run by the parent, once; here it is only brought into the protocol's form: text, or binary
where a driver asks for it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shardproxy import __version__
from shardproxy.errors import ControlError, ProtocolViolation

from . import wire

__all__ = ["serve"]

STATEMENT_MAX = 64 * 1024
TYPES = {"text": (25, -1), "int8": (20, 8), "float8": (701, 8), "bool": (16, 1)}
BINARY: Mapping[str, Callable[[Any], bytes]] = {
    "text": lambda value: str(value).encode(),
    "int8": lambda value: struct.pack("!q", int(value)),
    "float8": lambda value: struct.pack("!d", float(value)),
    "bool": lambda value: struct.pack("!?", bool(value)),
}


def _text(value: object) -> bytes:
    if isinstance(value, bool):
        return b"t" if value else b"f"
    return str(value).encode()


def _row(values: Sequence[object], kinds: Sequence[str], binary: Sequence[bool]) -> bytes:
    cells = [
        None if value is None else BINARY[kind](value) if wanted else _text(value)
        for value, kind, wanted in zip(values, kinds, binary, strict=True)
    ]
    return wire.message(
        b"D",
        struct.pack("!H", len(cells))
        + b"".join(
            b"\xff\xff\xff\xff" if cell is None else struct.pack("!I", len(cell)) + cell for cell in cells
        ),
    )


def _formats(bind: bytes) -> tuple[int, ...]:
    """Formats of the results that a Bind asks for, from behind the names of portal and statement."""
    (count,) = struct.unpack_from("!H", bind)
    position = 2 + 2 * count
    (count,) = struct.unpack_from("!H", bind, position)
    position += 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", bind, position)
        position += 4 + max(0, size)
    (count,) = struct.unpack_from("!H", bind, position)
    return struct.unpack_from(f"!{count}H", bind, position + 2)


class _Console:
    """One client of the console."""

    def __init__(self, link: Any, user: str, database: str, worker: Any) -> None:
        self.link, self.user, self.database, self.worker = link, user, database, worker
        self.texts: dict[bytes, str] = {}
        self.portals: dict[bytes, tuple[str, tuple[int, ...]]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.skipping = False

    async def run(self, sql: str) -> dict[str, Any]:
        """What the parent answers."""
        try:
            return dict(
                await self.worker.control.call(
                    "admin", timeout=None, sql=sql, user=self.user, database=self.database
                )
            )
        except ControlError as error:
            return {"error": ["58000", str(error), ""]}

    def describe(self, answer: dict[str, Any], formats: Sequence[int] = ()) -> bytes:
        """RowDescription or NoData."""
        columns = answer.get("columns") or []
        if not columns:
            return wire.NO_DATA
        binary = self.binary(answer, formats)
        return wire.row_description(
            [(name, *TYPES[kind], int(wanted)) for (name, kind), wanted in zip(columns, binary, strict=True)]
        )

    def rows(self, answer: dict[str, Any], formats: Sequence[int] = ()) -> bytes:
        """Notices, rows and the tag."""
        notices = [wire.notice("00000", text) for text in answer.get("notices", ())]
        kinds, binary = [kind for _, kind in answer.get("columns") or []], self.binary(answer, formats)
        rows = [_row(row, kinds, binary) for row in answer.get("rows", ())]
        return b"".join([*notices, *rows, wire.command_complete(answer.get("tag", "SHOW"))])

    @staticmethod
    def binary(answer: dict[str, Any], formats: Sequence[int]) -> list[bool]:
        """For each column, whether it is wanted in binary: no formats mean text, one stands for all."""
        count = len(answer.get("columns") or [])
        wanted = formats if len(formats) == count else [*formats, 0][:1] * count
        return [bool(code) for code in wanted]

    def error(self, answer: dict[str, Any]) -> bytes:
        sqlstate, text, hint = (*answer["error"], "")[:3]
        return wire.error(sqlstate, text, hint=hint)

    async def query(self, payload: bytes) -> None:
        """A simple Query."""
        sql = payload[:-1].decode("utf-8", "replace").strip()
        if not sql.strip("; \n\t"):
            self.link.write(wire.EMPTY_QUERY + wire.ready())
            return
        answer = await self.run(sql)
        if "error" in answer:
            self.link.write(self.error(answer) + wire.ready())
            return
        head = self.describe(answer) if answer.get("columns") else b""
        self.link.write(head + self.rows(answer) + wire.ready())

    async def extended(self, kind: int, payload: bytes) -> None:
        """Parse, Bind, Describe, Execute, Close, Sync, Flush. What changes something runs at its Execute, once."""
        if kind == 0x53:  # S
            self.skipping = False
            self.answers.clear()
            self.link.write(wire.ready())
            return
        if self.skipping or kind == 0x48:  # H
            return
        if kind == 0x50:  # P
            name, text, _ = payload.split(b"\0", 2)
            self.texts[name] = text.decode("utf-8", "replace")
            self.link.write(wire.PARSE_COMPLETE)
        elif kind == 0x42:  # B
            portal, name, rest = payload.split(b"\0", 2)
            self.portals[portal] = self.texts.get(name, ""), _formats(rest)
            self.link.write(wire.BIND_COMPLETE)
        elif kind == 0x44:  # D
            await self._describe(payload)
        elif kind == 0x45:  # E
            sql, formats = self.portals.get(payload.split(b"\0", 1)[0], ("", ()))
            answer = await self._answer(sql)
            if answer is not None:
                self.answers.pop(sql, None)
                self.link.write(self.rows(answer, formats))
        elif kind == 0x43:  # C
            self.link.write(wire.CLOSE_COMPLETE)

    async def _describe(self, payload: bytes) -> None:
        name = payload[1:-1]
        statement = payload[:1] == b"S"
        sql, formats = (self.texts.get(name, ""), ()) if statement else self.portals.get(name, ("", ()))
        only_looks = sql.lstrip()[:6].upper().startswith(("SHOW", "SELECT"))
        answer = await self._answer(sql) if only_looks else {}
        if answer is not None:
            head = wire.message(b"t", struct.pack("!H", 0)) if statement else b""
            self.link.write(head + self.describe(answer, formats))

    async def _answer(self, sql: str) -> dict[str, Any] | None:
        if sql not in self.answers:
            answer = await self.run(sql)
            if "error" in answer:
                self.skipping = True
                self.link.write(self.error(answer))
                return None
            self.answers[sql] = answer
        return self.answers[sql]


async def serve(arrival: Any, startup: Any, worker: Any) -> None:
    """Greet, then answer statements until the client leaves."""
    link = arrival.link
    link.inbox_max = STATEMENT_MAX * 2
    link.console = (startup.user, startup.database)
    pid, key = worker.new_cancel_key(link, startup.version)
    reported = {
        "server_version": f"15.0 (shardproxy {__version__})",
        "server_encoding": "UTF8",
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "TimeZone": "UTC",
        "integer_datetimes": "on",
        "standard_conforming_strings": "on",
        "application_name": startup.settings.get("application_name", ""),
    }
    hello = b"".join(wire.parameter_status(name, value) for name, value in reported.items())
    link.write(hello + wire.backend_key(pid, key) + wire.ready())
    worker.task(_talk(_Console(link, startup.user, startup.database, worker), worker))


async def _talk(console: _Console, worker: Any) -> None:
    link = console.link
    try:
        while True:
            head = await link.take(5)
            size = int.from_bytes(head[1:], "big") - 4
            if size < 0 or size > STATEMENT_MAX:
                raise ProtocolViolation("invalid message length")
            payload = await link.take(size)
            if head[:1] == b"X":
                break
            if head[:1] == b"Q":
                await console.query(payload)
            elif head[:1] in b"PBDECSH":
                await console.extended(head[0], payload)
            else:
                raise ProtocolViolation(f"invalid frontend message type {head[0]}")
    except (ProtocolViolation, ValueError, struct.error) as error:
        link.write(wire.error("08P01", str(error), severity="FATAL"))
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        link.close(True)
        worker.console_left(link)
