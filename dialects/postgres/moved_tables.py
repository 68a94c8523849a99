"""SQL that makes a table at another place as it is at its source, in two parts: what rows need, and what comes later.

Invariant: indexes that are no identity, constraints that look at other rows, and triggers come after the rows: while
rows of several moments stand side by side, two of them may have the same unique value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shardproxy.dialects.changes import Made, TableSql

from .sharded.definition import ColumnText, Definition, read_definition
from .sharded.shells import NO_WRITE, quote

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
    select pg_get_indexdef(i.indexrelid) as text, (select relname from pg_class c where c.oid = i.indexrelid) as name,
           exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype = 'u') as constraint
      from pg_index i where i.indrelid = $1::text::regclass and i.indisreplident and not i.indisprimary"""
_INDEXES = """
    select c.relname as name, pg_get_indexdef(i.indexrelid) as text
      from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = $1::text::regclass and i.indisvalid
       and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))"""
_TRIGGERS = """
    select tgname as name, pg_get_triggerdef(oid) as text, pg_get_functiondef(tgfoid) as function
      from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal and tgname <> $2 order by tgname"""
_FULL = "select relreplident = 'f' from pg_class where oid = $1::text::regclass"
FENCE = "shardproxy_fence"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Partition:
    schema: str
    name: str
    parent_schema: str | None
    parent: str | None
    bound: str | None
    key: str | None


async def table_sql(connection: Any, table: Key, into: Mapping[Key, str]) -> TableSql | None:
    """From an asyncpg connection to the source; None: there is no such table."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = pg_catalog")
        found = await read_definition(connection, *table)
        if found is None:
            return None
        schema = into.get(table, found.schema)
        first = [f"create schema if not exists {quote(schema)}"]
        for column in found.columns:
            if column.sequence and not column.identity:
                text = await connection.fetchval(_SEQUENCE, column.sequence)
                if text is not None:
                    sequence_schema = await connection.fetchval("select (parse_ident($1))[1]", column.sequence)
                    first += [f"create schema if not exists {quote(sequence_schema)}", text]
        texts = _Texts(into, await _plain_names(connection, into))
        first += await _tables(connection, found, schema, texts)
        identity = await connection.fetchrow(_IDENTITY, found.full_name)
        return TableSql(tuple(first), tuple(await _later(connection, found, schema, texts, identity)), found)


class _Texts:
    """Texts of the server name tables with their schemas: what is elsewhere at the targets is named so."""

    def __init__(self, into: Mapping[Key, str], names: Mapping[Key, str]) -> None:
        pairs = {names[key]: f"{quote(schema)}.{quote(key[1])}" for key, schema in into.items() if key in names}
        self._pairs = pairs
        longest = sorted(map(re.escape, pairs), key=len, reverse=True)
        self._pattern = re.compile(rf"(?:(?<= ON )|(?<= REFERENCES ))({'|'.join(longest)})(?=[ (])") if pairs else None

    def placed(self, text: str) -> str:
        """Behind ON (of an index, a trigger) and REFERENCES; never in an expression."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._pairs[found[1]], text, count=1)


async def _plain_names(connection: Any, into: Mapping[Key, str]) -> dict[Key, str]:
    """As the server writes them."""
    return {key: await connection.fetchval("select format('%I.%I', $1::text, $2::text)", *key) for key in into}


async def _tables(connection: Any, found: Definition, schema: str, texts: _Texts) -> list[str]:
    """The table, its partitions, its primary key, and the index that is its identity."""
    full = f"{quote(schema)}.{quote(found.name)}"
    columns = ", ".join(_column(column, schema, found.schema) for column in found.columns)
    made: list[str] = []
    for row in await connection.fetch(_PARTITIONS, found.full_name) if found.kind == "p" else ():
        one = _Partition(**dict(row))
        by = f" PARTITION BY {one.key}" if one.key else ""
        if not made:
            made.append(f"CREATE TABLE {full} ({columns}){by}")
            continue
        own, parent = (f"{quote(schema if schema != found.schema else where or '')}.{quote(name or '')}"
                       for where, name in ((one.schema, one.name), (one.parent_schema, one.parent)))
        made.append(f"CREATE TABLE {own} PARTITION OF {parent} {one.bound}{by}")
    if not made:
        made.append(f"CREATE TABLE {full} ({columns})")
    made += [f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}" for own, kind, text in found.constraints
             if kind == "p"]
    identity = await connection.fetchrow(_IDENTITY, found.full_name)
    if identity is not None and identity["constraint"]:
        made += [f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}" for own, kind, text in found.constraints
                 if kind == "u" and own == identity["name"]]
        made.append(f"ALTER TABLE {full} REPLICA IDENTITY USING INDEX {quote(identity['name'])}")
    elif identity is not None:
        made.append(texts.placed(identity["text"]))
        made.append(f"ALTER TABLE {full} REPLICA IDENTITY USING INDEX {quote(identity['name'])}")
    elif found.kind == "r" and await connection.fetchval(_FULL, found.full_name):
        made.append(f"ALTER TABLE {full} REPLICA IDENTITY FULL")
    return made


def _column(column: ColumnText, schema: str, own: str) -> str:
    """An identity of a table that stands beside its original has a sequence of its own."""
    if column.identity and schema != own:
        name = column.sequence.removeprefix(f"{own}.").removeprefix(f"{quote(own)}.")
        column = replace(column, sequence=f"{quote(schema)}.{name}")
    return column.sql()


async def _later(connection: Any, found: Definition, schema: str, texts: _Texts, identity: Any) -> list[Made]:
    full = f"{quote(schema)}.{quote(found.name)}"
    own_index = identity["name"] if identity is not None else ""
    made = [Made("constraint", own, f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {text}")
            for own, kind, text in found.constraints if kind not in "pf" and own != own_index]
    made += [Made("index", f"{quote(schema)}.{quote(row['name'])}", texts.placed(row["text"]))
             for row in await connection.fetch(_INDEXES, found.full_name)
             if identity is None or row["text"] != identity["text"]]
    for row in await connection.fetch(_TRIGGERS, found.full_name, NO_WRITE):
        if row["name"] != FENCE:
            made += [Made("function", row["name"], row["function"]),
                     Made("trigger", row["name"], texts.placed(row["text"]))]
    made += [Made("foreign key", own, f"ALTER TABLE {full} ADD CONSTRAINT {quote(own)} {texts.placed(' ' + text)}")
             for own, kind, text in found.constraints if kind == "f"]
    moved = replace(found, schema=schema)
    made += [Made("", "", text) for text in moved.create() if text.startswith("COMMENT ")
             or text.endswith(" ENABLE ROW LEVEL SECURITY")]
    made += [Made("", "", text.replace(f" ON TABLE {found.full_name} ", f" ON TABLE {full} "))
             for text in found.grants]
    made.append(Made("owner", found.owner, f"ALTER TABLE {full} OWNER TO {quote(found.owner)}"))
    return made
