"""What the proxy needs on each server of a sharded database: made by its own user, in one transaction, if missing.

Invariant: running it again changes nothing, also when two do at once. What cannot be made for lack of rights is
reported as the SQL that a superuser has to run; nothing is half made.
"""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg

from shardproxy.dialects.base import PlaceError

from .decisions import COORDINATOR_SQL, PLACE_SQL
from .figures_sql import FIGURES_SQL
from .laid_out import LAID_OUT_SQL
from .lookup import LOOKUP_SQL
from .shells import HIDE_SQL, SERVER, SHELL_SQL, WRAPPER_SQL
from .unique_sql import KEPT_SQL, NOTED_SQL

__all__ = ["prepare_place"]

_LOCK = 0x73686172
"""Of everybody who makes schema ``shardproxy``: "shar"."""


async def prepare_place(connection: Any, coordinator: bool) -> bool:
    """Make what is missing through an asyncpg connection to a primary. Gives whether anything was.

    PlaceError: rights are missing.
    """
    mark = _mark(connection, coordinator)
    if await _is_made(connection, mark, coordinator):
        return False
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            if await _is_made(connection, mark, coordinator):
                return False
            await connection.execute(PLACE_SQL)
            await connection.execute(NOTED_SQL)
            if coordinator:
                await connection.execute(COORDINATOR_SQL)
                if not await _has_wrapper(connection):
                    await connection.execute(WRAPPER_SQL)
                await connection.execute(SHELL_SQL)
                await connection.execute(LAID_OUT_SQL)
                await connection.execute(LOOKUP_SQL)
                await connection.execute(FIGURES_SQL)
                await connection.execute(KEPT_SQL)
                await connection.execute(HIDE_SQL)
            await connection.execute(f"comment on schema shardproxy is '{mark}'")
    except asyncpg.InsufficientPrivilegeError as error:
        raise PlaceError(*await _explain(connection, str(error), coordinator)) from error
    return True


def _mark(connection: Any, coordinator: bool) -> str:
    """Comment on the schema: whose SQL made it, at the coordinator under which major version of the server."""
    text = PLACE_SQL + NOTED_SQL
    if coordinator:
        version = connection.get_server_version().major
        text += COORDINATOR_SQL + SHELL_SQL + LAID_OUT_SQL + LOOKUP_SQL + FIGURES_SQL + KEPT_SQL + HIDE_SQL
        text += str(version)
    return f"shardproxy {'coordinator' if coordinator else 'shard'} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


async def _is_made(connection: Any, mark: str, coordinator: bool) -> bool:
    """Whether all stands as this version makes it; what somebody dropped is made again."""
    found = await connection.fetchrow("""
        select obj_description(n.oid, 'pg_namespace') as mark,
               to_regclass('shardproxy.decisions') is not null as decisions,
               to_regprocedure('shardproxy.decide(text, text)') is not null as decide,
               to_regprocedure('shardproxy.next_identity(regclass, text)') is not null as shells
        from pg_namespace n where n.nspname = 'shardproxy'""")
    if found is None or found["mark"] not in (mark, _mark(connection, True)):
        return False
    made = bool(found["decisions"] and found["decide"])
    return made and (not coordinator or bool(found["shells"] and await _has_wrapper(connection)))


async def _has_wrapper(connection: Any) -> bool:
    return bool(await connection.fetchval("select exists (select from pg_foreign_server where srvname = $1)", SERVER))


async def _explain(connection: Any, error: str, coordinator: bool) -> tuple[str, str]:
    """What is missing, and the SQL that a superuser runs to give it."""
    row = await connection.fetchrow("""
        select current_user as who, current_database() as name, usesuper as super,
               has_database_privilege(current_database(), 'create') as may_create,
               coalesce((select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'shardproxy'), '') as owner
        from pg_user where usename = current_user""")
    if coordinator and not row["super"]:
        return (f'"{row["who"]}" is not a superuser: {error}. The proxy makes a foreign-data wrapper and functions '
                f'that act for the owners of tables in database "{row["name"]}"',
                f'ALTER ROLE "{row["who"]}" SUPERUSER')
    if not row["may_create"]:
        return (f'"{row["who"]}" may not make schema shardproxy in database "{row["name"]}"',
                f'GRANT CREATE ON DATABASE "{row["name"]}" TO "{row["who"]}"')
    if row["owner"] not in ("", row["who"]):
        return (f'schema shardproxy in database "{row["name"]}" belongs to "{row["owner"]}", not to "{row["who"]}"',
                f'ALTER SCHEMA shardproxy OWNER TO "{row["who"]}"')
    return error, ""
