"""Before anything is made: every problem at once, each with its remedy.

Invariant: nothing is written. An ``error`` means that the transfer would fail or lose something, a ``warn`` that the
operator should know; a server that cannot be asked is one finding and hides no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ShardproxyError
from shardproxy.tools.check.findings import Finding, count, error, ok, warn

from .journal import FINAL, Journal, JournalError
from .move import COORDINATOR, Move, Place
from .preflight_tables import check_tables
from .servers import FAILURES, Servers

__all__ = ["preflight"]

SLOTS = 1
OLD_S = 60

_SERVER = """
select current_setting('wal_level') as wal_level, current_setting('server_version_num')::int / 10000 as major,
       current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots) as slots,
       current_setting('max_wal_senders')::int - (select count(*) from pg_stat_replication) as senders,
       current_setting('max_slot_wal_keep_size') as keep,
       rolsuper as super, rolreplication or rolsuper as replication,
       has_database_privilege(current_database(), 'create') as may_create,
       has_function_privilege('pg_replication_origin_create(text)', 'execute') as origins,
       current_database() as database, pg_encoding_to_char(encoding) as encoding, datcollate, datctype,
       datcollversion is distinct from pg_database_collation_actual_version(d.oid) as collation_changed,
       pg_database_collation_actual_version(d.oid) as collation_version,
       pg_is_in_recovery() as recovery
  from pg_roles, pg_database d where rolname = current_user and datname = current_database()
"""
_LONG = """
select count(*) as number, min(coalesce(xact_start, now()))::text as since, min(pid) as pid from pg_stat_activity
 where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
   and xact_start < now() - make_interval(secs => $1)
"""
_PREPARED = """
select array_agg(gid) from pg_prepared_xacts
 where database = current_database() and prepared < now() - make_interval(secs => $1)
"""


async def preflight(servers: Servers, move: Move, journal: Journal) -> list[Finding]:
    """All findings."""
    places = {place.name: place for place in (*move.streams(), *move.targets)}
    asked = await asyncio.gather(*(_place(servers, move, place) for place in places.values()))
    findings = [finding for found, _ in asked for finding in found]
    facts = {name: seen for name, (_, seen) in zip(places, asked, strict=True) if seen is not None}
    findings += _alike(move, facts)
    if len(facts) == len(places):
        try:
            findings += await check_tables(servers, move)
        except (LinkError, *FAILURES) as failure:
            findings.append(error("tables", f"could not be looked at: {failure}"))
    findings += await _others(move, journal)
    if not any(finding.level == "error" for finding in findings):
        findings.append(ok(move.name, "nothing stands in the way"))
    return findings


async def _place(servers: Servers, move: Move, place: Place) -> tuple[list[Finding], Any]:
    subject = str(place)
    try:
        async with servers.connected(place.name) as connection:
            row = await connection.fetchrow(_SERVER)
            long = await connection.fetchrow(_LONG, float(OLD_S))
            prepared = await connection.fetchval(_PREPARED, float(OLD_S))
    except (LinkError, *FAILURES) as failure:
        return [error(subject, f"cannot be reached: {failure}", "start it, or correct its address")], None
    user = servers.entry.server_user
    return [*_replication(subject, row), *_rights(subject, row, user, place in move.targets),
            *_busy(subject, long, prepared)], row


def _replication(subject: str, row: Any) -> Iterator[Finding]:
    """Sources are followed during the transfer, targets after the switch, for the way back."""
    if row["wal_level"] != "logical":
        yield error(subject, f"wal_level is {row['wal_level']}: changes cannot be followed",
                    "ALTER SYSTEM SET wal_level = logical, and a restart of the server")
    for name, setting in (("slots", "max_replication_slots"), ("senders", "max_wal_senders")):
        if row[name] < SLOTS:
            yield error(subject, f"no free replication {'slot' if name == 'slots' else 'connection'}",
                        f"a higher {setting} and a restart, or drop what is not used")
    if row["keep"] not in ("-1", "-1MB"):
        yield warn(subject, f"max_slot_wal_keep_size is {row['keep']}: a transfer that is further behind loses its "
                            "slot, and must compare and copy again (RESYNC)")


def _rights(subject: str, row: Any, user: str, target: bool) -> Iterator[Finding]:
    if not row["replication"]:
        yield error(subject, f"server_user {user} may not replicate", f'ALTER ROLE "{user}" REPLICATION')
    if not row["may_create"]:
        yield error(subject, f"server_user {user} may not create schemas and publications",
                    f'GRANT CREATE ON DATABASE "{row["database"]}" TO "{user}"')
    if not row["super"]:
        yield error(subject, f"server_user {user} is no superuser: rows cannot be applied without firing triggers and "
                             "foreign keys, nor marked with their origin",
                    f'ALTER ROLE "{user}" SUPERUSER (needed while a transfer runs)')
    elif target and not row["origins"]:
        yield error(subject, f"server_user {user} may not make replication origins",
                    f'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pg_catalog TO "{user}"')


def _busy(subject: str, long: Any, prepared: Sequence[str] | None) -> Iterator[Finding]:
    if long["number"]:
        yield warn(subject, f"{count(long['number'], 'transaction')} older than {OLD_S} s: no slot can be made, and "
                            f"nothing be switched, before its end (since {long['since']})",
                   f"wait, or select pg_terminate_backend({long['pid']})")
    if prepared:
        yield warn(subject, f"prepared transactions wait: {', '.join(prepared[:3])}",
                   "COMMIT PREPARED or ROLLBACK PREPARED them")


def _alike(move: Move, facts: dict[str, Any]) -> Iterator[Finding]:
    """Encoding, collation, version of each target against each source."""
    for target in move.targets:
        for source in move.sources:
            one, other = facts.get(source.name), facts.get(target.name)
            if one is None or other is None or source == target:
                continue
            if one["encoding"] != other["encoding"]:
                yield error(str(target), f"encoding {other['encoding']}, and {one['encoding']} at {source}",
                            f"make its database anew with ENCODING '{one['encoding']}'")
            if any(one[name] != other[name] for name in ("datcollate", "datctype")):
                yield warn(str(target), f"sorts text by {other['datcollate']}, {source} by {one['datcollate']}: "
                                        "the order of answers changes",
                           f"make its database anew with LC_COLLATE '{one['datcollate']}'")
            elif one["collation_version"] != other["collation_version"]:
                yield warn(str(target), f"another version of {other['datcollate']} than at {source}")
            if other["major"] < one["major"]:
                yield warn(str(target), f"PostgreSQL {other['major']}, older than {one['major']} at {source}")


async def _others(move: Move, journal: Journal) -> list[Finding]:
    """Transfers of the same tables that have not ended."""
    found: list[Finding] = []
    try:
        for record in await journal.records():
            if record.name == move.name or record.state in FINAL or not record.body.get("started"):
                continue
            other = record.move
            both = {*other.tables, *other.references} & {*move.tables, *move.references}
            spaces = _keyspaces(move) & _keyspaces(other)
            if both or spaces:
                what = ", ".join(".".join(table) for table in sorted(both)) or f"keyspace {', '.join(sorted(spaces))}"
                found.append(error(move.name, f"{other.tool} {record.name} moves {what} (state {record.state})",
                                   f"shardproxy {other.tool} complete {record.name}, or cancel it"))
    except (JournalError, ShardproxyError) as failure:
        found.append(error("the coordinator", f"its journal cannot be read: {failure}"))
    return found


def _keyspaces(move: Move) -> set[str]:
    return {place.name.partition("/")[0] for place in (*move.sources, *move.targets) if place.name != COORDINATOR}
