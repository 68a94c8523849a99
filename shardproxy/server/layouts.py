"""The layouts of all databases with sharded tables: loaded or seeded at the start, then watched.

Invariant: what workers are told was read from the store, or written to it, before; epochs they are told only rise. A
database whose store cannot be read has no layout, and its workers let no client in until it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from shardproxy.config.model import Config, Database
from shardproxy.dialects.base import Dialect
from shardproxy.dialects.replication import LinkError
from shardproxy.log import Log
from shardproxy.topology.layout import Layout
from shardproxy.topology.seeding import reconcile, seed
from shardproxy.topology.store import Store, StoreError
from shardproxy.topology.store_database import DatabaseStore
from shardproxy.topology.store_file import FileStore
from shardproxy.topology.view import ServerView, TopologyView

from .watched import target_at

__all__ = ["Layouts", "store_in", "store_on"]

FILE_EVERY_S, DATABASE_EVERY_S = 1.0, 5.0
"""How soon what another process has stored is noticed."""
FIRST_S = 10.0
"""How long the start waits for stores that do not answer."""
ATTEMPTS = 5


class Monitoring(Protocol):
    """The part of the monitor that is needed here."""

    view: TopologyView

    async def wait_primary(self, database: str, timeout: float) -> ServerView | None:
        """The primary, as soon as there is one."""


def store_in(folder: Path, database: str) -> Store:
    """The store in a folder of this host."""
    return FileStore(folder, database)


def store_on(entry: Database, dialect: Dialect, primary: Callable[[], ServerView | None]) -> Store:
    """The store in the database itself; ``primary`` says where its coordinator is now."""
    async def connect() -> Any:
        server = primary()
        if server is None:
            raise LinkError("no primary at the moment")
        target = target_at(entry, server.host, server.port, server.unix, server.dbname)
        return await dialect.replication.open(target, entry.health_timeout)

    return DatabaseStore(connect, entry.name)


class Layouts:
    """See the module. ``on_layout`` gets every layout that is new."""

    def __init__(self, config: Config, dialects: Callable[[str], Dialect], monitor: Monitoring,
                 on_layout: Callable[[str, Layout], None], log: Log) -> None:
        self._config, self._dialects, self._monitor = config, dialects, monitor
        self._on_layout, self._log = on_layout, log
        self._told: dict[str, tuple[object, ...]] = {}
        self._checked: set[str] = set()
        self.known: dict[str, Layout] = {}

    async def start(self) -> None:
        """Load or seed all of them; those that take too long come later (``run``)."""
        try:
            async with asyncio.timeout(FIRST_S):
                while not await self.refresh():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self._log.error("layouts are missing", databases=", ".join(self._missing()))

    async def run(self) -> None:
        """Notice what others store, until cancelled."""
        while True:
            every = DATABASE_EVERY_S if self._config.topology == "database" else FILE_EVERY_S
            await asyncio.sleep(min(1.0, every) if self._missing() else every)
            await self.refresh()

    async def reload(self, config: Config) -> None:
        """Another configuration: what is new in it is seeded."""
        self._config = config
        self._checked.clear()
        self.known = {name: layout for name, layout in self.known.items() if name in self._entries()}
        await self.refresh()

    async def refresh(self) -> bool:
        """Look at all stores now. True: every database has a layout."""
        await asyncio.gather(*(self._refresh(name, entry) for name, entry in self._entries().items()))
        return not self._missing()

    async def change(self, database: str, edit: Callable[[Layout], Layout]) -> Layout:
        """Store a changed layout; it is told before this returns. StoreError, KeyError."""
        store = self.store(database)
        for _ in range(ATTEMPTS):
            epoch, stored = await store.load()
            if stored is None:
                break
            wanted = self._kept(database, stored, edit(stored))
            made = stored if wanted == stored else await store.compare_and_swap(epoch, wanted)
            if made is not None:
                if made.epoch > self.known[database].epoch:
                    self.known[database] = made
                    self._on_layout(database, made)
                return made
        raise StoreError(f"the layout of {database} could not be changed")

    def _kept(self, database: str, stored: Layout, wanted: Layout) -> Layout:
        """A table that the configuration lists stays sharded when it is dropped: who makes it again means the same."""
        listed = {(table.schema, table.name) for table in seed(self._config.databases[database]).tables()}
        for table in stored.tables():
            if (table.schema, table.name) in listed and wanted.table(table.schema, table.name) is None:
                wanted = wanted.with_table(table)
        return wanted

    def store(self, database: str) -> Store:
        """The store of a database. KeyError: none of that name is configured."""
        entry = self._config.databases[database]
        if self._config.topology != "database":
            return store_in(self._config.state_dir, database)

        def primary() -> ServerView | None:
            view = self._monitor.view.database(database)
            return None if view is None else view.primary_server

        return store_on(entry, self._dialects(entry.dialect), primary)

    def _entries(self) -> Mapping[str, Database]:
        return {name: entry for name, entry in self._config.databases.items() if entry.sharded}

    def _missing(self) -> list[str]:
        return [name for name in self._entries() if name not in self.known]

    async def _refresh(self, name: str, entry: Database) -> None:
        try:
            layout = await self._read(name, entry)
        except StoreError as error:
            self._tell(name, "store", str(error))
            return
        self._told.pop(name, None)
        known = self.known.get(name)
        if known is None or layout.epoch > known.epoch:
            self.known[name] = layout
            self._log.info("layout", database=name, epoch=layout.epoch)
            self._on_layout(name, layout)
        elif layout.epoch < known.epoch:
            self._tell(name, "epoch", f"the store went back from epoch {known.epoch} to {layout.epoch}: not followed")

    async def _read(self, name: str, entry: Database) -> Layout:
        """The stored layout; with what is new in the configuration, when that has not been looked at yet."""
        store = self.store(name)
        for _ in range(ATTEMPTS):
            epoch, stored = await store.load()
            if stored is not None and name in self._checked:
                return stored
            wanted, differences = (seed(entry), []) if stored is None else reconcile(stored, entry)
            made = stored if stored == wanted else await store.compare_and_swap(epoch, wanted)
            if made is not None:
                self._checked.add(name)
                for difference in differences:
                    self._log.warning("the stored layout wins over the configuration", database=name,
                                      difference=difference)
                return made
        raise StoreError(f"the layout of {name} changes all the time")

    def _tell(self, name: str, *what: object) -> None:
        """Once for each reason."""
        if self._told.get(name) != what:
            self._told[name] = what
            self._log.error("layout", database=name, error=what[-1])
