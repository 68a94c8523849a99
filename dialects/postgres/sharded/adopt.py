"""At the start: shells for tables that the shards have and the coordinator has not, and what stands against serving a
table as the layout has it.

Invariants:
* A table that has rows on the coordinator is not touched: it is ``pending``, unsharded until it is moved.
* A shell is only made of a table that all shards define alike; a table whose shards differ is ``refused``.
* What a transfer has under way is left alone: its tables are at two places for a while, and not alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from shardproxy.dialects.base import Adopted
from shardproxy.topology.layout import Layout, TableLayout

from .definition import Definition, read_definition
from .shells import close_sql, quote

__all__ = ["adopt"]

Key = tuple[str, str]

_JOURNAL = "select to_regclass('shardproxy.transfers') is not null"
_MOVING = """
    select t.body #> '{move,tables}' as tables, t.body #> '{move,references}' as copied,
           t.body #> '{move,before}' as before,
           case t.state when 'CUTOVER' then t.body ->> 'before_cutover' else t.state end
               in ('SWITCHED', 'REVERSED') as was_switched
      from shardproxy.transfers t
     where t.state not in ('CANCELLED', 'DONE') and (t.body ->> 'started')::boolean"""
_SEQUENCE = """
    select data_type::text as type, start_value, min_value, max_value, increment_by, cycle, cache_size, last_value
    from pg_sequences where format('%I.%I', schemaname, sequencename) = $1"""


async def adopt(coordinator: Any, shards: Mapping[str, Any], tables: Sequence[TableLayout]) -> Adopted:
    """Look at these tables on the coordinator and on the shards (asyncpg connections by place) and make shells."""
    found = Adopted()
    made: list[Definition] = []
    moving = await _moving(coordinator)
    for table in tables:
        key = (table.schema, table.name)
        if key in moving:
            await _leave(coordinator, table, moving[key], found)
            continue
        places = {place: connection for place, connection in shards.items()
                  if place.startswith(f"{table.keyspace}/")}
        try:
            definition = await _adopt(coordinator, places, table, found)
        except asyncpg.PostgresError as error:
            found.refused[key] = f"no shell can be made on the coordinator: {error}"
            continue
        if definition is not None:
            made.append(definition)
            found.made.append(key)
    for definition in made:
        await _refer(coordinator, definition, found)
    return found


async def _moving(coordinator: Any) -> dict[Key, bool]:
    """Tables of transfers that were started and have not ended; True: copies that the shards do not have whole yet."""
    found: dict[Key, bool] = {}
    for row in await coordinator.fetch(_MOVING) if await coordinator.fetchval(_JOURNAL) else ():
        before = Layout.from_json(json.loads(row["before"]))
        found |= {(schema, name): not row["was_switched"] and before.table(schema, name) is None
                  for schema, name in json.loads(row["copied"])}
        found |= dict.fromkeys(((schema, name) for schema, name in json.loads(row["tables"])), False)
    return found


async def _leave(coordinator: Any, table: TableLayout, partial: bool, found: Adopted) -> None:
    """A table in transfer. Until the cutover puts a shell in its place, the coordinator has its rows."""
    key = (table.schema, table.name)
    here = None if table.reference else await _read(coordinator, key)
    if partial or (here is not None and not here.shell):
        found.pending[key] = "it has rows on the coordinator"


async def _adopt(coordinator: Any, places: Mapping[str, Any], table: TableLayout, found: Adopted) -> Definition | None:
    """One table. Gives its definition if a shell was made of it."""
    key = (table.schema, table.name)
    here = await _read(coordinator, key)
    there = {place: await _read(connection, key) for place, connection in places.items()}
    missing = [place for place, one in there.items() if one is None]
    one = next((one for one in there.values() if one is not None), None)
    if here is not None and not here.shell:
        if not table.reference and await _has_rows(coordinator, here):
            found.pending[key] = "it has rows on the coordinator"
            return None
        if there and one is None:
            found.pending[key] = "the shards do not have it"
    if one is None:
        if here is not None and here.shell and there:
            found.refused[key] = "no shard has it"
        return None
    if missing:
        found.refused[key] = f"shard {missing[0]} does not have it"
        return None
    wrong = _difference(here, there, one)
    if wrong:
        found.refused[key] = wrong
        return None
    return await _complete(coordinator, places, table, here, one, found)


async def _complete(coordinator: Any, places: Mapping[str, Any], table: TableLayout, here: Definition | None,
                    one: Definition, found: Adopted) -> Definition | None:
    """The shards agree: make the shell if there is none."""
    key = (table.schema, table.name)
    if table.reference:
        if here is None:
            found.pending[key] = "the coordinator has no copy of it"
        return None
    if here is not None:
        if not here.shell:
            await coordinator.execute(close_sql(*key))
            found.made.append(key)
        return None
    async with coordinator.transaction():
        await coordinator.execute(f"create schema if not exists {quote(table.schema)}")
        await _sequences(coordinator, places, one, before=True)
        for sql in one.create():
            await coordinator.execute(sql)
        await _sequences(coordinator, places, one, before=False)
        await _triggers(coordinator, one, found)
        await _own(coordinator, one)
        await coordinator.execute(close_sql(*key))
    return one


async def _read(connection: Any, key: Key) -> Definition | None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = pg_catalog")
        return await read_definition(connection, *key)


async def _has_rows(connection: Any, table: Definition) -> bool:
    return bool(await connection.fetchval(f"select exists (select from only {table.full_name})"))


def _difference(here: Definition | None, there: Mapping[str, Definition | None], one: Definition) -> str:
    first = next(iter(there))
    for place, other in there.items():
        if other is not None and (wrong := other.difference(one)):
            return f"shard {place} differs from {first}: {wrong}"
    if here is not None and (wrong := here.difference(one)):
        return f"the coordinator differs from shard {first}: {wrong}"
    return ""


async def _sequences(coordinator: Any, places: Mapping[str, Any], one: Definition, before: bool) -> None:
    """Sequences of defaults are made before the table, those of identities by it; all go on behind every shard's."""
    for column in one.columns:
        if not column.sequence or bool(column.identity) is before:
            continue
        rows = [row for connection in places.values()
                if (row := await connection.fetchrow(_SEQUENCE, column.sequence)) is not None]
        if not rows:
            continue
        row = rows[0]
        if before:
            await coordinator.execute(
                f"create sequence if not exists {column.sequence} as {row['type']} increment {row['increment_by']} "
                f"minvalue {row['min_value']} maxvalue {row['max_value']} start {row['start_value']} "
                f"cache {row['cache_size']} {'cycle' if row['cycle'] else 'no cycle'}")
        used = [row["last_value"] for row in rows if row["last_value"] is not None]
        own = await coordinator.fetchval(f"select case when is_called then last_value end from {column.sequence}")
        furthest = max if row["increment_by"] > 0 else min
        if used and (own is None or furthest([own, *used]) != own):
            await coordinator.fetchval("select setval($1::text::regclass, $2)", column.sequence, furthest(used))
    if not before:
        for column in one.columns:
            if column.owns and not column.identity:
                await coordinator.execute(
                    f"alter sequence {column.sequence} owned by {one.full_name}.{quote(column.name)}")


async def _triggers(coordinator: Any, one: Definition, found: Adopted) -> None:
    """For catalogs: they never fire on a shell."""
    for text, function in one.triggers:
        if " FOR EACH STATEMENT " in text:
            found.warnings.append(f'{one.full_name} has a trigger FOR EACH STATEMENT: it fires once on each shard')
        try:
            async with coordinator.transaction():
                await coordinator.execute(text)
        except asyncpg.UndefinedFunctionError:
            await coordinator.execute(function)
            await coordinator.execute(text)


async def _own(coordinator: Any, one: Definition) -> None:
    if await coordinator.fetchval("select exists (select from pg_roles where rolname = $1)", one.owner):
        await coordinator.execute(f"alter table {one.full_name} owner to {quote(one.owner)}")


async def _refer(coordinator: Any, one: Definition, found: Adopted) -> None:
    """Foreign keys. The shell is opened by nobody: they need no scan of its child."""
    for sql in one.foreign_keys():
        try:
            await coordinator.execute(sql)
        except asyncpg.PostgresError as error:
            found.warnings.append(f"the shell of {one.full_name} has no such foreign key: {error}")
