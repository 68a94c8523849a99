"""A table's definition as the catalog of one server has it, and the SQL that makes a shell of it elsewhere.

Invariant: texts name everything with its schema: they are read under an empty search path and mean the same anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .shells import NO_WRITE, quote

__all__ = ["ColumnText", "Definition", "read_definition"]

_TABLE = """
    select c.oid, c.relkind::text as kind, pg_get_userbyid(c.relowner) as owner, c.relrowsecurity as secured,
           obj_description(c.oid, 'pg_class') as comment,
           exists (select from pg_inherits i join pg_foreign_table f on f.ftrelid = i.inhrelid
                   join pg_foreign_server s on s.oid = f.ftserver
                   where i.inhparent = c.oid and s.srvname = 'shardproxy_shell') as shell
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')"""
_COLUMNS = """
    select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
           case when a.attcollation <> t.typcollation then
               (select format('%I.%I', n.nspname, k.collname) from pg_collation k
                join pg_namespace n on n.oid = k.collnamespace where k.oid = a.attcollation) else '' end as collation,
           pg_get_expr(d.adbin, d.adrelid) as default, a.attidentity::text as identity,
           a.attgenerated <> '' as generated, col_description(a.attrelid, a.attnum) as comment,
           coalesce(case when a.attidentity <> '' then pg_get_serial_sequence($2, a.attname) else
               (select format('%I.%I', n.nspname, q.relname) from pg_depend p join pg_class q on q.oid = p.refobjid
                join pg_namespace n on n.oid = q.relnamespace
                where p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and q.relkind = 'S' limit 1) end, '')
               as sequence, pg_get_serial_sequence($2, a.attname) is not null as owns
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum"""
_CONSTRAINTS = """
    select conname as name, contype::text as kind, pg_get_constraintdef(oid) as text from pg_constraint
    where conrelid = $1 and contype in ('p', 'u', 'x', 'c', 'f') and conparentid = 0
    order by contype = 'f', contype <> 'p', conname"""
_INDEXES = """
    select pg_get_indexdef(i.indexrelid) as text from pg_index i where i.indrelid = $1 and i.indisvalid
    and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
    order by 1"""
_TRIGGERS = """
    select pg_get_triggerdef(t.oid) as text, pg_get_functiondef(t.tgfoid) as function from pg_trigger t
    where t.tgrelid = $1 and not t.tgisinternal and t.tgname <> $2
          and t.tgname !~ '^shardproxy_unique_' order by t.tgname"""
_GRANTS = """
    select format('GRANT %s ON TABLE %s TO %s%s', a.privilege_type, $2::text, case a.grantee when 0 then 'PUBLIC' else
                  quote_ident(pg_get_userbyid(a.grantee)) end, case when a.is_grantable then ' WITH GRANT OPTION' else
                  '' end) as text
    from pg_class c, aclexplode(c.relacl) a where c.oid = $1 and a.grantee <> c.relowner order by 1"""


@dataclass(frozen=True, slots=True)
class ColumnText:
    """A column in SQL. ``sequence``: that its default or identity takes values from; ``owns``: it
    is the column's own."""

    name: str
    type: str
    collation: str
    not_null: bool
    default: str | None
    identity: str
    generated: bool
    comment: str | None
    sequence: str
    owns: bool

    @property
    def same(self) -> tuple[object, ...]:
        """What has to be equal on all servers."""
        return (self.name, self.type, self.collation, self.not_null, self.generated)

    def sql(self) -> str:
        """As in CREATE TABLE."""
        parts = [quote(self.name), self.type, f"COLLATE {self.collation}" if self.collation else ""]
        if self.generated:
            parts.append(f"GENERATED ALWAYS AS ({self.default}) STORED")
        elif self.identity:
            how = "ALWAYS" if self.identity == "a" else "BY DEFAULT"
            parts.append(f"GENERATED {how} AS IDENTITY (SEQUENCE NAME {self.sequence})")
        elif self.default is not None:
            parts.append(f"DEFAULT {self.default}")
        parts.append("NOT NULL" if self.not_null else "")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Definition:
    """``constraints``: name, kind, text; foreign keys last. ``functions``: of its triggers."""

    schema: str
    name: str
    kind: str
    owner: str
    secured: bool
    comment: str | None
    shell: bool
    columns: tuple[ColumnText, ...]
    constraints: tuple[tuple[str, str, str], ...]
    indexes: tuple[str, ...]
    triggers: tuple[tuple[str, str], ...]
    grants: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Qualified and quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def difference(self, other: Definition) -> str:
        """The first column that differs; empty if none does."""
        for at in range(max(len(self.columns), len(other.columns))):
            mine = self.columns[at].same if at < len(self.columns) else ()
            theirs = other.columns[at].same if at < len(other.columns) else ()
            if mine != theirs:
                return f"column {at + 1} is {_shown(mine)}, not {_shown(theirs)}"
        return ""

    def create(self) -> list[str]:
        """Everything but foreign keys and sequences."""
        name = self.full_name
        found = [f"CREATE TABLE {name} ({', '.join(column.sql() for column in self.columns)})"]
        found += [f"ALTER TABLE {name} ADD CONSTRAINT {quote(own)} {text}"
                  for own, kind, text in self.constraints if kind != "f"]
        found += self.indexes
        if self.comment is not None:
            found.append(f"COMMENT ON TABLE {name} IS {_literal(self.comment)}")
        found += [f"COMMENT ON COLUMN {name}.{quote(column.name)} IS {_literal(column.comment)}"
                  for column in self.columns if column.comment is not None]
        if self.secured:
            found.append(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        return [*found, *self.grants]

    def foreign_keys(self) -> list[str]:
        """Foreign keys, when all tables are there."""
        return [f"ALTER TABLE {self.full_name} ADD CONSTRAINT {quote(own)} {text}"
                for own, kind, text in self.constraints if kind == "f"]


async def read_definition(connection: Any, schema: str, name: str) -> Definition | None:
    """From an asyncpg connection, in a transaction whose search path is ``pg_catalog``."""
    table = await connection.fetchrow(_TABLE, schema, name)
    if table is None:
        return None
    oid, full = table["oid"], f"{quote(schema)}.{quote(name)}"
    columns = await connection.fetch(_COLUMNS, oid, full)
    constraints = await connection.fetch(_CONSTRAINTS, oid)
    indexes = await connection.fetch(_INDEXES, oid)
    triggers = await connection.fetch(_TRIGGERS, oid, NO_WRITE)
    grants = await connection.fetch(_GRANTS, oid, full)
    return Definition(
        schema, name, table["kind"], table["owner"], table["secured"], table["comment"], table["shell"],
        tuple(ColumnText(**dict(row)) for row in columns), tuple((row["name"], row["kind"], row["text"])
                                                                 for row in constraints),
        tuple(row["text"] for row in indexes), tuple((row["text"], row["function"]) for row in triggers),
        tuple(row["text"] for row in grants))


def _shown(column: tuple[object, ...]) -> str:
    if not column:
        return "missing"
    name, kind, collation, not_null, generated = column
    return (f"{name} {kind}{f' collate {collation}' if collation else ''}{' not null' if not_null else ''}"
            f"{' generated' if generated else ''}")


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
