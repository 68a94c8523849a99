"""What ``plan`` prints: the steps with their locks, estimates with their method, the SQL of the fences.

Invariant: nothing is written, and every number says where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator

from .fence import fence_sql, lock_sql
from .move import Move, Table
from .report import bytes_text
from .servers import Servers
from .slots import moved

__all__ = ["plan_lines"]

RATE = 20e6
"""Bytes a second of one stream, for the estimate; measured with rows of about 100 bytes on small servers."""

_SIZE = """
select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as rows,
       coalesce(sum(pg_table_size(c.oid)), 0)::bigint as bytes,
       coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint as indexes
  from unnest($1::text[], $2::text[]) as wanted (schema, name)
  join pg_namespace n on n.nspname = wanted.schema join pg_class r on r.relnamespace = n.oid and r.relname = wanted.name
  cross join lateral pg_partition_tree(r.oid) t join pg_class c on c.oid = t.relid and c.relkind = 'r'
"""


async def plan_lines(servers: Servers, move: Move) -> list[str]:
    """The whole plan."""
    lines = [f"{move.tool} {move.name} in database {move.database}", *_what(move)]
    rows = size = indexes = 0
    for place in move.streams():
        tables = [table for table in (*move.tables, *move.references) if place in move.sources_of(table)]
        async with servers.connected(place.name) as connection:
            row = await connection.fetchrow(_SIZE, [table[0] for table in tables], [table[1] for table in tables])
        rows, size, indexes = rows + row["rows"], size + row["bytes"], indexes + row["indexes"]
        lines.append(f"  at {place}: about {row['rows']} rows, {bytes_text(row['bytes'])}, indexes "
                     f"{bytes_text(row['indexes'])} (by the planner's statistics)")
    seconds = size / RATE / max(1, len(move.streams()))
    lines += [f"estimates: {rows} rows are read; {seconds:.0f} s at {bytes_text(RATE)}/s for each source; disk at the "
              f"targets {bytes_text((size + indexes) * 1.5)} with the indexes and the WAL, at the sources the WAL that "
              "is written meanwhile", "steps:", *_steps(move), "the fence, at each source in one transaction:"]
    for place in move.sources:
        tables = [table for table in move.tables if place in move.sources_of(table)]
        lines.append(f"  at {place}: SET lock_timeout = '300ms', tried again until --max-hold")
        lines += [f"    {sql};" for sql in (lock_sql(tables), *fence_sql(tables))]
    return lines


def _what(move: Move) -> Iterator[str]:
    yield "  tables: " + ", ".join(map(_text, move.tables))
    if move.references:
        yield "  reference tables, whole to each target: " + ", ".join(map(_text, move.references))
    yield "  from " + ", ".join(map(str, move.sources)) + " to " + ", ".join(map(str, move.targets))
    for name, after in move.after.keyspaces.items():
        before = move.before.keyspaces.get(name)
        if before is None or before.owners == after.owners and before.slots == after.slots:
            continue
        if before.slots == after.slots and before.tables:
            slots = moved(before.owners, after.owners)
            yield f"  keyspace {name}: {len(slots)} of {after.slots} slots move"
        yield f"  keyspace {name}: " + ", ".join(
            f"{shard} {before.owners.count(index) if index < len(before.shards) else 0} -> "
            f"{after.owners.count(index)}" for index, shard in enumerate(after.shards))


def _steps(move: Move) -> Iterator[str]:
    yield "  1 publications and slots at the sources, empty tables at the targets (no lock that writers wait for)"
    yield "  2 copy in chunks by key, each from a snapshot of its own (reads only)"
    yield "  3 indexes and foreign keys at the targets; changes of the sources are applied meanwhile"
    yield "  4 both sides are compared, again and again until the switch"
    yield ("  5 `switch`: proxies hold writes to the tables, SHARE ROW EXCLUSIVE locks at the sources for a moment, "
           "the last changes are applied, the layout is stored, the writes go on at the targets")
    yield "  6 changes are replicated back: `reverse` at any time until `complete`"


def _text(table: Table) -> str:
    return ".".join(table)
