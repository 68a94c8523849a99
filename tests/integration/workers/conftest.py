"""A sharded database behind a proxy with several workers, and clients of the worker that a test wants."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg.rows
import pytest_asyncio

from shardproxy.server.figures import worker_of
from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

__all__ = ["MakeSpread", "Spread"]

_numbers = itertools.count(1)


class Spread:
    """``shards`` databases and a coordinator; ``account`` is sharded by ``id``, ``kind`` is a reference table."""

    def __init__(self, node: Node, folder: Path, shards: int, proxies: int, **settings: Any) -> None:
        self.node, self.name, self.count = node, f"spread{next(_numbers)}", shards
        self.places = [self.name, *(f"{self.name}_s{number}" for number in range(shards))]
        self._open: list[Any] = []

        def at(place: str) -> dict[str, Any]:
            return {"primary": f"{node.host}:{node.port}/{place}"}

        entry = {"server_user": "postgres", "default_keyspace": "main", "keyspaces": {
            "main": {"shards": {"main": at(self.name)}},
            "customer": {"shards": {f"s{number}": at(place) for number, place in enumerate(self.places[1:])},
                         "tables": {"account": {"key": "id"}, "kind": {"reference": True}}}}}
        settings = {"listen": {"workers": 2}, **settings}
        entry |= settings.pop("database", {})
        self.proxies = [Proxy(folder / f"proxy{number}", [], databases={self.name: entry}, **settings)
                        for number in range(proxies)]

    @property
    def proxy(self) -> Proxy:
        """The first."""
        return self.proxies[0]

    async def start(self) -> None:
        for place in self.places:
            await self.node.sql(f"create database {place}")
        for proxy in self.proxies:
            await asyncio.to_thread(proxy.start)
        client = await self.client()
        await client.execute("create table account (id int primary key, money int not null default 0)")
        await client.execute("create table kind (id int primary key, name text)")
        await client.execute("insert into account select g, 100 from generate_series(1, 60) g")

    async def stop(self) -> None:
        for client in self._open:
            client.terminate()
        for proxy in self.proxies:
            await asyncio.to_thread(proxy.stop)
            proxy.check_log()
        for place in self.places:
            await self.node.sql(f"drop database if exists {place} with (force)")

    async def client(self, worker: int | None = None, user: str = "postgres", proxy: int = 0) -> asyncpg.Connection:
        """A client of this worker (None: of any)."""
        for _ in range(400):
            client = await self.proxies[proxy].connect(self.name, user, statement_cache_size=0)
            if worker is None or worker_of(client.get_server_pid()) == worker:
                self._open.append(client)
                return client
            await client.close()
        raise AssertionError(f"no connection came to worker {worker}")

    async def pair(self) -> tuple[asyncpg.Connection, asyncpg.Connection]:
        """Clients of two workers."""
        return await self.client(0), await self.client(1)

    def kill_worker(self, index: int) -> None:
        """With SIGKILL."""
        dsn = f"postgresql://postgres@{self.proxy.host}:{self.proxy.port}/shardproxy"
        with psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as admin:
            rows = admin.execute("show workers").fetchall()
        os.kill(next(row["pid"] for row in rows if row["worker"] == index), signal.SIGKILL)

    async def keys(self, count: int = 1) -> list[list[int]]:
        """For each shard, that many ids that are there."""
        return [[row[0] for row in await self.node.sql(f"select id from account order by id limit {count}",
                                                       dbname=place)] for place in self.places[1:]]

    async def everywhere(self, query: str) -> list[Any]:
        """One value of each place."""
        return [await self.node.value(query, dbname=place) for place in self.places]


MakeSpread = Callable[..., Coroutine[Any, Any, Spread]]


@pytest_asyncio.fixture
async def spread(pg: Node, tmp_path: Path) -> AsyncIterator[MakeSpread]:
    """``await spread(shards=2, proxies=1, pool={...}, database={...})``: started, with 60 accounts of 100."""
    made: list[Spread] = []

    async def make(shards: int = 2, proxies: int = 1, **settings: Any) -> Spread:
        made.append(Spread(pg, tmp_path / f"spread{len(made)}", shards, proxies, **settings))
        await made[-1].start()
        return made[-1]

    yield make
    for one in made:
        await one.stop()
