"""Replication connections: a client and a server connection of its own, joined from login to end.

    client ── ClientLink, always ``busy`` ── ``taker`` ──► Joined ──► ServerLink, INTERNAL ──► walsender
    client ◄── ClientLink ◄── Joined ◄── ``events.collect`` ── ServerLink ◄── walsender

Invariants:
* After the login every byte passes as it came, in both directions; neither side is read faster than the other takes.
* The server connection has a permit of its pool and is shown in it, but serves nobody else: it ends with its client.
* What SQL on a logical connection may write is marked on the consistency board before it is sent, as anywhere.
"""

from __future__ import annotations

import re
import time
from typing import Any

from shardproxy import limits
from shardproxy.errors import ClientError, ServerError
from shardproxy.router import flags as f
from shardproxy.session.settings import intern_settings

from . import wire
from .framing import Framing
from .server_link_cy import INTERNAL
from .session import PgSession

__all__ = ["BY_NAME", "LOGICAL", "PHYSICAL", "Joined", "ReplicationSession", "database_of", "kind_of"]

PHYSICAL, LOGICAL = "physical", "logical"
BY_NAME = "replication"
"""What tools that need no database call it, and what host rules call physical connections (as pg_hba.conf does)."""

PIN = "replication"
FLUSH_S = 10.0
"""How long the server may take to accept what its client has sent last."""

OUTSIDE, PARAMETER_STATUS = 0x49, 0x53
COMMAND = re.compile(
    rb"\s*(?:IDENTIFY_SYSTEM|BASE_BACKUP|UPLOAD_MANIFEST|TIMELINE_HISTORY|START_REPLICATION|SHOW|"
    rb"(?:CREATE|ALTER|DROP|READ)_REPLICATION_SLOT)\b",
    re.IGNORECASE,
)


def kind_of(value: str) -> str:
    """What the startup parameter ``replication`` asks for; empty: an ordinary connection. Raises ClientError."""
    word = value.lower()
    if value == "database":
        return LOGICAL
    if word and any(full.startswith(word) for full in ("true", "yes", "1")) or word == "on":
        return PHYSICAL
    if not word or any(full.startswith(word) for full in ("false", "no", "0")) or word in ("of", "off"):
        return ""
    raise ClientError("22023", f'invalid value for parameter "replication": "{value}"',
                      hint='Valid values are: "false", 0, "true", 1, "database".')  # fmt: skip


def database_of(worker: Any, name: str) -> str:
    """Whose servers a physical connection means, which needs no database: ``name``'s, or those of all databases."""
    if name in worker.config.databases or (name != BY_NAME and worker.config.database_for(name) is not None):
        return name
    if worker.config.database_for(name) is not None:
        return "postgres"  # of the wildcard; it exists nearly everywhere, and is not even opened
    found = {}
    for known in worker.config.databases:
        view = worker.view.database(known)
        server = view.primary_server if view is not None else None
        found[(server.host, server.port, server.unix) if server is not None else known] = known
    if len(found) == 1:
        return str(next(iter(found.values())))
    raise ClientError("3D000", f'database "{name}" does not exist',
                      hint="There are several servers: an entry of that name says which one is meant.")  # fmt: skip


class ReplicationSession(PgSession):
    """The slow path of such a client: there is hardly anything to do."""

    joined: Joined | None

    @classmethod
    async def join(cls, session: Any, startup: Any) -> ReplicationSession:
        """Give a session that was just opened a server connection of its own. ClientError, ServerError."""
        database = session.database
        if not database.entry.replication:
            raise ClientError("42501", f'replication connections to database "{database.name}" are not allowed',
                              hint="See replication in its entry of shardproxy's configuration.")  # fmt: skip
        if database.entry.sharded:
            raise ClientError("0A000", f'database "{database.name}" is sharded: it cannot be replicated as one',
                              hint="Connect to each of its servers itself.")  # fmt: skip
        session.__class__ = cls
        session.replication, session.joined = startup.replication, None
        session.link.busy = True
        wanted = {**startup.settings, "replication": "database" if startup.replication == LOGICAL else "true"}
        try:
            server = await database.dedicated(session, wanted)
        except (OSError, TimeoutError) as error:
            raise ServerError("08006", f"the primary is not reachable: {error or 'timed out'}") from None
        session.joined = Joined(session, server, startup.settings)
        if session.link.leaving:  # an operator has closed it meanwhile
            database.dedicated_to.discard(session)
            session.joined.part()
            raise ClientError("57P01", "terminating connection due to administrator command")
        made: ReplicationSession = session
        return made

    def cancel_running(self) -> bool:
        if self.joined is not None:
            self.database.cancel(self.joined.server)
        return True

    def fatal(self, sqlstate: str, text: str, *, hint: str = "", quiet: bool = False) -> None:
        link, joined = self.link, self.joined
        if link.closed:
            return
        self.database.refused(link, sqlstate, text)
        if joined is None or joined.from_server.between:
            link.write(wire.error(sqlstate, text, severity="FATAL", hint=hint))
        self.leave()
        link.close(True)

    def leave(self) -> None:
        link = self.link
        if link.leaving:
            return
        link.leaving = True
        link.server = None
        self.database.left(self)
        if self.joined is not None:
            self.joined.part()


class Joined:
    """The two ends. For the server connection it is its ``events``."""

    def __init__(self, session: ReplicationSession, server: Any, wanted: dict[str, str]) -> None:
        self.session, self.link, self.server = session, session.link, server
        self.database = session.database
        self.logical = session.replication == LOGICAL
        self.from_client, self.from_server = Framing(), Framing()
        server.events, server.mode = self, INTERNAL
        server.client = server.owner = self.link
        server.pins = [PIN]
        server.settings = intern_settings(wanted)
        server.linked_ns = time.monotonic_ns()
        self.link.server = server
        self.link.taker = self.taken

    # -- bytes

    def taken(self) -> None:
        """Bytes of the client are in its inbox."""
        link, server = self.link, self.server
        data = bytes(link.inbox)
        link.inbox.clear()
        if server.closed or link.leaving:
            return
        if self.logical:
            try:
                data = self.from_client.whole(data, b"Q", self._runs)
            except ValueError:
                self.session.violation(0, 0)
                return
        server.write(data)
        if len(server.out) > limits.OUT_HIGH and not server.high:
            server.high = True
            link.pause_reading()

    def collect(self, server: Any, data: bytes) -> None:
        """Bytes of the server."""
        link = self.link
        try:
            self.from_server.whole(data, b"ZS", self._told)
        except ValueError as error:
            server.abort(error)
            return
        link.write(data)
        if len(link.out) > limits.OUT_HIGH and not link.high:
            link.high = True
            server.pause_reading()

    # -- what is written

    def _runs(self, kind: int, payload: bytes | None) -> None:
        """A Query is about to be sent; None: one that is too long to be looked at."""
        if payload is not None and COMMAND.match(payload):
            return
        server = self.server
        route = self.database.router.route(payload[:-1]) if payload is not None and not self.link.opaque else None
        flags, slots = (route.flags, route.write_slots) if route is not None else (f.DDL, (0,))
        server.flags |= flags
        if not flags & f.READ and slots and slots not in server.write_slots:
            server.wrote = True
            self.session.begin_write(server, slots)

    def _told(self, kind: int, payload: bytes | None) -> None:
        """ReadyForQuery or ParameterStatus is about to be passed on."""
        if kind == PARAMETER_STATUS:
            self.session.parameter(self.server, *wire.parse_parameter_status(payload or b"?\0\0"))
            return
        self.server.status = payload[0] if payload else OUTSIDE
        if self.server.status == OUTSIDE:
            self._publish()

    def _publish(self) -> None:
        """What was written is committed, or may be: mark it before the client hears of it."""
        server = self.server
        ddl = bool(server.flags & f.DDL)
        if server.write_slots:
            self.database.publish(server.write_slots, time.monotonic_ns(), ddl)
            server.write_slots.clear()
        if ddl:
            self.database.ddl()
        server.flags = 0

    # -- the end

    def lost(self, server: Any, reason: object) -> None:
        """The server has closed the connection, or it broke: what it sent is passed on, and so is the end."""
        self.database.log_server(server, "lost", str(reason) if reason else "the end of a replication connection")
        if reason is not None:
            self.database.suspect(server, str(reason))
        self._publish()
        server.pool.forget(server)
        self.session.leave()
        self.link.close(True)

    def part(self) -> None:
        """The client is gone: the server gets what it had sent, and the end of the connection."""
        server = self.server
        if server.closed or server not in server.pool.links:
            return
        self._publish()
        server.client = server.owner = None
        server.close(True)
        server.pool.forget(server)
        self.database.worker.loop.call_later(FLUSH_S, server.close)
