"""A table's name goes to another relation at a cutover: a shell, a copy that was made beside it, or what it was before.

    shell    the table on the coordinator goes to schema shardproxy_old, a shell stands in its place
    table    the way back: what is in shardproxy_old is the table again, the shell is dropped
    swap     the copy in shardproxy_new is the table, the table goes to shardproxy_old
    unswap   the way back

A shard that gets its first slots may have no table, one that loses its last has no copy: what is missing is passed
over, but a place is never left without the table; an empty one like it stands in for it.
Invariants:
* An exchange is one transaction, and leaves its name in ``shardproxy.exchanges``: it is never done twice.
* Views follow the name, as they were when it was exchanged, and keep their owners and grants. Sequences of defaults
  stay where they are; those of identities go on behind the value that was reached.
* Nothing waits for long: a lock that is not had within ``LOCK_MS`` fails the exchange, and it is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from .definition import Definition, read_definition
from .shells import close_sql, open_sql, quote

__all__ = ["LOCK_MS", "NEW", "OLD", "exchange"]

OLD, NEW, GONE = "shardproxy_old", "shardproxy_new", "shardproxy_gone"
FENCE = "shardproxy_fence"
LOCK_MS = 300

Key = tuple[str, str]

_DONE = """
create table if not exists shardproxy.exchanges (
    name text primary key, done_at timestamptz not null default clock_timestamp())
"""
_VIEWS = """
with recursive found(oid, depth) as (
    select r.ev_class, 1 from pg_depend d join pg_rewrite r on r.oid = d.objid
     where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = any($1::oid[])
       and r.ev_class <> all($1::oid[])
    union
    select r.ev_class, found.depth + 1 from found join pg_depend d on d.refobjid = found.oid
      join pg_rewrite r on r.oid = d.objid
     where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and r.ev_class <> found.oid)
select c.oid, format('%I.%I', n.nspname, c.relname) as name, c.relkind::text as kind,
       pg_get_viewdef(c.oid) as text, array_to_string(c.reloptions, ', ') as options
  from (select oid, max(depth) as depth from found group by oid) one
  join pg_class c on c.oid = one.oid join pg_namespace n on n.oid = c.relnamespace order by one.depth
"""
_IDENTITY = "select last_value, is_called from {}"
_OIDS = "select array_agg(c.oid) from unnest($1::text[]) one join pg_class c on c.oid = to_regclass(one)"


async def exchange(connection: Any, name: str, how: str, tables: Sequence[Key]) -> None:
    """Carry out an exchange of this name, in the caller's transaction or one of its own, unless it is done."""
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = {LOCK_MS}; set local search_path = pg_catalog")
        await _exchange(connection, name, how, tables)


async def _exchange(connection: Any, name: str, how: str, tables: Sequence[Key]) -> None:
    await connection.execute("create schema if not exists shardproxy")
    await connection.execute(_DONE)
    if await connection.fetchval("insert into shardproxy.exchanges (name) values ($1) on conflict do nothing "
                                 "returning name", name) is None:
        return
    wanted = [_full(*table) for table in tables]
    known = await _there(connection, wanted)
    names = [name for name in wanted if name in known]
    if names:
        await connection.execute(f"lock table only {', only '.join(names)} in access exclusive mode")
    views = await connection.fetch(_VIEWS, await connection.fetchval(_OIDS, names) or [])
    found = [await _read(connection, key) for key in tables] if how in ("shell", "table") else []
    if how == "shell":
        await _to_shells(connection, found)
    elif how == "table":
        await _to_tables(connection, found)
    else:
        there, back = (NEW, OLD) if how == "swap" else (OLD, NEW)
        await _swap(connection, tables, there, back)
    for view in views:
        await _repeat(connection, view)
    if how == "table":
        await connection.execute("drop table " + ", ".join(_in(GONE, one.name) for one in found))


async def _read(connection: Any, key: Key) -> Definition:
    found = await read_definition(connection, *key)
    if found is None:
        raise asyncpg.UndefinedTableError(f"there is no table {key[0]}.{key[1]}")
    return found


async def _repeat(connection: Any, view: Any) -> None:
    """A view reads by name again."""
    if view["kind"] != "v":
        raise asyncpg.FeatureNotSupportedError(f"{view['name']} is a materialized view, which cannot follow its table")
    options = f" with ({view['options']})" if view["options"] else ""
    await connection.execute(f"create or replace view {view['name']}{options} as {view['text']}")


# -- shells


async def _to_shells(connection: Any, found: Sequence[Definition]) -> None:
    await _schema(connection, OLD)
    for one in found:
        if await _is_there(connection, _in(OLD, one.name)):
            raise asyncpg.DuplicateTableError(f"{_in(OLD, one.name)} is there already: drop it")
    reached = {one.name: await _identities(connection, one) for one in found}
    for one in found:
        await _detach(connection, one)
        await connection.execute(f"alter table {one.full_name} set schema {OLD}")
    for one in found:
        for sql in one.create():
            await connection.execute(sql)
        await _attach(connection, one)
        await _go_on(connection, reached[one.name])
        for text, _ in one.triggers:
            if FENCE not in text:
                await connection.execute(text)
        await connection.execute(f"alter table {one.full_name} owner to {quote(one.owner)}")
        await connection.execute(close_sql(one.schema, one.name))
    for one in found:
        for sql in one.foreign_keys():
            await _if_possible(connection, sql)


async def _if_possible(connection: Any, sql: str) -> None:
    """A foreign key of a shell is for the catalog only."""
    try:
        async with connection.transaction():
            await connection.execute(sql)
    except asyncpg.PostgresError:
        pass


async def _to_tables(connection: Any, found: Sequence[Definition]) -> None:
    await _schema(connection, GONE)
    reached = {one.name: await _identities(connection, one) for one in found}
    for one in found:
        await connection.execute(open_sql(one.schema, one.name))
        await _detach(connection, one)
        await connection.execute(f"alter table {one.full_name} set schema {GONE}")
    for one in found:
        await connection.execute(f"alter table {_in(OLD, one.name)} set schema {quote(one.schema)}")
        await connection.execute(f"drop trigger if exists {FENCE} on {one.full_name}")
        await _attach(connection, one)
        await _go_on(connection, reached[one.name])


async def _swap(connection: Any, tables: Sequence[Key], there: str, back: str) -> None:
    await _schema(connection, GONE)
    await _schema(connection, back)
    known = await _there(connection, [full for schema, name in tables
                                      for full in (_full(schema, name), _in(there, name))])
    script = []
    for schema, name in tables:
        live, comes = _full(schema, name), _in(there, name) in known
        if live in known:
            script.append(f"alter table {live} set schema {GONE}")
            if not comes:
                script.append(f"create table {live} (like {_in(GONE, name)} including all)")
        if comes:
            script += [f"alter table {_in(there, name)} set schema {quote(schema)}",
                       f"drop trigger if exists {FENCE} on {live}"]
        if live in known:
            script.append(f"alter table {_in(GONE, name)} set schema {back}")
    await connection.execute(";\n".join(script))


async def _there(connection: Any, names: Sequence[str]) -> set[str]:
    """Those of these relations that there are."""
    return {row[0] for row in await connection.fetch(
        "select one from unnest($1::text[]) one where to_regclass(one) is not null", names)}


async def _is_there(connection: Any, name: str) -> bool:
    return bool(await _there(connection, [name]))


# -- sequences


async def _detach(connection: Any, one: Definition) -> None:
    """What a default takes its values from stays where it is when the table goes."""
    for column in one.columns:
        if column.owns and not column.identity:
            await connection.execute(f"alter sequence {column.sequence} owned by none")


async def _attach(connection: Any, one: Definition) -> None:
    for column in one.columns:
        if column.owns and not column.identity:
            await connection.execute(
                f"alter sequence {column.sequence} owned by {one.full_name}.{quote(column.name)}")


async def _identities(connection: Any, one: Definition) -> dict[str, tuple[int, bool]]:
    return {column.sequence: tuple(await connection.fetchrow(_IDENTITY.format(column.sequence)))
            for column in one.columns if column.identity}


async def _go_on(connection: Any, reached: dict[str, tuple[int, bool]]) -> None:
    for sequence, (value, called) in reached.items():
        await connection.fetchval("select setval($1::text::regclass, $2, $3)", sequence, value, called)


async def _schema(connection: Any, name: str) -> None:
    await connection.execute(f"create schema if not exists {name}")


def _full(schema: str, name: str) -> str:
    return f"{quote(schema)}.{quote(name)}"


def _in(schema: str, name: str) -> str:
    return f"{schema}.{quote(name)}"
