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
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from shardproxy.catalog.tables import Column
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.plan import Pull, settled

from .columns import BINARY_IS_LOCAL, FIRST_USER_OID, agreed
from .errors import PgError, refused
from .legs import Leg, Rows
from .merge_cy import count_rows, lines, tuples
from .policy import check_fanout
from .reading import AnyOrder, stop, together, watched
from .statement import Statement
from .writing import clocks_at, fill

__all__ = ["Bounds", "Staged", "Staging"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
ANALYZE_ABOVE = 1000
ACLITEM = 1033                  # has no binary format
BINARY_NAMES = frozenset({
    "bigint", "boolean", "bytea", "character", "character varying", "date", "double precision", "integer", "interval",
    "json", "jsonb", "name", "numeric", "oid", "real", "smallint", "text", "time", "time without time zone",
    "timestamp", "timestamp with time zone", "timestamp without time zone", "uuid"})
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

    async def timed(self, pulls: Sequence[Pull]) -> list[Pull]:
        """With the time of the coordinator's transaction in their texts."""
        texts = [pull.text for pull in pulls if not isinstance(pull.text, bytes)]
        if not texts:
            return list(pulls)
        wanted = sorted({part for text in texts for part in text if isinstance(part, int)})
        clocks = await clocks_at(self.leg, wanted)
        return [pull if isinstance(pull.text, bytes) else replace(pull, text=fill(pull.text, clocks))
                for pull in pulls]

    async def pull(self, pulls: Sequence[Pull]) -> list[Staged]:
        """One table for each pull, in order."""
        pulls = await self.timed(pulls)
        places = [self.places_of(pull) for pull in pulls]
        check_fanout(self.tx, {one for group in places for one in group})
        again = len({one for group in places for one in group}) < sum(map(len, places))
        if not again or any(pull.lock for pull in pulls):       # locked rows are the newest, whatever the snapshot
            await self._one_by_one(pulls, places)
        elif not (self.tx.in_block or self.tx.atomic):
            legs = await self.tx.all(sorted({one for group in places for one in group}))
            await together([leg.command(SNAPSHOT) for leg in legs])
            await self._one_by_one(pulls, places)
            await together([leg.command("COMMIT") for leg in legs])
        elif (await self.leg.run("SHOW transaction_isolation"))[0][0] == b"read committed":
            await self._united(pulls, places)
        else:
            await self._one_by_one(pulls, places)
        return self.tables

    async def _one_by_one(self, pulls: Sequence[Pull], places: Sequence[Sequence[str]]) -> None:
        for pull, group in zip(pulls, places, strict=True):
            self.tables.append(await self._fill(pull, group))

    async def _united(self, pulls: Sequence[Pull], places: Sequence[Sequence[str]]) -> None:
        """A snapshot is a statement's here: all that a shard gives comes as text from one statement, and is sorted out
        on the coordinator."""
        columns, by_place = self.united(pulls, places)
        staged = Pull(pulls[0].filter, b"", ("g", *columns), types=("integer", *["text"] * len(columns)))
        mixed = await self._fill(staged, list(by_place), by_place)
        for number, pull in enumerate(pulls):
            name = self._new_name()
            await self._create(name, pull)
            cells = ", ".join(f"{column}::{kind}" for column, kind in zip(columns, self.types_of(pull), strict=False))
            into = ", ".join(map(quote_ident, pull.columns))
            tag = await self.leg.command(
                f"INSERT INTO {name} ({into}) SELECT {cells} FROM {mixed.name} WHERE g = {number}")
            rows = int(tag.rpartition(" ")[2])
            await self._finish(name, pull, rows)
            self.tables.append(Staged(name, rows))
        await self.leg.command(f"DROP TABLE {mixed.name}")

    def united(self, pulls: Sequence[Pull], places: Sequence[Sequence[str]]) -> tuple[list[str], dict[str, bytes]]:
        """Names of the text columns, and for each place one statement that gives its rows for all pulls."""
        self.check_digits(pulls)
        columns = [f"c{number}" for number in range(max(len(pull.columns) for pull in pulls))]
        texts = [self.branch(number, pull, columns) for number, pull in enumerate(pulls)]
        return columns, {
            place: b" UNION ALL ".join(text for text, group in zip(texts, places, strict=True) if place in group)
            for place in sorted({one for group in places for one in group})}

    @staticmethod
    def branch(number: int, pull: Pull, columns: Sequence[str]) -> bytes:
        """A pull as text cells behind its number, as wide as the widest."""
        own = columns[:len(pull.columns)]
        cells = [f"{f'q.{column}' if column in own else 'NULL'}::text AS {column}" for column in columns]
        head = f"SELECT {number}, {', '.join(cells)} FROM (".encode()
        return head + settled(pull.text) + f") AS q({', '.join(own)})".encode()

    def types_of(self, pull: Pull) -> list[str]:
        """SQL names of the types of a pull's columns."""
        if pull.like is None:
            return list(pull.types)
        table = self.statement.tables.get(*pull.like)
        columns = [table.column(name) for name in pull.columns] if table is not None else []
        if not columns or any(column is None for column in columns):
            raise PgError.of("55000", f'the columns of table "{pull.like[1]}" are not known', hint="Try again.")
        return [column.type_name for column in columns if column is not None]

    def places_of(self, pull: Pull) -> list[str]:
        """Where a pull reads."""
        places = self.statement.shards(pull.filter)
        return places[:1] if pull.one else places

    async def empty(self, pulls: Sequence[Pull]) -> list[Staged]:
        """The tables without rows, for EXPLAIN."""
        for pull in pulls:
            name = self._new_name()
            await self._create(name, pull)
            await self._finish(name, pull, 0)
            self.tables.append(Staged(name, 0))
        return self.tables

    async def drop(self) -> None:
        """Drop all of them."""
        if self.tables:
            await self.leg.command("DROP TABLE " + ", ".join(one.name for one in self.tables))
        self.tables.clear()

    # -- one table

    def _new_name(self) -> str:
        self.leg.temporary = True
        return f"pg_temp.shardproxy_g{next(_numbers)}"

    async def _fill(self, pull: Pull, places: Sequence[str], texts: Mapping[str, bytes] | None = None) -> Staged:
        """``texts``: what each place runs, where it is not the pull's text."""
        name = self._new_name()
        binary = self._binary(pull)
        if not binary:
            self.check_digits([pull])
        legs: list[Leg] = await self.tx.all(places, write=pull.lock)
        replies: list[Rows] = []
        before = self.bounds.rows
        try:
            for leg in legs:
                text = settled(pull.text) if texts is None else texts[leg.place]
                replies.append(leg.rows(text, self.statement.bind, (1,) if binary else ()))
            await self._create(name, pull)
            if replies:
                await watched(self._copy(name, binary, places, replies), replies)
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

    async def _copy(self, name: str, binary: bool, places: Sequence[str], replies: Sequence[Rows]) -> None:
        agreed(places, [await one.described() for one in replies])
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

    def check_digits(self, pulls: Sequence[Pull]) -> None:
        """Refuse what would be lost as text."""
        self.check_text([kind for pull in pulls for kind in self.types_of(pull)])

    def check_text(self, kinds: Sequence[str]) -> None:
        """The same, for types by name: floating point is exact only with all digits, and names of time zones, as other
        styles than ISO have them, mean several zones."""
        digits = self.tx.link.settings.values.get("extra_float_digits", "1").strip()
        if re.fullmatch(r"0|-\d+", digits) and any(kind.startswith(("real", "double precision")) for kind in kinds):
            raise refused("floating point values over several shards with extra_float_digits below 1",
                          "Reset extra_float_digits.")
        if not self.tx.link.parameters.values.get("DateStyle", "ISO").startswith("ISO") and any(
                kind.startswith("timestamp") and "with time zone" in kind for kind in kinds):
            raise refused("timestamps with time zone over several shards with a DateStyle other than ISO",
                          "Use DateStyle ISO.")

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
