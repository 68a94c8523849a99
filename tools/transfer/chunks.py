"""Ranges of a table's identity, each copied at a snapshot of its own, and which change comes after which snapshot.

Invariants:
* A change applies to a chunk exactly if the chunk's snapshot does not see its transaction. By position alone that
  cannot be told: a transaction is in the WAL before snapshots see it. Above the chunk's position it is certain.
* The chunks of a table cover all keys, each once: ``low`` belongs to a chunk, ``high`` to the next one.
* Progress is kept per target: each target is a copy of its own, whole up to a position of its own.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .move import Move, Place
from .tables import MovedTable, ident, label

__all__ = ["NEVER", "Chunk", "ChunkMap", "Snapshot", "load_chunks", "lsn_text", "plan_chunks", "position_of",
           "range_sql", "save_plan"]

NEVER = 1 << 64
"""No position is above it."""
CHUNK_ROWS = 200_000
SCANS = 16
"""Chunks of a table at most, where each is read by a scan of the whole table: see ``MovedTable.collated``."""
SAMPLES = 30
"""Of the rows of a chunk, on average, where its bounds are taken from a sample."""

TABLES = """
create schema if not exists shardproxy;
create table if not exists shardproxy.transfer_chunks (
    transfer text, source text, table_name text, low text, high text, lsn pg_lsn, snapshot text, done_at timestamptz,
    rows bigint, primary key (transfer, source, table_name, low));
create table if not exists shardproxy.transfer_positions (
    transfer text, source text, lsn pg_lsn not null, skipped bigint[] not null default '{}',
    primary key (transfer, source));
"""
_LOAD = """
select table_name, low, high, lsn::text as lsn, snapshot from shardproxy.transfer_chunks
 where transfer = $1 and source = $2 order by table_name, low
"""
_SAVE = """
insert into shardproxy.transfer_chunks (transfer, source, table_name, low, high) values ($1, $2, $3, $4, $5)
    on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``pg_current_snapshot()``: transactions below ``xmax`` that are not in ``running`` are seen."""

    text: str
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """``xmin:xmax:xip,xip``."""
        _, xmax, running = text.split(":")
        return cls(text, int(xmax), frozenset(int(one) for one in running.split(",") if one))

    def full(self, xid: int) -> int:
        """A transaction id of 32 bits, as those of the snapshot are: the one that is nearest."""
        found = (self.xmax >> 32 << 32) | xid
        if found - self.xmax > 1 << 31:
            return found - (1 << 32)
        return found + (1 << 32) if self.xmax - found > 1 << 31 else found

    def sees(self, xid: int) -> bool:
        """Whether it shows what this (committed) transaction did."""
        found = self.full(xid)
        return found < self.xmax and found not in self.running


@dataclass(frozen=True, slots=True)
class Chunk:
    """``low``, ``high``: values of the identity in text; None: no bound. ``snapshot``: None until it is copied."""

    low: tuple[str, ...] | None
    high: tuple[str, ...] | None
    lsn: int = 0
    snapshot: Snapshot | None = None

    @property
    def low_text(self) -> str:
        """As it is stored; sorts in no special order."""
        return json.dumps(self.low)

    @property
    def high_text(self) -> str:
        """As it is stored."""
        return json.dumps(self.high)


class ChunkMap:
    """The chunks of one table at one target. ``read(oid, value)``: a value in comparable form."""

    def __init__(self, table: MovedTable, chunks: Sequence[Chunk], read: Callable[[int, Any], Any]) -> None:
        self._read, self._oids = read, table.identity_oids
        first = [chunk for chunk in chunks if chunk.low is None]
        rest = [(self.comparable([value.encode() for value in chunk.low]), chunk)
                for chunk in chunks if chunk.low is not None]
        rest.sort(key=lambda pair: pair[0])
        self._lows = [low for low, _ in rest]
        self.chunks = [*first, *(chunk for _, chunk in rest)]
        whole = bool(chunks) and all(chunk.snapshot is not None for chunk in chunks)
        self.complete_above = max(chunk.lsn for chunk in chunks) if whole else NEVER
        """Changes that were committed above it apply, whatever their row."""

    def comparable(self, values: Sequence[bytes | None]) -> tuple[Any, ...]:
        """An identity, so that it compares as in the database."""
        return tuple(self._read(oid, value) for oid, value in zip(self._oids, values, strict=True))

    def chunk_of(self, identity: Sequence[Any]) -> Chunk:
        """The chunk that a row belongs to. ``identity``: in text."""
        if not self._lows:
            return self.chunks[0]
        return self.chunks[bisect_right(self._lows, self.comparable(identity))]

    def applies(self, identity: Sequence[Any], xid: int, lsn: int) -> bool | None:
        """Whether a change comes after what was copied. None: its chunk is not copied yet, the copy will have it."""
        if lsn > self.complete_above:
            return True
        if not self.chunks:
            return None
        chunk = self.chunk_of(identity)
        if chunk.snapshot is None:
            return None
        return lsn > chunk.lsn or not chunk.snapshot.sees(xid)


def lsn_text(lsn: int) -> str:
    """As PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def position_of(text: str) -> int:
    """``0/5000028`` as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def range_sql(table: MovedTable, chunk: Chunk) -> str:
    """The rows of a chunk, as a condition."""
    parts = []
    for sign, bound in ((">=", chunk.low), ("<", chunk.high)):
        if bound is not None:
            values = ", ".join(f"{_literal(value)}::{kind}" for value, kind in
                               zip(bound, table.identity_types, strict=True))
            parts.append(f"({table.order}) {sign} ({values})")
    return " and ".join(parts) or "true"


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


async def load_chunks(target: Any, move: Move, source: Place) -> dict[str, list[Chunk]]:
    """All chunks of a source that a target knows of, by table."""
    found: dict[str, list[Chunk]] = {}
    for row in await target.fetch(_LOAD, label(move), source.name):
        low, high = (json.loads(row[name]) for name in ("low", "high"))
        chunk = Chunk(tuple(low) if low is not None else None, tuple(high) if high is not None else None,
                      position_of(row["lsn"]) if row["lsn"] else 0,
                      Snapshot.parse(row["snapshot"]) if row["snapshot"] else None)
        found.setdefault(row["table_name"], []).append(chunk)
    return found


async def save_plan(target: Any, move: Move, source: Place, table: MovedTable, chunks: Sequence[Chunk]) -> None:
    """Write down what is to be copied."""
    await target.executemany(_SAVE, [(label(move), source.name, table.text, chunk.low_text, chunk.high_text)
                                     for chunk in chunks])


async def plan_chunks(source: Any, table: MovedTable, rows: int = CHUNK_ROWS) -> list[Chunk]:
    """Cut a table into chunks of about so many rows. A table whose identities cannot be compared here is one chunk."""
    if not table.ordered:
        return [Chunk(None, None)]
    pages = await source.fetchval(
        "select coalesce(sum(pg_relation_size(relid)), 0) / current_setting('block_size')::int "
        "from pg_partition_tree($1::text::regclass) where isleaf" if table.kind == "p" else
        "select pg_relation_size($1::text::regclass) / current_setting('block_size')::int", table.source_name)
    if not pages:
        return [Chunk(None, None)]
    estimate = await _estimate(source, table, int(pages))
    count = min(estimate // rows, SCANS) if table.collated else estimate // rows
    if count < 2:
        return [Chunk(None, None)]
    percent = min(100.0, max(100.0 * SAMPLES * count / estimate, 100.0 * 20 * count / int(pages)))
    columns = ", ".join(map(ident, table.identity))
    texts = ", ".join(f"format('%s', {ident(name)})" for name in table.identity)
    found = await source.fetch(
        f"select array[{texts}] from (select {columns}, row_number() over (order by {table.order}) as n, "
        f"count(*) over () as total from {table.source_name} tablesample system ({percent:.6f})) s "
        f"where n > 1 and (n * {count} / total) > ((n - 1) * {count} / total) and n < total order by {table.order}")
    bounds = list(dict.fromkeys(tuple(row[0]) for row in found))
    return [Chunk(low, high) for low, high in zip([None, *bounds], [*bounds, None], strict=True)]


async def _estimate(source: Any, table: MovedTable, pages: int) -> int:
    """Rows by the density that the planner knows of, else 50 a page."""
    tuples, known = await source.fetchrow(
        "select coalesce(sum(greatest(reltuples, 0)), 0)::float8, coalesce(sum(relpages), 0)::float8 from pg_class "
        "where oid in (select relid from pg_partition_tree($1::text::regclass) where isleaf) or "
        "oid = $1::text::regclass and relkind = 'r'", table.source_name)
    return int(tuples / known * pages) if known and tuples else pages * 50
