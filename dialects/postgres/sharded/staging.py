"""Temporary tables of the coordinator that hold rows of shards, while a statement needs them.

Invariants:
* A table like a shell has that table's types, modifiers, collations and, once filled, its primary key if all of it was
  pulled; names are generated, so they hide nothing.
* Rows go from shard to coordinator as the bytes that came, in binary format unless a type's binary form holds OIDs of
  the shard's own; what waits in between is bounded, and all of it is counted against ``Bounds``.
* All that one shard gives to a statement is one snapshot.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from shardproxy.catalog.tables import Column
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.plan import Pull

from .columns import BINARY_IS_LOCAL, FIRST_USER_OID, agreed
from .errors import PgError, refused
from .legs import Leg, Rows
from .merge_cy import count_rows, lines, tuples
from .reading import AnyOrder, stop, together
from .statement import Statement

__all__ = ["Bounds", "Staged", "Staging"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ANALYZE_ABOVE = 1000
ACLITEM = 1033                  # has no binary format
BINARY_NAMES = frozenset({
    "bigint", "boolean", "bytea", "character", "character varying", "date", "double precision", "integer", "interval",
    "json", "jsonb", "name", "numeric", "oid", "real", "smallint", "text", "time", "time without time zone", "timestamp",
    "timestamp with time zone", "timestamp without time zone", "uuid"})
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_numbers = itertools.count(1)


@dataclass
class Bounds:
    """What a statement may still bring to the coordinator."""

    max_rows: int
    max_bytes: int
    rows: int = 0
    bytes: int = 0

    def take(self, rows: int, size: int) -> None:
        """Count. Raises 54000 above the bounds."""
        self.rows += rows
        self.bytes += size
        what = (f"rows (gather.max_rows = {self.max_rows})" if self.rows > self.max_rows else
                f"bytes (gather.max_bytes = {self.max_bytes})" if self.bytes > self.max_bytes else "")
        if what:
            raise PgError.of("54000", f"the statement needs too many {what} of several shards on the coordinator",
                             hint="Name the sharding key, filter more, or raise the bound; EXPLAIN shows the plan.")


@dataclass(frozen=True)
class Staged:
    """A table: its qualified name, as SQL, and how many rows it has."""

    name: str
    rows: int


class Staging:
    """Fills tables on ``leg``, which is in a transaction. ``key``: primary keys are wanted."""

    def __init__(self, tx: Any, leg: Leg, statement: Statement, bounds: Bounds, key: bool = True) -> None:
        self.tx, self.leg, self.statement, self.bounds, self.key = tx, leg, statement, bounds, key
        self.tables: list[Staged] = []

    async def pull(self, pulls: Sequence[Pull]) -> list[Staged]:
        """One table for each pull, in order."""
        places = [self._places(pull) for pull in pulls]
        several = len(pulls) > 1 and len({one for group in places for one in group}) < sum(map(len, places))
        if several and (self.tx.in_block or self.tx.atomic):
            await self._one_snapshot(pulls)
        snapshots = several and not (self.tx.in_block or self.tx.atomic)
        legs = await self.tx.all(sorted({one for group in places for one in group}) if snapshots else [])
        await together([leg.command(SNAPSHOT) for leg in legs])
        for pull, group in zip(pulls, places, strict=True):
            self.tables.append(await self._fill(pull, group))
        await together([leg.command("COMMIT") for leg in legs])
        return self.tables

    async def _one_snapshot(self, pulls: Sequence[Pull]) -> None:
        """In a block several statements are one snapshot only if its isolation says so."""
        if any(pull.lock for pull in pulls):
            return                      # locked rows are the newest, whatever the snapshot
        level = (await self.leg.run("SHOW transaction_isolation"))[0][0]
        if level == b"read committed":
            raise refused("a query that reads several sharded tables over several shards, in a READ COMMITTED block",
                          "BEGIN ISOLATION LEVEL REPEATABLE READ, or run it outside a transaction block.")

    def _places(self, pull: Pull) -> list[str]:
        places = self.statement.shards(pull.filter)
        return places[:1] if pull.one else places

    async def drop(self) -> None:
        """Drop all of them."""
        if self.tables:
            await self.leg.command("DROP TABLE " + ", ".join(one.name for one in self.tables))
        self.tables.clear()

    # -- one table

    async def _fill(self, pull: Pull, places: Sequence[str]) -> Staged:
        name = f"pg_temp.shardproxy_g{next(_numbers)}"
        self.leg.temporary = True
        binary = self._binary(pull)
        legs: list[Leg] = await self.tx.all(places, write=pull.lock)
        replies: list[Rows] = []
        before = self.bounds.rows
        try:
            for leg in legs:
                replies.append(leg.rows(pull.text, self.statement.bind, (1,) if binary else ()))
            await self._create(name, pull)
            if replies:
                agreed(places, await together([one.described() for one in replies]))
                await self._copy(name, binary, replies)
        except BaseException:
            await stop(legs[:len(replies)], replies)
            await self.leg.quiet()
            raise
        rows = self.bounds.rows - before
        await self._finish(name, pull, rows)
        return Staged(name, rows)

    async def _create(self, name: str, pull: Pull) -> None:
        options = "CREATE TEMPORARY TABLE " + name.removeprefix("pg_temp.")
        if pull.like is None:
            columns = ", ".join(f"{quote_ident(column)} {kind}"
                                for column, kind in zip(pull.columns, pull.types, strict=True))
            await self.leg.command(f"{options} ({columns}) ON COMMIT DROP")
            return
        shell = ".".join(map(quote_ident, pull.like))
        columns = ", ".join(map(quote_ident, pull.columns))
        await self.leg.command(f"{options} ON COMMIT DROP AS SELECT {columns} FROM {shell} WITH NO DATA")

    async def _copy(self, name: str, binary: bool, replies: Sequence[Rows]) -> None:
        form = " (FORMAT binary)" if binary else ""
        async with aclosing(self._data(replies, binary)) as data:
            await self.leg.copy_in(f"COPY {name} FROM STDIN{form}", data)

    async def _data(self, replies: Sequence[Rows], binary: bool) -> AsyncGenerator[bytes, None]:
        """What COPY reads."""
        if binary:
            yield HEADER
        async with aclosing(AnyOrder(replies).chunks()) as chunks:
            async for chunk in chunks:
                self.bounds.take(count_rows(chunk), len(chunk))
                yield tuples(chunk) if binary else lines(chunk)
        if binary:
            yield TRAILER

    async def _finish(self, name: str, pull: Pull, rows: int) -> None:
        table = self.statement.tables.get(*pull.like) if pull.like is not None else None
        key = table.primary_key if table is not None and self.key else ()
        if key and set(key) <= set(pull.columns):
            await self.leg.command(f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(map(quote_ident, key))})")
        if rows > ANALYZE_ABOVE:
            await self.leg.command(f"ANALYZE {name}")

    def _binary(self, pull: Pull) -> bool:
        """Whether every column may go in binary format."""
        if pull.like is None:
            return all(kind.partition("(")[0].strip().lower() in BINARY_NAMES for kind in pull.types)
        table = self.statement.tables.get(*pull.like)
        if table is None:
            return False
        return all(column is not None and _portable(column) for column in map(table.column, pull.columns))


def _portable(column: Column) -> bool:
    """Whether the binary form of a value means the same on every server."""
    oid = column.base or column.type
    return oid < FIRST_USER_OID and oid not in BINARY_IS_LOCAL and oid != ACLITEM
