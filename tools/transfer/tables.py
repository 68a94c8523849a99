"""What the data plane knows of the tables of a transfer, and the names and settings that its parts agree on.

Invariant: a row is known by its *identity*: the columns that the stream of changes tells of an old row (the primary
key, or the index that is the replica identity). A table without one is copied whole and followed row by row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

from shardproxy import dialects
from shardproxy.dialects.changes import Changes, Transfers
from shardproxy.dialects.replication import Target
from shardproxy.errors import ShardproxyError

from .move import Move, Place, Table

__all__ = ["READ_SETTINGS", "Links", "MovedTable", "TableChanged", "changes_of", "ident", "label",
           "load_tables", "object_name", "origin_name", "read_only", "writer"]

READ_SETTINGS = """
set client_encoding = 'UTF8'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set timezone = 'UTC';
set extra_float_digits = 3; set bytea_output = 'hex'; set xmlbinary = 'base64'; set lc_monetary = 'C';
set search_path = pg_catalog; set statement_timeout = 0; set lock_timeout = 0;
set idle_in_transaction_session_timeout = 0; set idle_session_timeout = 0
"""
"""With these, equal values are equal texts at all places."""
_WRITE_SETTINGS = READ_SETTINGS + """;
set session_replication_role = replica; set row_security = off; set check_function_bodies = off;
set synchronous_commit = on; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off
"""
# Rows that are looked for by their identity are few against the table: always by its index.

_OWN = "shardproxy"
_NAME_MAX = 63
COMPARABLE = frozenset((16, 17, 20, 21, 23, 1082, 1114, 1184, 1700, 2950))
"""Types whose values compare here as in the database."""
_TEXTS = frozenset((25, 1042, 1043))

_TABLE = """
select c.oid, c.relkind::text as kind, c.relreplident::text as identity from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')
"""
_COLUMNS = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.atttypid as oid,
       coalesce((select k.collname in ('C', 'POSIX') or k.collprovider = 'd' and d.datcollate in ('C', 'POSIX')
                   from pg_collation k, pg_database d where k.oid = a.attcollation
                    and d.datname = current_database()), true) as plain,
       current_setting('server_encoding') in ('UTF8', 'SQL_ASCII') as bytewise
  from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
 order by a.attnum
"""
_IDENTITY = """
select array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (attnum, at)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by k.at) as columns
  from pg_index i
 where i.indrelid = $1 and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
   and case $2 when 'i' then i.indisreplident when 'd' then i.indisprimary
       else i.indisunique and not exists (select from unnest(i.indkey::int2[]) k (attnum)
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where not a.attnotnull) end
 order by not i.indisprimary, i.indexrelid limit 1
"""
_LEAVES = """
select n.nspname, c.relname from pg_partition_tree($1::oid::regclass) t join pg_class c on c.oid = t.relid
  join pg_namespace n on n.oid = c.relnamespace where t.relid <> $1
"""


class TableChanged(ShardproxyError):
    """A table has gone, or has other columns than when the transfer began."""


class _Primary(Protocol):
    @property
    def target(self) -> Target:
        """How it is reached."""


class Links(Protocol):
    """Connections to places; see ``servers.Servers``."""

    async def open(self, place: str, *, name: str = "") -> Any:
        """An asyncpg connection to the primary of a place."""

    async def primary(self, place: str) -> _Primary:
        """The server that is the primary of a place now."""


@dataclass(frozen=True)
class MovedTable:
    """``columns``: those that are written (none that is generated), with ``types`` and ``oids``. ``into``: its name at
    the targets. ``children``: its partitions. ``ordered``: identities compare here as in the database (``order``)."""

    table: Table
    into: Table
    columns: tuple[str, ...]
    types: tuple[str, ...]
    oids: tuple[int, ...]
    identity: tuple[str, ...]
    key: tuple[str, ...]
    kind: str
    replica_identity: str
    ordered: bool
    children: tuple[Table, ...] = ()
    collated: frozenset[str] = frozenset()
    """Columns of the identity that compare here as in the database only under collation C, which no index has."""

    @property
    def text(self) -> str:
        """For people, and for the tables of progress."""
        return ".".join(self.table)

    @cached_property
    def source_name(self) -> str:
        """Qualified, in SQL."""
        return ".".join(map(ident, self.table))

    @cached_property
    def target_name(self) -> str:
        """Qualified, in SQL."""
        return ".".join(map(ident, self.into))

    @cached_property
    def column_list(self) -> str:
        """In SQL."""
        return ", ".join(map(ident, self.columns))

    @cached_property
    def order(self) -> str:
        """The identity, so that it compares as here, in SQL."""
        return ", ".join(ident(name) + (' collate "C"' if name in self.collated else "") for name in self.identity)

    @cached_property
    def identity_at(self) -> tuple[int, ...]:
        """Where the columns of the identity stand."""
        return tuple(self.columns.index(name) for name in self.identity)

    @cached_property
    def key_at(self) -> tuple[int, ...]:
        """Where the columns of the sharding key stand."""
        return tuple(self.columns.index(name) for name in self.key)

    @cached_property
    def identity_types(self) -> tuple[str, ...]:
        """Type names of the identity."""
        return tuple(self.types[at] for at in self.identity_at)

    @cached_property
    def identity_oids(self) -> tuple[int, ...]:
        """Type OIDs of the identity."""
        return tuple(self.oids[at] for at in self.identity_at)

    @cached_property
    def key_in_identity(self) -> bool:
        """Whether a row whose identity is the same has the same owner."""
        return set(self.key) <= set(self.identity)


def ident(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def changes_of(dialect: str = "postgres") -> Changes:
    """What copies and follows rows of this dialect."""
    return cast(Transfers, dialects.get(dialect)).changes


def label(move: Move) -> str:
    """The name of a transfer and its direction, in the tables of progress."""
    return f"{move.name}/back" if move.is_reversed else move.name


def object_name(move: Move, source: Place) -> str:
    """Of the slot and the publication at a source: lower case letters, digits and underscores, unique."""
    plain = f"{label(move)}:{source.name}"
    tail = hashlib.sha256(plain.encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9]+", "_", f"{_OWN}_{plain}".lower())
    return f"{words[:_NAME_MAX - 9]}_{tail}"


def origin_name(move: Move, source: Place, target: Place) -> str:
    """Of what a stream of this transfer writes at a target: its stream the other way leaves such transactions out.

    Origins belong to a whole server, which may have several places, and has no more than ``max_replication_slots``.
    """
    return f"{origin_prefix(move)}{label(move)}:{source.name}:{target.name}"


def origin_prefix(move: Move) -> str:
    """What the names of all origins of one transfer begin with."""
    return f"{_OWN}:{move.name}:"


async def read_only(links: Links, place: str) -> Any:
    """A connection that reads rows."""
    connection = await links.open(place, name="shardproxy transfer")
    try:
        await connection.execute(READ_SETTINGS)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def writer(links: Links, place: str, origin: str = "") -> Any:
    """A connection that writes what came from elsewhere: no triggers fire, and its transactions bear this origin.

    One process at a time has an origin: a second one fails with ObjectInUseError. Without one: for what no stream
    reads, the rows of a copy.
    """
    connection = await links.open(place, name="shardproxy transfer")
    try:
        await connection.execute(_WRITE_SETTINGS)
        if origin:
            await connection.execute(
                "select pg_replication_origin_create(name) from (select $1::text as name) one "
                "where not exists (select from pg_replication_origin where roname = $1)", origin)
            await connection.execute("select pg_replication_origin_session_setup($1)", origin)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def load_tables(connection: Any, move: Move, source: Place, into: str = "") -> list[MovedTable]:
    """The tables of a move that a source has rows of. ``into``: a schema that has them at the targets, else their own.

    TableChanged: a table that is not there.
    """
    found: list[MovedTable] = []
    for table in (*move.tables, *move.references):
        if source in move.sources_of(table):
            found.append(await _table(connection, move, table, into))
    return found


async def _table(connection: Any, move: Move, table: Table, into: str) -> MovedTable:
    row = await connection.fetchrow(_TABLE, *table)
    if row is None:
        raise TableChanged(f"there is no table {'.'.join(table)}")
    columns = await connection.fetch(_COLUMNS, row["oid"])
    # FULL tells all of an old row: any unique index will do.
    identity = await _identity(connection, row["oid"], row["identity"], row["kind"])
    leaves = await connection.fetch(_LEAVES, row["oid"]) if row["kind"] == "p" else ()
    by_name = {column["name"]: column for column in columns}
    ordered = bool(identity) and all(_ordered(by_name[name]) for name in identity)
    key = move.key_of(table) if table not in move.references else ()
    moved = (into, table[1]) if into and table not in move.references else table
    return MovedTable(
        table, moved, tuple(column["name"] for column in columns),
        tuple(column["type"] for column in columns), tuple(column["oid"] for column in columns), identity, key,
        row["kind"], row["identity"], ordered, tuple((leaf["nspname"], leaf["relname"]) for leaf in leaves),
        frozenset(name for name in identity if by_name[name]["oid"] in _TEXTS and not by_name[name]["plain"]))


async def _identity(connection: Any, oid: int, kind: str, relkind: str) -> tuple[str, ...]:
    """A partitioned table's own setting counts for nothing: its partitions have theirs, by default the primary key."""
    found: Sequence[str] | None = await connection.fetchval(_IDENTITY, oid, "d" if relkind == "p" else kind)
    return tuple(found or ())


def _ordered(column: Any) -> bool:
    return column["oid"] in COMPARABLE or (column["oid"] in _TEXTS and (column["plain"] or column["bytewise"]))
