"""Can the configured users log in to the servers?

Who has a password is tried; of who has only a verifier, the role's is compared, because with SCRAM pass-through the
client's key opens only servers that hold the very same verifier.

Invariant: no verifier and no password is printed; what could not be tried or read is said, not guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from shardproxy.config.model import ANY, Config, Database, User

from .findings import Finding, count, error, ok, warn
from .servers import FAILURES, Seen, connect

__all__ = ["check_auth_query", "check_logins"]

AT_ONCE = 8
"""Logins tried at the same time."""


async def check_logins(config: Config, database: Database, servers: Sequence[Seen]) -> list[Finding]:
    """Every user of a database on every server that was reached."""
    users = {name: user for name, user in config.auth.users.items() if config.may_use(name, database)}
    findings = [*_differences(servers), *_unreadable(config, database, users, servers)]
    console = {*config.auth.admin_users, *config.auth.stats_users}
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, user: User, server: Seen) -> Finding | None:
        async with limit:
            return await _login(database, name, user, server, name in console)

    results = await asyncio.gather(*(one(name, user, server) for server in servers for name, user in users.items()))
    problems = [finding for finding in results if finding is not None]
    findings += problems
    users = {name: user for name, user in users.items()
             if name not in console or all((user.server_user or name) in (server.roles or ()) for server in servers)}
    if users and servers and not findings:
        findings.append(ok(f"databases.{database.name}",
                           f"{count(len(users), 'user')} can log in to {count(len(servers), 'server')}"))
    return findings


def _differences(servers: Sequence[Seen]) -> Iterator[Finding]:
    """Roles whose verifier is not the same on all servers."""
    known = [(server.subject, server.verifiers) for server in servers if server.verifiers is not None]
    for subject, verifiers in known[1:]:
        first, expected = known[0]
        different = sorted(name for name in expected.keys() & verifiers.keys() if expected[name] != verifiers[name])
        if different:
            yield error(subject, f"another password than on {first}: {', '.join(different)}",
                        "give the role one verifier everywhere: ALTER ROLE ... PASSWORD 'SCRAM-SHA-256$...'")


def _unreadable(
        config: Config, database: Database, users: dict[str, User], servers: Sequence[Seen]) -> Iterator[Finding]:
    passes_through = any(user.verifier and not user.server_password for user in users.values())
    if (passes_through or config.auth.auth_query) and any(server.verifiers is None for server in servers):
        yield warn(f"databases.{database.name}",
                   f"verifiers were not compared: server_user {database.server_user} may not read them",
                   f'GRANT SELECT ON pg_authid TO "{database.server_user}", or check as a superuser')


async def _login(database: Database, name: str, user: User, server: Seen, console: bool) -> Finding | None:
    """What keeps the proxy from logging in to ``server`` for ``user``. ``console``: who may have no role there."""
    role = user.server_user or name
    who = f"user {name}" if role == name else f"user {name} (server_user {role})"
    assert server.roles is not None
    if role not in server.roles:
        return None if console else error(server.subject, f"{who}: there is no role {role} that can log in",
                     f'CREATE ROLE "{role}" LOGIN PASSWORD ...')
    if not server.roles[role]:
        return error(server.subject, f"{who}: may not connect to the database {server.server.dbname}",
                     f'GRANT CONNECT ON DATABASE ... TO "{role}"')
    secret = user.server_password or user.password
    if secret is not None:
        try:
            async with connect(database, server.server, user=role, password=secret.reveal()):
                return None
        except FAILURES as failure:
            return error(server.subject, f"{who} cannot log in: {failure}", "correct the password, here or there")
    if user.verifier is not None and server.verifiers is not None and server.verifiers[role] != user.verifier.reveal():
        return error(server.subject, f"{who}: the verifier is not that of the role, which will refuse the client's key",
                     "copy it again from pg_authid.rolpassword")
    return None


async def check_auth_query(config: Config, database: Database, servers: Sequence[Seen]) -> list[Finding]:
    """Does ``auth_query`` run, and give a name and a verifier?"""
    auth = config.auth
    elsewhere = auth.auth_dbname is not None and database.name != (
        auth.auth_dbname if auth.auth_dbname in config.databases else ANY)
    if auth.auth_query is None or not servers or elsewhere:
        return []
    subject = f"auth.auth_query on {servers[0].subject}"
    asker = auth.auth_user or database.server_user
    own = config.user(asker)
    secret = (own.server_password or own.password) if own is not None else database.server_password
    try:
        async with connect(database, servers[0].server, user=asker, password=secret.reveal() if secret else None,
                           dbname=auth.auth_dbname if database.name == ANY else None) as connection:
            statement = await connection.prepare(auth.auth_query)
            columns = len(statement.get_attributes())
            await statement.fetch(database.server_user)
    except FAILURES as failure:
        return [error(subject, f"fails: {failure}", "correct the statement, or the rights of the user that runs it")]
    if columns < 2:
        return [error(subject, f"gives {count(columns, 'column')}", "it must give the name and the verifier")]
    return [ok(subject, "runs")]
