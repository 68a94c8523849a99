"""Keyspaces with ``function = "lookup"``: the coordinator's table of keys, read and added to by statements.

    shardproxy.lookup           (keyspace, key) -> slot; a row is never changed or deleted
    shardproxy.lookup_filled    tables whose rows were looked through: all their keys are in it

Invariants:
* A key that a row has is in the table: it is put there in the transaction that inserts the first such row. So a key
  that is not there may be placed anew.
* What is remembered was committed: what a transaction has placed itself is not, until another one reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shardproxy.planner.plan import ShardFilter
from shardproxy.topology.layout import Key, KeyspaceLayout, Layout

from .legs import Leg
from .shells import quote
from .statement import Statement

__all__ = ["LOOKUP_SQL", "fill", "place_keys", "resolve"]

LOOKUP_SQL = """
create table if not exists shardproxy.lookup (
    keyspace text, key bytea, slot integer not null, primary key (keyspace, key));
create table if not exists shardproxy.lookup_filled (schema text, name text, primary key (schema, name));
create or replace function shardproxy.keys_placed(for_table regclass, space text, keys bytea[], out key bytea,
                                                  out slot integer) returns setof record
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select l.key, l.slot from shardproxy.lookup l where l.keyspace = space and l.key = any(keys)
        and has_table_privilege(case current_setting('role') when 'none' then session_user::text
                                    else current_setting('role') end, for_table, 'SELECT, INSERT, UPDATE, DELETE')
$$;
create or replace function shardproxy.place_keys(for_table regclass, space text, keys bytea[], slots integer[])
    returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not has_table_privilege(case current_setting('role') when 'none' then session_user::text
                                   else current_setting('role') end, for_table, 'INSERT, UPDATE') then
        raise insufficient_privilege using message = format('permission denied for table %s', for_table);
    end if;
    insert into shardproxy.lookup select space, k, s from unnest(keys, slots) u (k, s) order by k
        on conflict do nothing;
end $$;
revoke all on shardproxy.lookup, shardproxy.lookup_filled from public;
grant execute on function shardproxy.keys_placed(regclass, text, bytea[]),
    shardproxy.place_keys(regclass, text, bytea[], integer[]) to public;
"""
"""Idempotent; for the coordinator."""

FILL_ROWS = 5000


async def resolve(leg: Leg, statement: Statement, wanted: ShardFilter) -> None:
    """Find out where the keys of a filter are, as far as the coordinator knows them."""
    keyspace = statement.layout.keyspaces[wanted.keyspace]
    missing = {key for key in statement.lookup_keys(wanted) if keyspace.known.get(key) is None}
    await _read(leg, statement, keyspace, wanted.table, missing)


async def place_keys(leg: Leg, statement: Statement, name: str, table: tuple[str, str], types: Sequence[int],
                     keys: Iterable[Sequence[Key]]) -> None:
    """Give each of these keys a place if it has none: rows with them are about to be inserted. ``leg``: the
    coordinator's, in the transaction that inserts them."""
    keyspace = statement.layout.keyspaces[name]
    if keyspace.function != "lookup":
        return
    wanted: dict[bytes, Sequence[Key]] = {}
    for values in keys:
        key = keyspace.lookup_key(types, values)
        if key is not None and keyspace.known.get(key) is None and (name, key) not in statement.placed:
            wanted[key] = values
    await _read(leg, statement, keyspace, table, wanted)
    new = {key: slot for key, values in wanted.items() if (name, key) not in statement.placed
           and keyspace.known.get(key) is None and (slot := keyspace.new_slot_of(types, values)) is not None}
    if not new:
        return
    leg.wrote = True
    slots = ", ".join(map(str, new.values()))
    await leg.run(f"SELECT shardproxy.place_keys({_regclass(table)}, {_text(name)}, {_array(new)}, ARRAY[{slots}])")
    await _read(leg, statement, keyspace, table, new)


async def _read(leg: Leg, statement: Statement, keyspace: KeyspaceLayout, table: tuple[str, str],
                keys: Iterable[bytes] | Mapping[bytes, Any]) -> None:
    listed = list(keys)
    if not listed:
        return
    rows = await leg.run(f"SELECT encode(key, 'hex'), slot FROM shardproxy.keys_placed({_regclass(table)}, "
                         f"{_text(keyspace.name)}, {_array(listed)})")
    for key, slot in rows:
        found, number = bytes.fromhex((key or b"").decode()), int(slot or b"0")
        if leg.wrote:
            statement.placed[keyspace.name, found] = number
        else:
            keyspace.known.put(found, number)


def _array(keys: Iterable[bytes]) -> str:
    return "ARRAY[" + ", ".join(f"'\\x{key.hex()}'" for key in keys) + "]::pg_catalog.bytea[]"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _regclass(table: tuple[str, str]) -> str:
    return _text(f"{quote(table[0])}.{quote(table[1])}") + "::pg_catalog.regclass"


# -- rows that were there before


async def fill(coordinator: Any, shards: Mapping[str, Any], layout: Layout) -> dict[tuple[str, str], str]:
    """Look through the tables (asyncpg connections) that were not looked through. Gives why one cannot be served."""
    problems: dict[tuple[str, str], str] = {}
    for keyspace in layout.keyspaces.values():
        tables = [table for table in keyspace.tables if table.key] if keyspace.function == "lookup" else []
        for table in tables:
            names = (table.schema, table.name)
            if await coordinator.fetchval(
                    "select exists (select from shardproxy.lookup_filled where schema = $1 and name = $2)", *names):
                continue
            problem = await _fill_table(coordinator, shards, keyspace, names, table.key[0])
            if problem:
                problems[names] = problem
    return problems


async def _fill_table(coordinator: Any, shards: Mapping[str, Any], keyspace: KeyspaceLayout, names: tuple[str, str],
                      column: str) -> str:
    full = ".".join(map(quote, names))
    seen = False
    async with coordinator.transaction():
        for index in keyspace.used():
            shard = shards.get(keyspace.places()[index])
            if shard is None:
                return ""                               # looked through when it is there
            if not await shard.fetchval("select to_regclass($1) is not null", full):
                continue
            seen = True
            async with shard.transaction(readonly=True):
                await shard.execute("set local datestyle = iso")
                cursor = await shard.cursor(
                    f"select distinct {quote(column)}::text as key, (select coalesce(nullif(t.typbasetype, 0), t.oid) "
                    f"from pg_attribute a join pg_type t on t.oid = a.atttypid where a.attrelid = $1::text::regclass "
                    f"and a.attname = $2) as type from {full} where {quote(column)} is not null", full, column)
                while rows := await cursor.fetch(FILL_ROWS):
                    problem = await _fill_keys(coordinator, keyspace, index, rows)
                    if problem:
                        return problem
        if seen:
            await coordinator.execute("insert into shardproxy.lookup_filled values ($1, $2) on conflict do nothing",
                                      *names)
    return ""


async def _fill_keys(coordinator: Any, keyspace: KeyspaceLayout, index: int, rows: Sequence[Any]) -> str:
    """Keys that a shard has."""
    first = next(slot for slot, owner in enumerate(keyspace.owners) if owner == index)
    keys: dict[bytes, int] = {}
    for row in rows:
        types, values = (int(row["type"]),), (row["key"].encode(),)
        key, slot = keyspace.lookup_key(types, values), keyspace.new_slot_of(types, values)
        if key is None:
            return f'the key "{row["key"]}" cannot be read'
        keys[key] = slot if slot is not None and keyspace.owners[slot] == index else first
    listed = list(keys)
    await coordinator.execute("insert into shardproxy.lookup select $1, * from unnest($2::bytea[], $3::int[]) "
                              "on conflict do nothing", keyspace.name, listed, [keys[key] for key in listed])
    for row in await coordinator.fetch("select key, slot from shardproxy.lookup where keyspace = $1 and key = any($2)",
                                       keyspace.name, listed):
        if keyspace.owners[row["slot"]] != index:
            return (f"rows with the key {row['key']!r} are at {keyspace.places()[index]} and at "
                    f"{keyspace.places()[keyspace.owners[row['slot']]]}")
    return ""


