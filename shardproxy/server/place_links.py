"""Connections of the parent to the primaries of all places of sharded databases, as server_user.

Invariant: a connection is used by one at a time and leads to the server that is the primary now; after a failure, or
when another server has become the primary, it is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from shardproxy.config.model import Database
from shardproxy.dialects.base import Dialect
from shardproxy.dialects.distributed import Distributes, PlaceLink
from shardproxy.dialects.replication import LinkError
from shardproxy.topology.view import ServerView, TopologyView

from .watched import target_at

__all__ = ["PlaceLinks"]

COORDINATOR = ""


@dataclass(slots=True)
class _Slot:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    link: PlaceLink | None = None
    server: object = None


class PlaceLinks:
    """``databases`` and ``view`` are asked each time: both change while the proxy runs."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]], view: Callable[[], TopologyView],
                 dialects: Callable[[str], Dialect]) -> None:
        self._databases, self._view, self._dialects = databases, view, dialects
        self._slots: dict[tuple[str, str], _Slot] = {}

    def sharded(self) -> list[str]:
        """Databases that have more places than their coordinator."""
        owners = (entry.owner for entry in self._view().databases.values() if entry.owner)
        return list(dict.fromkeys(name for name in owners if name in self._databases()))

    def places(self, database: str) -> list[str]:
        """The coordinator and all shards of a database."""
        return [COORDINATOR, *(entry.place for entry in self._view().shards_of(database))]

    @asynccontextmanager
    async def use(self, database: str, place: str) -> AsyncIterator[PlaceLink]:
        """A connection to the primary of a place. LinkError."""
        slot = self._slots.setdefault((database, place), _Slot())
        async with slot.lock:
            yield await self._connected(slot, database, place)

    async def _connected(self, slot: _Slot, database: str, place: str) -> PlaceLink:
        entry = self._databases().get(database)
        view = self._view().database(f"{database}/{place}" if place else database)
        primary = view.primary_server if view is not None else None
        if entry is None or primary is None:
            raise LinkError(f"{place or 'the coordinator'} of {database} has no primary at the moment")
        server = _identity(primary)
        if slot.link is not None and (slot.link.lost or slot.server != server):
            slot.link.abort()
            slot.link = None
        if slot.link is None:
            dialect = cast(Distributes, self._dialects(entry.dialect))
            target = target_at(entry, primary.host, primary.port, primary.unix, primary.dbname)
            slot.link, slot.server = await dialect.distributed.connect(target, entry.health_timeout), server
        return slot.link

    def close(self) -> None:
        """Drop all connections."""
        for slot in self._slots.values():
            if slot.link is not None:
                slot.link.abort()
        self._slots.clear()


def _identity(server: ServerView) -> tuple[object, ...]:
    return (server.id, server.host, server.port, server.unix, server.dbname, server.timeline)
