"""What a transfer makes at its places, and what takes it away again.

Invariants: an object is noted in the journal before it is made, and crossed out after it is gone; everything here may
be done again after it stopped anywhere. A slot that exists is never made anew: see ``resync``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, Protocol

import asyncpg

from shardproxy.dialects.changes import SlotLost

from .chunks import TABLES, lsn_text, position_of
from .move import Move, Place, Table
from .parts import failpoint
from .tables import (
    Links,
    MovedTable,
    TableChanged,
    changes_of,
    ident,
    label,
    load_tables,
    object_name,
    origin_name,
)

__all__ = ["Notes", "check_slots", "drop_all", "drop_slot", "drop_stream", "drop_uniques", "finish_tables", "load",
           "prepare", "settled"]

DROP_S, POLITE_S, DROP_PAUSE_S = 20.0, 1.0, 0.1
_DROP_SLOT = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1"
_END_READER = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active"
_BEGUN = "select exists (select from shardproxy.transfer_positions where transfer = $1 and source = $2)"
_DROP_ORIGIN = "select pg_replication_origin_drop(roname) from pg_replication_origin where roname = $1"
_END_WRITER = ("select pg_terminate_backend(pid) from pg_stat_activity "
               "where pid = $1 and application_name = 'shardproxy transfer'")
_UNIQUES = """
select case when c.oid is not null then format('alter table %s drop constraint %I cascade', i.indrelid::regclass,
                                               c.conname)
            else format('drop index %s cascade', i.indexrelid::regclass) end
  from pg_index i left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid
   and c.contype in ('u', 'x')
 where i.indrelid = $1::text::regclass and (i.indisunique or i.indisexclusion) and not i.indisprimary
   and not i.indisreplident and $2::text[] <> array(
       select a.attname::text from unnest(i.indkey::int2[]) k (attnum) join pg_attribute a
           on a.attrelid = i.indrelid and a.attnum = k.attnum order by 1)
"""
_MISSING = {
    "constraint": "select not exists (select from pg_constraint where conrelid = $1::text::regclass and conname = $2)",
    "foreign key": "select not exists (select from pg_constraint where conrelid = $1::text::regclass and conname = $2)",
    "index": "select to_regclass($2) is null and $1::text is not null",
    "trigger": "select not exists (select from pg_trigger where tgrelid = $1::text::regclass and tgname = $2)",
    "owner": "select exists (select from pg_roles r, pg_class c where r.rolname = $2 and c.oid = $1::text::regclass "
             "and c.relowner <> r.oid)",
    "function": "select not exists (select from pg_trigger where tgrelid = $1::text::regclass and tgname = $2)",
}


class Notes(Protocol):
    """Where objects are noted; see ``journal.Journal``."""

    async def note_object(self, name: str, place: str, kind: str, what: str) -> None:
        """Before it is made."""

    async def forget_object(self, name: str, place: str, kind: str, what: str) -> None:
        """After it is gone."""

    async def objects(self, name: str | None = None) -> Sequence[Any]:
        """All that are noted: with ``place``, ``kind`` and ``object``."""


async def load(move: Move, links: Links, into: str = "") -> dict[str, list[MovedTable]]:
    """The tables of each source, as they are now, by the name of the source."""
    found: dict[str, list[MovedTable]] = {}
    for source in move.streams():
        connection = await links.open(source.name)
        try:
            found[source.name] = await load_tables(connection, move, source, into)
        finally:
            connection.terminate()
    return found


async def prepare(move: Move, links: Links, notes: Notes, into: str = "") -> dict[str, list[MovedTable]]:
    """Publications, slots, tables and progress. The slots are there before anything is copied."""
    tables = await load(move, links, into)
    for place in move.targets:
        target = await links.open(place.name)
        try:
            await target.execute(TABLES)
            for source in move.streams():
                wanted = [table for table in tables[source.name] if place in move.targets_of(table.table)]
                if wanted:
                    await notes.note_object(move.name, place.name, "origin", origin_name(move, source, place))
                    await _make_tables(move, links, notes, source, place, target, wanted)
        finally:
            target.terminate()
    for source in move.streams():
        await follow_from_now(move, links, notes, source, tables[source.name])
    return tables


def elsewhere(move: Move, table: MovedTable) -> dict[Table, str]:
    """The schemas of all moved tables at the targets, where they are not their own."""
    return {} if table.into == table.table else dict.fromkeys(move.tables, table.into[0])


async def follow_from_now(move: Move, links: Links, notes: Notes, source: Place, tables: Sequence[MovedTable]) -> int:
    """A publication and a slot at a source, and its position at the targets. Gives the position."""
    name = object_name(move, source)
    connection = await links.open(source.name)
    try:
        await notes.note_object(move.name, source.name, "publication", name)
        failpoint("publication_noted")
        if not await connection.fetchval("select exists (select from pg_publication where pubname = $1)", name):
            names = ", ".join(table.source_name for table in tables)
            await connection.execute(f"create publication {ident(name)} for table {names}")
        await notes.note_object(move.name, source.name, "slot", name)
        position = await connection.fetchval(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1", name)
    finally:
        connection.terminate()
    if position is None:
        stream = await changes_of().open((await links.primary(source.name)).target)
        try:
            failpoint("slot_noted")
            position = lsn_text(await stream.create_slot(name))
            failpoint("slot_made")
        finally:
            stream.close()
    for place in move.targets:
        if any(place in move.targets_of(table.table) for table in tables):
            target = await links.open(place.name)
            try:
                await target.execute(
                    "insert into shardproxy.transfer_positions (transfer, source, lsn) values ($1, $2, "
                    "$3::text::pg_lsn) on conflict do nothing", label(move), source.name, position)
            finally:
                target.terminate()
    return position_of(position)


async def _make_tables(move: Move, links: Links, notes: Notes, source: Place, place: Place, target: Any,
                       tables: Sequence[MovedTable]) -> None:
    connection = await links.open(source.name)
    try:
        for table in tables:
            if await target.fetchval("select to_regclass($1) is not null", table.target_name):
                if table.table in move.references and not await target.fetchval(_BEGUN, label(move), source.name):
                    await target.execute(f"delete from {table.target_name}")    # of a shard that was in use once
                continue
            made = await changes_of().table_sql(connection, table.table, elsewhere(move, table))
            if made is None:
                raise TableChanged(f"there is no table {table.text}")
            await notes.note_object(move.name, place.name, "table", table.target_name)
            failpoint("table_noted")
            async with target.transaction():
                for sql in made.first:
                    await target.execute(sql)
    finally:
        connection.terminate()


async def finish_tables(move: Move, links: Links, tables: dict[str, list[MovedTable]]) -> list[str]:
    """Indexes, constraints, triggers, rights and foreign keys at the targets, once every stream has come beyond the
    last chunk. Gives what could not be made: a foreign key whose other table is elsewhere, a role that is missing."""
    warnings: list[str] = []
    done: set[tuple[str, str]] = set()
    for source in move.streams():
        connection = await links.open(source.name)
        try:
            for table in tables[source.name]:
                made = await changes_of().table_sql(connection, table.table, elsewhere(move, table))
                for place in move.targets_of(table.table):
                    if made is None or (place.name, table.text) in done:
                        continue
                    done.add((place.name, table.text))
                    warnings += await _finish(links, place, table, made.later)
        finally:
            connection.terminate()
    return warnings


async def drop_uniques(move: Move, links: Links, tables: dict[str, list[MovedTable]]) -> None:
    """What keeps apart rows that are copied at several moments, beside their identity; ``finish_tables`` makes it."""
    for place in move.targets:
        target = await links.open(place.name)
        try:
            await target.execute("set lock_timeout = '10s'")
            for table in {one.text: one for found in tables.values() for one in found}.values():
                if place in move.targets_of(table.table):
                    for sql in await target.fetch(_UNIQUES, table.target_name, sorted(table.identity)):
                        await target.execute(sql[0])
        finally:
            target.terminate()


async def check_slots(move: Move, links: Links) -> None:
    """SlotLost: a source has failed over to a server without the slot, or it was dropped, or gave up its WAL."""
    for source in move.streams():
        connection = await links.open(source.name)
        try:
            status = await connection.fetchval("select coalesce(wal_status, 'reserved') from pg_replication_slots "
                                               "where slot_name = $1", object_name(move, source))
        finally:
            connection.terminate()
        if status is None or status == "lost":
            raise SlotLost(f"{source} has {'no slot' if status is None else 'lost what was kept for slot'} "
                           f"{object_name(move, source)}")


async def settled(move: Move, links: Links) -> None:
    """What was copied is on the disks of the targets when this returns: chunks are committed without waiting for it."""
    for place in move.targets:
        target = await links.open(place.name)
        try:
            await target.execute("set synchronous_commit = on; "
                                 "select pg_logical_emit_message(true, 'shardproxy', '')")
        finally:
            target.terminate()


async def _finish(links: Links, place: Place, table: MovedTable, later: Sequence[Any]) -> list[str]:
    warnings: list[str] = []
    target = await links.open(place.name)
    try:
        await target.execute("set statement_timeout = 0")
        for kind, name, sql in later:
            if kind in _MISSING and not await target.fetchval(_MISSING[kind], table.target_name, name):
                continue
            failpoint(f"finish_{kind.replace(' ', '_')}")
            try:
                await target.execute(sql)
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedObjectError, asyncpg.UndefinedFunctionError,
                    asyncpg.WrongObjectTypeError, asyncpg.ForeignKeyViolationError,
                    asyncpg.InvalidForeignKeyError) as error:
                if kind in ("constraint", "index"):
                    raise
                warnings.append(f"{place}: {table.text}: {error}")
        await target.execute(f"analyze {table.target_name}")
    finally:
        target.terminate()
    return warnings


async def drop_all(move: Move, links: Links, notes: Notes, *, targets_too: bool = False) -> None:
    """Slots, publications, origins and progress of one direction; ``targets_too``: the tables that it made as well."""
    for source in move.streams():
        await drop_stream(move, links, notes, source)
    for place in move.targets:
        target = await links.open(place.name)
        try:
            await _drop_at(move, target, notes, place, targets_too)
        finally:
            target.terminate()


async def drop_stream(move: Move, links: Links, notes: Notes, source: Place) -> None:
    """The slot and the publication at a source."""
    name = object_name(move, source)
    connection = await links.open(source.name)
    try:
        await drop_slot(connection, name)
        failpoint("slot_dropped")
        await notes.forget_object(move.name, source.name, "slot", name)
        await connection.execute(f"drop publication if exists {ident(name)}")
    finally:
        connection.terminate()
    await notes.forget_object(move.name, source.name, "publication", name)


async def drop_slot(connection: Any, name: str) -> None:
    """Whoever still reads it is a process of this transfer that is gone, or about to be."""
    deadline = time.monotonic() + DROP_S
    while True:
        try:
            await connection.execute(_DROP_SLOT, name)
            return
        except asyncpg.ObjectInUseError:
            if time.monotonic() > deadline:
                raise
            await connection.execute(_END_READER, name)
            await asyncio.sleep(DROP_PAUSE_S)


async def _drop_origin(connection: Any, name: str) -> None:
    """A session that was closed has it until its server process sees that; only the error says which one it is."""
    deadline = time.monotonic() + DROP_S
    while True:
        try:
            await connection.execute(_DROP_ORIGIN, name)
            return
        except asyncpg.ObjectInUseError as error:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(DROP_PAUSE_S)
            pids = re.findall(r"\d+", str(error))
            if pids and time.monotonic() > deadline - DROP_S + POLITE_S:
                await connection.execute(_END_WRITER, int(pids[-1]))


async def _drop_at(move: Move, target: Any, notes: Notes, place: Place, tables_too: bool) -> None:
    made = [one for one in await notes.objects(move.name) if (one.place, one.kind) == (place.name, "table")]
    for one in made if tables_too else ():
        await target.execute(f"drop table if exists {one.object} cascade")
        await notes.forget_object(move.name, place.name, "table", one.object)
    for source in move.streams():
        await _drop_origin(target, origin_name(move, source, place))
        await notes.forget_object(move.name, place.name, "origin", origin_name(move, source, place))
    for table in ("transfer_chunks", "transfer_positions"):
        if await target.fetchval("select to_regclass($1) is not null", f"shardproxy.{table}"):
            await target.execute(f"delete from shardproxy.{table} where transfer = $1", label(move))
