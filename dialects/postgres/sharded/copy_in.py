"""COPY ... FROM STDIN into sharded and reference tables.

Invariants:
* Each row is sent as it came, to the shard of its key (of a reference table: to every copy); the header line to all.
* What waits to be sent is bounded: the client is not read while a shard is slow.
* An error is told after the client has sent all its data; nothing has been copied then.
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.partition_hash_cy import hash_int, partition_hash
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.expressions import storable_as_given
from shardproxy.planner.lexemes import quoted
from shardproxy.planner.plan import CopyIn

from .copy_format import CopyFormat
from .copy_rows_cy import BinaryCutter, RowCutter
from .copy_source import client_copy, copy_in_response
from .errors import PgError, refused
from .insert_from import differing, statement_places
from .legs import Bind, Leg
from .lookup import place_keys
from .output import Output
from .staged_rows import table_of
from .statement import Statement
from .stream import Reply
from .writing import count_of, key_oids, place_of_binary, writers

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["pass_copy", "run_copy_in"]

COPY_IN, COPY_OUT, COPY_DATA, COMPLETE = 0x47, 0x48, 0x64, 0x43
KNOWN_MAX = 100_000
ORDER_MAX = 64 * 1024 * 1024
TEXT = 25
DIGITS = {20: 19, 21: 5, 23: 10}
"""For each integer type, how many digits are more than it always holds."""
WORD = (1 << 64) - 1
OFFSET = (partition_hash((23,), (b"0",)) - hash_int(0)) & WORD
"""What the hash of a key of one integer has more than the hash of the integer."""
LINE = re.compile(r"(COPY .*, line )(\d+)")
TRAILER = b"\xff\xff"

Raw = bytes | tuple[bytes | None, ...] | None


async def run_copy_in(tx: Transaction, plan: CopyIn, statement: Statement, out: Output) -> None:
    """Carry it out."""
    layout = statement.layout.keyspaces[plan.keyspace]
    if plan.split:
        places = [layout.places()[index] for index in layout.used()]
    else:
        places = statement_places(statement, plan.keyspace)
        if plan.added:
            raise refused(f'COPY FROM into reference table "{plan.table[1]}" without all columns that have defaults',
                          "Name all columns, or use INSERT ... SELECT from another table.")
    if statement.layout.keyspaces[plan.keyspace].function == "lookup":
        await tx.begin_atomic()                 # where new keys are is written at the coordinator
    legs = await writers(tx, places, statement)
    copy = _Copy(tx, plan, statement, legs)
    source = client_copy(tx.session)
    try:
        await copy.begin()
        out.message(copy_in_response(len(plan.columns), copy.binary))
        try:
            await copy.run(source)
        except PgError:
            async for _ in source:              # a client hears of an error when it has sent all
                pass
            raise
        count = await copy.finish()
    except BaseException:
        copy.fail()
        raise
    out.complete(f"COPY {count}")


class _Copy:
    """One COPY. ``order``: index of the leg that got each row, to find the line that an error speaks of."""

    def __init__(self, tx: Transaction, plan: CopyIn, statement: Statement, legs: Sequence[Leg]) -> None:
        self.tx, self.plan, self.statement, self.legs = tx, plan, statement, legs
        self.binary = plan.options["format"] == "binary"
        self.format = CopyFormat.of(plan.options, plan.columns)
        self.table = table_of(statement, plan.table)
        layout = statement.layout.table(*plan.table)
        self.key = layout.key if layout is not None and plan.split else ()
        self.types = key_oids(statement, plan.table) if self.key else ()
        self.columns = [column for name in self.key if (column := self.table.column(name)) is not None]
        self.plain = all(map(storable_as_given, self.columns))
        self.positions = [plan.columns.index(name) for name in self.key if name in plan.columns]
        self.index = {leg.place: number for number, leg in enumerate(legs)}
        self.known: dict[Raw, int] = {}
        self.lookup = bool(self.key) and statement.layout.keyspaces[plan.keyspace].function == "lookup"
        self.headed = False
        self.order = bytearray()
        self.replies: list[Reply] = []
        self.digits = self._digits()
        keyspace = statement.layout.keyspaces[plan.keyspace]
        self.slots = [self.index.get(keyspace.places()[owner], 0) for owner in keyspace.owners]
        self.header = 1 if plan.options.get("header", "false") != "false" else 0
        self.cutter: Any = BinaryCutter(self.positions) if self.binary else RowCutter(
            self.format.csv, self.format.delimiter[0], self.format.quote[0], self.format.escape[0], self.positions)

    def _digits(self) -> int:
        """Unsigned whole numbers of fewer digits than this are dealt to slots without a look at settings; 0: none."""
        function = self.statement.layout.keyspaces[self.plan.keyspace].function
        if function != "hash" or len(self.types) != 1 or self.binary or self.format.null.isdigit():
            return 0
        return DIGITS.get(self.types[0], 0)

    async def begin(self) -> None:
        """COPY on every leg, up to where it wants data."""
        names = ", ".join(map(quote_ident, (*self.plan.columns, *(name for name, _ in self.plan.added))))
        text = f"COPY {quoted(self.plan.table)} ({names}) FROM STDIN".encode() + self.plan.text
        self.replies = [leg.exchange(wire.query(text)) for leg in self.legs]
        for reply in self.replies:
            item = await reply.next()
            while item is not None and item[0] != COPY_IN:
                item = await reply.next()
            if item is None:
                raise PgError.of("08P01", "a shard did not answer COPY as it should")

    async def run(self, source: AsyncIterator[bytes]) -> None:
        """All data of the client."""
        waiting = self.header
        async for data in source:
            rows, keys = self.cutter.feed(data)
            waiting = await self._take(rows, keys, waiting)
        rows, keys = self.cutter.feed(b"", True)
        await self._take(rows, keys, waiting)

    async def finish(self) -> int:
        """The end of the data; gives the number of rows."""
        for leg in self.legs:
            leg.server.write((wire.message(b"d", TRAILER) if self.binary else b"") + wire.message(b"c", b""))
        counts = []
        errors: list[tuple[int, PgError]] = []
        for number in range(len(self.legs)):
            try:
                counts.append(await self._result(number))
            except PgError as error:
                errors.append((self._line(error), error))
        if errors:
            raise min(errors, key=lambda one: one[0])[1]
        if self.plan.split:
            return sum(counts)
        for leg, count in zip(self.legs, counts, strict=True):
            if count != counts[0]:
                raise differing(leg.place)
        return counts[0]

    async def _result(self, number: int) -> int:
        tag = ""
        try:
            while (item := await self.replies[number].next()) is not None:
                if item[0] == COMPLETE:
                    tag = item[1].rstrip(b"\0").decode()
        except PgError as error:
            self._name_line(error, number)
            raise
        return count_of(tag)

    # -- rows

    async def _take(self, rows: list[bytes], keys: list[Raw], waiting: int) -> int:
        """Send rows on; ``waiting``: header lines still to come."""
        portions: list[list[bytes]] = [[] for _ in self.legs]
        if self.binary and self.cutter.header and not self.headed:
            self.headed = True
            for portion in portions:
                portion.append(self.cutter.header)
        if waiting and rows:
            waiting -= 1
            head, _ = rows.pop(0), keys.pop(0)
            names = [name.encode() for name, _ in self.plan.added]
            for portion in portions:
                portion.append(self._longer(head, names) if names else head)
        if rows:
            await self._deal(rows, keys, portions)
        for number, (leg, portion) in enumerate(zip(self.legs, portions, strict=True)):
            if self.replies[number].error is not None or self.replies[number].ended:
                await self._result(number)
            if portion:
                leg.server.write(wire.message(b"d", b"".join(portion)))
                await leg.sent()
        return waiting

    async def _deal(self, rows: list[bytes], keys: list[Raw], portions: list[list[bytes]]) -> None:
        if not self.plan.split:
            for portion in portions:
                portion.extend(rows)
            return
        if self.plan.added:
            await self._deal_longer(rows, keys, portions)
            return
        if self.lookup and self.plain:
            await self._place_new(keys)
        known, order, digits, slots = self.known, bytearray(), self.digits, self.slots
        count = len(slots)
        for row, key in zip(rows, keys, strict=True):
            if digits and isinstance(key, bytes) and len(key) < digits and key.isdigit():
                number = slots[(hash_int(int(key)) + OFFSET & WORD) % count]
            else:
                number = known.get(key, -1)
                if number < 0:
                    number = await self._place(key)
            portions[number].append(row)
            order.append(number)
        self._note(order)

    def _note(self, order: bytearray) -> None:
        if len(self.order) < ORDER_MAX and len(self.legs) < 256:
            self.order += order

    async def _place(self, key: Raw, added: Sequence[bytes | None] = ()) -> int:
        """The leg for a key that was not met before (or was forgotten)."""
        if key is None:
            return 0                            # too short a row: any server says so
        if not self.plain or not self.binary:
            values = self._values(key)
        else:
            values = [None if one is None else (one, 1) for one in self._fields(key)]
        layout = self.statement.layout.keyspaces[self.plan.keyspace]
        index = self.statement.shard_of(layout, self.types, values) if self.plain else None
        if index is None:
            try:
                place = await self._asked(self._values(key))
            except PgError as error:
                if error.lost or not error.sqlstate.startswith("22"):
                    raise
                return 0                        # no value of the type: a shard says so, with the line
        else:
            place = layout.places()[index]
        number = self.index.get(place, -1)
        if number < 0:
            raise PgError.of("55000", f"{place} does not take part")
        if len(self.known) > KNOWN_MAX:
            self.known.clear()
        self.known[key] = number
        return number

    def _fields(self, key: Raw) -> list[bytes | None]:
        """The fields of a key in the order of its columns."""
        if isinstance(key, bytes):
            return [key]
        if self.binary or key is None:
            return list(key or ())
        return [key[self.cutter.ordered.index(position)] for position in self.positions]

    def _values(self, key: Raw) -> list[Any]:
        """The values of a key, NULL as None; in binary format with its mark."""
        fields = self._fields(key)
        if self.binary:
            return [None if one is None else (one, 1) for one in fields]
        return [self.format.value(one, position) if one is not None else None
                for one, position in zip(fields, self.positions, strict=True)]

    async def _asked(self, values: Sequence[Any]) -> str:
        """The coordinator reads a key as the columns will hold it."""
        casts = ", ".join(f"(${number}{'' if self.binary else '::text'})::{column.type_name}"
                          for number, column in enumerate(self.columns, 1))
        raw = tuple(value[0] if isinstance(value, tuple) else value for value in values)
        bind = Bind(self.types if self.binary else (TEXT,) * len(raw), (int(self.binary),) * len(raw), raw)
        leg = await self.tx.leg("")
        rows = await leg.rows(f"SELECT {casts}".encode(), bind, (1,)).all()
        cells = wire.parse_data_row(rows[0])
        await place_keys(leg, self.statement, self.plan.keyspace, self.plan.table, self.types,
                         [[None if cell is None else (cell, 1) for cell in cells]])
        return place_of_binary(self.statement, self.plan.keyspace, self.types, cells)

    async def _place_new(self, keys: Sequence[Raw]) -> None:
        """Under ``lookup``, new keys get their places many at a time."""
        new = {key for key in keys if key is not None and key not in self.known}
        await place_keys(await self.tx.leg(""), self.statement, self.plan.keyspace, self.plan.table, self.types,
                         [self._values(key) for key in new])

    # -- columns that the data does not have

    async def _deal_longer(self, rows: list[bytes], keys: list[Raw], portions: list[list[bytes]]) -> None:
        """Rows get the defaults that only the coordinator knows behind their own fields."""
        names = [name for name, _ in self.plan.added]
        casts = [f"({expression})::{column.type_name if (column := self.table.column(name)) else 'text'}"
                 for name, expression in self.plan.added]
        leg = await self.tx.leg("", write=True)
        text = f"SELECT {', '.join(casts)} FROM generate_series(1, {len(rows)})".encode()
        cells = [wire.parse_data_row(row) for row in await leg.rows(text, formats=(int(self.binary),)).all()]
        inner = [name for name in self.key if name in names]
        order = bytearray()
        for row, key, values in zip(rows, keys, cells, strict=True):
            if inner:
                number = await self._added_place(key, dict(zip(names, values, strict=True)))
            else:
                number = self.known.get(key, -1)
                number = await self._place(key) if number < 0 else number
            portions[number].append(self._longer(row, values))
            order.append(number)
        self._note(order)

    async def _added_place(self, key: Raw, added: dict[str, bytes | None]) -> int:
        """The leg of a row whose key is, in part, made here."""
        given = dict(zip([name for name in self.key if name not in added], self._values(key) if self.positions else (),
                         strict=True))
        values: list[Any] = [given[name] if name in given else added[name] if not self.binary or added[name] is None
                             else (added[name], 1) for name in self.key]
        layout = self.statement.layout.keyspaces[self.plan.keyspace]
        index = self.statement.shard_of(layout, self.types, values) if self.plain else None
        return self.index[await self._asked(values) if index is None else layout.places()[index]]

    def _longer(self, row: bytes, values: Sequence[bytes | None]) -> bytes:
        if self.binary:
            fields = b"".join(b"\xff\xff\xff\xff" if value is None else struct.pack("!I", len(value)) + value
                              for value in values)
            return struct.pack("!H", int.from_bytes(row[:2], "big") + len(values)) + row[2:] + fields
        body = row.rstrip(b"\r\n") if row.endswith((b"\n", b"\r")) else row
        return body + b"".join(self.format.delimiter + self.format.written(value) for value in values) + (
            row[len(body):] or b"\n")

    # -- errors

    def fail(self) -> None:
        """No server waits for more data."""
        for leg, reply in zip(self.legs, self.replies, strict=False):
            if not reply.ended:
                leg.server.write(wire.copy_fail(b"the COPY failed"))

    @staticmethod
    def _line(error: PgError) -> int:
        match = LINE.search(error.fields.get("W", ""))
        return int(match[2]) if match is not None else 1 << 62

    def _name_line(self, error: PgError, number: int) -> None:
        """An error's line is that of the client's data."""
        match = LINE.search(error.fields.get("W", ""))
        if match is None or not self.plan.split or self.header and int(match[2]) <= 1:
            return
        wanted, at = int(match[2]) - self.header, -1
        for _ in range(wanted):
            at = self.order.find(number, at + 1)
            if at < 0:
                return
        line = at + 1 + self.header
        error.fields["W"] = LINE.sub(lambda found: f"{found[1]}{line}", error.fields["W"], count=1)


async def pass_copy(leg: Leg, statement: Statement, out: Output, session: Any) -> None:
    """COPY of the coordinator's own tables, in either direction, as it comes."""
    reply = leg.exchange(wire.query(statement.text))
    while (item := await reply.next()) is not None:
        kind, data = item
        if kind == COPY_IN:
            out.message(wire.message(b"G", data))
            async for chunk in client_copy(session):
                if reply.error is None and not reply.ended:
                    leg.server.write(wire.message(b"d", chunk))
                    await leg.sent()
            if reply.error is None and not reply.ended:
                leg.server.write(wire.message(b"c", b""))
        elif kind == COPY_OUT:
            out.message(wire.message(b"H", data))
        elif kind == COPY_DATA:
            out.message(data)
            await out.drain()
        elif kind == 0x63:
            out.message(wire.message(b"c", b""))
        elif kind == COMPLETE:
            out.complete(data.rstrip(b"\0").decode())
