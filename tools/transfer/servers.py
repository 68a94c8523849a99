"""Connections to the places of a transfer, always to the server that is the primary at the moment.

Invariant: a place's servers are those of the configuration; of them the writable one with the highest timeline is
taken, so a source that failed over in the middle is followed, and a fenced old primary is not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from shardproxy.config.model import Database, ServerRef
from shardproxy.dialects.replication import LinkError, Target
from shardproxy.server.watched import target_at

from .move import COORDINATOR, Place

__all__ = ["FAILURES", "Primary", "Servers"]

CONNECT_S = 5.0
DEAD_S = 30
FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Whatever asyncpg raises when a connection or a statement fails."""

_ROLE = """
select pg_is_in_recovery() as recovery, case when pg_is_in_recovery() then '' else
       pg_walfile_name(pg_current_wal_insert_lsn()) end as file,
       (select system_identifier::text from pg_control_system()) as system
"""


class Primary:
    """A server that was found to be the primary of a place. ``history``: its system identifier and timeline."""

    def __init__(self, target: Target, system: str, timeline: int) -> None:
        self.target, self.system, self.timeline = target, system, timeline

    @property
    def history(self) -> str:
        """Positions of one history compare; those of two do not."""
        return f"{self.system}/{self.timeline}"


class Servers:
    """The places of one database."""

    def __init__(self, entry: Database) -> None:
        self.entry = entry

    def place(self, name: str) -> Place:
        """A place of the configuration. KeyError: there is none."""
        server = self._servers(name)[0]
        return Place(name, server.host, server.port, server.unix, server.dbname)

    def places(self) -> list[str]:
        """The coordinator, and all shards of the other keyspaces."""
        entry = self.entry
        return [COORDINATOR, *(f"{keyspace}/{shard}" for keyspace in entry.sharded
                               for shard in entry.keyspace_map[keyspace].shards)]

    async def primary(self, place: str) -> Primary:
        """The server that is the primary of a place now. LinkError."""
        connection, found = await self._find(place, "shardproxy transfer")
        connection.terminate()
        return found

    async def open(self, place: str, *, name: str = "shardproxy transfer") -> Any:
        """An asyncpg connection to the primary of a place, as ``server_user``. LinkError."""
        return (await self._find(place, name))[0]

    @asynccontextmanager
    async def connected(self, place: str, *, name: str = "shardproxy transfer") -> AsyncIterator[Any]:
        """``open``, and closed at the end."""
        connection = await self.open(place, name=name)
        try:
            yield connection
        finally:
            connection.terminate()

    async def _find(self, place: str, name: str) -> tuple[Any, Primary]:
        """All servers of a place are asked at once."""
        asked = await asyncio.gather(*(self._ask(server, name) for server in self._servers(place)),
                                     return_exceptions=True)
        found: list[tuple[Any, Primary]] = []
        failures: list[str] = []
        for answer in asked:
            if isinstance(answer, BaseException):
                failures.append(f"{answer}" or type(answer).__name__)
            elif answer is not None:
                found.append(answer)
        if not found:
            raise LinkError(f"{place or 'the coordinator'} has no primary: {'; '.join(failures) or 'only replicas'}")
        found.sort(key=lambda entry: entry[1].timeline)
        for connection, _ in found[:-1]:
            connection.terminate()
        return found[-1]

    async def _ask(self, server: ServerRef, name: str) -> tuple[Any, Primary] | None:
        """None: a replica."""
        target = target_at(self.entry, server.host, server.port, server.unix, server.dbname)
        connection = await connect(target, name)
        try:
            row = await connection.fetchrow(_ROLE)
        except BaseException:
            connection.terminate()
            raise
        if row["recovery"]:
            connection.terminate()
            return None
        return connection, Primary(target, row["system"], int(row["file"][:8], 16))

    def _servers(self, place: str) -> list[ServerRef]:
        keyspace, _, shard = place.partition("/")
        if place == COORDINATOR:
            keyspace = self.entry.main_keyspace
            shard = next(iter(self.entry.keyspace_map[keyspace].shards))
        found = [server for server in self.entry.servers if (server.keyspace, server.shard) == (keyspace, shard)]
        if not found:
            raise KeyError(place)
        return found


async def connect(target: Target, name: str) -> Any:
    """An asyncpg connection. Raises one of ``FAILURES``, also later, when its peer has not answered for ``DEAD_S``."""
    connection = await asyncpg.connect(
        host=target.unix or target.host, port=target.port, user=target.user, database=target.dbnames[0],
        password=target.password or "", ssl=target.ssl if target.unix is None else False, timeout=CONNECT_S,
        statement_cache_size=0, server_settings={"application_name": name})
    watch(connection._transport.get_extra_info("socket"))
    return connection


def watch(sock: socket.socket) -> None:
    """A network that is cut is no reason to wait for ever: statements of a transfer have no time limit."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4),
                        ("TCP_USER_TIMEOUT", DEAD_S * 1000)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
