"""INSERT ... VALUES split by key.

Invariants:
* Defaults that only the coordinator knows are evaluated there, once for each row, in the order of the rows.
* RETURNING gives the rows in the order of the statement, unless ON CONFLICT left some out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shardproxy.dialects.postgres import wire
from shardproxy.planner.expressions import storable_as_given
from shardproxy.planner.plan import InsertRow, InsertRows, KeyValue

from .errors import PgError
from .legs import Rows
from .lookup import place_keys
from .output import Output
from .statement import Statement
from .writing import (
    Teller,
    clocks_of,
    count_of,
    fill,
    foreign_text,
    iterate,
    key_oids,
    literal,
    place_of_binary,
    writers,
)

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["interleave", "run_insert_rows"]

Added = Mapping[int, bytes | None]
"""Values for the holes of one row, in text format."""

EVALUATED_MAX = 5000
"""Rows whose defaults are evaluated in one statement."""


async def run_insert_rows(tx: Transaction, plan: InsertRows, statement: Statement, out: Output) -> None:
    """Carry it out."""
    added = await _added(tx, plan, statement)
    places = await _places(tx, plan, statement, added)
    order = sorted(set(places), key=list(statement.layout.keyspaces[plan.keyspace].places()).index)
    clocks = await clocks_of(tx, order[0], [plan.tail, *(row.text for row in plan.rows)])
    parts: dict[str, list[bytes]] = {place: [] for place in order}
    for place, row, values in zip(places, plan.rows, added, strict=True):
        holes = {**clocks, **{hole: literal(value) for hole, value in values.items()}}
        parts[place].append(b"(" + fill(row.text, holes) + b")")
    tail = fill(plan.tail, clocks)
    legs = await writers(tx, order, statement)
    results = {leg.place: leg.rows(plan.head + b", ".join(parts[leg.place]) + tail, statement.bind, statement.formats)
               for leg in legs}
    with foreign_text():
        count = await interleave(results, places, plan.conflict, out, Teller(tx, statement, out))
    out.complete(f"INSERT 0 {count}")


async def interleave(results: Mapping[str, Rows], places: Sequence[str], conflict: bool, out: Output,
                     teller: Teller | None, described: bool = False) -> int:
    """Rows of RETURNING in the order of the rows sent (``places``: where each went); gives the number of all rows.
    ``described``: the client knows the columns."""
    descriptions = [await rows.described() for rows in results.values()]
    if descriptions[0] is not None and not described:
        if teller is None:                              # the coordinator's rows
            out.description(descriptions[0])
        else:
            await teller.tell(descriptions[0])
    if descriptions[0] is None:
        for rows in results.values():
            await rows.done()
    elif not conflict:
        iterators = {place: iterate(rows) for place, rows in results.items()}
        for place in places:
            row = await anext(iterators[place], None)
            if row is not None:
                out.row(row)
            await out.drain()
        for iterator in iterators.values():             # a trigger may have made more of them; and to see the tag
            async for row in iterator:
                out.row(row)
    else:
        await _returned(results, places, out)
    return sum(count_of(rows.tag) for rows in results.values())


async def _returned(results: Mapping[str, Rows], places: Sequence[str], out: Output) -> None:
    """The same where rows may be missing: in order if none is."""
    found = {place: await rows.all() for place, rows in results.items()}
    if sum(map(len, found.values())) == len(places):
        queues = {place: iter(rows) for place, rows in found.items()}
        for place in places:
            out.row(next(queues[place]))
    else:
        for rows in found.values():
            for row in rows:
                out.row(row)
    await out.drain()


async def _added(tx: Transaction, plan: InsertRows, statement: Statement) -> list[Added]:
    """Values of the holes of every row, evaluated on the coordinator."""
    wanted = [[part for part in row.text if isinstance(part, int) and part >= 0] for row in plan.rows]
    if not any(wanted):
        return [{} for _ in plan.rows]
    table = statement.tables.get(*plan.table)
    names = [table.column(name) if table is not None else None for name, _ in plan.added]
    casts = [f"(({expression})::{column.type_name if column is not None else 'text'})"
             for column, (_, expression) in zip(names, plan.added, strict=True)]
    nulls = [f"NULL::{column.type_name if column is not None else 'text'}" for column in names]
    leg = await tx.leg("", write=tx.in_block or tx.atomic)      # else nextval is committed before the rows are
    found: list[Added] = []
    for start in range(0, len(wanted), EVALUATED_MAX):
        part = wanted[start:start + EVALUATED_MAX]
        rows = ", ".join("(" + ", ".join(casts[i] if i in holes else nulls[i] for i in range(len(casts))) + ")"
                         for holes in part)
        for holes, cells in zip(part, await leg.run("VALUES " + rows), strict=True):
            found.append({hole: cells[hole] for hole in holes})
    return found


async def _places(tx: Transaction, plan: InsertRows, statement: Statement, added: Sequence[Added]) -> list[str]:
    """Where each row goes."""
    table, layout = statement.tables.get(*plan.table), statement.layout.table(*plan.table)
    columns = [table.column(name) for name in layout.key] if table is not None and layout is not None else []
    plain = all(column is not None and storable_as_given(column) for column in columns)
    found: list[str | None] = []
    for row, values in zip(plan.rows, added, strict=True):
        key = [one for one in row.key if isinstance(one, KeyValue)]
        if plain and len(key) == len(row.key):
            found.append(statement.place_of(plan.keyspace, plan.table, key))
        elif plain and not key:
            cells = [values[one] for one in row.key if isinstance(one, int)]
            found.append(statement.place_of_text(plan.keyspace, plan.table, cells))
        else:
            found.append(None)
    missing = [i for i, place in enumerate(found) if place is None]
    if missing:
        rows = [(plan.rows[i], added[i]) for i in missing]
        for i, place in zip(missing, await _asked(tx, plan, statement, rows), strict=True):
            found[i] = place
    return [place for place in found if place is not None]


async def _asked(tx: Transaction, plan: InsertRows, statement: Statement, rows: Sequence[tuple[InsertRow, Added]],
                 ) -> list[str]:
    """Where rows go whose keys the database must read: as the values that their columns will hold."""
    types = key_oids(statement, plan.table)
    table, layout = statement.tables.get(*plan.table), statement.layout.table(*plan.table)
    if table is None or layout is None:
        raise PgError.of("55000", "the table is not known")
    names = [column.type_name for name in layout.key if (column := table.column(name)) is not None]
    texts = []
    for row, values in rows:
        cells = [_cell(one, values) + b"::" + name.encode() for one, name in zip(row.key, names, strict=True)]
        texts.append(b"(" + b", ".join(cells) + b")")
    if statement.layout.keyspaces[plan.keyspace].function == "lookup":
        await tx.begin_atomic()                 # where new keys are is written at the coordinator
    leg = await tx.leg("")
    with foreign_text():
        keys = [wire.parse_data_row(payload) for payload in await leg.rows(
            b"VALUES " + b", ".join(texts), statement.bind, (1,)).all()]
    await place_keys(leg, statement, plan.keyspace, plan.table, types, [
        [None if cell is None else (cell, 1) for cell in cells] for cells in keys])
    return [place_of_binary(statement, plan.keyspace, types, cells) for cells in keys]


def _cell(one: KeyValue | int, values: Added) -> bytes:
    """A key value as SQL."""
    if isinstance(one, int):
        return literal(values[one])
    text = f"${one.value.param}".encode() if one.value.param else literal(
        None if one.value.text is None else one.value.text.encode("utf-8", "surrogateescape"))
    return b"(" + text + (b"::" + one.cast.encode() if one.cast else b"") + b")"
