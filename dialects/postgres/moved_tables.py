"""SQL that makes a table at another place as it is at its source, in two parts: what rows need, and what comes later.

Invariant: indexes that are no identity, constraints that look at other rows, and triggers come after the rows: while
rows of several moments stand side by side, two of them may have the same unique value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardproxy.dialects.changes import Made, TableSql

from .sharded.definition import Definition, read_definition
from .sharded.shells import quote

__all__ = ["table_sql"]

_SEQUENCE = """
    select format('create sequence if not exists %I.%I as %s increment %s minvalue %s maxvalue %s start %s cache %s %s',
                  schemaname, sequencename, data_type, increment_by, min_value, max_value, start_value, cache_size,
                  case when cycle then 'cycle' else 'no cycle' end)
      from pg_sequences where format('%I.%I', schemaname, sequencename) = $1"""
_PARTITIONS = """
    select n.nspname as schema, c.relname as name, m.nspname as parent_schema, p.relname as parent,
           pg_get_expr(c.relpartbound, c.oid) as bound, case c.relkind when 'p' then pg_get_partkeydef(c.oid) end as key
      from pg_partition_tree($1::text::regclass) t join pg_class c on c.oid = t.relid
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_class p on p.oid = t.parentrelid left join pg_namespace m on m.oid = p.relnamespace
     order by t.level, c.relname"""
_IDENTITY = """
    select pg_get_indexdef(i.indexrelid) as text, i.indexrelid::regclass::text as name,
           exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype = 'u') as constraint
      from pg_index i where i.indrelid = $1::text::regclass and i.indisreplident and not i.indisprimary"""
_INDEXES = """
    select format('%I.%I', n.nspname, c.relname) as name, pg_get_indexdef(i.indexrelid) as text
      from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
     where i.indrelid = $1::text::regclass and i.indisvalid
       and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))"""
_TRIGGER_NAMES = """
    select tgname from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal order by tgname"""


@dataclass(frozen=True, slots=True)
class _Partition:
    schema: str
    name: str
    parent_schema: str | None
    parent: str | None
    bound: str | None
    key: str | None


async def table_sql(connection: Any, schema: str, name: str) -> TableSql | None:
    """From an asyncpg connection to the source; None: there is no such table."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = pg_catalog")
        found = await read_definition(connection, schema, name)
        if found is None:
            return None
        first = [f"create schema if not exists {quote(schema)}"]
        for column in found.columns:
            if column.sequence and not column.identity:
                text = await connection.fetchval(_SEQUENCE, column.sequence)
                if text is not None:
                    sequence_schema = await connection.fetchval("select (parse_ident($1))[1]", column.sequence)
                    first += [f"create schema if not exists {quote(sequence_schema)}", text]
        first += await _tables(connection, found)
        identity = await connection.fetchrow(_IDENTITY, found.full_name)
        return TableSql(tuple(first), tuple(await _later(connection, found, identity)), found)


async def _tables(connection: Any, found: Definition) -> list[str]:
    """The table, its partitions, its primary key, and the index that is its identity."""
    full = found.full_name
    columns = ", ".join(column.sql() for column in found.columns)
    made: list[str] = []
    for row in await connection.fetch(_PARTITIONS, full) if found.kind == "p" else ():
        one = _Partition(**dict(row))
        by = f" PARTITION BY {one.key}" if one.key else ""
        own = f"{quote(one.schema)}.{quote(one.name)}"
        if one.parent is None or not made:
            made.append(f"CREATE TABLE {own} ({columns}){by}")
        else:
            made.append(f"CREATE TABLE {own} PARTITION OF {quote(one.parent_schema or '')}.{quote(one.parent)} "
                        f"{one.bound}{by}")
    if not made:
        made.append(f"CREATE TABLE {full} ({columns})")
    made += [f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}" for own, kind, text in found.constraints
             if kind == "p"]
    identity = await connection.fetchrow(_IDENTITY, full)
    if identity is not None and identity["constraint"]:
        made += [f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}" for own, kind, text in found.constraints
                 if kind == "u" and identity["name"].rpartition(".")[2].strip('"') == own]
    elif identity is not None:
        made.append(identity["text"])
    return made


async def _later(connection: Any, found: Definition, identity: Any) -> list[Made]:
    full = found.full_name
    own_index = identity["name"].rpartition(".")[2].strip('"') if identity is not None else ""
    made = [Made("constraint", own, f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}")
            for own, kind, text in found.constraints if kind not in "pf" and own != own_index]
    made += [Made("index", row["name"], row["text"]) for row in await connection.fetch(_INDEXES, full)
             if identity is None or row["text"] != identity["text"]]
    names = [row["tgname"] for row in await connection.fetch(_TRIGGER_NAMES, full)]
    texts = {name: pair for pair in found.triggers for name in names if f" {quote(name)} " in pair[0]
             or f" {name} " in pair[0].partition(" ON ")[0] + " "}
    for name, (text, function) in texts.items():
        made += [Made("function", name, function), Made("trigger", name, text)]
    made += [Made("foreign key", own, f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}")
             for own, kind, text in found.constraints if kind == "f"]
    made += [Made("", "", text) for text in found.create() if text.startswith(("COMMENT ", "GRANT "))
             or text.endswith(" ENABLE ROW LEVEL SECURITY")]
    made.append(Made("owner", found.owner, f"ALTER TABLE {full} OWNER TO {quote(found.owner)}"))
    return made
