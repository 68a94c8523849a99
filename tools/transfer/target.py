"""One target of a stream: puts batches into its tables, with the position, in its transactions.

Invariants: a batch and its position are committed together; deletes come before rows that are put in. If rows of a
batch stand in each other's way (two of them exchanged a unique value), all of its rows are deleted first and then put
in: at the end of a batch they fit together, as they did at the source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

import asyncpg

from shardproxy.dialects.changes import UNCHANGED, Changes, Row

from .changes import Identity, Rows
from .chunks import ChunkMap, lsn_text, range_sql
from .move import Move, Place
from .tables import Links, MovedTable, TableChanged, ident, label, origin_name, writer

__all__ = ["TargetSession", "lookup"]

BLOCK_ROWS = 2_000
_CONFLICTS = (asyncpg.UniqueViolationError, asyncpg.ExclusionViolationError)
_POSITION = """
insert into shardproxy.transfer_positions (transfer, source, lsn, skipped) values ($1, $2, $3::text::pg_lsn, $4)
    on conflict (transfer, source) do update set lsn = greatest(transfer_positions.lsn, excluded.lsn),
    skipped = excluded.skipped
"""


class TargetSession:
    """A connection that has the transfer's origin. ``commit_pending``: part of a transaction was applied."""

    def __init__(self, move: Move, source: Place, place: Place, changes: Changes, connection: Any) -> None:
        self.place, self.connection = place, connection
        self._move, self._source, self._changes = move, source, changes
        self._staged: dict[str, str] = {}
        self._used: set[str] = set()
        self._number = 0
        self._transaction: Any = None

    @classmethod
    async def open(cls, links: Links, move: Move, source: Place, place: Place, changes: Changes) -> TargetSession:
        """Take the origin; fails while another process has it."""
        connection = await writer(links, place.name, origin_name(move, source, place))
        return cls(move, source, place, changes, connection)

    def close(self) -> None:
        """Whatever was not committed is rolled back."""
        self.connection.terminate()

    # -- transactions

    async def begin(self) -> None:
        """Go on with the transaction that is open, or begin one."""
        if self._transaction is None:
            self._used.clear()                  # what was staged before went with its transaction
            self._transaction = self.connection.transaction()
            await self._transaction.start()
            await self.connection.execute("set constraints all deferred")

    async def commit(self, position: int, skipped: Iterable[int]) -> None:
        """Commit what was applied, with the position."""
        await self.begin()
        await self.connection.execute(_POSITION, label(self._move), self._source.name, lsn_text(position),
                                      sorted(skipped))
        transaction, self._transaction = self._transaction, None
        await transaction.commit()

    # -- batches

    async def missing(self, tables: Mapping[str, MovedTable], rows: Mapping[str, Rows]) -> dict[str, list[Identity]]:
        """Of the rows that lack values: those that this target does not have under their own identity."""
        found: dict[str, list[Identity]] = {}
        for name, todo in rows.items():
            if not todo.was:
                continue
            keys = [key for key, was in todo.was.items() if was == key]
            there = set(await lookup(self.connection, tables[name], tables[name].target_name, keys, ()))
            lost = [key for key, was in todo.was.items() if was != key or key not in there]
            if lost:
                found[name] = lost
        return found

    async def apply(self, tables: Mapping[str, MovedTable], rows: Mapping[str, Rows]) -> None:
        """Carry out a batch; not committed by this."""
        await self.begin()
        staged = dict(self._staged)
        try:
            async with self.connection.transaction():
                for name, todo in rows.items():
                    await self._apply(tables[name], todo)
        except _CONFLICTS:
            self._staged = staged               # what was made since then is gone
            async with self.connection.transaction():
                for name, todo in rows.items():
                    await self._fill(tables[name], todo)
                for name, todo in rows.items():
                    await self._delete(tables[name], {*todo.gone, *todo.put})
                for name, todo in rows.items():
                    await self._insert(tables[name], list(todo.put.values()))
                    await self._steps(tables[name], todo)

    async def _apply(self, table: MovedTable, todo: Rows) -> None:
        whole = [row for key, row in todo.put.items() if key not in todo.was] if todo.was else list(todo.put.values())
        parts: dict[tuple[int, ...], list[Row]] = {}
        for key in todo.was:
            row = todo.put[key]
            parts.setdefault(tuple(at for at, cell in enumerate(row) if cell is not UNCHANGED), []).append(row)
        await self._delete(table, todo.gone)
        for present, part in parts.items():
            await self._update(table, present, part)
        await self._insert(table, whole, upsert=True)
        await self._steps(table, todo)

    async def _insert(self, table: MovedTable, rows: Sequence[Row], upsert: bool = False) -> None:
        if not rows:
            return
        stage = await self._stage(table)
        await self._copy(stage, table.columns, rows)
        conflict = ""
        if upsert:
            rest = [ident(name) for name in table.columns if name not in table.identity]
            action = "update set " + ", ".join(f"{name} = excluded.{name}" for name in rest) if rest else "nothing"
            conflict = f"on conflict ({', '.join(map(ident, table.identity))}) do {action}"
        await self.connection.execute(
            f"insert into {table.target_name} ({table.column_list}) overriding system value "
            f"select {table.column_list} from pg_temp.{stage} {conflict}")

    async def _update(self, table: MovedTable, present: tuple[int, ...], rows: Sequence[Row]) -> None:
        """Rows without some of their values, which stay as they are."""
        names = [table.columns[at] for at in present]
        sets = [f"{ident(name)} = s.{ident(name)}" for name in names if name not in table.identity]
        if not sets:
            return
        stage = await self._stage(table)
        await self._copy(stage, names, [tuple([row[at] for at in present]) for row in rows])
        await self.connection.execute(f"update {table.target_name} t set {', '.join(sets)} from pg_temp.{stage} s "
                                      f"where {_same(table)}")

    async def _delete(self, table: MovedTable, keys: Iterable[Identity]) -> None:
        found = list(keys)
        if not found:
            return
        stage = await self._stage(table, keys=True)
        await self._copy(stage, table.identity, found)
        await self.connection.execute(f"delete from {table.target_name} t using pg_temp.{stage} s where {_same(table)}")

    async def _steps(self, table: MovedTable, todo: Rows) -> None:
        """Rows that have no identity: one of those that are equal in every value."""
        same = " and ".join(f"{ident(name)}::text is not distinct from (${number}::text::{kind})::text" for number,
                            (name, kind) in enumerate(zip(table.columns, table.types, strict=True), 1))
        for old, new in todo.steps:
            if old is not None:
                await self.connection.execute(
                    f"delete from {table.target_name} where (tableoid, ctid) = (select tableoid, ctid from "
                    f"{table.target_name} where {same} limit 1)",
                    *(None if cell is None else cast(bytes, cell).decode() for cell in old))
            if new is not None:
                await self._insert(table, [new])

    async def _fill(self, table: MovedTable, todo: Rows) -> None:
        """Give rows that lack values those of the rows that they replace."""
        lacking = [key for key in todo.was if UNCHANGED in todo.put[key]]
        found = await lookup(self.connection, table, table.target_name, lacking, range(len(table.columns)))
        for key, cells in found.items():
            todo.put[key] = _filled(todo.put[key], cells)

    # -- staging

    async def _stage(self, table: MovedTable, keys: bool = False) -> str:
        """An empty temporary table for rows, or for identities; its name, in the schema pg_temp."""
        purpose = f"{table.text} {'keys' if keys else 'rows'}"
        name = self._staged.get(purpose)
        if name is None:
            self._number += 1
            name = f"shardproxy_{self._number}"
            columns = ", ".join(map(ident, table.identity)) if keys else table.column_list
            await self.connection.execute(
                f"create temporary table {name} on commit delete rows as select {columns} "
                f"from {table.target_name} with no data")
            self._staged[purpose] = name
        elif name in self._used:
            await self.connection.execute(f"truncate pg_temp.{name}")
        self._used.add(name)
        return name

    async def _copy(self, stage: str, names: Sequence[str], rows: Sequence[Row]) -> None:
        field = self._changes.field

        async def blocks() -> AsyncIterator[bytes]:
            for start in range(0, len(rows), BLOCK_ROWS):
                yield b"".join([b"\t".join([field(cell) for cell in row]) + b"\n"        # type: ignore[arg-type]
                                for row in rows[start:start + BLOCK_ROWS]])

        await self.connection.copy_to_table(stage, schema_name="pg_temp", columns=names, source=blocks())

    # -- truncation

    async def truncate(self, table: MovedTable, name: tuple[str, str], chunks: ChunkMap, xid: int, lsn: int,
                       alone: bool) -> None:
        """A table, or one of its partitions, was emptied. ``alone``: all its rows come from this source."""
        await self.begin()
        own = table.target_name if name == table.table else ".".join(map(ident, (table.into[0], name[1])))
        if name != table.table and await self.connection.fetchval("select to_regclass($1) is null", own):
            raise TableChanged(f"partition {'.'.join(name)} was emptied, and {self.place} has none of that name")
        if alone and lsn > chunks.complete_above:
            try:
                async with self.connection.transaction():
                    await self.connection.execute(f"truncate {own}")
                    return
            except asyncpg.FeatureNotSupportedError:
                pass                            # other tables refer to it, which were emptied at the source as well
        for chunk in chunks.chunks:
            if chunk.snapshot is None or not (lsn > chunk.lsn or not chunk.snapshot.sees(xid)):
                continue
            where = range_sql(table, chunk)
            if alone:
                await self.connection.execute(f"delete from {own} where {where}")
            else:
                await self._delete_own(table, own, where)

    async def _delete_own(self, table: MovedTable, own: str, where: str) -> None:
        """Only the rows that were this source's."""
        names = (*table.identity, *table.key)
        texts = ", ".join(f"format('%s', {ident(name)})" for name in names)
        gone: list[Identity] = []
        async for row in self.connection.cursor(f"select array[{texts}] from {own} where {where}", prefetch=5000):
            values = [value.encode() for value in row[0]]
            size = len(table.identity)
            if self._move.source_of(table.table, values[size:]) == self._source:
                gone.append(tuple(values[:size]))
        await self._delete(table, gone)


def _same(table: MovedTable) -> str:
    return " and ".join(f"t.{ident(name)} = s.{ident(name)}" for name in table.identity)


def _filled(row: Row, cells: Sequence[bytes | None]) -> Row:
    return tuple([cells[at] if cell is UNCHANGED else cell for at, cell in enumerate(row)])


async def lookup(connection: Any, table: MovedTable, name: str, keys: Sequence[Identity], columns: Iterable[int],
                 ) -> dict[Identity, list[bytes | None]]:
    """Rows of the table called ``name`` by identity, in text; only the columns at these places, the others are None."""
    found: dict[Identity, list[bytes | None]] = {}
    if not keys:
        return found
    wanted = list(columns)
    texts = ", ".join(f"case when t.{ident(table.columns[at])} is not null then format('%s', "
                      f"t.{ident(table.columns[at])}) end" for at in wanted)
    arrays = ", ".join(f"${number}::text[]" for number in range(1, len(table.identity) + 1))
    names = ", ".join(f"k{number}" for number in range(len(table.identity)))
    same = " and ".join(f"t.{ident(own)} = k.k{number}::{kind}" for number, (own, kind) in
                        enumerate(zip(table.identity, table.identity_types, strict=True)))
    sql = (f"select k.n, array[{texts}]::text[] from unnest({arrays}) with ordinality k ({names}, n) "
           f"join {name} t on {same}")
    for start in range(0, len(keys), BLOCK_ROWS):
        part = keys[start:start + BLOCK_ROWS]
        values = [[cast(bytes, key[at]).decode() for key in part] for at in range(len(table.identity))]
        for number, cells in await connection.fetch(sql, *values):
            row: list[bytes | None] = [None] * len(table.columns)
            for at, cell in zip(wanted, cells, strict=True):
                row[at] = None if cell is None else cell.encode()
            found[part[number - 1]] = row
    return found
