"""Stores what DDL has changed in layouts: rows that committed transactions leave on the coordinators.

Invariant: a change is forgotten on the coordinator only after the store has it; a failure leaves it for the next look.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from shardproxy.config.model import Database
from shardproxy.dialects.base import Dialect
from shardproxy.dialects.replication import LinkError
from shardproxy.log import Log
from shardproxy.topology.changes import LayoutChange, changed, configured
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import TopologyView

from .watched import target_at

__all__ = ["LayoutChanges"]

EVERY_S, CALL_S = 5.0, 20.0

Change = Callable[[str, Callable[[Layout], Layout]], Awaitable[Any]]


class Monitoring(Protocol):
    """The part of the monitor that is needed here."""

    view: TopologyView


class LayoutChanges:
    """See the module. ``change`` edits a stored layout; ``ready``: databases whose coordinators are prepared."""

    def __init__(self, databases: Callable[[], Mapping[str, Database]], dialects: Callable[[str], Dialect],
                 monitor: Monitoring, change: Change, ready: Callable[[], Sequence[str]], log: Log) -> None:
        self._databases, self._dialects, self._monitor = databases, dialects, monitor
        self._change, self._ready, self._log = change, ready, log
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._links: dict[str, tuple[object, Any]] = {}
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Look for what was left, until cancelled."""
        while True:
            for name in self._ready():
                try:
                    await self.settle(name)
                    self._told.pop(name, None)
                except Exception as error:  # whatever a driver or a store raises: it is tried again
                    self._tell(name, str(error) or type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def settle(self, name: str) -> None:
        """Store what has been committed until now. Raises whatever stands against it."""
        entry = self._databases()[name]
        dialect = self._dialects(entry.dialect)

        async def store(changes: Sequence[LayoutChange]) -> None:
            await self._change(name, lambda layout: changed(layout, changes, configured(entry)))

        async with self._locks[name]:
            try:
                async with asyncio.timeout(CALL_S):
                    await dialect.settle_layout(await self._link(name, entry, dialect), store)
            except BaseException:
                self._drop(name)
                raise

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._links):
            self._drop(name)

    async def _link(self, name: str, entry: Database, dialect: Dialect) -> Any:
        """A connection to the coordinator's primary, kept."""
        view = self._monitor.view.database(name)
        server = view.primary_server if view is not None else None
        if server is None:
            raise LinkError("no primary at the moment")
        target = target_at(entry, server.host, server.port, server.unix, server.dbname)
        if name in self._links and (self._links[name][0] != target or self._links[name][1].is_closed()):
            self._drop(name)
        if name not in self._links:
            self._links[name] = (target, await dialect.replication.open(target, entry.health_timeout))
        return self._links[name][1]

    def _drop(self, name: str) -> None:
        _, connection = self._links.pop(name, (None, None))
        if connection is not None:
            connection.terminate()

    def _tell(self, name: str, problem: str) -> None:
        """Once for each problem."""
        if self._told.get(name) != problem:
            self._told[name] = problem
            self._log.warning("what DDL has changed in the layout is not stored yet", database=name, error=problem)
