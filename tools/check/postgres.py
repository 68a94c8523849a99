"""PostgreSQL servers: reachable, new enough, of one cluster, with the rights and the settings that the proxy needs.

Invariant: only SELECTs are run, each connection is closed, and an unreachable server gives one error and no guesses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from shardproxy.config.model import Config, Database

from .findings import Finding, count, error, ok, warn
from .logins import check_auth_query, check_logins
from .servers import FAILURES, Seen, connect
from .transactions import check_transactions

__all__ = ["check_database"]

VERSION_MIN = 15

_FACTS = """
select current_setting('server_version') as version, current_setting('server_version_num')::int / 10000 as major,
       pg_is_in_recovery() as recovery, current_setting('wal_level') as wal_level,
       (select system_identifier from pg_control_system())::text as system,
       case when pg_is_in_recovery() then (select received_tli from pg_stat_wal_receiver)
            else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int end as timeline,
       (select status from pg_stat_wal_receiver) as receiver,
       current_setting('synchronous_standby_names') as standby_names,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         as connections,
       pg_has_role(current_user, 'pg_monitor', 'usage') as monitors
"""
_ROLES = """
select rolname, has_database_privilege(oid, current_database(), 'connect') from pg_roles where rolcanlogin
"""
_VERIFIERS = "select rolname, rolpassword from pg_authid where rolcanlogin"
_MAY_READ_VERIFIERS = "select has_column_privilege('pg_authid', 'rolpassword', 'select')"


async def check_database(config: Config, database: Database) -> list[Finding]:
    """Everything about one entry of [databases]."""
    seen = await asyncio.gather(*(_ask(database, Seen(server)) for server in database.servers))
    findings: list[Finding] = []
    for one in seen:
        findings += _judge_server(config, database, one)
    for place in dict.fromkeys((one.server.keyspace, one.server.shard) for one in seen):
        findings += _judge_shard([one for one in seen if (one.server.keyspace, one.server.shard) == place])
    reached = [one for one in seen if one.facts is not None]
    findings += await check_logins(config, database, reached)
    findings += await check_transactions(config, database, reached)
    return findings + await check_auth_query(config, database, reached)


async def _ask(database: Database, seen: Seen) -> Seen:
    try:
        async with connect(database, seen.server) as connection:
            facts = await connection.fetchrow(_FACTS)
            seen.roles = dict(await connection.fetch(_ROLES))
            if await connection.fetchval(_MAY_READ_VERIFIERS):
                seen.verifiers = dict(await connection.fetch(_VERIFIERS))
            seen.facts = facts
    except FAILURES as failure:
        seen.failure = str(failure) or type(failure).__name__
    return seen


def _judge_server(config: Config, database: Database, seen: Seen) -> Iterator[Finding]:
    facts, subject, user = seen.facts, seen.subject, database.server_user
    if facts is None:
        yield error(subject, f"server_user {user} cannot ask it: {seen.failure}",
                    "correct the address, server_user or server_password, or the server's pg_hba.conf")
        return
    role = "replica" if facts["recovery"] else "primary"
    yield ok(subject, f"PostgreSQL {facts['version']}, {role}, timeline {facts['timeline'] or 'unknown'}, "
                      f"wal_level {facts['wal_level']}")
    if facts["major"] < VERSION_MIN:
        yield warn(subject, f"PostgreSQL {facts['version']} is older than {VERSION_MIN}, the oldest that is tested",
                   "upgrade the server")
    if not facts["monitors"]:
        yield error(subject, f"server_user {user} may not see the state of replication",
                    f'GRANT pg_monitor TO "{user}"')
    yield from _judge_connections(config, database, seen)


def _judge_connections(config: Config, database: Database, seen: Seen) -> Iterator[Finding]:
    """Can the pools grow to their size?"""
    users = [name for name in config.auth.users if config.may_use(name, database)]
    limit = config.pool.max_db_connections if database.max_db_connections is None else database.max_db_connections
    wanted = sum(config.pool_for(database, user).size for user in users)
    wanted = min(wanted, limit) if limit else wanted
    if wanted > seen.facts["connections"]:
        yield warn(seen.subject, f"the pools of {count(len(users), 'user')} may need {wanted} connections, "
                   f"the server allows {seen.facts['connections']}",
                   "lower pool sizes, set max_db_connections, or raise max_connections")


def _judge_shard(shard: list[Seen]) -> Iterator[Finding]:
    """One primary, and every replica really follows it."""
    reached = [one for one in shard if one.facts is not None]
    primaries = [one for one in reached if not one.facts["recovery"]]
    first = shard[0].server
    name = f"{first.database}/{first.keyspace}/{first.shard}"
    if not primaries:
        if len(reached) == len(shard):
            yield error(name, "no server is a primary", "promote one")
        return
    if len(primaries) > 1:
        yield error(name, f"several servers accept writes: {', '.join(one.subject for one in primaries)}",
                    "remove those that do not belong to this shard")
        return
    primary = primaries[0]
    if not primary.server.configured_primary:
        yield warn(primary.subject, "is the primary, though configured as a replica (the proxy finds that out itself)",
                   "change the configuration when convenient")
    for one in reached:
        if one is not primary:
            yield _judge_replica(primary, one)
    if len(shard) > 1:
        yield _judge_durability(primary)


def _judge_replica(primary: Seen, replica: Seen) -> Finding:
    facts, timeline = replica.facts, primary.facts["timeline"]
    if facts["system"] != primary.facts["system"]:
        return error(replica.subject, f"is not a replica of {primary.subject}: another system identifier",
                     "make it from a base backup of that primary, or remove it")
    if not facts["monitors"]:
        return warn(replica.subject, "it is not known whether it replicates", "give server_user the missing right")
    if facts["receiver"] != "streaming":
        return warn(replica.subject, "receives no changes from its primary now, so it gets no reads",
                    "look at primary_conninfo and at its log")
    if facts["timeline"] != timeline:
        return warn(replica.subject, f"follows timeline {facts['timeline']}, the primary is on {timeline}",
                    "check whom it replicates from")
    return ok(replica.subject, f"replicates from {primary.subject}")


def _judge_durability(primary: Seen) -> Finding:
    names, commit = primary.facts["standby_names"], primary.facts["synchronous_commit"]
    if not names:
        return warn(primary.subject, "asynchronous replication: acknowledged writes may be lost at a failover",
                    "synchronous_standby_names = 'ANY 1 (*)' on all servers of the shard")
    if commit in ("off", "local"):
        return warn(primary.subject, f"synchronous_commit = {commit}: acknowledged writes may be lost at a failover",
                    "synchronous_commit = on")
    return ok(primary.subject, f"synchronous replication: {names}")
