"""Catalogs are read again when they change, and told with an epoch that makes them current or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shardproxy.config.load import load
from shardproxy.config.model import Database
from shardproxy.dialects.postgres.replication import REPLICATION
from shardproxy.dialects.replication import Replication
from shardproxy.log import get_logger
from shardproxy.server.catalogs import Catalogs
from shardproxy.server.monitor import Monitor
from shardproxy.tools.cluster import Node
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import TopologyView, wildcard_index

LOG = get_logger("catalogs")


class Tables:
    """A dialect whose catalog is the names of the user's tables; ``before`` runs in the middle of a load."""

    replication: Replication = REPLICATION

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None

    def warm_catalog(self) -> None:
        """There is nothing to import."""

    async def catalog_load(self, connection: Any, harmless: Iterable[str] = (),
                           tables: bool = False) -> dict[str, Any]:
        rows = await connection.fetch("select relname from pg_class where relnamespace = 'public'::regnamespace")
        self.before()
        return {"tables": sorted(row[0] for row in rows)}


class Told:
    """What was told, and the parts that told it."""

    def __init__(self, databases: Mapping[str, Database], state: Path) -> None:
        self.dialect = Tables()
        self.board = Board.create()
        self.facts: list[tuple[str, list[str], int]] = []
        self.monitor = Monitor(databases, self.board, self.get, self.viewed, LOG, state)
        self.catalogs = Catalogs(databases, self.board, self.get, self.monitor, self.on_facts, LOG)

    def get(self, name: str) -> Any:
        return self.dialect

    def viewed(self, view: TopologyView) -> None:
        self.catalogs.viewed(view)

    def on_facts(self, database: str, facts: dict[str, Any], epoch: int) -> None:
        self.facts.append((database, facts["tables"], epoch))

    async def until(self, database: str, tables: list[str], epoch: int) -> None:
        async with asyncio.timeout(5):
            while (database, tables, epoch) not in self.facts:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def catalogs(folder: Path, pg: Node, name: str) -> AsyncIterator[Told]:
    path = folder / "shardproxy.toml"
    path.write_text(f"""
        [listen]
        postgres = "127.0.0.1:6432"
        [auth]
        method = "trust"
        [databases.{name}]
        primary = "127.0.0.1:{pg.port}"
        [databases."*"]
        primary = "127.0.0.1:{pg.port}"
        """)
    told = Told(load(path).databases, folder / "primaries.json")
    await told.monitor.start()
    told.catalogs.start()
    try:
        yield told
    finally:
        await told.catalogs.stop()
        await told.monitor.stop()


async def test_facts_follow_ddl(pg: Node, database: str, tmp_path: Path) -> None:
    async with catalogs(tmp_path, pg, database) as told:
        await told.until(database, [], 0)
        await pg.sql("create table one (i int)", dbname=database)
        told.board.bump_catalog(0)
        told.catalogs.ddl(database)
        await told.until(database, ["one"], 1)
        assert told.catalogs.known(database) == ({"tables": ["one"]}, 1)


async def test_ddl_during_a_load_is_noticed(pg: Node, database: str, tmp_path: Path) -> None:
    async with catalogs(tmp_path, pg, database) as told:
        await told.until(database, [], 0)

        def bump_once() -> None:
            told.dialect.before = lambda: None
            told.board.bump_catalog(0)

        told.dialect.before = bump_once
        told.catalogs.ddl(database)
        await told.until(database, [], 1)       # nobody asked again: the board shows that it is old


async def test_databases_of_the_wildcard(pg: Node, database: str, tmp_path: Path) -> None:
    async with catalogs(tmp_path, pg, "postgres") as told:
        assert told.catalogs.known(database) is None
        assert await told.catalogs.need(database) == ({"tables": []}, 0)
        await pg.sql("create table two (i int)", dbname=database)
        told.board.bump_catalog(wildcard_index(database))
        told.catalogs.ddl(database)
        await told.until(database, ["two"], 1)
        assert await told.catalogs.need("no such database", timeout=0.3) is None


async def test_nothing_stands_in_the_way_of_dropping_a_database(pg: Node, database: str, tmp_path: Path) -> None:
    async with catalogs(tmp_path, pg, database) as told:
        await told.until(database, [], 0)
        await asyncio.sleep(0.1)
        await pg.sql(f"drop database {database}")
        await pg.sql(f"create database {database}")


async def test_a_reload_while_a_catalog_is_read_ends(pg: Node, database: str, tmp_path: Path) -> None:
    """The driver may answer the loss of its connection with an error of its own, instead of the cancellation."""
    async with catalogs(tmp_path, pg, database) as told:
        databases = told.monitor._databases
        for number in range(3):
            reading = asyncio.Event()

            async def load(connection: Any, harmless: Iterable[str] = (), tables: bool = False,
                           reading: asyncio.Event = reading) -> dict[str, Any]:
                try:
                    reading.set()
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise RuntimeError("the underlying connection is closed") from None
                return {"tables": []}

            told.dialect.catalog_load = load  # type: ignore[method-assign]
            told.catalogs.ddl(f"other{number}")
            async with asyncio.timeout(10):
                await reading.wait()
                await told.catalogs.reload({name: entry.model_copy(update={"zone": str(number)})
                                            for name, entry in databases.items()})
