"""The cluster, the proxy before it, and connections to both. All that acts need to know of the outside.

What the acts of sharding need is in ``market``: other servers, and a proxy of their own.
"""

from __future__ import annotations

import asyncio
import os
import time
from types import TracebackType
from typing import Any

from ..cluster import Cluster, Node
from .load import leave
from .market import Market
from .serving import DATABASE, PASSWORD, USER, Proxy, replicated
from .size import Size

__all__ = ["Stage"]

REPLICAS = 2
SYNCHRONOUS = "ANY 1 (*)"
"""A write is acknowledged when one replica has it too: so a promotion loses nothing that was acknowledged."""


class Stage:
    """``async with Stage(size) as stage``, then ``start_cluster`` and ``start_proxy``."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.cluster = Cluster(REPLICAS, auth="scram-sha-256", synchronous=SYNCHRONOUS)
        self.market = Market(size)
        self._proxy: Proxy | None = None

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the proxies, then the servers, and remove the folders."""
        try:
            if self._proxy is not None:
                await self._proxy.stop()
        finally:
            await asyncio.gather(self.cluster.close(), self.market.close())

    async def start_cluster(self) -> None:
        """The servers, the application's user and an empty database."""
        await self.cluster.start()
        await self.cluster.primary.sql(f"create role {USER} login password '{PASSWORD}'")
        await self.cluster.primary.sql(f"create database {DATABASE} owner {USER}")
        await self.cluster.caught_up()

    async def start_proxy(self) -> None:
        """As many workers as are of use here."""
        servers = replicated(self.cluster, DATABASE)
        workers = min(2, os.cpu_count() or 1)
        self._proxy = Proxy(self.cluster.folder, DATABASE, servers, self.size.pool_size, workers)
        await self._proxy.start()

    @property
    def proxy(self) -> Proxy:
        """The running proxy."""
        assert self._proxy is not None, "start_proxy comes first"
        return self._proxy

    @property
    def proxies(self) -> dict[str, Proxy]:
        """Those that run, by what is behind them."""
        found = {"the replicas": self._proxy, "the shards": self.market.started}
        return {what: proxy for what, proxy in found.items() if proxy is not None}

    # -- connections

    async def connect(self) -> Any:
        """A connection of the application, through the proxy."""
        return await self.proxy.connect()

    async def until_replicas_read(self, query: str, timeout: float = 20) -> bool:
        """Wait until the proxy gives this read to a replica: it knows the tables, and replicas show them."""
        deadline = time.monotonic() + timeout
        connection = await self.connect()
        try:
            while time.monotonic() < deadline:
                before = await self.figures()
                await connection.fetch(query)
                if (await self.figures())["replica_reads"] > before["replica_reads"]:
                    return True
                await asyncio.sleep(0.1)
            return False
        finally:
            await leave(connection)

    async def console(self, command: str) -> list[dict[str, Any]]:
        """Rows that the admin console answers."""
        return await self.proxy.console(command)

    async def figures(self) -> dict[str, int]:
        """What the proxy counted: ``primary_reads``, ``replica_reads``, ``retried_reads``, ``held_statements``, ..."""
        rows = await self.console("SHOW READS")
        return next(
            (
                {name: value for name, value in row.items() if isinstance(value, int)}
                for row in rows
                if row["database"] == DATABASE
            ),
            {},
        )

    async def server_connections(self) -> dict[str, int]:
        """Connections of the application's user as each running server counts them."""
        query = (
            "select count(*)::int from pg_stat_activity "
            f"where usename = '{USER}' and backend_type = 'client backend'"
        )
        return {node.name: int(await node.value(query)) for node in self.cluster.nodes if node.running}

    def role(self, node: Node) -> str:
        """For people."""
        return "primary" if node is self.cluster.primary else "replica"
