"""Databases of one server as the places of a transfer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from shardproxy.dialects.replication import Target
from shardproxy.tools.transfer.move import COORDINATOR, Move, Place, Table
from shardproxy.tools.transfer.tables import READ_SETTINGS
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

SLOTS = 64


@dataclass(frozen=True)
class Found:
    """A primary."""

    target: Target


@dataclass(frozen=True)
class Note:
    """An object that was noted."""

    place: str
    kind: str
    object: str


@dataclass
class Places:
    """``Links`` and ``Notes`` in one. ``names``: place -> database."""

    host: str
    port: int
    prefix: str
    noted: set[Note] = field(default_factory=set)

    def dbname(self, place: str) -> str:
        """The database of a place."""
        return f"{self.prefix}_{place.replace('/', '_') or 'main'}"

    def place(self, name: str) -> Place:
        """As the move has it."""
        return Place(name, self.host, self.port, None, self.dbname(name))

    async def _connect(self, dbname: str) -> Any:
        return await asyncpg.connect(host=self.host, port=self.port, user="postgres", database=dbname,
                                     statement_cache_size=0)

    async def _sql(self, sql: str, *args: Any) -> Any:
        connection = await self._connect("postgres")
        try:
            rows = await connection.fetch(sql, *args)
            return rows[0][0] if rows else None
        finally:
            await connection.close()

    async def open(self, place: str, *, name: str = "") -> Any:
        """A connection."""
        return await self._connect(self.dbname(place))

    async def primary(self, place: str) -> Found:
        """The only server."""
        return Found(Target(self.host, self.port, None, (self.dbname(place),), "postgres"))

    async def note_object(self, name: str, place: str, kind: str, what: str) -> None:
        """Remember it."""
        self.noted.add(Note(place, kind, what))

    async def forget_object(self, name: str, place: str, kind: str, what: str) -> None:
        """Forget it."""
        self.noted.discard(Note(place, kind, what))

    async def objects(self, name: str | None = None) -> Sequence[Note]:
        """All."""
        return list(self.noted)

    async def make(self, *names: str) -> None:
        """Databases for places."""
        for name in names:
            await self._sql(f"create database {self.dbname(name)}")

    async def remove(self, *names: str) -> None:
        """They, and slots that are left."""
        for name in names:
            dbname = self.dbname(name)
            await self._sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", dbname)
            for _ in range(50):
                if not await self._sql("select count(*) from pg_replication_slots where database = $1 and active",
                                             dbname):
                    break
                await asyncio.sleep(0.1)
            await self._sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                                "where database = $1", dbname)
            await self._sql(f"drop database if exists {dbname} with (force)")
        await self._sql("select pg_replication_origin_drop(roname) from pg_replication_origin "
                            "where roname like $1", f"shardproxy:{self.prefix}%")

    async def execute(self, place: str, sql: str) -> None:
        """A script."""
        connection = await self.open(place)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def value(self, place: str, sql: str) -> Any:
        """One value."""
        connection = await self.open(place)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def rows(self, place: str, table: str) -> list[str]:
        """All rows of a table as text, sorted."""
        connection = await self.open(place)
        try:
            await connection.execute(READ_SETTINGS)
            return [row[0] for row in await connection.fetch(f"select t::text from {table} t order by 1")]
        finally:
            await connection.close()

    async def written(self, place: str) -> int:
        """The insert position of a place now."""
        return int(await self.value(place, "select (pg_current_wal_insert_lsn() - '0/0')::int8"))


def keyspace(shards: Sequence[str], owners: Sequence[int], tables: Sequence[TableLayout] = ()) -> KeyspaceLayout:
    """The keyspace ``shop``."""
    return KeyspaceLayout("shop", tuple(shards), "hash", SLOTS, tuple(owners), tuple(tables))


def into_shards(places: Places, keys: dict[Table, tuple[str, ...]], types: Sequence[tuple[int, ...]],
                shards: Sequence[str], references: Sequence[Table] = ()) -> Move:
    """From the coordinator to shards with equal shares."""
    owners = [slot % len(shards) for slot in range(SLOTS)]
    tables = [TableLayout(*table, "shop", key) for table, key in keys.items()]
    tables += [TableLayout(*table, "shop", (), True) for table in references]
    before = Layout(1, "main", {"shop": keyspace(shards, owners)})
    after = Layout(1, "main", {"shop": keyspace(shards, owners, tables)})
    main = places.place(COORDINATOR)
    return Move(places.prefix, "reshard", "shop", tuple(keys), (main,),
                tuple(places.place(f"shop/{shard}") for shard in shards), before, after, tuple(references),
                tuple(types), main)
