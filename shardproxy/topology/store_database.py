"""A layout in a row of the database itself, on the primary of its default keyspace: shared by proxies on any machines.

Invariant: the row changes only where its epoch is the one expected, in one statement; so a commit of the database is
the commit of the change. Schema and table are made when they are first written, and belong to the proxy's user.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from .layout import Layout
from .store import StoreError, decode, encode

__all__ = ["DatabaseStore"]

Open = Callable[[], Awaitable[Any]]
"""Gives an asyncpg connection to the primary; raises what connecting raises."""

_TABLE = """
create schema if not exists shardproxy;
create table if not exists shardproxy.topology (
    one boolean primary key default true check (one), epoch bigint not null, layout text not null,
    changed timestamptz not null default now())"""
_READ = "select epoch, layout from shardproxy.topology"
_FIRST = "insert into shardproxy.topology (epoch, layout) values ($1, $2) on conflict do nothing returning epoch"
_NEXT = "update shardproxy.topology set epoch = $1, layout = $2, changed = now() where epoch = $3 returning epoch"
_SETTINGS = "set synchronous_commit = on; set search_path = pg_catalog; set statement_timeout = '10s'"


class DatabaseStore:
    """See ``store.Store``. A new connection for each call: the primary may be another server by then."""

    def __init__(self, connect: Open, name: str) -> None:
        self._connect, self._where = connect, f"shardproxy.topology of {name}"

    async def load(self) -> tuple[int, Layout | None]:
        """The epoch and the layout of now."""
        async with self._connected() as connection:
            try:
                row = await connection.fetchrow(_READ)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                row = None
        if row is None:
            return 0, None
        layout = decode(row["layout"], self._where)
        if layout.epoch != row["epoch"]:
            raise StoreError(f"{self._where}: damaged (two epochs)")
        return layout.epoch, layout

    async def compare_and_swap(self, epoch: int, new: Layout) -> Layout | None:
        """Replace the layout with this epoch; None: it has another one."""
        made, text = encode(new, epoch + 1)
        async with self._connected() as connection:
            if epoch:
                found = await connection.fetchval(_NEXT, made.epoch, text, epoch)
            else:
                await self._create(connection)
                found = await connection.fetchval(_FIRST, made.epoch, text)
        return made if found is not None else None

    async def _create(self, connection: Any) -> None:
        """Two proxies may start at once: one of two equal CREATEs may fail although IF NOT EXISTS is said."""
        try:
            await connection.execute(_TABLE)
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateSchemaError):
            await connection.execute(_TABLE)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        try:
            connection = await self._connect()
        except Exception as error:          # whatever connecting raises
            raise StoreError(f"{self._where}: {error or type(error).__name__}") from error
        try:
            await connection.execute(_SETTINGS)
            yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise StoreError(f"{self._where}: {error or type(error).__name__}") from error
        finally:
            connection.terminate()
