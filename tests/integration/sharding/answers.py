"""What a server answers to one statement, in one of the ways that a client can ask.

``simple``      one Query message, parameters written as literals
``text``        Parse, Bind, Describe, Execute with text parameters and text results
``binary``      the same with binary parameters and results
``prepared``    a named statement: described, then executed twice if it only reads; text parameters, binary results
``portal``      in a block (unless one is open) a portal that is executed two rows at a time
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.fixtures.raw import CD, B, C, D, E, H, Message, P, Q, Raw, S, done_copy, errors, kinds, message

from .cases import Statement

__all__ = ["MODES", "Answer", "Asker", "Result"]

MODES = ("simple", "text", "binary", "prepared", "portal")
FIRST_OWN_OID = 16384
"""Types from here on were made in the database, and have other numbers in another one: compared as 0."""
_BIND_LIMIT = 2


@dataclass
class Result:
    """Of one statement: columns as (name, type, modifier, format)."""

    columns: tuple[tuple[str, int, int, int], ...] | None = None
    rows: list[bytes] = field(default_factory=list)
    copied: list[bytes] = field(default_factory=list)
    copy: bytes | None = None
    tag: str = ""


@dataclass
class Answer:
    """All that came back, without what may differ (notices, places in the server's source)."""

    results: list[Result] = field(default_factory=list)
    parameters: tuple[int, ...] | None = None
    error: str = ""
    message: str = ""
    status: str = ""
    lost: bool = False


class Asker:
    """A connection and how statements are sent on it. ``encode`` gives the binary form of a text parameter."""

    def __init__(self, client: Raw, mode: str, encoder: Encoder) -> None:
        self.client, self.mode, self.encoder = client, mode, encoder
        self.status = "I"

    async def ask(self, statement: Statement, timeout: float = 20) -> Answer:
        """Run one statement."""
        mode = "simple" if ";" in statement.text.rstrip(";") and not statement.values else self.mode
        if mode == "portal" and not statement.reads:
            mode = "text"
        try:
            if mode == "simple":
                answer = await self._simple(statement, timeout)
            elif mode == "portal":
                answer = await self._portal(statement, timeout)
            else:
                answer = await self._extended(statement, mode, timeout)
        except TimeoutError:
            answer = Answer(error="none", message=f"no answer after {timeout:g} s", lost=True)
        self.status = answer.status or self.status
        return answer

    async def _simple(self, statement: Statement, timeout: float) -> Answer:
        self.client.send(Q(statement.with_literals()))
        replies = await self.client.read(1, "G" if statement.data is not None else "", timeout)
        if replies[-1][0] == "G":
            self.client.send(CD(_data(statement)), done_copy)
            replies += await self.client.read(1, "", timeout)
        return collect(replies)

    async def _extended(self, statement: Statement, mode: str, timeout: float) -> Answer:
        name = "named" if mode == "prepared" else ""
        self.client.send(P(name, statement.text), D("S", name), S)
        described = await self.client.read(1, "", timeout)
        answer = collect(described)
        if answer.error or answer.lost:
            return answer
        types = answer.parameters or ()
        if len(types) != len(statement.values):
            return Answer(error="none", message=f"{len(types)} parameters described, not {len(statement.values)}")
        for value, kind in zip(statement.values, types, strict=False):
            if mode == "binary" and value is not None:
                await self.encoder.learn(value, kind)
        bind = self._bind(statement, types, name, binary=mode == "binary", results=mode != "text")
        for _ in range(2 if mode == "prepared" and statement.reads else 1):
            again = await self._execute(statement, bind, timeout)
            again.parameters = types
            if again.error:
                break
        if name:
            self.client.send(message("C", b"S" + name.encode() + b"\0"), S)
            await self.client.read(1, "", timeout)
        return again

    async def _execute(self, statement: Statement, bind: bytes, timeout: float) -> Answer:
        if statement.data is None:
            self.client.send(bind, D("P"), E(), S)
            return collect(await self.client.read(1, "", timeout))
        self.client.send(bind, D("P"), E(), H)
        replies = await self.client.read(1, "GEC", timeout)
        if replies[-1][0] == "G":
            self.client.send(CD(_data(statement)), done_copy)
        self.client.send(S)
        return collect(replies + await self.client.read(1, "", timeout))

    def _bind(self, statement: Statement, types: tuple[int, ...], name: str, *, binary: bool, results: bool) -> bytes:
        values: list[str | bytes | None] = list(statement.values)
        if binary:
            values = [self.encoder.encode(value, kind) if value is not None else None
                      for value, kind in zip(statement.values, types, strict=True)]
        whole = B("", name, *values, binary=binary)
        return whole[:-2] + struct.pack("!h", int(results))

    async def _portal(self, statement: Statement, timeout: float) -> Answer:
        """Rows in pieces: the results of the pieces are one result."""
        inside = self.status == "T"
        if not inside:
            self.client.send(Q("begin"))
            await self.client.read(1, "", timeout)
        values = list(statement.values)
        self.client.send(P("", statement.text), B("cut", "", *values), D("P", "cut"), E("cut", _BIND_LIMIT), S)
        replies = await self.client.read(1, "", timeout)
        pieces = 0
        while any(kind == "s" for kind, _ in replies) and pieces < 400:
            replies = [reply for reply in replies if reply[0] not in "sZ"]
            self.client.send(E("cut", _BIND_LIMIT + pieces), S)
            replies += await self.client.read(1, "", timeout)
            pieces += 1
        if "E" not in kinds(replies):       # else the next one of the block finds the name taken
            self.client.send(C("P", "cut"), S)
            await self.client.read(1, "", timeout)
        answer = collect(replies)
        for result in answer.results:
            result.tag = result.tag.rstrip("0123456789")    # counts the last piece alone
        if not inside and not answer.lost:
            self.client.send(Q("rollback"))
            answer.status = collect(await self.client.read(1, "", timeout)).status
        return answer


class Encoder:
    """Binary forms of values, made by a real server."""

    def __init__(self, client: Raw) -> None:
        self.client = client
        self.known: dict[tuple[str, int], bytes | str] = {}

    async def learn(self, value: str, kind: int) -> None:
        """Ask for one; a value that is not of the type stays text (and fails as binary data on every server)."""
        if kind and (value, kind) not in self.known:
            bind = B("", "", value)[:-2] + struct.pack("!h", 1)
            self.client.send(P("", "select $1", kind), bind, E(), S)
            replies = await self.client.read(1)
            cells = [payload[6:] for letter, payload in replies if letter == "D"]
            self.known[value, kind] = cells[0] if cells else value

    def encode(self, value: str, kind: int) -> bytes | str:
        """What was learned."""
        return self.known.get((value, kind), value)


def _data(statement: Statement) -> bytes:
    return (statement.data or "").encode()


def collect(replies: list[Message]) -> Answer:
    """Messages as an answer."""
    answer = Answer()
    result = Result()
    for kind, payload in replies:
        if kind == "T":
            result.columns = tuple(_columns(payload))
        elif kind == "D":
            result.rows.append(payload)
        elif kind == "d":
            result.copied.append(payload)
        elif kind in "GH":
            result.copy = kind.encode() + payload
        elif kind in "CI":
            result.tag = payload[:-1].decode() if kind == "C" else "empty"
            answer.results.append(result)
            result = Result()
        elif kind == "t":
            (count,) = struct.unpack_from("!h", payload)
            oids = struct.unpack_from(f"!{count}I", payload, 2)
            answer.parameters = tuple(oid if oid < FIRST_OWN_OID else 0 for oid in oids)
        elif kind == "Z":
            answer.status = payload.decode()
        elif kind == "end":
            answer.lost = True
    for fields in errors(replies):
        answer.error, answer.message = fields["C"], fields["M"]
    if answer.lost and not answer.error:
        answer.error, answer.message = "none", "the connection was lost"
    if result.columns and not answer.error:
        answer.results.append(result)       # only described
    return answer


def _columns(payload: bytes) -> list[tuple[str, int, int, int]]:
    (count,) = struct.unpack_from("!h", payload)
    found, pos = [], 2
    for _ in range(count):
        end = payload.index(b"\0", pos)
        _, _, kind, _, modifier, form = struct.unpack_from("!IhIhih", payload, end + 1)
        found.append((payload[pos:end].decode(), kind if kind < FIRST_OWN_OID else 0, modifier, form))
        pos = end + 19
    return found
