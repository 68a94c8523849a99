"""A leg: one server connection that takes part in a client's statement or transaction.

Invariants:
* One exchange at a time on a leg; the next begins after the last one's end was seen.
* A leg that is given up in the middle of an exchange is closed, never returned to its pool.
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardproxy.dialects.postgres import wire

from .errors import lost_at
from .stream import COPY_DATA, DATA_ROW, Reply

__all__ = ["NO_BIND", "Bind", "Leg", "Rows", "extended", "payloads"]

ROW_DESCRIPTION, COMMAND_COMPLETE, NO_DATA, COPY_IN, EMPTY, SUSPENDED = 0x54, 0x43, 0x6E, 0x47, 0x49, 0x73
EXECUTE_ALL = wire.message(b"E", b"\0" + b"\0\0\0\0")
DESCRIBE_PORTAL = wire.message(b"D", b"P\0")
PARAMETER = re.compile(rb"\$(\d+)")
FIRST_OF_USERS, TEXT = 16384, 25
COPY_HIGH = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bind:
    """Parameters: ``types`` are OIDs, ``formats`` 0 text or 1 binary, one for each, ``values`` None for NULL."""

    types: tuple[int, ...] = ()
    formats: tuple[int, ...] = ()
    values: tuple[bytes | None, ...] = ()


NO_BIND = Bind()


def extended(text: bytes, bind: Bind, formats: Sequence[int] = ()) -> bytes:
    """Parse, Bind, Describe, Execute and Sync of one statement."""
    types = struct.pack(f"!H{len(bind.types)}I", len(bind.types), *bind.types)
    return (wire.parse(b"", text + b"\0" + types) + bound(bind, formats) + DESCRIBE_PORTAL + EXECUTE_ALL + wire.SYNC)


def foreign(bind: Bind, text: bytes) -> Bind:
    """Parameters for another server than the one that gave their types: types of users have other OIDs there, and are
    left to be inferred; one that is not used has any type."""
    if all(oid < FIRST_OF_USERS for oid in bind.types):
        return bind
    used = {int(number) for number in PARAMETER.findall(text)}
    types = tuple(oid if oid < FIRST_OF_USERS else 0 if number in used else TEXT
                  for number, oid in enumerate(bind.types, 1))
    return replace(bind, types=types)


def bound(bind: Bind, formats: Sequence[int]) -> bytes:
    """Bind of the unnamed statement to the unnamed portal."""
    parts = [b"\0\0", struct.pack(f"!H{len(bind.formats)}H", len(bind.formats), *bind.formats),
             struct.pack("!H", len(bind.values))]
    for value in bind.values:
        parts.append(b"\xff\xff\xff\xff" if value is None else struct.pack("!I", len(value)) + value)
    parts.append(struct.pack(f"!H{len(formats)}H", len(formats), *formats))
    return wire.message(b"B", b"".join(parts))


def payloads(run: bytes) -> list[bytes]:
    """The payloads of messages that stand one behind the other."""
    found, pos, n = [], 0, len(run)
    while pos < n:
        end = pos + 1 + int.from_bytes(run[pos + 1 : pos + 5], "big")
        found.append(run[pos + 5 : end])
        pos = end
    return found


class Rows:
    """The reply to a statement: its description, then rows, then the tag."""

    def __init__(self, leg: Leg, reply: Reply) -> None:
        self._leg, self._reply = leg, reply
        self._first: tuple[int, bytes] | None = None
        self._described = False
        self.description: bytes | None = None
        self.tag = ""

    def unwatched(self) -> None:
        """From now on somebody awaits them."""
        self._reply.watcher = None

    def arrived(self) -> tuple[bytes | None, bytes]:
        """After the end, with no error: the description, and all rows as whole messages. It takes nothing away."""
        kinds = [(kind, payload) for kind, payload in self._reply.items]
        described = next((payload for kind, payload in kinds if kind == ROW_DESCRIPTION), None)
        return described, b"".join([payload for kind, payload in kinds if kind == DATA_ROW])

    async def described(self) -> bytes | None:
        """RowDescription, or None if no rows can come. Errors of Parse and Bind are raised here."""
        while not self._described:
            item = await self._reply.next()
            if item is None:
                self._described = True
            elif item[0] == ROW_DESCRIPTION:
                self.description, self._described = item[1], True
            elif item[0] == NO_DATA:
                self._described = True
            elif item[0] in (DATA_ROW, COPY_DATA, COMMAND_COMPLETE, COPY_IN, EMPTY):
                self._first, self._described = item, True
        return self.description

    async def chunks(self) -> AsyncIterator[bytes]:
        """Whole DataRow (or CopyData) messages, many at a time."""
        await self.described()
        item, self._first = self._first, None
        while True:
            item = item or await self._reply.next()
            if item is None:
                return
            kind, payload = item
            item = None
            if kind in (DATA_ROW, COPY_DATA):
                yield payload
            elif kind == COMMAND_COMPLETE:
                self.tag = payload.rstrip(b"\0").decode()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The payload of each row."""
        async for run in self.chunks():
            for payload in payloads(run):
                yield payload

    async def all(self) -> list[bytes]:
        """All rows."""
        return [row async for row in self]

    async def done(self) -> str:
        """Drop the rows that are left; the tag."""
        async for _ in self.chunks():
            pass
        return self.tag

    async def close(self) -> None:
        """No more is wanted: cancel it on the server, and wait for the end."""
        if not self._reply.ended:
            self._leg.cancel()
        await self._reply.rest()


class Leg:
    """See the module. ``temporary``: it made temporary objects; ``in_block``: BEGIN was sent."""

    def __init__(self, place: str, runtime: Any, server: Any) -> None:
        self.place, self.runtime, self.server = place, runtime, server
        self.wrote = self.temporary = self.in_block = False
        self.notices: list[bytes] = []
        self._reply: Reply | None = None

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._reply is not None and not self._reply.ended

    @property
    def aborted(self) -> bool:
        """Whether its transaction can only be rolled back."""
        return bool(self.server.status == 0x45)

    def exchange(self, data: bytes) -> Reply:
        """Send messages that cause one ReadyForQuery."""
        if self.busy:
            raise RuntimeError(f"{self.place or 'coordinator'}: an exchange is under way")
        self._reply = Reply(self.server, self.notices)
        self._reply.send(data)
        return self._reply

    def reply(self, data: bytes, watcher: Any) -> Rows:
        """As ``exchange``, for rows that nobody awaits yet; the watcher is told of them (see ``Reply``)."""
        self._reply = Reply(self.server, self.notices)
        self._reply.watcher = watcher
        self._reply.send(data)
        return Rows(self, self._reply)

    def rows(self, text: bytes, bind: Bind = NO_BIND, formats: tuple[int, ...] = ()) -> Rows:
        """Run one statement; result formats as in Bind: none, one for all, or one a column."""
        return Rows(self, self.exchange(extended(text, bind if not self.place else foreign(bind, text), formats)))

    async def run(self, sql: str | bytes) -> list[list[bytes | None]]:
        """A simple query of the proxy's own; rows as text cells."""
        return [wire.parse_data_row(row) for row in await self.simple(sql).all()]

    async def command(self, sql: str | bytes) -> str:
        """The same, for its (last) command tag."""
        return await self.simple(sql).done()

    def simple(self, sql: str | bytes) -> Rows:
        """A simple query, for its rows."""
        text = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
        return Rows(self, self.exchange(wire.query(text)))

    async def copy_in(self, sql: str | bytes, chunks: AsyncIterable[bytes]) -> str:
        """COPY ... FROM STDIN; chunks are payloads of CopyData. Gives the tag."""
        text = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
        reply = self.exchange(wire.query(text))
        item = await reply.next()
        while item is not None and item[0] != COPY_IN:
            item = await reply.next()
        try:
            async for chunk in chunks:
                if reply.ended or reply.error is not None:
                    break
                self.server.write(wire.message(b"d", chunk))
                if len(self.server.out) > COPY_HIGH:
                    await self.sent()
        except BaseException:
            self.server.write(wire.copy_fail(b"the data could not be read to its end"))
            raise
        if reply.error is None and not reply.ended:
            self.server.write(wire.message(b"c", b""))
        rows = Rows(self, reply)
        return await rows.done()

    async def sent(self) -> None:
        """Wait until the server took most of what was written."""
        from .output import taken

        await taken(self.server)

    def copy_out(self, sql: str | bytes) -> Rows:
        """COPY ... TO STDOUT: rows are the payloads of CopyData."""
        return self.simple(sql)

    def cancel(self) -> None:
        """Ask the server to stop what runs here."""
        if self.busy:
            self.runtime.cancel(self.server)

    async def quiet(self) -> None:
        """Wait for the end of what runs here, whatever it says."""
        if self._reply is not None:
            await self._reply.rest()

    def raise_if_lost(self) -> None:
        """Before something that cannot work without it."""
        if self.server.closed:
            raise lost_at(self.place)
