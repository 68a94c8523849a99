"""Unique constraints without the sharding key: what a statement has changed is kept on the coordinator before its end.

Invariants:
* Of all shards the values that went are taken away before those that came are added, so a row may move.
* All of it is part of the transaction that changed the rows; another one that adds the same value waits for its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shardproxy.dialects.postgres import wire
from shardproxy.planner.plan import COORDINATOR
from shardproxy.topology.layout import TableLayout

from .errors import PgError
from .legs import Leg
from .shells import quote

__all__ = ["keep_changes", "keep_new", "tidy"]

BATCH = 1000
UNIQUE_VIOLATION = "23505"
INTERNAL = ("W", "p", "q", "P")

Index = tuple[str, str, str]
"""Schema and table, and the index's name."""


async def keep_changes(tx: Any, keyspaces: Collection[str]) -> None:
    """Keep what the statement that was just carried out has changed on shards of these keyspaces."""
    legs = [leg for place, leg in sorted(tx.legs.items()) if place.partition("/")[0] in keyspaces and leg.in_block
            and not leg.aborted and not leg.server.closed]
    if not legs:
        return
    noted = await asyncio.gather(*(leg.run(
        "SELECT EXISTS (SELECT FROM shardproxy.noted_changes(0)), EXISTS (SELECT FROM shardproxy.noted_changes(2))")
        for leg in legs))
    legs = [leg for leg, rows in zip(legs, noted, strict=True) if b"t" in rows[0]]
    if not legs:
        return
    await tx.begin_atomic()
    home = await tx.leg(COORDINATOR, write=True)
    for sign in (0, -1, 1):
        for leg in legs:
            async for index, cells in _noted(leg, sign):
                with as_of(index):
                    await home.run(_keep(index, cells if sign < 0 else (), cells if sign > 0 else (), not sign))
    for leg in legs:
        await leg.run("SELECT shardproxy.take_noted()")


async def _noted(leg: Leg, sign: int) -> AsyncIterator[tuple[Index, list[str]]]:
    """What came (1), went (-1), or which tables were emptied (0), in batches."""
    batches: dict[Index, list[str]] = {}
    async for row in leg.rows(f"SELECT * FROM shardproxy.noted_changes({sign})".encode()):
        schema, name, index, cells = (None if one is None else one.decode() for one in wire.parse_data_row(row))
        key = (schema or "", name or "", index or "")
        batch = batches.setdefault(key, [])
        if cells is not None:
            batch.append(cells)
        if len(batch) >= BATCH:
            yield key, batches.pop(key)
    for key, batch in batches.items():
        yield key, batch


def _keep(index: Index, gone: Sequence[str], comes: Sequence[str], emptied: bool) -> str:
    lists = ", ".join(_text(f"[{','.join(cells)}]") for cells in (gone, comes))
    return f"SELECT shardproxy.keep_unique({_regclass(index)}, {_text(index[2])}, {lists}, {emptied})"


@contextmanager
def as_of(index: Index, building: bool = False) -> Iterator[None]:
    """Errors within are those of the client's table."""
    try:
        yield
    except PgError as error:
        for code in INTERNAL:
            error.fields.pop(code, None)
        if error.sqlstate == UNIQUE_VIOLATION:
            error.fields["s"], error.fields["t"], error.fields["n"] = index
            if building:
                error.fields["M"] = f'could not create unique index "{index[2]}"'
                error.fields["D"] = error.fields.get("D", "").replace(") already exists.", ") is duplicated.")
        raise


# -- DDL


async def keep_new(tx: Any, table: TableLayout) -> None:
    """Keep what a table has for each unique index without its key that is not kept yet. The shards have the index."""
    home = await tx.leg(COORDINATOR, write=True)
    key = ", ".join(map(_text, table.key))
    name = (table.schema, table.name, "")
    made = await home.run(f"SELECT shardproxy.make_lookups({_regclass(name)}, ARRAY[{key}]::pg_catalog.text[])")
    places = [place for place in tx.legs if place.startswith(f"{table.keyspace}/")]
    for row in made:
        index = (table.schema, table.name, (row[0] or b"").decode())
        for place in sorted(places):
            leg = await tx.leg(place, write=True)
            await leg.run(f"SELECT shardproxy.watch_unique({_regclass(index)}, {_text(index[2])})")
        for place in sorted(places):
            async for cells in _stored(await tx.leg(place, write=True), index):
                with as_of(index, building=True):
                    await home.run(_keep(index, (), cells, False))


async def _stored(leg: Leg, index: Index) -> AsyncIterator[list[str]]:
    """The values that a shard has, in batches."""
    batch: list[str] = []
    async for row in leg.rows(f"SELECT * FROM shardproxy.unique_cells({_regclass(index)}, {_text(index[2])})".encode()):
        batch.append((wire.parse_data_row(row)[0] or b"").decode())
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def tidy(tx: Any, keyspaces: Collection[str]) -> None:
    """After DDL that may have dropped or renamed an index whose values are kept."""
    for place in sorted(tx.legs):
        if place.partition("/")[0] in keyspaces:
            await (await tx.leg(place, write=True)).run("SELECT shardproxy.unwatch()")
    await (await tx.leg(COORDINATOR, write=True)).run("SELECT shardproxy.tidy_lookups()")


def _text(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _regclass(index: Index) -> str:
    return _text(f"{quote(index[0])}.{quote(index[1])}") + "::pg_catalog.regclass"
