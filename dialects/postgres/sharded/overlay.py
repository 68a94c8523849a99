"""What a transaction's own DDL has made of catalog and layout, for the statements after it in that transaction.

    tx.unseen    DDL ran, and has not been looked at
    tx.overlay   a ``Sharding`` that only this session plans by, until its transaction ends

Invariant: what is read through the transaction's own connection is never put where other sessions, or this one after
the transaction, would find it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from shardproxy.catalog.tables import Tables
from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.catalog.queries import QUERIES
from shardproxy.dialects.postgres.catalog.tables import TABLE_QUERIES, tables_of
from shardproxy.planner.plan import COORDINATOR
from shardproxy.topology.changes import changed, configured

from .arrays import elements
from .laid_out import READ_SQL, change_of
from .planning import Sharding, sharding_of

__all__ = ["rows_of", "see"]

NEEDED = ("relations", "parents", "functions", "aggregates", "policies", "expressions")
"""Of the queries for routing, those that tables need."""
INTEGERS, BOOLEAN, ARRAYS = frozenset((20, 21, 23, 26)), 16, frozenset((1002, 1003, 1009))
MARK = "shardproxy_look"


async def see(session: Any) -> None:
    """Look at what DDL has done, if it has not been looked at; not in a failed block."""
    tx = session.tx
    if not tx.unseen or not (tx.in_block or tx.atomic):
        return
    leg = await tx.leg(COORDINATOR)
    if tx.failed or leg.aborted:
        return
    await leg.run(f"SAVEPOINT {MARK}; SET LOCAL search_path = pg_catalog")
    try:
        rows = {name: await rows_of(leg, query)
                for name, query in {**{name: QUERIES[name] for name in NEEDED}, **TABLE_QUERIES}.items()}
        changes = [change_of(**row) for row in await rows_of(leg, READ_SQL)]
    finally:
        await leg.run(f"ROLLBACK TO SAVEPOINT {MARK}; RELEASE SAVEPOINT {MARK}")
    known = sharding_of(session.database)
    found = Tables.from_json(await asyncio.to_thread(tables_of, rows))
    found.refused = known.tables.refused
    overlay = Sharding()
    overlay.set(changed(known.layout, changes, configured(session.database.entry)), found)
    overlay.made_of = known.generation
    tx.overlay, tx.unseen = overlay, False


async def rows_of(leg: Any, query: str) -> list[dict[str, Any]]:
    """Rows of a query of the catalog, with values of the types that they are read as elsewhere."""
    reply = leg.rows(query.encode())
    description = await reply.described()
    columns = _columns(description or b"\0\0")
    return [{name: None if cell is None else read(cell)
             for (name, read), cell in zip(columns, wire.parse_data_row(row), strict=True)}
            for row in await reply.all()]


def _columns(description: bytes) -> list[tuple[str, Callable[[bytes], Any]]]:
    (count,) = struct.unpack_from("!H", description)
    found, pos = [], 2
    for _ in range(count):
        end = description.index(b"\0", pos)
        (oid,) = struct.unpack_from("!I", description, end + 7)
        found.append((description[pos:end].decode(), _reader(oid)))
        pos = end + 19
    return found


def _reader(oid: int) -> Callable[[bytes], Any]:
    if oid in INTEGERS:
        return int
    if oid == BOOLEAN:
        return lambda cell: cell == b"t"
    if oid in ARRAYS:
        return lambda cell: [None if item is None else _text(item) for item in elements(cell, 0) or ()]
    return _text


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", "surrogateescape")
