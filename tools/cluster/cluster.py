"""A primary with streaming replicas; all that a failover by hand needs.

Nodes are called ``node0``, ``node1``, ... for life, whatever their role. ``failover`` and ``rejoin`` do what an
operator or Patroni would do; the proxy never promotes anything itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ..postgres_binaries import Binaries, find_binaries
from .certificates import write_certificates
from .node import Node, NodeError
from .place import Place
from .settings import Settings

__all__ = ["Cluster"]


class Cluster:
    """Use as ``async with Cluster(replicas=2) as cluster``; or ``start`` and ``close``."""

    def __init__(self, replicas: int = 0, settings: Settings | None = None, *, binaries: Binaries | None = None,
                 parent: Path | None = None, **options: Any) -> None:
        """``options`` are fields of Settings. ``parent`` is where the temporary folder is made."""
        self.binaries = binaries or find_binaries()
        self.settings = replace(settings or Settings(), **options)
        if self.settings.tls and not self.binaries.tls:
            raise NodeError(f"{self.binaries} was built without TLS: set SHARDPROXY_PG_BIN to another")
        self._replicas, self._parent = replicas, parent
        self._place: Place | None = None
        self.nodes: list[Node] = []

    # -- life

    async def start(self) -> Cluster:
        """Make and start all servers; if any does not start, nothing is left."""
        place = self._place = Place(self.binaries, self._parent)
        try:
            if self.settings.tls:
                write_certificates(place)
            for number in range(self._replicas + 1):
                self.nodes.append(Node(f"node{number}", place, self.binaries, self.settings))
            primary, *others = self.nodes
            primary.settings = replace(self.settings, synchronous="")   # else it would wait for those that it copies to
            await primary.init()
            await primary.start()
            await asyncio.gather(*(self._start_replica(node) for node in others))
            if self.settings.synchronous:
                await self.set_synchronous(self.settings.synchronous)
        except BaseException:
            await self.close()
            raise
        return self

    async def _start_replica(self, node: Node) -> None:
        await node.basebackup_from(self.nodes[0])
        await node.start()

    async def close(self) -> None:
        """Stop the servers and remove the folder. May be called again."""
        if self._place is None:
            return
        try:
            await asyncio.gather(*(node.stop("immediate") for node in self.nodes), return_exceptions=True)
        finally:
            self._place.close()
            self._place = None
            for node in self.nodes:
                node.running            # noqa: B018  (reaps what the watchdog stopped)

    async def __aenter__(self) -> Cluster:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    # -- who is who

    @property
    def folder(self) -> Path:
        """Everything of the cluster lies here; with ``tls`` also ``ca.crt``, ``server.crt`` and ``server.key``."""
        if self._place is None:
            raise NodeError("the cluster is not started")
        return self._place.folder

    @property
    def primary(self) -> Node:
        """The node that follows no other (the first one that runs, if a killed primary has not rejoined)."""
        heads = [node for node in self.nodes if node.upstream is None]
        return next((node for node in heads if node.running), heads[0])

    @property
    def replicas(self) -> list[Node]:
        """All nodes that follow another one, also those that are down."""
        return [node for node in self.nodes if node.upstream is not None]

    # -- what happens to clusters

    async def failover(self, to: Node | None = None) -> Node:
        """Promote the replica that has most (or ``to``) and have the other running replicas follow it."""
        candidates = [node for node in self.replicas if node.running]
        if not candidates:
            raise NodeError("no running replica to promote")
        if to is None:
            received = await asyncio.gather(*(node.value(
                "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'") for node in candidates))
            to = max(zip(received, candidates, strict=True), key=lambda pair: int(pair[0]))[1]
        await asyncio.gather(*(node.resume_replay() for node in candidates))    # a paused one cannot end recovery
        await to.promote()
        await asyncio.gather(*(node.follow(to) for node in candidates if node is not to))
        return to

    async def rejoin(self, node: Node, primary: Node | None = None) -> None:
        """Make a former primary that is down a replica of the present one."""
        primary = primary or self.primary
        await node.rewind_from(primary)
        await node.start()
        await node.until("select status = 'streaming' from pg_stat_wal_receiver")

    async def caught_up(self, timeout: float = 30) -> None:
        """Wait until every running replica shows all that the primary has written so far."""
        position = await self.primary.position()
        query = "select pg_last_wal_replay_lsn() - '0/0' >= $1::int8"
        await asyncio.gather(*(node.until(query, position, timeout=timeout) for node in self.replicas if node.running))

    async def set_synchronous(self, names: str) -> None:
        """Change ``synchronous_standby_names`` on all nodes, for example ``ANY 1 (*)``; wait until it is in force."""
        for node in self.nodes:
            node.settings = replace(node.settings, synchronous=names)
            if node.running:
                node.reload()
                await node.until("select current_setting('synchronous_standby_names') = $1", names)
        if names:
            await self.primary.until("select exists (select from pg_stat_replication "
                                     "where sync_state in ('sync', 'quorum'))")
