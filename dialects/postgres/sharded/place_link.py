"""One connection of the parent to one place: decisions, prepared transactions, waits (a ``PlaceLink``).

Invariants:
* A missing decision is never taken for an abort: the abort is inserted first, and what is then found is obeyed. The
  unique key waits for a decider that is still undecided.
* Prepared transactions are finished in the role that prepared them; afterwards the connection is server_user's again.
* After any error the connection is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from shardproxy.dialects.distributed import Decision, Lease, PlaceLink, Prepared
from shardproxy.dialects.postgres.replication import REPLICATION
from shardproxy.dialects.replication import LinkError, Target

__all__ = ["DISTRIBUTED", "PostgresDistributed", "PostgresPlaceLink"]

LEASE_S = 30
"""An incarnation that was not renewed for so long may be recovered; it cannot do harm by living on."""
CALL_S, LOCK_MS = 10.0, 4000

_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
             ValueError)
_NOT_MADE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)

_RENEW = """
insert into shardproxy.incarnations (id) values ($1) on conflict (id) do update set renewed_at = clock_timestamp()
"""
_END = """
delete from shardproxy.incarnations where id = any($1) or renewed_at < clock_timestamp() - interval '1 day'
"""
_ALIVE = "select id from shardproxy.incarnations where renewed_at > clock_timestamp() - make_interval(secs => $1)"
_PREPARED = """
select gid, owner::text, extract(epoch from clock_timestamp() - prepared)::float8
  from pg_prepared_xacts where database = current_database() and starts_with(gid, $1)
"""
_DECISIONS = """
select gid, committed,
       xid < pg_snapshot_xmin(pg_current_snapshot())
       and not exists (select from pg_stat_activity a where a.datname = current_database()
                       and a.pid <> pg_backend_pid() and (a.state is null or a.xact_start <= decided_at))
  from shardproxy.decisions where starts_with(gid, $1) limit 10000
"""
_ABORT = "insert into shardproxy.decisions (gid, committed) values ($1, false) on conflict do nothing"
_WAITS = """
select pid, unnest(pg_blocking_pids(pid)) from pg_stat_activity
 where wait_event_type = 'Lock' and datname = current_database()
"""


class PostgresPlaceLink:
    """See ``PlaceLink``."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @property
    def lost(self) -> bool:
        return bool(self._connection.is_closed())

    async def lease(self, incarnation: str, dead: Sequence[str]) -> Lease | None:
        try:
            installation = await self._connection.fetchval("select id from shardproxy.installation")
        except _NOT_MADE:
            return None
        except _FAILURES as error:
            raise self._failed(error) from error
        if installation is None:
            return None
        await self._rows(_RENEW, incarnation)
        await self._rows(_END, list(dead))
        return Lease(installation, frozenset(row[0] for row in await self._rows(_ALIVE, float(LEASE_S))))

    async def prepared(self, prefix: str) -> list[Prepared]:
        return [Prepared(*row) for row in await self._rows(_PREPARED, prefix)]

    async def decisions(self, prefix: str) -> list[Decision]:
        return [Decision(*row) for row in await self._rows(_DECISIONS, prefix)]

    async def settle(self, key: str) -> bool:
        await self._rows(_ABORT, key)
        found = await self._rows("select committed from shardproxy.decisions where gid = $1", key)
        if not found:
            raise LinkError(f"the decision about {key} was deleted while it was asked for")
        return bool(found[0][0])

    async def finish(self, gid: str, owner: str, commit: bool) -> None:
        if "'" in gid or "\\" in gid:
            raise LinkError("this is not a name of ours")
        role = owner.replace('"', '""')
        try:
            async with asyncio.timeout(CALL_S):
                await self._connection.execute(f'set role "{role}"')
                try:
                    await self._connection.execute(f"{'commit' if commit else 'rollback'} prepared '{gid}'")
                except asyncpg.UndefinedObjectError:
                    pass
                await self._connection.execute("reset role")
        except _FAILURES as error:
            raise self._failed(error) from error
        except asyncio.CancelledError:
            self.abort()
            raise

    async def forget(self, keys: Sequence[str]) -> None:
        await self._rows("delete from shardproxy.decisions where gid = any($1)", list(keys))

    async def waits(self) -> list[tuple[int, int]]:
        return [(row[0], row[1]) for row in await self._rows(_WAITS)]

    async def cancel(self, process: int) -> None:
        await self._rows("select pg_cancel_backend($1)", process)

    async def restore_point(self, name: str) -> str:
        return str((await self._rows("select pg_create_restore_point($1)::text", name))[0][0])

    def abort(self) -> None:
        self._connection.terminate()

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            async with asyncio.timeout(CALL_S):
                return list(await self._connection.fetch(query, *values))
        except _FAILURES as error:
            raise self._failed(error) from error
        except asyncio.CancelledError:
            self.abort()
            raise

    def _failed(self, error: BaseException) -> LinkError:
        self.abort()
        state = getattr(error, "sqlstate", "")
        return LinkError(f"{state}: {error}" if state else str(error) or f"no answer within {CALL_S:g} s")


class PostgresDistributed:
    """See ``Distributed``."""

    async def connect(self, target: Target, timeout: float) -> PlaceLink:
        connection = await REPLICATION.open(target, timeout)
        link = PostgresPlaceLink(connection)
        try:
            async with asyncio.timeout(timeout):
                if await connection.fetchval("select pg_is_in_recovery()"):
                    raise LinkError("is not a primary any more")
                await connection.execute(
                    f"set application_name = 'shardproxy recovery'; set lock_timeout = {LOCK_MS}; "
                    "set synchronous_commit = on; set default_transaction_read_only = off; "
                    "set standard_conforming_strings = on; set search_path = pg_catalog; "
                    "set default_transaction_isolation = 'read committed'")
        except LinkError:
            link.abort()
            raise
        except _FAILURES as error:
            link.abort()
            raise LinkError(str(error) or f"no answer within {timeout:g} s") from error
        return link


DISTRIBUTED = PostgresDistributed()
