"""Push and merge: one text on several shards at once, their rows as one stream to the client.

Invariants:
* Rows stay the bytes that a server sent; only what is compared or folded is looked at. Memory is bounded by what
  waits on each leg.
* When ``scatter`` returns, every leg is quiet. In a client's block nothing is cancelled but after an error, for a
  cancel would abort the block.
* An error is the one that came first; those that our own cancelling causes are not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple

from shardproxy.dialects.postgres import wire
from shardproxy.planner.plan import Fold, Scatter, settled

from .columns import BINARY_IS_LOCAL, FIRST_USER_OID, ColumnDescription, agreed, read_columns, write_columns
from .described import describe
from .errors import PgError, refused
from .folds import fold_rows
from .gather import run_gather
from .keys_cy import kind_of
from .legs import DESCRIBE_PORTAL, Bind, Leg, Rows, bound, foreign, payloads
from .merge_cy import Merger, count_rows
from .output import Output
from .policy import check_fanout
from .reading import AnyOrder, stop, watched
from .statement import Statement
from .writing import clocks_of, fill

__all__ = ["Scattered", "Seen", "finish_scatter", "run_scatter", "scatter"]

BLOCK = 64 * 1024
MOMENTS, FLOATS, TEXTS = frozenset({1082, 1114, 1184}), frozenset({700, 701}), frozenset({18, 19, 25, 1042, 1043})
SUMMED, BOOLEAN = frozenset({20, 21, 23, 1700}), 16
SAME_ORDER = frozenset({"UTF8", "LATIN1", "SQL_ASCII"})
"""Client encodings in which texts have the order that they have in UTF-8."""


async def run_scatter(tx: Any, plan: Scatter, statement: Statement, out: Output) -> None:
    """Run ``plan`` on the shards that its filter names; what cannot be merged here is gathered."""
    try:
        await scatter(tx, plan, statement.shards(plan.filter), statement, out)
    except CannotMerge:
        if plan.otherwise is None:
            raise
        await run_gather(tx, plan.otherwise, statement, out)


class CannotMerge(PgError):
    """The rows turned out to be such that they cannot be merged here. Nothing was sent to the client."""


async def scatter(tx: Any, plan: Scatter, shards: Sequence[str], statement: Statement, out: Output) -> None:
    """Run ``plan`` on ``shards``; rows and tag go to ``out``."""
    places = list(shards) or list(statement.layout.keyspaces[plan.filter.keyspace].places()[:1])
    check_fanout(tx, places)
    if not isinstance(plan.text, bytes):
        plan = replace(plan, text=fill(plan.text, await clocks_of(tx, places[0], [plan.text])))
    work = Scattered(tx, plan, statement, out)
    if plan.serial:
        await work.one_by_one(places)
    else:
        await work.at_once(places)
    out.complete(f"SELECT {work.count}")


async def finish_scatter(work: Scattered, places: Sequence[str], legs: Sequence[Leg], replies: Sequence[Rows]) -> None:
    """As ``run_scatter``, of a statement that was sent already."""
    try:
        await work.follow(places, legs, replies)
        work.out.complete(f"SELECT {work.count}")
    except CannotMerge:
        if work.plan.otherwise is None:
            raise
        await run_gather(work.tx, work.plan.otherwise, work.statement, work.out)


class Seen(NamedTuple):
    """What descriptions ``raw`` mean to a session with these settings and reported parameters."""

    settings: Any
    parameters: Any
    raw: list[bytes | None]
    columns: list[ColumnDescription]
    sort: list[tuple[int, int, int, bool, bool]]
    folds: list[Fold]
    description: bytes


class Scattered:
    """One execution. ``skip``, ``left``: of OFFSET and LIMIT."""

    def __init__(self, tx: Any, plan: Scatter, statement: Statement, out: Output) -> None:
        self.tx, self.plan, self.statement, self.out = tx, plan, statement, out
        limit = _bounded(statement.integer(plan.limit), "LIMIT", "2201W")
        self.skip = _bounded(statement.integer(plan.offset), "OFFSET", "2201X") or 0
        self.left = -1 if limit is None else limit
        self.count = 0
        self.columns: list[ColumnDescription] = []
        self.sort: list[tuple[int, int, int, bool, bool]] = []
        self.folds: list[Fold] = []

    async def at_once(self, places: Sequence[str]) -> None:
        """All shards side by side."""
        legs: list[Leg] = await self.tx.all(places)
        formats = self._formats()
        replies = [leg.rows(settled(self.plan.text), self.statement.bind, formats) for leg in legs]
        await self.follow(places, legs, replies)

    async def follow(self, places: Sequence[str], legs: Sequence[Leg], replies: Sequence[Rows]) -> None:
        """Rows of shards that were asked."""
        try:
            await watched(self._read(places, replies), replies)
        except BaseException as error:
            await stop(legs, replies, gently=isinstance(error, CannotMerge))
            raise
        await stop(legs, replies, gently=True)

    def now(self, places: Sequence[str], replies: Sequence[Rows], seen: Seen | None) -> Seen | None:
        """The whole answer, of replies that have ended without an error.

        ``seen``: what was given for the same statement before. None: nothing was told, for it goes the long way only.
        """
        arrived = [one.arrived() for one in replies]
        found = self._seen([described for described, _ in arrived], places, seen)
        if found is None:
            return None
        self.columns, self.sort, self.folds = found.columns, found.sort, found.folds
        if self.plan.folds:
            self._tell_row(found.description, [row for _, rows in arrived for row in payloads(rows)])
            return found
        rows = self._merged([rows for _, rows in arrived])
        if rows is None:
            return None
        self.out.description(found.description)
        self.count = count_rows(rows)
        self.out.rows(rows, self.count)
        return found

    def _seen(self, raw: list[bytes | None], places: Sequence[str], seen: Seen | None) -> Seen | None:
        link = self.tx.link
        if (seen is not None and seen.settings is link.settings and seen.parameters is link.parameters
                and seen.raw == raw):
            return seen
        columns = agreed(places, raw)
        visible = columns[:len(columns) - self.plan.hidden]
        if any(column.type >= FIRST_USER_OID for column in visible):
            return None
        description = self._told(columns, [column.type for column in visible])
        return Seen(link.settings, link.parameters, raw, self.columns, self.sort, self.folds, description)

    def _merged(self, runs: Sequence[bytes]) -> bytes | None:
        """All rows in one; None: they cannot be merged."""
        if not (self.sort or self.plan.hidden or self.skip or self.left >= 0):
            return b"".join(runs)
        merger = Merger(len(runs), self.sort, self.plan.hidden, self.skip, self.left)
        chunks = [iter((run,) if run else ()) for run in runs]
        blocks = []
        try:
            while not merger.done:
                for index in merger.waiting():
                    merger.feed(index, next(chunks[index], b""))
                while block := merger.take(BLOCK):
                    blocks.append(bytes(block))
        except ValueError:
            return None
        return b"".join(blocks)

    async def _read(self, places: Sequence[str], replies: Sequence[Rows]) -> None:
        await self._describe(places, replies)
        if self.plan.folds:
            await self._fold(replies)
        elif self.plan.order:
            await self._merge(replies)
        else:
            await self._concatenate(replies)

    async def one_by_one(self, places: Sequence[str]) -> None:
        """Shard after shard, each asked for no more rows than are still wanted: it locks no others."""
        for place in places:
            if self.columns and self.left == 0:
                return
            leg: Leg = await self.tx.leg(place)
            wanted = 0 if self.left < 0 else self.left + self.skip
            rows = _limited(leg, settled(self.plan.text), self.statement.bind, self._formats(), wanted)
            try:
                described = await rows.described()
                if not self.columns:
                    await self._tell(read_columns(described or b"\0\0"))
                await self._concatenate([rows])
            except BaseException:
                await stop([leg], [rows])
                raise
            await stop([leg], [rows], gently=True)

    def _formats(self) -> tuple[int, ...]:
        """What the shards are asked for: hidden columns in binary, where the client names a format for each."""
        formats = self.statement.formats
        return (*formats, *(1,) * self.plan.hidden) if len(formats) > 1 else formats

    # -- what the rows are

    async def _describe(self, places: Sequence[str], replies: Sequence[Rows]) -> None:
        descriptions = [await one.described() for one in replies]      # all run already; ``watched`` sees their errors
        await self._tell(agreed(places, descriptions))

    async def _tell(self, columns: list[ColumnDescription]) -> None:
        self.columns = columns
        visible = columns[:len(columns) - self.plan.hidden]
        types = [column.type for column in visible]
        if any(one >= FIRST_USER_OID for one in types):
            types = await self._types(visible)
        self.out.description(self._told(columns, types))

    def _told(self, columns: list[ColumnDescription], types: Sequence[int]) -> bytes:
        """Columns, and how they are compared. ``types``: the client's, of those that it sees. Gives its description."""
        self.columns = columns
        visible = columns[:len(columns) - self.plan.hidden]
        self._check_binary(visible, types)
        self.sort = [(key.column, self._comparable(key.column, key.type_oid), columns[key.column].format,
                      key.descending, key.nulls_first) for key in self.plan.order]
        self.folds = [self._fold_of(number, fold) for number, fold in enumerate(self.plan.folds)]
        return write_columns([column._replace(table=0, number=0, type=oid)
                              for column, oid in zip(visible, types, strict=True)])

    async def _types(self, visible: Sequence[ColumnDescription]) -> list[int]:
        """OIDs of types as the coordinator has them."""
        statement = self.statement
        found = (await describe(self.tx.session, statement.text, statement.bind.types, None)).rows
        columns = [] if found is None else read_columns(found)
        if [column.name for column in columns] != [column.name for column in visible]:
            raise PgError.of("55000", "the shards' rows are not like the coordinator's",
                             hint="The table's definitions differ: run the DDL that is missing through the proxy.")
        return [column.type for column in columns]

    def _check_binary(self, visible: Sequence[ColumnDescription], types: Sequence[int]) -> None:
        """Binary values that hold OIDs of the shard's own are not passed on."""
        safe = {column.type for table in self.statement.tables for column in table.columns
                if column.type_kind in "be" and not column.type_name.endswith("[]")}
        for column, oid in zip(visible, types, strict=True):
            if column.format and (oid in BINARY_IS_LOCAL or (oid >= FIRST_USER_OID and oid not in safe)):
                name = column.name.decode("utf-8", "replace")
                raise _cannot(f'column "{name}" in binary format, which may hold OIDs of types', "Ask for text format.")

    # -- how they become one

    async def _concatenate(self, replies: Sequence[Rows]) -> None:
        merger = Merger(1, (), self.plan.hidden, self.skip, self.left)
        as_it_is = not (self.plan.hidden or self.skip or self.left >= 0)
        async with aclosing(AnyOrder(replies).chunks()) as chunks:
            async for chunk in chunks:
                if as_it_is:
                    count = count_rows(chunk)
                    self.count += count
                    self.out.rows(chunk, count)
                    await self.out.drain()
                    continue
                merger.feed(0, chunk)
                await self._send(merger)
                if merger.left == 0:
                    break
        self.skip, self.left = merger.skip, merger.left

    async def _merge(self, replies: Sequence[Rows]) -> None:
        merger = Merger(len(replies), self.sort, self.plan.hidden, self.skip, self.left)
        chunks = [one.chunks() for one in replies]

        try:
            while not merger.done:
                for index in merger.waiting():
                    merger.feed(index, await anext(chunks[index], b""))
                await self._send(merger)
        except ValueError as error:
            raise PgError.of("0A000", f"ORDER BY over several shards: {error}",
                             hint="Use DateStyle ISO, or ask for binary format.") from None

    async def _send(self, merger: Merger) -> None:
        before = merger.rows
        while block := merger.take(BLOCK):
            self.out.rows(block, merger.rows - before)
            self.count += merger.rows - before
            before = merger.rows
            await self.out.drain()

    async def _fold(self, replies: Sequence[Rows]) -> None:
        self._tell_row(None, [row for one in replies for row in await one.all()])

    def _tell_row(self, description: bytes | None, payloads: Sequence[bytes]) -> None:
        """What the rows of all shards come to. ``description``: told first, when nothing can go wrong any more."""
        rows = [wire.parse_data_row(row) for row in payloads]
        if not rows or self.skip or self.left == 0:
            if description is not None:
                self.out.description(description)
            return
        forms = [column.format for column in self.columns]
        cells = fold_rows(self.folds, forms[:len(self.folds)], rows)
        visible = cells[:len(self.columns) - self.plan.hidden]
        parts_ = [b"\xff\xff\xff\xff" if cell is None else len(cell).to_bytes(4, "big") + cell for cell in visible]
        if description is not None:
            self.out.description(description)
        self.out.row(len(visible).to_bytes(2, "big") + b"".join(parts_))
        self.count = 1

    # -- what can be compared

    def _fold_of(self, number: int, fold: Fold) -> Fold:
        """A fold with the type that its column really has."""
        column = self.columns[number]
        if fold.how in ("min", "max"):
            return Fold(fold.how, self._comparable(number, fold.type_oid))
        allowed = SUMMED if fold.how == "sum" else {BOOLEAN}
        if column.type not in allowed:
            raise _cannot(f"{fold.how} of type {column.type}")
        return Fold(fold.how, column.type)

    def _comparable(self, number: int, planned: int) -> int:
        """The type as which a column is compared, if the text that the session sees tells the order."""
        column = self.columns[number]
        oid, form = planned or column.type, column.format
        kind = kind_of(oid, form)
        if kind == 0 or kind != kind_of(column.type, form) or (not planned and oid in TEXTS):
            raise _cannot(f"the order of type {column.type}")
        settings = self.tx.link.settings.values
        reported = self.tx.link.parameters.values
        if form == 0 and oid in MOMENTS and not reported.get("DateStyle", "ISO").startswith("ISO"):
            raise _cannot("the order of dates with a DateStyle other than ISO", "Use DateStyle ISO.")
        if form == 0 and oid in FLOATS and settings.get("extra_float_digits", "1").strip() in ROUNDED:
            raise _cannot("the order of floating point with extra_float_digits below 1", "Reset extra_float_digits.")
        encoding = reported.get("client_encoding", "UTF8")
        if oid in TEXTS and encoding not in SAME_ORDER and encoding != reported.get("server_encoding"):
            raise _cannot(f"the order of text with client_encoding {encoding}", "Use client_encoding UTF8.")
        return oid


def _cannot(what: str, hint: str = "") -> CannotMerge:
    """Refused, unless it can be gathered."""
    return CannotMerge(refused(f"{what} over several shards", hint).fields)


ROUNDED = frozenset(str(digits) for digits in range(-15, 1))


def _bounded(number: int | None, what: str, sqlstate: str) -> int | None:
    if number is not None and number < 0:
        raise PgError.of(sqlstate, f"{what} must not be negative")
    return number


def _limited(leg: Leg, text: bytes, bind: Bind, formats: tuple[int, ...], limit: int) -> Rows:
    """As ``Leg.rows``, but the server looks for no more than ``limit`` rows (0: all)."""
    bind = foreign(bind, text) if leg.place else bind
    types = b"".join(oid.to_bytes(4, "big") for oid in bind.types)
    parsed = wire.parse(b"", text + b"\0" + len(bind.types).to_bytes(2, "big") + types)
    execute = wire.message(b"E", b"\0" + limit.to_bytes(4, "big"))
    return Rows(leg, leg.exchange(parsed + bound(bind, formats) + DESCRIBE_PORTAL + execute + wire.SYNC))
