"""The way back: its publications and slots are there before a cutover, its copy is what the old side has anyway.

Invariants: between arming and the cutover only streams of this transfer write to the future sources, and those are
not sent back; so whatever is in the new slots and is no stream's came after the cutover. Nothing is made in the pause.
"""

from __future__ import annotations

import asyncio
from typing import Any

from . import fence
from .chunks import TABLES, lsn_text
from .move import Move, Place, Table
from .parts import NotNow, failpoint
from .preparing import Notes, drop_slot, drop_stream
from .servers import Servers
from .tables import changes_of, ident, label, object_name, origin_name

__all__ = ["arm", "disarm"]

ARM_S, OLD_S = 10.0, 5.0
"""A slot begins when all transactions of its server that are older have ended; how long that is waited for."""

_POSITION = """
insert into shardproxy.transfer_positions (transfer, source, lsn) values ($1, $2, $3::text::pg_lsn)
    on conflict (transfer, source) do update set lsn = greatest(transfer_positions.lsn, excluded.lsn)
"""
_COPIED = """
insert into shardproxy.transfer_chunks (transfer, source, table_name, low, high, lsn, snapshot, done_at, rows)
select $1, $2, $3, 'null', 'null', '0/0', '1:1:', clock_timestamp(), 0
 where not exists (select from shardproxy.transfer_chunks where transfer = $1 and source = $2 and table_name = $3)
"""
"""All of a table, at a snapshot that is older than every change."""


async def arm(now: Move, servers: Servers, notes: Notes) -> None:
    """Before a cutover of ``now``: from here on its targets keep their changes."""
    back = now.reversed()
    for source in back.streams():
        tables = [table for table in back.tables if source in back.sources_of(table)]
        if not tables:
            continue
        position = await _follow(now, back, servers, notes, source, tables)
        for place in back.targets:
            wanted = [table for table in tables if place in back.targets_of(table)]
            async with servers.connected(place.name) as target:
                await target.execute(TABLES)
                await notes.note_object(back.name, place.name, "origin", origin_name(back, source, place))
                await target.execute(_POSITION, label(back), source.name, position)
                for table in wanted:
                    await target.execute(_COPIED, label(back), source.name, ".".join(table))


async def disarm(now: Move, servers: Servers, notes: Notes) -> None:
    """After a cutover of ``now``: its own slots keep nothing any more."""
    for source in now.streams():
        await drop_stream(now, servers, notes, source)


async def _follow(now: Move, back: Move, servers: Servers, notes: Notes, source: Place, tables: list[Table]) -> str:
    """A publication of the tables where they are now (it goes with them), and a slot; its position."""
    name = object_name(back, source)
    names = ", ".join(f"{ident(now.into or schema)}.{ident(table)}" for schema, table in tables)
    async with servers.connected(source.name) as connection:
        await notes.note_object(back.name, source.name, "publication", name)
        if not await connection.fetchval("select exists (select from pg_publication where pubname = $1)", name):
            await connection.execute(f"create publication {ident(name)} for table {names}")
        await notes.note_object(back.name, source.name, "slot", name)
        found: Any = await connection.fetchval(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1", name)
    if found is None:
        stream = await changes_of().open((await servers.primary(source.name)).target)
        try:
            async with asyncio.timeout(ARM_S):
                found = lsn_text(await stream.create_slot(name))
            failpoint("armed_slot")
        except TimeoutError:
            async with servers.connected(source.name) as connection:
                blockers = await fence.older(connection, source.name, OLD_S)
                await drop_slot(connection, name)
            raise NotNow(f"the way back cannot be followed before older transactions at {source} have ended",
                         tuple(blockers)) from None
        finally:
            stream.close()
    return str(found)
