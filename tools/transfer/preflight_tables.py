"""Before anything is made: what about the moved tables themselves stands in the way.

Invariant: nothing is written; each table is looked at where its rows are, and at every target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from shardproxy.tools.check.findings import Finding, error, warn

from .move import OLD, Move, NoPlace, Place, Table
from .servers import Servers

__all__ = ["check_tables"]

SAMPLE = 2000
HEADROOM = 10_000

_TABLE = """
select n.nspname as schema, c.relname as name, c.relkind::text as kind, c.relpersistence::text as persistence,
       relreplident::text as identity, pg_has_role(relowner, 'usage') as owned, relrowsecurity as policies,
       exists (select from pg_index where indrelid = c.oid and indisprimary) as has_key,
       array(select format('%I.%I', kn.nspname, k.relname) from pg_partition_tree(c.oid) t join pg_class k
             on k.oid = t.relid join pg_namespace kn on kn.oid = k.relnamespace
             where t.isleaf and k.oid <> c.oid and (k.relreplident = 'n' or k.relreplident = 'd'
             and not exists (select from pg_index where indrelid = k.oid and indisprimary))) as leaves,
       exists (select from pg_inherits where inhrelid = c.oid or (inhparent = c.oid and c.relkind = 'r')) as inherits,
       array(select tgname::text from pg_trigger where tgrelid = c.oid and not tgisinternal
             and tgname not like 'shardproxy%' and tgenabled in ('A', 'R')) as always_triggers,
       exists (select from pg_trigger where tgrelid = c.oid and tgname ~ '^shardproxy_unique_') as kept,
       array(select rulename::text from pg_rewrite where ev_class = c.oid) as rules,
       array(select array_to_string(array(select attname from pg_attribute where attrelid = c.oid
                                          and attnum = any(indkey::int2[]) order by attnum), ',')
               from pg_index where indrelid = c.oid and indisunique) as uniques,
       array(select attname::text from pg_index join pg_attribute on attrelid = c.oid and attnum = any(indkey::int2[])
              where indrelid = c.oid and indisprimary) as primary,
       array(select format('%I.%I', vn.nspname, v.relname) from pg_depend d join pg_rewrite r on r.oid = d.objid
              join pg_class v on v.oid = r.ev_class join pg_namespace vn on vn.oid = v.relnamespace
             where d.classid = 'pg_rewrite'::regclass and d.refobjid = c.oid and v.relkind = 'm') as matviews,
       array(select distinct format_type(atttypid, null) from pg_attribute join pg_type t on t.oid = atttypid
             where attrelid = c.oid and attnum > 0 and not attisdropped and t.oid >= 16384) as types,
       array(select attname::text from pg_attribute join pg_collation k on k.oid = attcollation
             where attrelid = c.oid and attnum > 0 and not attisdropped and not collisdeterministic) as loose
  from unnest($1::text[], $2::text[]) as wanted (schema, name)
  join pg_namespace n on n.nspname = wanted.schema join pg_class c on c.relnamespace = n.oid and relname = wanted.name
"""
_FOREIGN = """
select conname as name, f.nspname as from_schema, o.relname as from_name, t.nspname as to_schema, r.relname as to_name,
       confdeltype::text || confupdtype::text as actions
  from pg_constraint c join pg_class o on o.oid = conrelid join pg_namespace f on f.oid = o.relnamespace
  join pg_class r on r.oid = confrelid join pg_namespace t on t.oid = r.relnamespace
 where contype = 'f' and conparentid = 0
"""
_SEQUENCES = """
select format('%I.%I', n.nspname, s.relname) as name,
       case when seqincrement > 0 then seqmax - coalesce(last_value, seqstart)
            else coalesce(last_value, seqstart) - seqmin end / abs(seqincrement) as left, seqcycle as cycles
  from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S' join pg_namespace n on n.oid = s.relnamespace
  join pg_sequence q on q.seqrelid = s.oid join pg_sequences v on v.schemaname = n.nspname
   and v.sequencename = s.relname
 where d.refobjid in (select r.oid from unnest($1::text[], $2::text[]) as wanted (schema, name)
       join pg_namespace rn on rn.nspname = wanted.schema join pg_class r on r.relnamespace = rn.oid
        and r.relname = wanted.name) and d.deptype in ('a', 'i')
"""


async def check_tables(servers: Servers, move: Move) -> list[Finding]:
    """All findings about the tables of a move."""
    asked = await asyncio.gather(*(_source(servers, move, place) for place in move.streams()),
                                 *(_target(servers, move, place) for place in move.targets))
    return list(dict.fromkeys(finding for found in asked for finding in found))


async def _source(servers: Servers, move: Move, place: Place) -> list[Finding]:
    tables = [table for table in (*move.tables, *move.references) if place in move.sources_of(table)]
    names = ([schema for schema, _ in tables], [name for _, name in tables])
    async with servers.connected(place.name) as connection:
        rows = await connection.fetch(_TABLE, *names)
        foreign = await connection.fetch(_FOREIGN)
        sequences = await connection.fetch(_SEQUENCES, *names)
        findings = [finding for row in rows for finding in (*_identity(place, row), *_table(move, row))]
        there = {(row["schema"], row["name"]) for row in rows}
        findings += [error(f"{place} {_text(table)}", "is not there") for table in tables if table not in there]
        findings += _foreign(move, place, foreign)
        for row in sequences:
            if row["left"] < HEADROOM and not row["cycles"]:
                findings.append(error(f"{place} {row['name']}", f"the sequence has {row['left']} values left",
                                      f"ALTER SEQUENCE {row['name']} AS bigint MAXVALUE 9223372036854775807"))
        for table in tables:
            if table in move.tables and table in there:
                findings += await _keys(connection, move, place, table)
    return findings


def _identity(place: Place, row: Any) -> Iterator[Finding]:
    """Without one, changes of the old rows cannot be followed."""
    name = f'"{row["schema"]}"."{row["name"]}"'
    subject = f"{place} {row['schema']}.{row['name']}"
    remedy = "add a primary key, or ALTER TABLE {0} REPLICA IDENTITY FULL"
    if row["kind"] == "r" and (row["identity"] == "n" or (row["identity"] == "d" and not row["has_key"])):
        yield error(subject, "has no replica identity: an UPDATE or DELETE could not be followed", remedy.format(name))
    for leaf in row["leaves"]:
        yield error(f"{place} {leaf}", "is a partition without replica identity", remedy.format(leaf))


def _table(move: Move, row: Any) -> Iterator[Finding]:
    table = (row["schema"], row["name"])
    subject = _text(table)
    if row["persistence"] != "p":
        yield error(subject, "is not logged: its changes are not in the WAL", f"ALTER TABLE {subject} SET LOGGED")
    if row["kind"] not in ("r", "p") or row["inherits"]:
        yield error(subject, "has parents or children by inheritance, which cannot be moved",
                    f"ALTER TABLE ... NO INHERIT {subject}, or partitions")
    if not row["owned"]:
        yield error(subject, "is not owned by server_user, who must fence it", "GRANT its owner TO server_user")
    if row["policies"]:
        yield warn(subject, "has row level security: check the policies at the targets after the switch")
    if row["always_triggers"]:
        yield warn(subject, f"has triggers that fire for replicated rows, too: {', '.join(row['always_triggers'])}",
                   "ALTER TABLE ... ENABLE TRIGGER (without ALWAYS or REPLICA)")
    if row["kept"]:
        yield error(subject, "has unique constraints without its key, whose values the coordinator keeps",
                    "drop these constraints; they can be added again after the switch")
    if row["rules"]:
        yield error(subject, f"has rules, which cannot be moved: {', '.join(row['rules'])}", "DROP RULE, use triggers")
    for view in dict.fromkeys(row["matviews"]):
        yield error(subject, f"is read by the materialized view {view}, which cannot follow it",
                    f"DROP MATERIALIZED VIEW {view}; make it again after the switch")
    key = set(move.key_of(table))
    if key & set(row["loose"]):
        yield error(subject, "its key has a nondeterministic collation: equal keys may be on different shards",
                    "a deterministic collation")
    if row["primary"] and not key <= set(row["primary"]):
        yield _crossing(move, subject)
    for columns in row["uniques"]:
        if key and not key <= set(columns.split(",")):
            yield warn(subject, f"unique ({columns.replace(',', ', ')}) does not contain the key: it holds on each "
                                "shard only", "values from a sequence or a UUID stay unique")


def _crossing(move: Move, subject: str) -> Finding:
    """Of a row whose sharding key changes one shard tells that it is gone, another that it came, under one primary key:
    streams of two places say so in any order."""
    if len(move.sources) > 1:
        return error(subject, "its primary key does not contain its sharding key: a row that changes its shard in the "
                              "meantime could be lost", "a primary key with the sharding key in it")
    return warn(subject, "its primary key does not contain its sharding key: where the sharding key of a row changes "
                         "after the switch, the way back may lose that row",
                "a primary key with the sharding key in it")


def _foreign(move: Move, place: Place, rows: Sequence[Any]) -> Iterator[Finding]:
    """Foreign keys between what moves and what stays would break: no row is there to be checked against."""
    moved = set(move.tables)
    for row in rows:
        one, other = (row["from_schema"], row["from_name"]), (row["to_schema"], row["to_name"])
        home = move.after.table(*next(iter(moved))) if moved else None
        space = move.after.keyspaces.get(home.keyspace) if home is not None else None
        near = {(table.schema, table.name) for table in space.tables} if space is not None else set[Table]()
        if (one in moved) == (other in moved) or {one, other} <= moved | near:
            continue
        cascades = any(action in "cnd" for action in row["actions"])
        yield error(f"{place} {_text(one)}", f"foreign key {row['name']} refers to {_text(other)}: one of the two "
                    "moves, the other stays" + (", and its cascades would be lost" if cascades else ""),
                    f"move both, or ALTER TABLE {_text(one)} DROP CONSTRAINT {row['name']}")


async def _keys(connection: Any, move: Move, place: Place, table: Table) -> list[Finding]:
    """Whether the keys that are there have a place: a sample is enough to see a wrong type or a missing range."""
    key = move.key_of(table)
    if not key:
        return []
    columns = ", ".join(f'"{column}"::text' for column in key)
    rows = await connection.fetch(f'select distinct {columns} from (select * from "{table[0]}"."{table[1]}" '
                                  f"limit {SAMPLE}) as sampled")
    for row in rows:
        try:
            move.target_of(table, [None if value is None else str(value).encode() for value in row])
        except NoPlace as problem:
            return [error(f"{place} {_text(table)}", f"{problem}", "a range, list or default_shard for it, or a key of "
                                                                   "another type")]
    return []


async def _target(servers: Servers, move: Move, place: Place) -> list[Finding]:
    """What is in the way at a target, and what it lacks."""
    findings: list[Finding] = []
    async with servers.connected(place.name) as connection:
        for table in (*move.tables, *move.references):
            if place not in move.targets_of(table):
                continue
            for schema in dict.fromkeys((move.into or table[0], OLD)):
                name = f'"{schema}"."{table[1]}"'
                oid = await connection.fetchval("select to_regclass($1)::oid::bigint", name)
                if oid is not None and await connection.fetchval(f"select exists (select from only {name})"):
                    findings.append(error(f"{place} {schema}.{table[1]}", "is there already and has rows",
                                          f"DROP TABLE {name} (if it is the rest of an old transfer: shardproxy "
                                          f"{move.tool} gc)"))
    return findings


def _text(table: Table) -> str:
    return ".".join(table)
