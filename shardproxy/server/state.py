"""What the parent knows, in one place: read by the console, the metrics and the status page.

Invariant: only the supervisor changes it (through `Actions`); everyone else reads.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardproxy.config.model import Config
from shardproxy.config.reload import Reload
from shardproxy.server.permits import Permits
from shardproxy.server.recovery import Recovery
from shardproxy.server.sockets import Listener
from shardproxy.server.stats import Stats
from shardproxy.topology.layout import Layout
from shardproxy.topology.view import DatabaseView, ServerView, TopologyView

__all__ = ["Actions", "State", "WorkerPool"]


class WorkerPool(Protocol):
    """The part of ``Workers`` that the console uses."""

    @property
    def processes(self) -> Sequence[tuple[int, int, float, int]]:
        """(index, pid or 0, seconds alive, restarts) of each worker."""

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Call one worker."""

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        """Call all workers."""

    async def show(self, what: str) -> list[tuple[int, dict[str, Any]]]:
        """Figures of all workers, with the index of the worker."""


class Actions(Protocol):
    """What the console can make the parent do."""

    async def reload(self) -> Reload:
        """Read the configuration file again and apply it. ConfigError if it has mistakes."""

    async def apply(self, config: Config) -> Reload:
        """Use another configuration from now on."""

    def shut_down(self, mode: str, grace_s: float | None) -> None:
        """Begin to end; returns at once."""

    async def drain(self, server_id: str, on: bool) -> None:
        """Give a server no new work, and close its connections as they become free; or the opposite."""

    async def ban(self, server_id: str, seconds: float | None) -> None:
        """Give a server no reads, for a time or until ``unban``."""

    async def unban(self, server_id: str) -> None:
        """The opposite of ban."""


@dataclass(slots=True)
class State:
    """Everything that can be looked at."""

    config: Config
    listeners: Sequence[Listener]
    permits: Permits
    stats: Stats
    workers: WorkerPool
    actions: Actions
    view: TopologyView = field(default_factory=lambda: TopologyView(0, {}))
    paused: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    servers_seen: Callable[[], list[dict[str, Any]]] = list
    layouts: Callable[[], Mapping[str, Layout]] = dict
    recovery: Recovery | None = None
    transfers: Callable[[], Awaitable[list[dict[str, Any]]]] | None = None
    paused_all: bool = False
    draining: bool = False
    started: float = field(default_factory=time.time)
    overrides: dict[str, str] = field(default_factory=dict)

    def is_paused(self, database: str) -> bool:
        """Was this database paused, by itself or with all?"""
        return self.paused_all or database in self.paused

    def databases(self) -> list[DatabaseView]:
        """What the monitor sees of each configured database, in the order of the file."""
        return [view for name in self.config.databases if (view := self.view.database(name)) is not None]

    def entries(self) -> list[DatabaseView]:
        """The same, each followed by the entries of its shards."""
        return [entry for database in self.databases() for entry in (database, *self.view.shards_of(database.name))]

    def server(self, server_id: str) -> ServerView | None:
        """A server by its id."""
        database = self.view.database(server_id.partition("/")[0])
        entries = (database, *self.view.shards_of(database.name)) if database is not None else ()
        return next((server for entry in entries if (server := entry.server(server_id)) is not None), None)

    async def totals(self) -> None:
        """Ask all workers for their counters, so that `stats` is current."""
        rows: dict[int, list[dict[str, Any]]] = {}
        for index, row in await self.workers.show("stats"):
            rows.setdefault(index, []).append(row)
        for index, found in rows.items():
            self.stats.record(index, found)
