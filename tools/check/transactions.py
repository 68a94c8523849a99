"""Transactions over several shards: can every server prepare them, and can server_user finish what others prepared?

Invariant: asked for sharded databases only; a database whose transactions are refused needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardproxy.config.model import Config, Database

from .findings import Finding, error, ok, warn
from .servers import FAILURES, Seen, connect

__all__ = ["check_transactions"]

ENOUGH = 10
"""Fewer prepared transactions at a time than this are easily used up."""

_ASK = """
select current_setting('max_prepared_transactions')::int as prepared,
       array(select rolname::text from pg_roles
              where rolcanlogin and has_database_privilege(oid, current_database(), 'connect')
                and not pg_has_role(current_user, oid, {right}) order by 1) as strangers,
       has_function_privilege('pg_create_restore_point(text)', 'execute') as restore_points
"""


async def check_transactions(config: Config, database: Database, reached: Sequence[Seen]) -> list[Finding]:
    """All findings about the primaries among the servers that answered."""
    findings: list[Finding] = []
    if not database.sharded or database.transactions != "2pc":
        return findings
    for seen in reached:
        if seen.facts["recovery"]:
            continue
        try:
            async with connect(database, seen.server) as connection:
                right = "'set'" if seen.facts["major"] >= 16 else "'member'"
                row = await connection.fetchrow(_ASK.format(right=right))
        except FAILURES as failure:
            findings.append(error(seen.subject, f"was not asked about transactions: {failure}"))
            continue
        users = _users(config, database)
        strangers = [name for name in row["strangers"] if users is None or name in users]
        findings += _judge(database, seen.subject, row["prepared"], strangers, row["restore_points"])
    return findings


def _users(config: Config, database: Database) -> set[str] | None:
    """Roles that clients use on the servers; None: perhaps any, as an auth_query decides."""
    if config.auth.auth_query is not None or not config.auth.users:
        return None
    return {own.server_user or name for name, own in config.auth.users.items() if config.may_use(name, database)}


def _judge(database: Database, subject: str, prepared: int, strangers: Sequence[str],
           restore_points: bool) -> Iterator[Finding]:
    user = database.server_user
    refuse = f'or transactions = "refuse" in databases.{database.name}'
    if not prepared:
        yield error(subject, "max_prepared_transactions is 0: transactions that write to several shards cannot be "
                             "committed", f"max_prepared_transactions = 100 and a restart of the server; {refuse}")
    elif prepared < ENOUGH:
        yield warn(subject, f"max_prepared_transactions = {prepared}: no more transactions over several shards can be "
                            "committed at a time", "max_prepared_transactions = 100 and a restart of the server")
    if strangers:
        names = ", ".join(f'"{name}"' for name in strangers)
        yield error(subject, f"server_user {user} may not finish transactions that these users prepared: {names}",
                    f'GRANT {names} TO "{user}"; {refuse}')
    elif prepared:
        yield ok(subject, f"{prepared} prepared transactions at a time, which {user} can finish")
    if not restore_points:
        yield warn(subject, f"server_user {user} may not make restore points (RESTORE POINT)",
                   f'GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO "{user}"')
