"""INSERT whose rows are made on the coordinator: in a temporary table, then split by key, or given to every copy.

Invariant: the rows are evaluated once, in the order of the statement, and inserted in that order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.lexemes import quoted
from shardproxy.planner.plan import InsertFrom

from .errors import PgError
from .insert import interleave
from .legs import Leg
from .output import Output
from .staged_rows import Row, bounded, create_stage, fetched, insert_head, named_as, table_of, tuple_of
from .staging import Bounds, Staging
from .statement import Statement
from .writing import Teller, clocks_of, count_of, fill, foreign_text, key_oids, writers

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["begun_here", "run_insert_from"]


async def run_insert_from(tx: Transaction, plan: InsertFrom, statement: Statement, out: Output) -> None:
    """Carry it out."""
    leg = await begun_here(tx)
    table, layout = table_of(statement, plan.table), statement.layout.table(*plan.table)
    bounds = tx.database.entry.gather
    staging = Staging(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes))
    staging.check_text([column.type_name for column in table.columns])      # rows go on as text
    pulled = await staging.pull(plan.pulls)
    stage = await create_stage(leg, table)
    holes = {number: one.name.encode() for number, one in enumerate(pulled)} | {len(plan.pulls): stage.encode()}
    clocks = await clocks_of(tx, "", [plan.tail])
    if any(column.sequence for column in table.columns) or any(b"nextval" in one.lower() for one in plan.stage
                                                               if isinstance(one, bytes)):
        tx.wrote(leg, ())                   # what nextval gave must not be given again after a crash
    with named_as(stage, plan.table):
        await leg.rows(fill(plan.stage, holes), statement.bind).done()
    key = layout.key if layout is not None else ()
    types = key_oids(statement, plan.table) if key else ()
    whole = "" if layout is None or key or layout.reference else statement_places(statement, plan.keyspace)[1]
    await tx.begin_atomic()
    insert = _Insert(tx, plan, statement, out, fill(plan.tail, clocks))
    source = f"{stage} ORDER BY ctid"
    async for batch in fetched(leg, plan.columns, source, statement, plan.keyspace, plan.table, key, types):
        if whole:
            batch = [(whole, cells) for _, cells in batch]
        await (insert.split(batch) if key or whole else insert.everywhere(batch))
    await insert.finish()
    names = [*(one.name for one in pulled), stage]
    await leg.command("DROP TABLE " + ", ".join(names))
    out.complete(f"INSERT 0 {insert.count}")


async def begun_here(tx: Transaction) -> Leg:
    """The coordinator's leg in a transaction: the client's, or one of this statement's own."""
    leg = await tx.leg("")
    if not leg.in_block:
        await leg.command("BEGIN")
        leg.in_block = True
    return leg


class _Insert:
    """Inserts batches of rows. ``count``: as one database would count."""

    def __init__(self, tx: Transaction, plan: InsertFrom, statement: Statement, out: Output, tail: bytes) -> None:
        self.tx, self.plan, self.statement, self.out, self.tail = tx, plan, statement, out, tail
        self.head = insert_head(plan.table, plan.columns, plan.alias)
        self.teller = Teller(tx, statement, out)
        self.count = 0
        self.described = False

    async def split(self, batch: list[Row]) -> None:
        """Each row to its shard."""
        for portion in _portions(batch):
            texts: dict[str, list[bytes]] = {}
            for place, text in portion:
                texts.setdefault(place, []).append(text)
            legs = await writers(self.tx, list(texts), self.statement)
            results = {leg.place: leg.rows(self._text(texts[leg.place]), self.statement.bind, self.statement.formats)
                       for leg in legs}
            with foreign_text():
                self.count += await interleave(results, [place for place, _ in portion], self.plan.conflict, self.out,
                                               self.teller, self.described)
            self.described = True

    async def everywhere(self, batch: list[Row]) -> None:
        """All rows to every copy; the coordinator first, whose answer is the client's."""
        places = statement_places(self.statement, self.plan.keyspace)
        for portion in bounded(tuple_of(cells) for _, cells in batch):
            text = self._text(portion)
            coordinator, *others = await writers(self.tx, places, self.statement)
            with foreign_text():
                own = {"": coordinator.rows(text, self.statement.bind, self.statement.formats)}
                count = await interleave(own, [""] * len(portion), True, self.out, None, self.described)
                results = [leg.rows(text, self.statement.bind, self.statement.formats) for leg in others]
                for leg, rows in zip(others, results, strict=True):
                    if count_of(await rows.done()) != count:
                        raise differing(leg.place)
            self.described = True
            self.count += count

    async def finish(self) -> None:
        """Without a row, RETURNING still has columns."""
        if self.described or not self.plan.returning:
            return
        listed = ", ".join(map(quote_ident, self.plan.columns))
        name = quoted(self.plan.table)
        target = f"{name} AS {quote_ident(self.plan.alias)}" if self.plan.alias else name
        place = statement_places(self.statement, self.plan.keyspace)[1]
        leg = await self.tx.leg(place)
        text = (f"INSERT INTO {target} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {name} WHERE false"
                ).encode() + self.tail
        description = await leg.rows(text, self.statement.bind, self.statement.formats).described()
        await leg.quiet()
        if description is not None:
            await self.teller.tell(description)

    def _text(self, rows: list[bytes]) -> bytes:
        return self.head + b", ".join(rows) + self.tail


def _portions(batch: list[Row]) -> list[list[tuple[str, bytes]]]:
    """Rows as SQL with their places, in portions that one statement may hold."""
    places = iter([place for place, _ in batch])
    return [[(next(places), text) for text in portion] for portion in bounded(tuple_of(cells) for _, cells in batch)]


def statement_places(statement: Statement, keyspace: str) -> list[str]:
    """The coordinator and all shards of a keyspace that have slots: where reference tables have their rows."""
    space = statement.layout.keyspaces[keyspace]
    return ["", *(space.places()[index] for index in space.used())]


def differing(place: str) -> PgError:
    """Copies of a reference table are not the same."""
    return PgError.of("XX001", f"the copy of a reference table at {place} differs from the coordinator's",
                      hint="Nothing was changed. Compare the copies, and repair the one that is wrong.")
