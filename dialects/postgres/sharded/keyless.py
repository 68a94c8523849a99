"""The copy of rows that have no primary key, and what a text did to it.

Invariants:
* Rows with equal values are as good as each other: what was done is told by how many of each there are, before and
  after. They are on one shard, so it does not matter which of them goes.
* A row that goes is named by its place on its server (``ctid``), which stays while it is locked.
"""

from __future__ import annotations

from shardproxy.catalog.tables import Column, Table
from shardproxy.dialects.postgres.wire import quote_ident

from .legs import Leg
from .staged_rows import stage_name

__all__ = ["PLACE", "copied", "difference"]

PLACE = Column("place", 27, "tid")
ROW, TURN = "shardproxy_row", "shardproxy_turn"


async def copied(leg: Leg, table: Table, staged: str) -> str:
    """A table like the shell with the rows of ``staged``, which names their columns by number."""
    name = stage_name()
    shell = f"{quote_ident(table.schema)}.{quote_ident(table.name)}"
    columns = ", ".join(map(quote_ident, table.names))
    numbered = ", ".join(f"c{number}" for number in range(len(table.names)))
    leg.temporary = True
    await leg.command(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {columns} FROM {shell} WITH NO DATA")
    await leg.command(f"INSERT INTO pg_temp.{name} SELECT {numbered} FROM {staged}")
    return f"pg_temp.{name}"


async def difference(leg: Leg, table: Table, staged: str, copy: str, key: tuple[str, ...]) -> tuple[str, str]:
    """Tables of the rows that are there no more (key and place), and of those that are new."""
    stored = [(f"c{number}", column.name) for number, column in enumerate(table.columns) if not column.generated]
    before = _counted(staged, [short for short, _ in stored])
    after = _counted(copy, [quote_ident(name) for _, name in stored])
    keys = ", ".join(f"c{table.names.index(name)} AS {quote_ident(name)}" for name in key)
    columns = ", ".join(quote_ident(name) for _, name in stored)
    gone, new = stage_name(), stage_name()
    same = f"t.{ROW} = h.{ROW} AND t.{TURN} = h.{TURN}"
    for name, what, here, there in ((gone, f"{keys}, place", before, after), (new, columns, after, before)):
        await leg.command(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {what} FROM ({here}) h "
                          f"WHERE NOT EXISTS (SELECT 1 FROM ({there}) t WHERE {same})")
    return f"pg_temp.{gone}", f"pg_temp.{new}"


def _counted(table: str, columns: list[str]) -> str:
    """Rows with their values as text, and which of those with equal ones each is."""
    row = f"ROW({', '.join(columns)})::text COLLATE \"C\""
    return f"SELECT q.*, {row} AS {ROW}, row_number() OVER (PARTITION BY {row}) AS {TURN} FROM {table} q"
