"""What all writes over several places share: legs, texts with holes, literals, summed tags.

Invariant: before a statement writes at a second place, the transaction is atomic over all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shardproxy.catalog.tables import Tables
from shardproxy.planner.plan import NOW, STATEMENT_NOW, Parts

from .columns import FIRST_USER_OID, read_columns, write_columns
from .described import describe
from .errors import PgError
from .legs import Leg, Rows, payloads
from .output import Output
from .statement import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .transaction import Transaction

__all__ = ["Clocks", "Teller", "clocks_at", "clocks_of", "count_of", "deliver", "fill", "foreign_text", "key_oids",
           "literal", "tag_of", "without_tables", "writers"]

_UTC = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'"
_CLOCKS = {NOW: "now()", STATEMENT_NOW: "statement_timestamp()"}

Clocks = Mapping[int, bytes]
"""Text for each clock hole."""


async def writers(tx: Transaction, places: Sequence[str], statement: Statement) -> list[Leg]:
    """Legs at these places, all about to be written by one statement."""
    if len(places) > 1:
        await tx.begin_atomic()
    legs = await tx.all(places, write=True)
    for leg in legs:
        tx.wrote(leg, statement.write_slots)
    return legs


async def clocks_of(tx: Transaction, place: str, texts: Sequence[Parts]) -> Clocks:
    """Typed literals for the clocks in these texts: the coordinator's if it takes part, else those of ``place``."""
    wanted = sorted({part for text in texts for part in text if isinstance(part, int) and part in _CLOCKS})
    if not wanted:
        return {}
    here = tx.legs.get("")
    return await clocks_at(await tx.leg("" if tx.in_block or (here is not None and here.in_block) else place), wanted)


async def clocks_at(leg: Leg, wanted: Sequence[int]) -> Clocks:
    """The clocks of one server."""
    rows = await leg.run("SELECT " + ", ".join(_UTC.format(_CLOCKS[clock]) for clock in wanted))
    return {clock: b"'" + (cell or b"") + b"'::timestamptz" for clock, cell in zip(wanted, rows[0], strict=True)}


def fill(text: Parts, holes: Mapping[int, bytes]) -> bytes:
    """The text with its holes filled."""
    return b"".join(holes[part] if isinstance(part, int) else part for part in text)


def literal(value: bytes | None) -> bytes:
    """A value in text format as SQL. With a backslash as E'', so that it means the same under any setting."""
    if value is None:
        return b"NULL"
    body = value.replace(b"'", b"''")
    if b"\\" in body:
        return b" E'" + body.replace(b"\\", b"\\\\") + b"'"
    return b"'" + body + b"'"


def key_oids(statement: Statement, table: tuple[str, str]) -> tuple[int, ...]:
    """What the values of the key columns travel as."""
    found, layout = statement.tables.get(*table), statement.layout.table(*table)
    columns = [found.column(name) for name in layout.key] if found is not None and layout is not None else []
    if not columns or any(column is None for column in columns):
        raise PgError.of("55000", f'the key of table "{table[1]}" is not known', hint="Try again in a moment.")
    return tuple(column.base or column.type for column in columns if column is not None)


def place_of_binary(statement: Statement, keyspace: str, types: Sequence[int], values: Sequence[bytes | None],
                    ) -> str:
    """The place of a row whose key is given in binary format. Raises PgError if no shard takes it."""
    layout = statement.layout.keyspaces[keyspace]
    index = statement.shard_of(layout, types, [None if value is None else (value, 1) for value in values])
    if index is None:
        raise PgError.of("23514", f'no shard of keyspace "{keyspace}" takes the key of a row')
    return layout.places()[index]


@contextmanager
def foreign_text() -> Iterator[None]:
    """Errors within say nothing of places in a text that the client has not sent."""
    try:
        yield
    except PgError as error:
        for code in ("P", "p", "q"):
            error.fields.pop(code, None)
        raise


def count_of(tag: str) -> int:
    """Number of rows that a command tag tells."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def tag_of(kind: str, count: int) -> str:
    """The command tag of a write."""
    return f"INSERT 0 {count}" if kind == "INSERT" else f"{kind} {count}"


class Teller:
    """Tells the client the columns of RETURNING as the coordinator has them: OIDs of a shard's own mean nothing."""

    def __init__(self, tx: Transaction, statement: Statement, out: Output) -> None:
        self.tx, self.statement, self.out = tx, statement, out

    async def tell(self, description: bytes) -> None:
        """RowDescription of a shard."""
        columns = [column._replace(table=0, number=0) for column in read_columns(description)]
        if any(column.type >= FIRST_USER_OID for column in columns):
            found = (await describe(self.tx.session, self.statement.shown or self.statement.text,
                                    self.statement.bind.types, None)).rows
            own = read_columns(found) if found is not None else []
            if [column.name for column in own] != [column.name for column in columns]:
                raise PgError.of("55000", "the shards' rows are not like the coordinator's",
                                 hint="The table's definitions differ: run the DDL that is missing through the proxy.")
            columns = [column._replace(type=other.type) for column, other in zip(columns, own, strict=True)]
        self.out.description(write_columns(columns))


async def deliver(results: Sequence[Rows], out: Output, teller: Teller | None = None) -> int:
    """Rows of all results one after the other to the client; gives the number of rows written. Without ``teller`` they
    are the coordinator's."""
    count = 0
    for number, rows in enumerate(results):
        description = await rows.described()
        if not number and description is not None:
            if teller is None:
                out.description(description)
            else:
                await teller.tell(description)
        async for run in rows.chunks():
            out.rows(run, len(payloads(run)))
            await out.drain()
        count += count_of(rows.tag)
    return count


def without_tables(description: bytes, tables: Tables) -> bytes:
    """A RowDescription of the coordinator that does not name temporary tables."""
    return write_columns([column if tables.by_oid(column.table) else column._replace(table=0, number=0)
                          for column in read_columns(description)])


async def iterate(rows: Rows) -> AsyncIterator[bytes]:
    """The rows of one result, one at a time."""
    async for row in rows:
        yield row
