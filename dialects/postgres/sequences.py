"""Whose values currval and lastval tell: a server connection remembers what nextval gave there, whoever asked.

``server.last_writer``: None: nothing has used a sequence there; a client's id: nobody but that client has, since;
MIXED: it is not known who has. Invariants:
* What may advance a sequence (``ADVANCES``) runs on a connection that remembers nothing of another client: what it
  remembers is discarded when the connection is taken.
* A client's values are remembered by one connection only, ``session.last_server``: those of another are older.
* What asks only (``SEQUENCE_STATE``) never runs on a connection that remembers something of others.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from typing import Any

from shardproxy.router import flags as f

from . import wire
from .sql_error import raising

__all__ = ["DISCARD", "MIXED", "Sequences", "undefined"]

MIXED = -1
DISCARD = "DISCARD SEQUENCES"
NAME = b"shardproxy: a value that is not defined"
"""Under which a statement is prepared that says so; it leaves the connection with the client's own names."""

BYTEA, TEXT = 17, 25
LOOK_S, WAIT_S = 0.001, 10.0
UNSEEN = f.ADVANCES | f.BEGIN
"""It advances, or keeps the connection for what is not known yet."""

_CURRVAL = re.compile(r"(?is)\bcurrval\s*\(\s*('(?:[^'\\]|'')*'|(?:pg_catalog\.)?pg_get_serial_sequence\s*\("
                      r"\s*'(?:[^'\\]|'')*'\s*,\s*'(?:[^'\\]|'')*'\s*\))")
_LASTVAL = re.compile(r"(?i)\blastval\s*\(")


class Sequences:
    """For one session."""

    def __init__(self, session: Any) -> None:
        self.session, self.link = session, session.link
        self._since = 0.0

    def foreign(self, server: Any) -> bool:
        """Whether the connection remembers something of others."""
        return server.last_writer is not None and server.last_writer != self.link.id

    def to_clean(self, server: Any) -> bool:
        """Whether that must be discarded before the batch in hand runs there."""
        link = self.link
        return self.foreign(server) and bool(
            link.batch_flags & UNSEEN or link.session_mode or server.pins is not None or link.reopen is not None
            or link.batch_flushed or link.noted is None or link.batch_size == 0)

    def advanced(self, server: Any) -> None:
        """A statement that may advance a sequence is about to be sent. On shards no client sees sequences."""
        session = self.session
        if not server.on_primary or server.pool.key[0] != session.database.name:
            return
        last = session.last_server
        if last is not None and last is not server and last.last_writer == self.link.id:
            last.last_writer = MIXED
        server.last_writer = MIXED if self.foreign(server) else self.link.id
        session.last_server = server

    def own(self) -> Any:
        """The connection that remembers this client's values, if it is idle: it is taken. Else None."""
        server = self.session.last_server
        if server is None or server.closed or server.last_writer != self.link.id or (
                server.pool is not self.session.database.write_pool(self.session)):
            return None
        return server if server.pool.take(server) else None

    def take(self) -> Any:
        """The connection that remembers this client's values, if it is idle: it is taken. What asks for them waits
        (the link is busy) while another client's statement is on it that leaves them as they are."""
        session, link = self.session, self.link
        server = session.last_server
        if server.closed or server.last_writer != link.id:
            session.last_server = None
            return None
        if session.shard is not None or session.stopped or link.begins is not None or (
                server.pool is not session.database.write_pool(session)):
            return None
        if server.pool.take(server):
            self._since = 0.0
            return server
        if link.batch_flags & (f.SEQUENCE_STATE | f.ADVANCES) == f.SEQUENCE_STATE and not server.pool.paused:
            self._wait()
        return None

    def _wait(self) -> None:
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > WAIT_S:
            self._since = 0.0
            return
        self.link.busy = True
        asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        if not self.link.closed:
            self.link.busy = False
            self.link.resume()

    def bound(self, sql: bytes, values: bytes, server: Any) -> bytes:
        """Prepare what says that a value is not defined, for a Bind with these ``values``; gives its name."""
        statement = undefined(sql)
        types = parameter_types(values)
        body = statement + b"\0" + struct.pack(f"!H{len(types)}I", len(types), *types)
        server.expect(True, None, None)
        server.out += wire.close_statement(NAME)
        server.expect(True, None, None)
        server.out += wire.parse(NAME, body)
        server.own_names.add(NAME)
        server.flags |= f.PREPARED_SQL
        return NAME


def parameter_types(values: bytes) -> list[int]:
    """Types that take any parameters of a Bind (what comes behind its names)."""
    (count,) = struct.unpack_from("!H", values)
    formats = struct.unpack_from(f"!{count}H", values, 2)
    (number,) = struct.unpack_from("!H", values, 2 + 2 * count)
    if count == 1:
        formats *= number
    return [BYTEA if index < len(formats) and formats[index] else TEXT for index in range(number)]


def undefined(sql: bytes) -> bytes:
    """A statement that raises what PostgreSQL says of a session in which nothing was given yet."""
    text = sql.partition(b"\0")[0].decode("utf-8", "replace")
    asked = _CURRVAL.search(text)
    last = _LASTVAL.search(text)
    if asked is None or (last is not None and last.start() < asked.start()):
        name = "lastval" if last is not None else "currval of this sequence"
        return raising("55000", f"{name} is not yet defined in this session")
    sequence = f"(SELECT relname FROM pg_catalog.pg_class WHERE oid = ({asked[1]})::pg_catalog.regclass)"
    return (f"DO $shardproxy$BEGIN RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = pg_catalog.format("
            f"'currval of sequence \"%s\" is not yet defined in this session', {sequence}); END$shardproxy$").encode()
