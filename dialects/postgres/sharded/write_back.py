"""UPDATE, DELETE and MERGE on a copy of the rows, written back by primary key, or by where rows are (``keyless.py``).

Invariants:
* The rows that the copy was made of are locked on their shards before the text runs, until the end of the transaction.
* What is written back is what the text touched: rows it deleted, changed (also if to the same values) and inserted. A
  row whose key changed is deleted where it was and inserted where it belongs.
* Constraints are checked by the shards; each write must hit exactly the rows it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shardproxy.catalog.tables import Column, Table
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.lexemes import quoted
from shardproxy.planner.plan import WriteBack

from .errors import PgError
from .insert_from import begun_here
from .keyless import PLACE, copied, difference
from .legs import Leg
from .output import Output
from .staged_rows import (
    bounded,
    fetched,
    insert_head,
    named_as,
    stage_default,
    stage_name,
    table_of,
    tuple_of,
)
from .staging import Bounds, Staging
from .statement import Statement
from .writing import count_of, fill, foreign_text, key_oids, without_tables, writers

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["run_write_back"]


async def run_write_back(tx: Transaction, plan: WriteBack, statement: Statement, out: Output) -> None:
    """Carry it out."""
    table = table_of(statement, plan.table)
    leg = await begun_here(tx)
    await tx.begin_atomic()
    bounds = tx.database.entry.gather
    staging = Staging(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes))
    staging.check_text([column.type_name for column in table.columns])      # rows go back as text
    pulled = await staging.pull(plan.pulls)
    names = [one.name for one in pulled]
    staged = names[plan.target]
    if plan.keyless:
        names[plan.target] = await copied(leg, table, staged)
    copy = names[plan.target]
    await _defaults(leg, table, copy)
    before = (staged, -1) if plan.keyless else await _keys(leg, table, copy)
    with named_as(copy, plan.table):
        rows = leg.rows(fill(plan.text, {number: name.encode() for number, name in enumerate(names)}),
                        statement.bind, statement.formats)
        description = await rows.described()
        if description is not None:
            out.description(without_tables(description, statement.tables))
        async for run in rows.chunks():
            out.rows(run)
            await out.drain()
    if any(column.sequence for column in table.columns):
        tx.wrote(leg, ())                   # what nextval gave must not be given again after a crash
    back = _Back(tx, plan, statement, table, leg, copy, before)
    await (back.write_keyless() if plan.keyless else back.write())
    await leg.command("DROP TABLE " + ", ".join(dict.fromkeys([*names, before[0]])))
    out.complete(rows.tag)


async def _defaults(leg: Leg, table: Table, copy: str) -> None:
    defaults = [f"ALTER {quote_ident(column.name)} SET DEFAULT {default}" for column in table.columns
                if (default := stage_default(column))]
    if defaults:
        await leg.command(f"ALTER TABLE {copy} {', '.join(defaults)}")


async def _keys(leg: Leg, table: Table, copy: str) -> tuple[str, int]:
    """A list of the copy's keys, and the number of the last command that put rows there."""
    keys, name = ", ".join(map(quote_ident, table.primary_key)), stage_name()
    await leg.command(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {keys} FROM {copy}")
    last = await leg.run(f"SELECT coalesce(max(cmin::text::bigint), -1) FROM {copy}")
    return f"pg_temp.{name}", int(last[0][0] or b"-1")


class _Back:
    """Finds what the text did to the copy, and does it to the shards."""

    def __init__(self, tx: Transaction, plan: WriteBack, statement: Statement, table: Table, leg: Leg, copy: str,
                 before: tuple[str, int]) -> None:
        self.tx, self.plan, self.statement, self.table = tx, plan, statement, table
        self.leg, self.copy, self.before = leg, copy, before
        layout = statement.layout.table(*plan.table)
        self.key = layout.key if layout is not None else ()
        self.types = key_oids(statement, plan.table)
        self.name = quoted(plan.table)

    async def write(self) -> None:
        """Deletes first, then updates, then inserts."""
        keys, copy, (before, last) = self.table.primary_key, self.copy, self.before
        same = " AND ".join(f"n.{quote_ident(key)} = o.{quote_ident(key)}" for key in keys)
        await self._delete(f"{before} o WHERE NOT EXISTS (SELECT 1 FROM {copy} n WHERE {same})")
        touched = f"{copy} n WHERE n.cmin::text::bigint > {last}"
        known = f"EXISTS (SELECT 1 FROM {before} o WHERE {same})"
        changed = [column for column in self.table.columns if column.name in self.plan.columns
                   and column.name not in keys and not column.generated and column.identity != "a"]
        if changed:
            await self._update(f"{touched} AND {known}", changed)
        await self._insert(f"{touched} AND NOT {known} ORDER BY ctid")

    async def write_keyless(self) -> None:
        """The same of a table without a primary key: a row that changed is deleted and inserted."""
        gone, new = await difference(self.leg, self.table, self.before[0], self.copy, self.key)
        await self._each([PLACE.name], gone, [PLACE], f"DELETE FROM {self.name} t USING (VALUES ",
                         ") d(place) WHERE t.ctid = d.place")
        await self._insert(new)
        await self.leg.command(f"DROP TABLE {gone}, {new}")

    def _columns(self, names: Sequence[str]) -> list[Column]:
        return [column for name in names if (column := self.table.column(name)) is not None]

    async def _delete(self, source: str) -> None:
        keys = self._columns(self.table.primary_key)
        listed = ", ".join(quote_ident(key.name) for key in keys)
        same = " AND ".join(f"t.{quote_ident(key.name)} = d.{quote_ident(key.name)}" for key in keys)
        await self._each(self.table.primary_key, source, keys, f"DELETE FROM {self.name} t USING (VALUES ",
                         f") d({listed}) WHERE {same}")

    async def _update(self, source: str, changed: list[Column]) -> None:
        keys = self._columns(self.table.primary_key)
        columns = [*keys, *changed]
        listed = ", ".join(quote_ident(column.name) for column in columns)
        sets = ", ".join(f"{quote_ident(column.name)} = d.{quote_ident(column.name)}" for column in changed)
        same = " AND ".join(f"t.{quote_ident(key.name)} = d.{quote_ident(key.name)}" for key in keys)
        await self._each([column.name for column in columns], source, columns,
                         f"UPDATE {self.name} t SET {sets} FROM (VALUES ", f") d({listed}) WHERE {same}")

    async def _insert(self, source: str) -> None:
        names = [column.name for column in self.table.columns if not column.generated]
        await self._each(names, source, [], insert_head(self.plan.table, names).decode(), "")

    async def _each(self, names: Sequence[str], source: str, casts: Sequence[Column], head: str, tail: str) -> None:
        """Run a statement on every shard for its rows of ``source``."""
        batches = fetched(self.leg, names, source, self.statement, self.plan.keyspace, self.plan.table,
                          self.key, self.types)
        async for batch in batches:
            texts: dict[str, list[bytes]] = {}
            for place, cells in batch:
                texts.setdefault(place, []).append(tuple_of(cells, casts))
            for place in sorted(texts):
                (leg,) = await writers(self.tx, [place], self.statement)
                for portion in bounded(texts[place]):
                    with foreign_text():
                        tag = await leg.rows(head.encode() + b", ".join(portion) + tail.encode()).done()
                    if count_of(tag) != len(portion):
                        raise PgError.of("55000", f'a trigger or rule of table "{self.table.name}" at {place} changed '
                                                  "which rows are written",
                                         hint="Name the rows by the sharding key, so that one shard decides.")
