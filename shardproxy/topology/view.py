"""Who serves what, as the monitor sees it: an immutable snapshot that the parent sends to every worker.

Invariant: within one life of the parent, ``epoch`` rises with every view; a database and a server keep their
index on the board for as long as they exist; several databases on one server share the server's index.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

__all__ = ["DOWN", "FENCED", "PRIMARY", "REPLICA", "WILDCARD", "WILDCARD_INDEX", "DatabaseView", "ServerView",
           "TopologyView", "wildcard_index"]

PRIMARY, REPLICA, DOWN, FENCED = "primary", "replica", "down", "fenced"

WILDCARD = "*"
WILDCARD_INDEX = 48
"""Databases of the wildcard share the board's indexes from here on, by name: so all processes agree.

Two names that share an index only hold each other's reads on the primary a little longer, never the opposite.
"""
_WILDCARD_INDEXES = 16


def wildcard_index(name: str) -> int:
    """Index on the board of a database that the wildcard serves."""
    return WILDCARD_INDEX + zlib.crc32(name.encode()) % _WILDCARD_INDEXES


@dataclass(frozen=True)
class ServerView:
    """One server in one database. ``role`` is what was seen, never what was configured."""

    id: str
    index: int
    host: str
    port: int
    dbname: str
    unix: str | None = None
    role: str = DOWN
    healthy: bool = False
    draining: bool = False
    banned: bool = False
    weight: float = 1.0
    zone: str = ""
    sync: str = ""
    timeline: int = 0

    @property
    def usable(self) -> bool:
        """Whether new work may be given to it."""
        return self.healthy and not self.draining and not self.banned


@dataclass(frozen=True)
class DatabaseView:
    """One database. ``hold``: no primary that may be written to; statements for it wait or are refused.

    A shard of a sharded keyspace has an entry of its own, ``database/keyspace/shard``, that no client can ask for;
    ``owner`` is then the database that it is part of.
    """

    name: str
    index: int
    hold: bool
    primary: str | None
    servers: tuple[ServerView, ...]
    conflict: str = ""
    """Why writes must be refused at once (57P03) instead of held: two servers claim to be the primary."""
    owner: str = ""

    @property
    def place(self) -> str:
        """``keyspace/shard`` of a shard's entry."""
        return self.name.removeprefix(self.owner + "/") if self.owner else ""

    def server(self, server_id: str) -> ServerView | None:
        """The server with this id."""
        return self._by_id.get(server_id)

    @cached_property
    def primary_server(self) -> ServerView | None:
        """The server that takes writes."""
        return None if self.primary is None else self._by_id.get(self.primary)

    @cached_property
    def replicas(self) -> tuple[ServerView, ...]:
        """Replicas that new reads may be given to, as far as a view can tell."""
        return tuple(server for server in self.servers if server.role == REPLICA and server.usable)

    @cached_property
    def _by_id(self) -> dict[str, ServerView]:
        return {server.id: server for server in self.servers}

    def named(self, name: str) -> DatabaseView:
        """This wildcard entry, made out for one database name."""
        def own(server_id: str) -> str:
            return name + server_id.removeprefix(self.name)

        servers = tuple(replace(server, id=own(server.id), dbname=name) for server in self.servers)
        primary = None if self.primary is None else own(self.primary)
        return DatabaseView(name, wildcard_index(name), self.hold, primary, servers, self.conflict)


@dataclass(frozen=True)
class TopologyView:
    """All databases at one moment."""

    epoch: int
    databases: Mapping[str, DatabaseView]
    _made: dict[str, DatabaseView] = field(default_factory=dict, compare=False, repr=False)

    def database(self, name: str) -> DatabaseView | None:
        """The entry of a database; made on demand if only the wildcard serves it. None: unknown database."""
        found = self.databases.get(name) or self._made.get(name)
        if found is None and WILDCARD in self.databases:
            if len(self._made) >= 1024:  # names come from clients
                self._made.clear()
            found = self._made[name] = self.databases[WILDCARD].named(name)
        return found

    def shards_of(self, name: str) -> list[DatabaseView]:
        """The entries of the shards of a database."""
        return [entry for entry in self.databases.values() if entry.owner == name and name]

    def to_json(self) -> dict[str, Any]:
        """Plain values for the control channel."""
        return {"epoch": self.epoch, "databases": {name: _database_json(entry) for name, entry in
                                                   self.databases.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TopologyView:
        """The view that ``to_json`` described."""
        return cls(data["epoch"], {name: _database(name, entry) for name, entry in data["databases"].items()})


def _database_json(entry: DatabaseView) -> dict[str, Any]:
    return {"index": entry.index, "hold": entry.hold, "primary": entry.primary, "conflict": entry.conflict,
            "owner": entry.owner, "servers": [asdict(server) for server in entry.servers]}


def _database(name: str, data: Mapping[str, Any]) -> DatabaseView:
    servers = tuple(ServerView(**server) for server in data["servers"])
    return DatabaseView(name, data["index"], data["hold"], data["primary"], servers, data.get("conflict", ""),
                        data.get("owner", ""))
