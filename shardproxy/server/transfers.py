"""Cutovers of transfers, as far as any live process can end them: the row that says how far one is, undo and redo.

    announced -> hold -> [commit record] committed -> switched
                   `-> undoing -> announced

A row of ``shardproxy.holds`` on the coordinator's primary is the lease of one cutover. Who starts it writes, before the
first fence, the deadline and everything that has to be undone.
Invariants:
* ``hold`` becomes ``undoing`` or ``committed`` in one statement that sees ``hold``: one of the two wins. Until then a
  dead starter is undone, from then on it is redone; both by whoever sees the deadline pass, as often as needed.
* Undo and redo are idempotent, and done by one process at a time (an advisory lock).
* Nothing is released before it is done: ``announced`` and ``switched`` are written last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ShardproxyError
from shardproxy.topology.layout import Layout
from shardproxy.topology.store import Store
from shardproxy.topology.switch import Switch

__all__ = ["CHANNEL", "Hold", "Open", "Unfinished", "drop_fence_sql", "end_expired", "exchange_name", "finish",
           "make_tables", "read_holds", "settle_undo", "unfence_sql"]

CHANNEL = "shardproxy"
FENCE = "shardproxy_fence"
ATTEMPTS, LOCKS = 10, 20
_LOCK = 0x7377_7468
_MADE = """
select to_regclass('shardproxy.holds') is not null and to_regclass('shardproxy.proxies') is not null
   and to_regclass('shardproxy.catalog_version') is not null
"""
_TABLES = """
create schema if not exists shardproxy;
create table if not exists shardproxy.proxies (
    id text primary key, started_at timestamptz not null default clock_timestamp(), lease_until timestamptz not null,
    epoch bigint not null, holding jsonb not null);
create table if not exists shardproxy.holds (
    transfer text primary key, tables jsonb not null, phase text not null
        check (phase in ('announced', 'hold', 'undoing', 'committed', 'switched')),
    deadline timestamptz, body jsonb not null, changed_at timestamptz not null default clock_timestamp());
create sequence if not exists shardproxy.catalog_version minvalue 0 start 1;
revoke all on shardproxy.proxies, shardproxy.holds, shardproxy.catalog_version from public;
"""
_READ = """
select transfer, tables, phase, extract(epoch from deadline - clock_timestamp())::float8 as left_s, body
  from shardproxy.holds order by transfer
"""
_SET = """
update shardproxy.holds set phase = $3, changed_at = clock_timestamp(), deadline = null, body = body || $4::jsonb
 where transfer = $1 and phase = $2 returning transfer
"""
_FENCED = """
select one.schema, one.name from unnest($2::text[], $3::text[]) one (schema, name)
  join pg_namespace n on n.nspname = one.schema join pg_class c on c.relnamespace = n.oid and c.relname = one.name
  join pg_trigger t on t.tgrelid = c.oid and t.tgname = $1
"""
_UNDO = """
update shardproxy.holds set phase = 'undoing', changed_at = clock_timestamp()
 where transfer = $1 and phase = 'hold' and (deadline < clock_timestamp() or $2) returning transfer
"""

Open = Callable[[str], Awaitable[Any]]
"""Gives an asyncpg connection to the primary of a place."""
Exchange = Callable[[Any, str, str, Sequence[tuple[str, str]]], Awaitable[None]]
"""(connection, name of the exchange, how, tables): see the dialect."""


class Unfinished(ShardproxyError):
    """What was begun could not be ended now; it is tried again."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A row. ``left_s``: until its deadline, if it has one. ``body``: ``fences`` and ``unfence``, pairs of place and
    tables; ``switch``; ``exchanges``: [place, how, tables]; ``epoch``: of the layout before, then of the new one."""

    transfer: str
    tables: tuple[tuple[str, str], ...]
    phase: str
    left_s: float | None
    body: Mapping[str, Any]

    @property
    def stops(self) -> bool:
        """Whether proxies hold its tables."""
        return self.phase in ("hold", "undoing", "committed")

    @property
    def expired(self) -> bool:
        """Whether somebody else has to end it."""
        return self.stops and self.left_s is not None and self.left_s < 0


async def make_tables(connection: Any) -> None:
    """Make the tables, if they are missing."""
    if await connection.fetchval(_MADE):
        return
    async with connection.transaction():
        await connection.execute(f"select pg_advisory_xact_lock({_LOCK})")
        await connection.execute(_TABLES)


async def read_holds(connection: Any) -> list[Hold]:
    """All rows."""
    return [Hold(row["transfer"], tuple((schema, name) for schema, name in json.loads(row["tables"])), row["phase"],
                 row["left_s"], json.loads(row["body"])) for row in await connection.fetch(_READ)]


def unfence_sql(schema: str, name: str) -> str:
    """Lifts the fence of a table, if it has one (else UndefinedObjectError). Readers need not end for it, as they would
    have to for DROP TRIGGER: a report that runs for an hour must not keep a table fenced."""
    return f"alter table {_quoted(schema, name)} disable trigger {FENCE}"


def drop_fence_sql(schema: str, name: str) -> str:
    """Removes a fence that was lifted."""
    return f"drop trigger if exists {FENCE} on {_quoted(schema, name)}"


def _quoted(schema: str, name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


async def end_expired(connection: Any, open_place: Open, store: Store, exchange: Exchange) -> list[str]:
    """Undo or redo every cutover whose deadline has passed; names of those that were ended."""
    ended = []
    for hold in await read_holds(connection):
        if hold.expired:
            async with _alone(connection, hold.transfer) as mine:
                if mine:
                    if hold.phase == "committed":
                        await finish(connection, open_place, store, exchange, hold.transfer)
                    elif not await settle_undo(connection, open_place, hold.transfer):
                        continue
                    ended.append(hold.transfer)
    return ended


async def settle_undo(connection: Any, open_place: Open, transfer: str, *, now: bool = False) -> bool:
    """Undo a cutover that is not committed. False: it is committed, or has not expired (unless ``now``)."""
    await connection.fetchval(_UNDO, transfer, now)
    hold = await _one(connection, transfer)
    if hold is None or hold.phase != "undoing":
        return hold is None or hold.phase == "announced"
    await _unfence(open_place, hold.body.get("fences", ()))
    await _set(connection, transfer, "undoing", "announced", {})
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, LinkError):
        await _unfence(open_place, hold.body.get("fences", ()), drop_fence_sql, "100ms")
    return True


async def finish(connection: Any, open_place: Open, store: Store, exchange: Exchange, transfer: str) -> int:
    """Redo what follows the commit record; the epoch of the new layout."""
    hold = await _one(connection, transfer)
    if hold is None or hold.phase not in ("committed", "switched"):
        raise Unfinished(f"the cutover of {transfer} is not committed")
    if hold.phase == "switched":
        return int(hold.body["epoch"])
    await asyncio.gather(*(
        _exchange(open_place, exchange, exchange_name(transfer, hold.body, number), *one)
        for number, one in enumerate(hold.body.get("exchanges", ()))))
    layout = await _store(store, Switch.from_json(hold.body["switch"]), int(hold.body["epoch"]))
    await _unfence(open_place, hold.body.get("unfence", ()))
    await _set(connection, transfer, "committed", "switched", {"epoch": layout.epoch})
    return layout.epoch


def exchange_name(transfer: str, body: Mapping[str, Any], number: int) -> str:
    """Of one of the exchanges of a cutover."""
    return f"{transfer} {body['epoch']} {number}"


async def _exchange(open_place: Open, exchange: Exchange, name: str, place: str, how: str,
                    tables: Sequence[Sequence[str]]) -> None:
    """Locks are waited for a short time each, so that nobody waits long behind us."""
    async with _connected(open_place, place) as there:
        for number in range(1, LOCKS + 1):
            try:
                await exchange(there, name, how, [(schema, table) for schema, table in tables])
                return
            except asyncpg.LockNotAvailableError:
                if number == LOCKS:
                    raise
                await asyncio.sleep(0.05)


async def _store(store: Store, switch: Switch, before: int) -> Layout:
    """The layout with the switch, under a later epoch than the one before."""
    for _ in range(ATTEMPTS):
        epoch, stored = await store.load()
        if stored is None:
            break
        wanted = switch.apply(stored)
        if epoch > before and wanted == stored:
            return stored
        made = await store.compare_and_swap(epoch, wanted)
        if made is not None:
            return made
    raise Unfinished("the layout could not be stored")


async def _unfence(open_place: Open, fences: Sequence[Any], sql: Callable[[str, str], str] = unfence_sql,
                   timeout: str = "5s") -> None:
    """Of each place all at once, where there is a fence."""
    async def one(place: str, tables: Sequence[Sequence[str]]) -> None:
        async with _connected(open_place, place) as there:
            found = await there.fetch(_FENCED, FENCE, [schema for schema, _ in tables], [name for _, name in tables])
            if found:
                await there.execute(";\n".join([f"set local lock_timeout = '{timeout}'", *(
                    sql(row["schema"], row["name"]) for row in found)]))

    await asyncio.gather(*(one(place, tables) for place, tables in fences))


async def _set(connection: Any, transfer: str, before: str, after: str, body: Mapping[str, Any]) -> None:
    await connection.fetchval(_SET, transfer, before, after, json.dumps(body))
    await connection.execute(f"notify {CHANNEL}")


async def _one(connection: Any, transfer: str) -> Hold | None:
    return next((hold for hold in await read_holds(connection) if hold.transfer == transfer), None)


@contextlib.asynccontextmanager
async def _alone(connection: Any, transfer: str) -> AsyncIterator[bool]:
    """Whether no other process is at it."""
    key = f"shardproxy {transfer}"
    mine = bool(await connection.fetchval("select pg_try_advisory_lock($1, hashtext($2))", _LOCK, key))
    try:
        yield mine
    finally:
        if mine:
            await connection.fetchval("select pg_advisory_unlock($1, hashtext($2))", _LOCK, key)


@contextlib.asynccontextmanager
async def _connected(open_place: Open, place: str) -> AsyncIterator[Any]:
    connection = await open_place(place)
    try:
        yield connection
    finally:
        connection.terminate()
