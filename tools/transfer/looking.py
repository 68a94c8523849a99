"""What planning must know of the servers: the layout as it really is, tables, types of columns, weights of slots.

Invariant: nothing is written. A table counts as split only if its rows are really on the shards: one that the stored
layout names, but whose rows are still on the coordinator, is left out of ``Seen.layout``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from shardproxy.config.model import Config, Database
from shardproxy.tools.topology import stored
from shardproxy.topology.layout import KeyspaceLayout, Layout
from shardproxy.topology.seeding import reconcile, seed

from .move import COORDINATOR, Table
from .planning import Seen
from .servers import Servers

__all__ = ["look", "slot_weights"]

_TABLES = """
select n.nspname as schema, c.relname as name,
       exists (select from pg_inherits i join pg_foreign_table f on f.ftrelid = i.inhrelid
               join pg_foreign_server s on s.oid = f.ftserver
               where i.inhparent = c.oid and s.srvname = 'shardproxy_shell') as shell,
       (select json_object_agg(attname, case typtype when 'd' then typbasetype else t.oid end::bigint)
          from pg_attribute join pg_type t on t.oid = atttypid
         where attrelid = c.oid and attnum > 0 and not attisdropped)::text as types
  from pg_class c join pg_namespace n on n.oid = relnamespace
 where relkind in ('r', 'p') and not relispartition and relpersistence <> 't'
   and nspname not in ('pg_catalog', 'information_schema', 'shardproxy', 'shardproxy_old')
   and nspname not like 'pg\\_toast%' and nspname not like 'pg\\_temp%'
"""
_LOAD = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as bytes,
       coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::float8 as writes
  from unnest($1::text[], $2::text[]) as wanted (schema, name)
  join pg_namespace n on n.nspname = wanted.schema join pg_class r on r.relnamespace = n.oid and r.relname = wanted.name
  cross join lateral (select r.oid where r.relkind = 'r'
                      union all select relid from pg_partition_tree(r.oid) where isleaf) as c (oid)
  left join pg_stat_user_tables s on s.relid = c.oid
"""


async def look(config: Config, entry: Database, servers: Servers) -> Seen:
    """Everything that planning asks for. LinkError, StoreError, asyncpg's errors."""
    layout = await stored(config, entry)
    configured = seed(entry)
    layout = configured if layout is None else reconcile(layout, entry)[0]
    async with servers.connected(COORDINATOR) as connection:
        rows = await connection.fetch(_TABLES)
    real = frozenset((row["schema"], row["name"]) for row in rows if not row["shell"])
    there = await _there(servers, layout)
    return Seen(layout=_effective(layout, real, there), tables={COORDINATOR: real, **there},
                types={(row["schema"], row["name"]): _types(row["types"]) for row in rows},
                configured=configured, places={name: servers.place(name) for name in servers.places()})


async def slot_weights(servers: Servers, space: KeyspaceLayout, by: str) -> tuple[float, ...]:
    """What each slot of a keyspace weighs: its share of its shard's bytes (``by`` = ``size``) or writes (``load``)."""
    tables = [(table.schema, table.name) for table in space.tables if not table.reference]
    found: dict[int, float] = {}
    for index in space.used():
        async with servers.connected(space.places()[index]) as connection:
            row = await connection.fetchrow(_LOAD, [schema for schema, _ in tables], [name for _, name in tables])
            found[index] = float(row["bytes"] if by == "size" else row["writes"]) / space.owners.count(index)
    return tuple(found[owner] or 1e-9 for owner in space.owners)


async def _there(servers: Servers, layout: Layout) -> Mapping[str, frozenset[Table]]:
    """The tables of every shard of the layout; none of a shard that is in no configuration."""
    known = set(servers.places())
    places = [place for place in layout.places() if place in known]

    async def ask(place: str) -> frozenset[Table]:
        async with servers.connected(place) as connection:
            return frozenset((row["schema"], row["name"]) for row in await connection.fetch(_TABLES))

    return dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))


def _effective(layout: Layout, real: frozenset[Table],
               there: Mapping[str, frozenset[Table]]) -> Layout:
    """Without the tables whose rows are still on the coordinator."""
    made = layout
    for table in layout.tables():
        name = (table.schema, table.name)
        space = layout.keyspaces[table.keyspace]
        homes = [there.get(space.places()[index], frozenset[Table]()) for index in space.used()]
        whole = all(name in tables for tables in homes)
        if not whole or (name in real and not table.reference):
            made = made.without_table(*name)
    return made


def _types(text: str | None) -> dict[str, int]:
    return dict(json.loads(text)) if text else {}
