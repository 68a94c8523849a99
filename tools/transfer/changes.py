"""From a stream of changes to what is left to do at each target: the last state of every row that was touched.

Sans-IO. Invariants:
* Of all changes of one row only the last image is kept; deletes are carried out before rows are put in, so the order
  of what was dropped does not matter.
* A target gets a change exactly if its own copy does not have it yet (``ChunkMap.applies``) and its own position is
  before the transaction's commit.
* A row whose owner may have been another target is deleted at all the others.
* A value that is not in the stream (``UNCHANGED``) is taken from an earlier image in the same batch; else the row is
  marked with the identity (``was``) under which the target has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shardproxy.dialects.changes import UNCHANGED, Cell, Delete, Insert, Relation, Row, Truncate, Update

from .chunks import ChunkMap
from .routing import Routing
from .tables import MovedTable, TableChanged

__all__ = ["Batch", "Collector", "Identity", "Rows", "Side"]

Identity = tuple[Cell, ...]


@dataclass(slots=True)
class Rows:
    """What is to be done with one table at one target. ``was``: for rows that lack values, their identity before the
    batch; ``steps``: of a table without identity, every step in order: (old row, new row)."""

    put: dict[Identity, Row] = field(default_factory=dict)
    gone: set[Identity] = field(default_factory=set)
    was: dict[Identity, Identity] = field(default_factory=dict)
    steps: list[tuple[Row | None, Row | None]] = field(default_factory=list)

    def upsert(self, key: Identity, row: Row, was: Identity | None) -> None:
        self.put[key] = row
        self.gone.discard(key)
        if was is None:
            self.was.pop(key, None)
        else:
            self.was[key] = was

    def delete(self, key: Identity) -> None:
        self.put.pop(key, None)
        self.was.pop(key, None)
        self.gone.add(key)


@dataclass(slots=True)
class Side:
    """One target, as far as its copy and its stream have come."""

    position: int
    chunks: Mapping[str, ChunkMap]
    skipped: set[int]
    """Transactions of which something was left to chunks that are not copied yet."""


@dataclass(slots=True)
class Batch:
    """All that is to be done. ``rows[target][table]``; ``truncated``: to be done before them."""

    rows: list[dict[str, Rows]]
    changes: int = 0
    position: int = 0
    """The end of the last whole transaction."""
    open: bool = False
    """The last transaction goes on in the next batch: nothing may be committed."""

    @property
    def empty(self) -> bool:
        return not self.changes


class Collector:
    """One source. ``tables`` by schema and name, also of partitions; ``side[i]`` is target ``i`` of all routings."""

    def __init__(self, tables: Sequence[MovedTable], routings: Mapping[str, Routing], sides: Sequence[Side],
                 indexes: Mapping[str, Sequence[int]]) -> None:
        """``indexes``: for each table, which side each of its routing's targets is."""
        self._by_name: dict[tuple[str, str], MovedTable] = {}
        for table in tables:
            for name in (table.table, *table.children):
                self._by_name[name] = table
        self._routings, self.sides, self._indexes = routings, sides, indexes
        self._relations: dict[int, tuple[MovedTable, tuple[int, ...] | None] | None] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._live: list[int] = []
        self.xid = self.lsn = 0
        self.batch = self._new()

    def _new(self) -> Batch:
        return Batch([{} for _ in self.sides])

    def take(self) -> Batch:
        """What was collected; begin anew."""
        done, self.batch = self.batch, self._new()
        done.open = bool(self.lsn)
        self.batch.position = done.position
        return done

    # -- transactions

    def begin(self, lsn: int, xid: int) -> None:
        """A transaction that committed at ``lsn``."""
        self.xid, self.lsn = xid, lsn
        self._live = [number for number, side in enumerate(self.sides) if side.position <= lsn]

    def ignore(self) -> None:
        """The transaction is our own."""
        self._live = []

    def commit(self, end: int) -> None:
        """All its changes have come."""
        self.batch.position = end
        self.xid = self.lsn = 0

    # -- changes

    def relation(self, found: Relation) -> None:
        """Remember where the columns of a table stand. TableChanged: they are not those that they were."""
        name = (found.schema, found.name)
        self._names[found.oid] = name
        table = self._by_name.get(name)
        if table is None:
            self._relations[found.oid] = None
            return
        columns = [column.name for column in found.columns]
        if set(columns) != set(table.columns):
            wrong = sorted(set(columns) ^ set(table.columns))
            raise TableChanged(f"the columns of {table.text} have changed: {', '.join(wrong)}")
        order = tuple(columns.index(name) for name in table.columns)
        self._relations[found.oid] = table, None if order == tuple(range(len(order))) else order

    def change(self, found: Insert | Update | Delete) -> None:
        """One change of the transaction that was begun."""
        if not self._live:
            return
        known = self._relations[found.relation]
        if known is None:
            return
        table, order = known
        old, new, whole = None, None, False
        if isinstance(found, Insert):
            new = _in_order(found.new, order)
        elif isinstance(found, Update):
            old, new, whole = found.old, _in_order(found.new, order), found.whole
        else:
            old, whole = found.old, found.whole
        if old is not None and order is not None:
            old = _in_order(old, order)
        self.batch.changes += 1
        if not table.identity:
            self._step(table, old, new)
        elif new is None:
            self._delete(table, old or (), whole)
        else:
            self._put(table, old, new, whole, isinstance(found, Insert))

    def truncated(self, found: Truncate) -> list[tuple[MovedTable, tuple[str, str]]]:
        """Our tables that were emptied: (table, its partition that was, or itself)."""
        if not self._live:
            return []
        tables = [(known[0], self._names[oid]) for oid in found.relations
                  if (known := self._relations.get(oid)) is not None]
        roots = {table.table for table, name in tables if name == table.table}
        return [(table, name) for table, name in tables if name == table.table or table.table not in roots]

    def live(self) -> tuple[int, ...]:
        """The targets that this transaction is for."""
        return tuple(self._live)

    # -- rows

    def _rows(self, side: int, table: MovedTable) -> Rows:
        tables = self.batch.rows[side]
        found = tables.get(table.text)
        if found is None:
            found = tables[table.text] = Rows()
        return found

    def _applies(self, side: int, table: MovedTable, key: Identity) -> bool:
        state = self.sides[side]
        found = state.chunks[table.text].applies(key, self.xid, self.lsn)
        if found is None:
            state.skipped.add(self.xid)
            return False
        return found

    def _put(self, table: MovedTable, old: Row | None, new: Row, whole: bool, fresh: bool) -> None:
        at = table.identity_at
        before = tuple([old[i] for i in at]) if old is not None else ()
        lacks = UNCHANGED in new
        if lacks and old is not None and any(new[i] is UNCHANGED for i in at):
            # an identity that is stored out of line and was not changed: the old row has it
            new = tuple([old[i] if i in at and cell is UNCHANGED else cell for i, cell in enumerate(new)])
        if lacks and whole and old is not None:
            new = tuple([old[i] if cell is UNCHANGED else cell for i, cell in enumerate(new)])
        key = tuple([new[i] for i in at])
        before = before or key
        was: Identity | None = None
        if lacks and UNCHANGED in new:
            new, was = self._completed(table, before, new)
        routing = self._routings[table.text]
        owners = routing.owners([new[i] for i in table.key_at])      # type: ignore[misc]
        stray = not fresh and not routing.everywhere and not self._stays(table, routing, old, new, whole)
        indexes = self._indexes[table.text]
        for number, side in enumerate(indexes):
            if side not in self._live:
                continue
            if before != key and self._applies(side, table, before):
                self._rows(side, table).delete(before)
            if not self._applies(side, table, key):
                continue
            if number in owners:
                self._rows(side, table).upsert(key, new, was)
            elif stray or key in self._rows(side, table).put:
                self._rows(side, table).delete(key)

    def _stays(self, table: MovedTable, routing: Routing, old: Row | None, new: Row, whole: bool) -> bool:
        """Whether the row had the same owner before, for certain."""
        if routing.fixed is not None or (table.key_in_identity and old is None):
            return True
        if old is None or not (whole or table.key_in_identity):
            return False
        return all(old[i] == new[i] for i in table.key_at)

    def _completed(self, table: MovedTable, before: Identity, new: Row) -> tuple[Row, Identity | None]:
        """Values that are not in the stream, from an earlier image of the same batch."""
        was = before
        for tables in self.batch.rows:
            rows = tables.get(table.text)
            image = rows.put.get(before) if rows is not None else None
            if rows is not None and image is not None:
                new = tuple([image[i] if cell is UNCHANGED else cell for i, cell in enumerate(new)])
                was = rows.was.get(before, before)
        return new, was if UNCHANGED in new else None

    def _delete(self, table: MovedTable, old: Row, whole: bool) -> None:
        key = tuple([old[i] for i in table.identity_at])
        routing = self._routings[table.text]
        known = whole or table.key_in_identity
        owners = routing.owners([old[i] for i in table.key_at]) if known else ()       # type: ignore[misc]
        for number, side in enumerate(self._indexes[table.text]):
            if side not in self._live or not self._applies(side, table, key):
                continue
            if not known or number in owners or key in self._rows(side, table).put:
                self._rows(side, table).delete(key)

    def _step(self, table: MovedTable, old: Row | None, new: Row | None) -> None:
        """A table without identity: FULL tells the whole old row."""
        routing = self._routings[table.text]
        if new is not None and old is not None:
            new = tuple([old[i] if cell is UNCHANGED else cell for i, cell in enumerate(new)])
        gives = routing.owners([old[i] for i in table.key_at]) if old is not None else ()      # type: ignore[misc]
        takes = routing.owners([new[i] for i in table.key_at]) if new is not None else ()      # type: ignore[misc]
        for number, side in enumerate(self._indexes[table.text]):
            if side in self._live and (number in gives or number in takes) and self._applies(side, table, ()):
                self._rows(side, table).steps.append((old if number in gives else None,
                                                      new if number in takes else None))


def _in_order(row: Row, order: tuple[int, ...] | None) -> Row:
    return row if order is None else tuple([row[i] for i in order])
