"""Makes every server of a sharded database ready, and finds out which tables are not as the layout has them.

Invariants:
* A database's layout is given to workers only after its coordinator was prepared and its tables were looked at; tables
  that still have their rows on the coordinator are left out of it (``visible``).
* A shard that owns no slots need not have the tables.
* A place that was not there is prepared as soon as it has a primary; one that has another primary is looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from shardproxy.config.model import Database
from shardproxy.dialects.base import Adopted, Dialect, PlaceError
from shardproxy.dialects.replication import LinkError
from shardproxy.log import Log
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import ServerView, TopologyView

from .watched import target_at

__all__ = ["Sharding"]

FIRST_S = 10.0
"""How long the start waits for servers that do not answer."""
EVERY_S, SETTLE_S = 1.0, 1.0
AGAIN_S = 10.0
COORDINATOR = ""


class Monitoring(Protocol):
    """The part of the monitor that is needed here."""

    view: TopologyView


@dataclass
class _Known:
    """``seen``: primaries and tables that were looked at; ``prepared``: primary of each place that is; ``moved``:
    tables that a transfer has put where the layout says."""

    adopted: Adopted | None = None
    seen: tuple[object, ...] = ()
    prepared: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    looked: float = 0.0
    moved: set[tuple[str, str]] = field(default_factory=set)


class Sharding:
    """See the module. ``on_ready`` gets the name of a database about which something new is known."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]], dialects: Callable[[str], Dialect],
                 monitor: Monitoring, layouts: Callable[[], Mapping[str, Layout]], on_ready: Callable[[str], None],
                 log: Log, moving: Callable[[str], Collection[tuple[str, str]]] = lambda database: ()) -> None:
        self._databases, self._dialects, self._monitor = databases, dialects, monitor
        self._layouts, self._on_ready, self._log, self._moving = layouts, on_ready, log, moving
        self._known: dict[str, _Known] = {}

    async def start(self) -> None:
        """Look at all databases; what takes too long comes later (``run``)."""
        try:
            async with asyncio.timeout(FIRST_S):
                while not await self.refresh():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self._log.error("servers of sharded databases are missing", databases=", ".join(self._incomplete()))

    async def run(self) -> None:
        """Look at what changed, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if not await self.refresh():
                await asyncio.sleep(AGAIN_S - EVERY_S)

    async def refresh(self) -> bool:
        """Look at everything that is new. True: all is known."""
        await asyncio.gather(*(self._look(name, layout) for name, layout in self._layouts().items()
                               if name in self._databases()))
        return not self._incomplete()

    # -- what is known

    def ready(self, database: str) -> bool:
        """Whether the layout may be given to workers."""
        known = self._known.get(database)
        return known is not None and known.adopted is not None

    def visible(self, database: str, layout: Layout) -> Layout:
        """The layout without tables that are not yet where it says."""
        pending = self.pending(database)
        if not pending:
            return layout
        return replace(layout, keyspaces={
            name: replace(space, tables=tuple(table for table in space.tables
                                              if (table.schema, table.name) not in pending))
            for name, space in layout.keyspaces.items()})

    def pending(self, database: str) -> Mapping[tuple[str, str], str]:
        """Tables that are not yet where the layout says, and why."""
        known = self._known.get(database)
        if known is None or known.adopted is None:
            return {}
        return {table: why for table, why in known.adopted.pending.items() if table not in known.moved}

    def settle(self, database: str, moved: Mapping[tuple[str, str], bool]) -> None:
        """A transfer has moved these tables to where the layout says (True), or away: whatever was seen before."""
        known = self._known.get(database)
        if known is None:
            return
        before = set(known.moved)
        known.moved = {table for table in {*before, *moved} if moved.get(table, table in before)}
        if known.moved != before:
            known.seen = ()

    def with_refused(self, database: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Facts, with the tables on which statements are refused."""
        known = self._known.get(database)
        if known is None or known.adopted is None or not known.adopted.refused or "tables" not in facts:
            return facts
        refused = [[*name, why] for name, why in sorted(known.adopted.refused.items())]
        return {**facts, "tables": {**facts["tables"], "refused": refused}}

    # -- looking

    def _incomplete(self) -> list[str]:
        return [name for name, layout in self._layouts().items() if name in self._databases()
                and set(self._known.get(name, _Known()).prepared) != {COORDINATOR, *layout.places()}]

    def _primaries(self, name: str, layout: Layout) -> dict[str, ServerView]:
        view = self._monitor.view
        entries = {COORDINATOR: view.database(name), **{entry.place: entry for entry in view.shards_of(name)}}
        return {place: entry.primary_server for place in (COORDINATOR, *layout.places())
                if (entry := entries.get(place)) is not None and entry.primary_server is not None}

    async def _look(self, name: str, layout: Layout) -> None:
        known = self._known.setdefault(name, _Known())
        primaries = self._primaries(name, layout)
        seen = (tuple((place, server.id) for place, server in primaries.items()), layout.tables())
        wrong = known.adopted is not None and (known.adopted.pending or known.adopted.refused)
        if seen == known.seen and set(known.prepared) == set(primaries) and not (
                wrong and time.monotonic() - known.looked > AGAIN_S):
            return
        entry = self._databases()[name]
        connections: dict[str, Any] = {}
        try:
            for place, server in primaries.items():
                connection = await self._prepared(name, entry, place, server, known)
                if connection is not None:
                    connections[place] = connection
            if COORDINATOR in connections:
                used = {space.places()[index] for space in layout.keyspaces.values() for index in space.used()}
                shards = {place: connection for place, connection in connections.items() if place in used}
                dialect = self._dialects(entry.dialect)
                adopted = await self._adopt(dialect, name, connections[COORDINATOR], shards, layout, known)
                if adopted != Adopted() and known.adopted is not None:
                    # a statement may be committing, at one place before the other
                    await asyncio.sleep(SETTLE_S)
                    adopted = await self._adopt(dialect, name, connections[COORDINATOR], shards, layout, known)
                known.looked = time.monotonic()
                known.seen = seen
                self._learn(name, known, adopted)
        except Exception as error:  # whatever a driver raises: it is tried again
            self._tell(known, name, f"tables could not be looked at: {error or type(error).__name__}")
        finally:
            for connection in connections.values():
                with contextlib.suppress(OSError, TimeoutError):
                    await connection.close(timeout=entry.health_timeout)

    async def _adopt(self, dialect: Dialect, name: str, coordinator: Any, shards: Mapping[str, Any], layout: Layout,
                     known: _Known) -> Adopted:
        """What is in transfer is left as it is known: its tables are at two places for a while."""
        moving = set(self._moving(name))
        unplaced = await dialect.fill_lookup(coordinator, shards, layout)       # before a client sees a shell
        adopted = await dialect.adopt(coordinator, shards, [table for table in layout.tables()
                                                            if (table.schema, table.name) not in moving])
        adopted.refused.update(unplaced)
        before = known.adopted.pending if known.adopted is not None else {}
        adopted.pending.update({table: why for table, why in before.items() if table in moving})
        return adopted

    async def _prepared(self, name: str, entry: Database, place: str, server: ServerView, known: _Known) -> Any:
        """A connection to a place that has what it needs; None if it cannot be had."""
        dialect = self._dialects(entry.dialect)
        where = place or "the coordinator"
        try:
            target = target_at(entry, server.host, server.port, server.unix, server.dbname)
            connection = await dialect.replication.open(target, entry.health_timeout)
        except LinkError as error:
            self._tell(known, name, f"{where} cannot be prepared: {error}")
            return None
        try:
            if known.prepared.get(place) != server.id:
                await dialect.prepare_place(connection, place == COORDINATOR)
                known.prepared[place] = server.id
        except PlaceError as error:
            self._tell(known, name, f"{where} cannot be prepared: {error}", error.remedy)
            with contextlib.suppress(OSError, TimeoutError):
                await connection.close(timeout=entry.health_timeout)
            return None
        return connection

    def _learn(self, name: str, known: _Known, adopted: Adopted) -> None:
        before, known.adopted = known.adopted, adopted
        if before is not None and before == adopted:
            return
        for schema, table in adopted.made:
            self._log.info("shell made", database=name, table=f"{schema}.{table}")
        for (schema, table), why in adopted.pending.items():
            self._log.warning("table is not sharded yet: move it with reshard", database=name,
                              table=f"{schema}.{table}", reason=why)
        for (schema, table), why in adopted.refused.items():
            self._log.error("statements on table are refused", database=name, table=f"{schema}.{table}", reason=why)
        for warning in adopted.warnings:
            self._log.warning("shell", database=name, warning=warning)
        self._on_ready(name)

    def _tell(self, known: _Known, name: str, problem: str, remedy: str = "") -> None:
        """Once for each problem."""
        if problem not in known.told:
            known.told.add(problem)
            self._log.error("sharding", database=name, problem=problem, remedy=remedy or "none known")
