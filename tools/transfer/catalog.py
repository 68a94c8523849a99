"""Fingerprints of the moved tables: DDL during a transfer is seen, shown as a difference, and never ignored.

Invariant: two fingerprints are equal only if columns, types, defaults, keys, constraints and indexes are.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence

from .move import Table
from .servers import Servers

__all__ = ["difference", "fingerprints"]

_DEFINITION = """
select n.nspname as schema, c.relname as name, array(
    select format('column %I %s%s%s%s', attname, format_type(atttypid, atttypmod),
                  case when attnotnull then ' not null' else '' end,
                  coalesce(' default ' || pg_get_expr(adbin, adrelid), ''),
                  case when attidentity <> '' then ' identity ' || attidentity::text
                       when attgenerated <> '' then ' generated' else '' end)
      from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = c.oid and attnum > 0 and not attisdropped order by attname) || array(
    select format('constraint %I %s', conname, pg_get_constraintdef(oid)) from pg_constraint
     where conrelid = c.oid order by conname) || array(
    select regexp_replace(pg_get_indexdef(indexrelid), ' ON (ONLY )?.* USING', ' USING')
      from pg_index where indrelid = c.oid order by 1) as lines
  from unnest($1::text[], $2::text[]) as wanted (schema, name)
  join pg_namespace n on n.nspname = wanted.schema join pg_class c on c.relnamespace = n.oid and relname = wanted.name
"""
"""Columns are compared by name: their order may differ between places."""


async def fingerprints(servers: Servers, places: Sequence[str], tables: Sequence[Table]) -> dict[str, list[str]]:
    """For each place: lines that describe the tables, sorted by table."""
    async def ask(place: str) -> list[str]:
        async with (servers.connected(place) as connection,
                    connection.transaction(isolation="repeatable_read", readonly=True)):
            await connection.execute("set local search_path = pg_catalog")
            rows = await connection.fetch(_DEFINITION, [schema for schema, _ in tables], [name for _, name in tables])
        return [f"{row['schema']}.{row['name']}: {line}"
                for row in sorted(rows, key=lambda row: (row["schema"], row["name"])) for line in row["lines"]]

    return dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))


def difference(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> str:
    """What has changed, as a diff; empty: nothing."""
    lines: list[str] = []
    for place, old in before.items():
        new = now.get(place, [])
        if list(old) != list(new):
            lines.append(f"{place or 'the coordinator'}:")
            lines += [f"  {line}" for line in difflib.unified_diff(list(old), list(new), lineterm="", n=0)
                      if not line.startswith(("---", "+++", "@@"))]
    return "\n".join(lines)
