"""What a transaction's DDL does to others: from its COMMIT until they know the catalog, nobody begins anything on the
tables that it changed.

    tx.altered    names of tables that DDL of the transaction has made, changed or dropped
    tx.hold       name of the hold, from just before COMMIT until all workers know the new catalog

Invariant: a statement that was planned by the old catalog and is under way does not come to run after a change that
would send its rows elsewhere: such a change is refused (55006) while there are any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from shardproxy.catalog.tables import Table
from shardproxy.errors import ControlError

from .errors import PgError
from .overlay import see
from .planning import Sharding, sharding_of, words_of

__all__ = ["concerned", "hold", "outdated", "release"]

Name = tuple[str, str]


def concerned(text: str, layout: Any) -> set[Name]:
    """Sharded and reference tables that a statement names."""
    words = words_of(text)
    return {(table.schema, table.name) for table in layout.tables() if table.name in words}


async def hold(session: Any) -> None:
    """Before COMMIT of a transaction with DDL. Raises PgError: it must not be committed now."""
    tx = session.tx
    if not tx.altered or tx.hold:
        return
    known = sharding_of(session.database)
    before = {name: _ways(known, name) for name in tx.altered}
    if any(before.values()):
        await see(session)
    after = tx.overlay if tx.overlay is not None else known
    moved = any(way and (now := _ways(after, name)) and way != now for name, way in before.items())
    worker = session.database.worker
    try:
        tx.hold, quiet = await worker.hold_layout(session.database.name, session.link.id,
                                                  [list(name) for name in sorted(tx.altered)], moved)
    except ControlError as error:
        raise PgError.of("57P03", f"the other workers cannot be told of this DDL now: {error}") from None
    if moved and not quiet:
        release(session)
        raise PgError.of("55006", "statements that are under way would send rows to where the table was before",
                         detail="They name a table that this transaction has made anew with another key or another "
                                "place of its key among the columns.",
                         hint="Try again, or commit DROP TABLE before CREATE TABLE.")


def release(session: Any) -> None:
    """What waits goes on."""
    tx = session.tx
    if tx.hold:
        session.database.worker.release_layout(tx.hold)
    tx.hold = ""
    tx.altered.clear()


def _ways(sharding: Sharding, name: Name) -> tuple[object, ...]:
    """How values of a row decide where it is: by the table's layout, and where its key is among the columns."""
    layout, table = sharding.layout.table(*name), sharding.tables.get(*name)
    if layout is None or table is None:
        return ()
    columns = [column.name for column in table.columns]
    return (layout.keyspace, layout.key, layout.reference,
            tuple(columns.index(one) for one in layout.key if one in columns))


def outdated(text: bytes, old: tuple[Any, Any], new: Sharding) -> bool:
    """Whether a table that a statement names is not as when the statement was planned by ``old``: layout, tables."""
    layout, tables = old
    if layout is new.layout and tables is new.tables:
        return False
    words = words_of(text.decode("utf-8", "replace"))

    def changed(names: Iterable[Name]) -> bool:
        return any(name in words and (layout.table(schema, name) != new.layout.table(schema, name)
                                      or _meaning(tables.get(schema, name)) != _meaning(new.tables.get(schema, name)))
                   for schema, name in names)

    return changed({(table.schema, table.name) for one in (layout, new.layout) for table in one.tables()})


def _meaning(table: Table | None) -> Table | None:
    """What plans are made from. A table that moves to shards, or back, becomes another relation, which is alike."""
    return None if table is None else replace(table, oid=0, shell=False, indexes=(), owner="")
