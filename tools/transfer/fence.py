"""The fence of a place: from its commit on, nobody writes to the tables that move, whoever goes past the proxies.

Invariants:
* ``fence`` has seen the end of every transaction that wrote to the tables; all tables of a place are fenced in one
  transaction or none. A ``Drained`` can be had in no other way, and nobody asks for a position without one.
* Nobody waits behind the fence longer than ``LOCK_MS`` at a time.
* The fence lets a session pass that has set up a replication origin, which only appliers (superusers) can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from shardproxy.errors import ShardproxyError

from .move import Table
from .parts import Blocker

__all__ = ["Drained", "FenceError", "blocked_by", "fence", "fence_sql", "leaves", "lock_sql", "make_fence_function",
           "older", "quoted", "trial"]

NAME = "shardproxy_fence"
LOCK_MS, PAUSE_S = 300, 0.02
OLD_S = 0.2
_LOCK = 0x6665_6E63

FUNCTION_SQL = """
create schema if not exists shardproxy;
create or replace function shardproxy.refuse_fenced() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_replication_origin_session_is_setup() then
        return null;
    end if;
    raise exception 'table %.% is being moved to another server, or has been', quote_ident(tg_table_schema),
                    quote_ident(tg_table_name)
        using errcode = 'object_not_in_prerequisite_state', hint = 'Write it through shardproxy.';
end $$;
grant usage on schema shardproxy to public;
"""
_LEAVES = """
select n.nspname, c.relname from unnest($1::text[]) one
  cross join lateral pg_partition_tree(to_regclass(one)) leaf
  join pg_class c on c.oid = leaf.relid join pg_namespace n on n.oid = c.relnamespace
union select n.nspname, c.relname from unnest($1::text[]) one join pg_class c on c.oid = to_regclass(one)
  join pg_namespace n on n.oid = c.relnamespace
order by 1, 2
"""
_VACUUMS = """
select pg_cancel_backend(a.pid) from pg_stat_activity a join pg_locks l on l.pid = a.pid
 where l.relation = any(select to_regclass(one) from unnest($1::text[]) one) and a.backend_type = 'autovacuum worker'
   and a.query not like '%to prevent wraparound%'
"""
_BLOCKERS = """
select distinct on (coalesce(p.gid, a.pid::text)) p.gid, a.pid, a.backend_type, a.state, a.application_name,
       coalesce(p.prepared, a.xact_start) as since, left(a.query, 200) as query
  from pg_locks l left join pg_stat_activity a on a.pid = l.pid
  left join pg_prepared_xacts p on l.pid is null and l.virtualtransaction = '-1/' || p.transaction::text
 where l.locktype = 'relation' and l.granted and l.database = (select oid from pg_database
                                                               where datname = current_database())
   and l.relation = any(select to_regclass(one) from unnest($1::text[]) one) and l.mode = any($2)
   and l.pid is distinct from pg_backend_pid()
   and coalesce(p.prepared, a.xact_start) < clock_timestamp() - make_interval(secs => $3)
"""
_OLDER = """
select p.gid, a.pid, a.backend_type, a.state, a.application_name, coalesce(p.prepared, a.xact_start) as since,
       left(a.query, 200) as query
  from (select pid, backend_type, state, application_name, xact_start, query from pg_stat_activity
         where backend_xid is not null) a full join pg_prepared_xacts p on false
 where coalesce(p.prepared, a.xact_start) < clock_timestamp() - make_interval(secs => $1) order by since
"""
WRITES = ("RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock",
          "AccessExclusiveLock")
READS = ("AccessShareLock", "RowShareLock", *WRITES)


class FenceError(ShardproxyError):
    """The tables could not be locked in time: a transaction holds them."""


@dataclass(frozen=True, slots=True)
class Drained:
    """No transaction that wrote to the tables is open at a place, and none can begin."""

    place: str
    tables: tuple[Table, ...]


def quoted(table: Table) -> str:
    """Qualified and quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table)


def fence_sql(tables: Iterable[Table]) -> list[str]:
    """What a fence is, as one transaction runs it after its locks."""
    found = []
    for table in map(quoted, tables):
        found += [f"create or replace trigger {NAME} before insert or update or delete or truncate on {table} "
                  "for each statement execute function shardproxy.refuse_fenced()",
                  f"alter table {table} enable always trigger {NAME}"]
    return found


def lock_sql(tables: Iterable[Table]) -> str:
    """Waits for writers, and lets readers read."""
    return f"lock table {', '.join('only ' + quoted(table) for table in tables)} in share row exclusive mode"


async def make_fence_function(connection: Any) -> None:
    """Before the hold: nothing of it is visible to anybody."""
    if await connection.fetchval("select to_regprocedure('shardproxy.refuse_fenced()') is null"):
        async with connection.transaction():
            await connection.execute(f"select pg_advisory_xact_lock({_LOCK})")
            await connection.execute(FUNCTION_SQL)


async def trial(connection: Any, tables: Sequence[Table]) -> bool:
    """Whether the tables can be locked now: a hold that could not succeed is not begun."""
    try:
        async with connection.transaction():
            await _lock(connection, await leaves(connection, tables))
            return True
    except asyncpg.LockNotAvailableError:
        return False
    finally:
        await connection.execute("reset lock_timeout")


async def fence(connection: Any, place: str, tables: Sequence[Table], seconds: float) -> Drained:
    """Fence these tables and their partitions. FenceError: not within ``seconds``, and nothing is fenced."""
    found = await leaves(connection, tables)
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with connection.transaction():
                await _lock(connection, found)
                for sql in fence_sql(found):
                    await connection.execute(sql)
            return Drained(place, tuple(tables))
        except asyncpg.LockNotAvailableError:
            if asyncio.get_running_loop().time() + PAUSE_S > deadline:
                raise FenceError(f"the tables at {place or 'the coordinator'} are in use by a transaction that does "
                                 "not end") from None
            await connection.execute("reset lock_timeout")
            await connection.execute(_VACUUMS, [quoted(table) for table in found])
            await asyncio.sleep(PAUSE_S)


async def blocked_by(connection: Any, place: str, tables: Sequence[Table], seconds: float = OLD_S, *,
                     readers: bool = False) -> list[Blocker]:
    """Transactions that have the tables for longer than a moment (or so many seconds). ``readers``: those that only
    read stand in the way too (of an exchange of names)."""
    names = [quoted(table) for table in await leaves(connection, tables)]
    rows = await connection.fetch(_BLOCKERS, names, list(READS if readers else WRITES), seconds)
    return [_blocker(place, row) for row in rows]


async def older(connection: Any, place: str, seconds: float) -> list[Blocker]:
    """Transactions of all databases of a server that a new slot waits for: those that have written something."""
    return [_blocker(place, row) for row in await connection.fetch(_OLDER, seconds)]


def _blocker(place: str, row: Any) -> Blocker:
    where = place or "the coordinator"
    since = row["since"].isoformat() if row["since"] is not None else ""
    if row["gid"] is not None:
        return Blocker(f"prepared transaction {row['gid']} at {where}", None, since,
                       f"COMMIT PREPARED or ROLLBACK PREPARED '{row['gid']}'")
    what = "vacuum" if row["backend_type"] == "autovacuum worker" else f"transaction ({row['state']})"
    return Blocker(f"{what} at {where}: {row['query']}", row["pid"], since,
                   f"wait for its end, or select pg_terminate_backend({row['pid']})")


async def leaves(connection: Any, tables: Sequence[Table]) -> list[Table]:
    """The tables and all their partitions."""
    return [(row[0], row[1]) for row in await connection.fetch(_LEAVES, [quoted(table) for table in tables])]


async def _lock(connection: Any, tables: Sequence[Table]) -> None:
    await connection.execute(f"set local lock_timeout = {LOCK_MS}")
    if tables:              # none at a shard that has no slots: it may get some
        await connection.execute(lock_sql(tables))
