"""Health, roles and freshness of all servers of all databases; runs in the parent.

    config -> groups (one for each set of servers) -> decisions -> a new TopologyView -> ``on_view``
                 sampler of each group -> the board

Invariant: a view is published only if it differs from the one before, and after everything it rests on is true
(the primary is recorded, freshness of an old timeline is forgotten).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardproxy.config.model import Database
from shardproxy.dialects.replication import Replicates
from shardproxy.log import Log
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import PRIMARY, REPLICA, WILDCARD, DatabaseView, ServerView, TopologyView

from .groups import Group, GroupSettings, Member
from .indexes import Indexes
from .primaries import Primaries
from .watched import Shard, shards_of

__all__ = ["Monitor"]


class Monitor:
    """``databases`` is ``config.databases``; ``dialects`` gives a dialect by name; ``on_view`` gets every view."""

    def __init__(self, databases: Mapping[str, Database], board: Board, dialects: Callable[[str], Replicates],
                 on_view: Callable[[TopologyView], None], log: Log, state_path: Path | None) -> None:
        self.view = TopologyView(0, {})
        self._databases, self._board, self._dialects = databases, board, dialects
        self._on_view, self._log = on_view, log
        self._primaries = Primaries(state_path)
        self._indexes = Indexes(board)
        self._shards: dict[str, Shard] = {}
        self._views: dict[str, str] = {}
        self._groups: dict[str, Group] = {}
        self._draining: set[str] = set()
        self._banned: set[str] = set()
        self._published = asyncio.Event()
        self._running = False

    # -- life

    async def start(self) -> None:
        """Ask every server once, publish the first view, and go on watching."""
        await self.reload(self._databases)

    async def stop(self) -> None:
        """End all tasks and connections."""
        self._running = False
        await asyncio.gather(*(group.stop() for group in set(self._groups.values())))
        self._groups = {}

    async def reload(self, databases: Mapping[str, Database]) -> None:
        """Watch what another configuration says. Groups and servers that stay are not disturbed."""
        shards = shards_of(databases)
        self._views |= {name: shard.view for name, shard in shards.items()}
        wanted = self._assign(shards)
        made = {settings: self._new_group(names, settings) for settings, (names, group) in wanted.items()
                if group is None}
        await asyncio.gather(*(group.first_round() for group in made.values()))
        # No waiting from here to the end of the switch: nobody sees half of it.
        self._running = False
        groups: dict[str, Group] = {}
        ended: list[asyncio.Task[None]] = []
        for settings, (names, group) in wanted.items():
            if group is not None:
                ended += group.update(names, settings)
            groups.update(dict.fromkeys(names, group or made[settings]))
        old = set(self._groups.values()) - set(groups.values())
        self._draining = _followed(self._draining, self._shards, shards)
        self._banned = _followed(self._banned, self._shards, shards)
        self._databases, self._shards, self._groups = databases, shards, groups
        self._running = True
        self._publish()
        await asyncio.gather(*(group.stop() for group in old), *ended, return_exceptions=True)

    def _assign(self, shards: Mapping[str, Shard]) -> dict[GroupSettings, tuple[list[str], Group | None]]:
        """The group for each set of shards: one with the same settings, else one that served them, else a new one."""
        names: dict[GroupSettings, list[str]] = {}
        for name, shard in shards.items():
            names.setdefault(shard.settings, []).append(name)
        free = {group.settings: group for group in self._groups.values()}
        chosen = {settings: free.pop(settings) for settings in names if settings in free}
        for settings, members in names.items():
            for name in members:
                group = self._groups.get(name)
                if settings not in chosen and group is not None and free.get(group.settings) is group:
                    if group.settings.patroni == settings.patroni:
                        chosen[settings] = free.pop(group.settings)
        return {settings: (members, chosen.get(settings)) for settings, members in names.items()}

    def _new_group(self, names: Sequence[str], settings: GroupSettings) -> Group:
        group = Group(names, settings, self._dialects(settings.dialect).replication, self._board, self._primaries,
                      self._log, new_index=self._indexes.new_server, free_index=self._indexes.free_server,
                      databases=lambda: self._indexes.of_databases([self._views[name] for name in group.names]),
                      changed=self._publish)
        group.start()
        return group

    # -- what others tell it

    def suspect(self, database: str, server_id: str, reason: str) -> None:
        """A worker could not connect, or lost a connection: check that server now."""
        found = self._find(server_id)
        if found is not None:
            self._log.debug("server suspected", database=database, server=server_id, reason=reason)
            found[1].probe.suspect()

    def drain(self, server_id: str, on: bool = True) -> None:
        """Give a server no new work, or give it work again. KeyError: no such server."""
        self._set(self._draining, server_id, on)

    def ban(self, server_id: str, on: bool = True) -> None:
        """Give a server no reads until told otherwise. KeyError: no such server."""
        self._set(self._banned, server_id, on)

    def _set(self, flags: set[str], server_id: str, on: bool) -> None:
        own = self._configured(server_id)
        if all(server.id != own for shard in self._shards.values() for server in shard.servers):
            raise KeyError(server_id)
        (flags.add if on else flags.discard)(own)
        self._publish()

    def _configured(self, server_id: str) -> str:
        """The id by which the configuration knows a server; it differs for databases of the wildcard."""
        database, slash, rest = server_id.partition("/")
        return server_id if database in self._databases else WILDCARD + slash + rest

    def _find(self, server_id: str) -> tuple[Group, Member] | None:
        own = self._configured(server_id)
        for name, shard in self._shards.items():
            for server in shard.servers:
                if server.id == own and name in self._groups:
                    group = self._groups[name]
                    member = group.member(server.host, server.port, server.unix)
                    return None if member is None else (group, member)
        return None

    # -- what others ask it

    async def wait_primary(self, database: str, timeout: float) -> ServerView | None:
        """The primary of a database, as soon as there is one; None if there is none in time."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    view = self.view.database(database)
                    if view is not None and view.primary_server is not None:
                        return view.primary_server
                    published = self._published
                    await published.wait()
        except TimeoutError:
            return None

    def snapshot(self) -> list[dict[str, Any]]:
        """A row for each server of each database, with all that is known about it."""
        return [self._row(server) for database in self.view.databases.values() for server in database.servers]

    def _row(self, server: ServerView) -> dict[str, Any]:
        found = self._find(server.id)
        figures = self._board.figures(server.index)
        fresh = self._board.fresh_as_of(server.index)
        now = time.monotonic_ns()
        row: dict[str, Any] = {
            "database": server.id.partition("/")[0], "server_id": server.id, "host": server.unix or server.host,
            "port": server.port, "role": server.role, "healthy": server.healthy, "draining": server.draining,
            "banned": server.banned, "weight": server.weight, "zone": server.zone, "sync": server.sync,
            "timeline": server.timeline, "lag_bytes": figures["lag_bytes"], "lag_ms": figures["lag_ms"],
            "latency_us": figures["latency_us"], "fresh_ms": (now - fresh) // 1_000_000 if fresh else -1,
            "position": "", "system": "", "error": "", "checked_ms": -1}
        if found is not None:
            group, member = found
            text = self._dialects(group.settings.dialect).replication.position_text
            probe = member.probe
            row |= {"position": text(figures["position"]), "system": probe.last.system if probe.last else "",
                    "error": probe.error, "checked_ms": (now - probe.checked_ns) // 1_000_000}
        return row

    # -- views

    def _publish(self) -> None:
        if not self._running:
            return
        databases = {name: self._database(name) for name in self._databases}
        for name, shard in self._shards.items():
            if shard.view == name:
                databases[name] = self._database(name, shard.database)
        if databases == self.view.databases:
            return
        self.view = TopologyView(self.view.epoch + 1, databases)
        published, self._published = self._published, asyncio.Event()
        published.set()
        self._on_view(self.view)

    def _database(self, name: str, owner: str = "") -> DatabaseView:
        """The servers of one entry: those of the only shard of the main keyspace, or of another shard."""
        servers: list[ServerView] = []
        primary, why, hold = None, "", True
        for shard_name, shard in self._shards.items():
            if shard.view != name:
                continue
            group = self._groups[shard_name]
            made = [self._server(group, shard, number) for number in range(len(shard.servers))]
            servers += made
            primary = next((server.id for server in made if server.role == PRIMARY), None)
            hold, why = primary is None, group.decision.why if group.decision.conflict else ""
        return DatabaseView(name, self._indexes.database(name), hold, primary, tuple(servers), why, owner)

    def _server(self, group: Group, shard: Shard, number: int) -> ServerView:
        server = shard.servers[number]
        member = group.member(server.host, server.port, server.unix)
        assert member is not None  # the group was made of these servers
        role, last = group.role(member), member.probe.observation
        return ServerView(
            id=server.id, index=member.index, host=server.host, port=server.port, dbname=server.dbname,
            unix=server.unix, role=role, healthy=role in (PRIMARY, REPLICA), draining=server.id in self._draining,
            banned=server.id in self._banned, weight=server.weight, zone=server.zone, sync=group.sync(member),
            timeline=last.position.timeline if last is not None else 0)


def _followed(ids: set[str], old: Mapping[str, Shard], new: Mapping[str, Shard]) -> set[str]:
    """The ids that these servers have now. An id is a place in the list, and a server may have got another."""
    def places(shards: Mapping[str, Shard]) -> dict[tuple[object, ...], str]:
        return {(name, server.host, server.port, server.unix): server.id
                for name, shard in shards.items() for server in shard.servers}

    now = places(new)
    return {now[place] for place, known in places(old).items() if known in ids and place in now}
