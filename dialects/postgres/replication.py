"""Role, timeline and position of a PostgreSQL server, over asyncpg.

Invariants:
* A primary's timeline comes from ``pg_walfile_name(pg_current_wal_insert_lsn())``: the control file is stale for a
  while after a promotion. A replica's comes from its WAL receiver; without one it is unknown (0).
* ``written`` is the *insert* position: also a commit with ``synchronous_commit = off`` lies before it.
* The link sits in database ``postgres`` where that exists, so it is in nobody's way (DROP DATABASE, templates).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import asyncpg

from shardproxy.dialects.replication import Link, LinkError, Observation, Position, Standby, Target

__all__ = ["REPLICATION", "PostgresLink", "PostgresReplication", "covered", "position_text"]

_FACTS = """
select (select system_identifier from pg_control_system())::text, pg_postmaster_start_time()::text,
       pg_size_bytes(current_setting('wal_segment_size')), current_setting('wal_block_size')::int
"""
_OBSERVE = """
select pg_is_in_recovery() as recovery,
       case when pg_is_in_recovery() then null else pg_current_wal_insert_lsn() end as written,
       case when pg_is_in_recovery() then null else pg_walfile_name(pg_current_wal_insert_lsn()) end as file,
       pg_last_wal_replay_lsn() as replayed, received_tli, slot_name, conninfo,
       pid is not null and status is null as hidden
  from (select) one left join pg_stat_wal_receiver on true
"""
_STANDBYS = """
select application_name, slot_name, sync_state
  from pg_stat_replication left join pg_replication_slots on active_pid = pid where sync_state is not null
"""
_WRITTEN = "select pg_current_wal_insert_lsn(), pg_walfile_name(pg_current_wal_insert_lsn())"
_REPLAYED = """
select pg_is_in_recovery(), pg_last_wal_replay_lsn(), (select received_tli from pg_stat_wal_receiver)
"""

_SHORT_HEADER, _LONG_HEADER = 24, 40
_NAME = re.compile(r"\bapplication_name=('(?:[^'\\]|\\.)*'|\S+)")
_BUSY, _NO_DATABASE = "53300", ("3D000", "55000", "42501")
_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError,
             asyncpg.InternalClientError)       # of a connection that was lost between the driver's own steps


def position_text(position: int) -> str:
    """As PostgreSQL writes it: ``0/5000028``."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def covered(written: int, block: int, segment: int) -> int:
    """The end of the last record before an insert position.

    At the start of a page the insert position already stands behind the page's header, where no record ends yet; a
    replica that has replayed everything stands before it, and would look behind until the next record comes.
    """
    start = written - written % block
    header = _LONG_HEADER if start % segment == 0 else _SHORT_HEADER
    return start if written - start == header else written


def _timeline(file: str) -> int:
    return int(file[:8], 16)


def _application_name(conninfo: str | None) -> str:
    found = _NAME.search(conninfo or "")
    return re.sub(r"\\(.)", r"\1", found[1].strip("'")) if found else ""


class PostgresLink:
    """A ``Link``. After any error the connection is dropped: what state it is in is not worth finding out."""

    def __init__(self, connection: asyncpg.Connection, timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._system = self._instance = ""
        self._segment, self._block = 0, 0

    @property
    def lost(self) -> bool:
        return bool(self._connection.is_closed())

    async def introduce(self) -> None:
        """What cannot change while the connection lives."""
        self._system, self._instance, self._segment, self._block = await self._row(_FACTS)

    async def observe(self) -> Observation:
        row = await self._row(_OBSERVE)
        if row["recovery"]:
            position = Position(row["replayed"] or 0, row["received_tli"] or 0)
            follows = (_application_name(row["conninfo"]), row["slot_name"] or "")
            return Observation(False, self._system, self._instance, position, follows=follows,
                               hidden="pg_monitor" if row["hidden"] else "")
        if row["written"] is None:
            raise LinkError("was promoted while it was asked")
        standbys = tuple(Standby(name or "", slot or "", sync) for name, slot, sync in await self._rows(_STANDBYS))
        return Observation(True, self._system, self._instance, self._position(row["written"], row["file"]),
                           forked_at=row["replayed"] or 0, standbys=standbys)

    async def written(self) -> Position:
        return self._position(*await self._row(_WRITTEN))

    async def replayed(self) -> Position:
        recovery, replayed, timeline = await self._row(_REPLAYED)
        if not recovery:
            raise LinkError("is not a replica any more")
        return Position(replayed or 0, timeline or 0)

    def abort(self) -> None:
        self._connection.terminate()

    def _position(self, written: int, file: str) -> Position:
        return Position(covered(written, self._block, self._segment), _timeline(file))

    async def _row(self, query: str) -> Any:
        return (await self._rows(query))[0]

    async def _rows(self, query: str) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout):
                return list(await self._connection.fetch(query))
        except _FAILURES as error:
            self.abort()
            raise LinkError(_told(error, self._timeout)) from error
        except asyncio.CancelledError:
            self.abort()
            raise


class PostgresReplication:
    """A ``Replication``."""

    async def connect(self, target: Target, timeout: float, on_lost: Callable[[], None]) -> Link:
        connection = await _connect(target, timeout, "shardproxy monitor")
        link = PostgresLink(connection, timeout)
        await link.introduce()
        connection.add_termination_listener(lambda _: on_lost())
        return link

    async def open(self, target: Target, timeout: float) -> asyncpg.Connection:
        return await _connect(target, timeout, "shardproxy catalog")

    def position_text(self, position: int) -> str:
        return position_text(position)


async def _connect(target: Target, timeout: float, name: str) -> asyncpg.Connection:
    for number, dbname in enumerate(target.dbnames, 1):
        try:
            async with asyncio.timeout(timeout):
                return await asyncpg.connect(
                    host=target.unix or target.host, port=target.port, user=target.user, database=dbname,
                    password=target.password or "", ssl=target.ssl if target.unix is None else False,
                    timeout=timeout, server_settings={"application_name": name})
        except _FAILURES as error:
            state = getattr(error, "sqlstate", "")
            if state not in _NO_DATABASE or number == len(target.dbnames):
                raise LinkError(_told(error, timeout), busy=state == _BUSY) from error
    raise LinkError("no database to connect to")


def _told(error: BaseException, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, asyncpg.PostgresError):
        return f"{error.sqlstate}: {error}"
    return str(error) or type(error).__name__


REPLICATION = PostgresReplication()
