"""A replication connection: commands, and the stream of changes of a logical slot, with feedback.

Invariants: the position that the server is told (and may forget what lies before) is only ever what ``confirm`` was
given; feedback goes out while nobody reads, so a slow target never makes the server drop the connection. Whatever
fails, fails with ``LinkError``; ``SlotLost`` where the slot has gone or can give no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from shardproxy.dialects.changes import Message, SlotLost
from shardproxy.dialects.replication import LinkError, Target
from shardproxy.errors import ServerError
from shardproxy.tls import server_binding

from . import wire
from .auth import ServerAuthentication, ServerCredential
from .pgoutput import decode
from .replication import position_text

__all__ = ["ChangeStream", "Identified", "position_of"]

READ_BYTES = 1 << 18
BUFFER_BYTES = 1 << 20
MESSAGE_MAX = (1 << 30) + (1 << 20)
FEEDBACK_S, SILENCE_S = 1.0, 60.0
EPOCH_US = 946_684_800_000_000
_HEADER, _KEEPALIVE, _STATUS = struct.Struct("!QQq"), struct.Struct("!QqB"), struct.Struct("!BQQQqB")
_COPY_DATA, _COPY_BOTH, _ERROR, _READY, _ROW = 0x64, 0x57, 0x45, 0x5A, 0x44
_QUIET = frozenset(map(ord, "NSTC"))
_GONE = frozenset(("42704", "55000", "58P01"))


@dataclass(frozen=True, slots=True)
class Identified:
    """``IDENTIFY_SYSTEM``."""

    system: str
    timeline: int
    position: int
    database: str


def position_of(text: str) -> int:
    """``0/5000028`` as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


class ChangeStream:
    """See the module. ``written``: the end of WAL as the server told it last; ``seen``: all before was sent to us.

    ``silence_s``: a server that was asked and says nothing for so long is gone, or the network is.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.silence_s = SILENCE_S
        self._heard = 0.0
        self.written = self.seen = self.confirmed = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._parts: list[bytes] = []
        self._held = self._wanted = 0
        self._feedback: asyncio.Task[None] | None = None

    # -- life

    @classmethod
    async def open(cls, target: Target, timeout: float = 10.0) -> ChangeStream:
        """Connect and log in."""
        made = cls(target)
        try:
            async with asyncio.timeout(timeout):
                await made._connect()
        except (OSError, TimeoutError, ServerError, ssl.SSLError, ValueError, asyncio.IncompleteReadError) as error:
            made.close()
            raise LinkError(f"{target}: {error or 'no answer'}") from error
        except BaseException:
            made.close()
            raise
        return made

    async def _connect(self) -> None:
        target = self.target
        if target.unix is not None:
            path = f"{target.unix}/.s.PGSQL.{target.port}"
            self._reader, self._writer = await asyncio.open_unix_connection(path, limit=BUFFER_BYTES)
        else:
            self._reader, self._writer = await asyncio.open_connection(target.host, target.port, limit=BUFFER_BYTES)
            if target.ssl is not False:
                await self._start_tls(target.ssl)
        await self._log_in()

    async def _start_tls(self, setting: ssl.SSLContext | str | bool) -> None:
        """``prefer``, as libpq: without a check of the certificate, or not at all."""
        required = isinstance(setting, ssl.SSLContext)
        self._writer.write(struct.pack("!II", 8, wire.SSL_REQUEST))
        if await self._reader.readexactly(1) == b"S":
            context = setting if isinstance(setting, ssl.SSLContext) else _unchecked()
            await self._writer.start_tls(context, server_hostname=self.target.host)
        elif required:
            raise ServerError("08001", "the server does not offer TLS, which the configuration requires")

    async def _log_in(self) -> None:
        target = self.target
        inside = self._writer.get_extra_info("ssl_object")
        exchange = ServerAuthentication(
            target.user, ServerCredential(password=target.password), tls=inside is not None,
            binding=server_binding(inside) if inside is not None else None, allow_cleartext=target.unix is not None)
        self._writer.write(wire.startup({
            "user": target.user, "database": target.dbnames[0], "replication": "database",
            "application_name": "shardproxy transfer", "client_encoding": "UTF8", "DateStyle": "ISO",
            "IntervalStyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex", "search_path": "pg_catalog",
            "wal_sender_timeout": "60s"}))
        while True:
            kind, payload = await self._message()
            if kind == 0x52:
                for answer in exchange.receive(payload):
                    self._writer.write(answer)
            elif kind == _ERROR:
                raise _server_error(payload)
            elif kind == _READY:
                if not exchange.done:
                    raise ServerError("08P01", "the server let us in without authentication being finished")
                return

    async def _message(self) -> tuple[int, bytes]:
        head = await self._reader.readexactly(5)
        size = int.from_bytes(head[1:], "big") - 4
        if not 0 <= size <= MESSAGE_MAX:
            raise ValueError("malformed message from the server")
        return head[0], await self._reader.readexactly(size)

    def close(self) -> None:
        """Drop the connection. May be called again."""
        if self._feedback is not None:
            self._feedback.cancel()
            self._feedback = None
        writer = getattr(self, "_writer", None)
        if writer is not None:
            with contextlib.suppress(Exception):
                writer.transport.abort()

    # -- commands

    async def command(self, text: str) -> list[list[bytes | None]]:
        """Run a replication command; its rows."""
        rows: list[list[bytes | None]] = []
        failure: ServerError | None = None
        try:
            self._writer.write(wire.query(text.encode()))
            await self._writer.drain()
            while True:
                kind, payload = await self._message()
                if kind == _ROW:
                    rows.append(wire.parse_data_row(payload))
                elif kind == _ERROR:
                    failure = _server_error(payload)
                elif kind == _READY:
                    break
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            raise LinkError(f"{self.target}: connection lost: {error}") from error
        if failure is not None:
            raise _told(self.target, failure)
        return rows

    async def identify(self) -> Identified:
        """System identifier, timeline, position and database."""
        system, timeline, position, database = (value or b"" for value in (await self.command("IDENTIFY_SYSTEM"))[0])
        return Identified(system.decode(), int(timeline), position_of(position.decode()), database.decode())

    async def create_slot(self, name: str) -> int:
        """A durable slot. Waits for all transactions that write now. Gives the position from which it is whole."""
        rows = await self.command(
            f"CREATE_REPLICATION_SLOT {wire.quote_ident(name)} LOGICAL pgoutput (SNAPSHOT 'nothing')")
        return position_of((rows[0][1] or b"").decode())

    async def drop_slot(self, name: str) -> None:
        """Nothing happens if there is none of that name."""
        try:
            await self.command(f"DROP_REPLICATION_SLOT {wire.quote_ident(name)} WAIT")
        except SlotLost:
            return

    # -- the stream

    async def start(self, slot: str, publications: Sequence[str], position: int) -> None:
        """Changes of all transactions that committed after ``position`` (or what was confirmed, if that is later)."""
        names = wire.quote_literal(",".join(wire.quote_ident(name) for name in publications))
        options = f"proto_version '1', publication_names {names}"
        text = f"START_REPLICATION SLOT {wire.quote_ident(slot)} LOGICAL {position_text(position)} ({options})"
        try:
            self._writer.write(wire.query(text.encode()))
            while True:
                kind, payload = await self._message()
                if kind == _COPY_BOTH:
                    break
                if kind == _ERROR:
                    raise _told(self.target, _server_error(payload))
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise LinkError(f"{self.target}: connection lost: {error}") from error
        self.confirmed = self.seen = position
        self._heard = time.monotonic()
        self._feedback = asyncio.create_task(self._report())

    async def read(self, timeout: float) -> list[Message]:
        """All messages that have come, at least one read's worth; none after ``timeout``."""
        try:
            async with asyncio.timeout(timeout):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            if time.monotonic() - self._heard > self.silence_s:
                raise LinkError(f"{self.target}: nothing was heard for {self.silence_s:g} s") from None
            return []
        except OSError as error:
            raise LinkError(f"{self.target}: connection lost: {error}") from error
        self._heard = time.monotonic()
        if not data:
            raise LinkError(f"{self.target}: the server has closed the connection")
        try:
            return self._decoded(self._cut(data))
        except ValueError as error:
            raise LinkError(f"{self.target}: malformed change: {error}") from error

    def _cut(self, data: bytes) -> list[tuple[int, bytes]]:
        """Whole messages; the pieces of a long one are put together once, when the last has come."""
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return []
        found, rest = wire.split(b"".join(self._parts))
        self._parts, self._held = [rest], len(rest)
        self._wanted = int.from_bytes(rest[1:5], "big") + 1 if len(rest) >= 5 else 5
        if self._wanted > MESSAGE_MAX:
            raise ValueError("a message is too long")
        return found

    def _decoded(self, found: list[tuple[int, bytes]]) -> list[Message]:
        messages: list[Message] = []
        for kind, payload in found:
            if kind == _COPY_DATA and payload[:1] == b"w":
                if len(payload) < 25:
                    raise ValueError("truncated header")
                messages.append(decode(payload[25:]))
                written = int.from_bytes(payload[9:17], "big")
                if written > self.written:
                    self.written = written
            elif kind == _COPY_DATA and payload[:1] == b"k":
                self._keepalive(payload)
            elif kind == _ERROR:
                raise _told(self.target, _server_error(payload))
            elif kind not in _QUIET:
                raise LinkError(f"{self.target}: the server has ended the stream")
        return messages

    def _keepalive(self, payload: bytes) -> None:
        if len(payload) != 18:
            raise ValueError("malformed keepalive")
        end, _, wanted = _KEEPALIVE.unpack_from(payload, 1)
        self.seen = max(self.seen, end)
        self.written = max(self.written, end)
        if wanted:
            self._send(False)

    def confirm(self, position: int) -> None:
        """Everything before ``position`` is stored for good."""
        self.confirmed = max(self.confirmed, position)

    def ask(self) -> None:
        """Have the server say at once how far it has read its WAL: ``seen`` grows."""
        self._send(True)

    def _send(self, wanted: bool) -> None:
        now = time.time_ns() // 1000 - EPOCH_US
        data = _STATUS.pack(0x72, self.confirmed, self.confirmed, self.confirmed, now, wanted)
        self._writer.write(wire.message(b"d", data))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(min(FEEDBACK_S, self.silence_s / 4))
            self._send(time.monotonic() - self._heard > self.silence_s / 2)


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _server_error(payload: bytes) -> ServerError:
    fields = wire.error_fields(payload)
    return ServerError(fields.get("C", "08006"), fields.get("M", "the server failed"), detail=fields.get("D", ""))


def _told(target: Target, error: ServerError) -> LinkError:
    kind = SlotLost if error.sqlstate in _GONE else LinkError
    return kind(f"{target}: {error.sqlstate}: {error}")
