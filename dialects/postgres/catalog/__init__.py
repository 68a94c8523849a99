"""What routing must know of a database: read from its catalog, worked out once, shipped to workers as JSON.

    queries.py      rows, as of one moment
    functions.py    rows -> what each function may do
    relations.py    rows -> what reading and writing each relation may do, and the tables behind it
    tables.py       rows -> columns, keys and what functions touch, for planners (sharded databases only)
    extensions.py   functions in C that were looked at
    build.py        all of it -> the JSON that ``shardproxy.catalog.facts.Facts`` takes
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from .build import facts_of, risky_types
from .queries import read, with_columns
from .tables import TABLE_QUERIES, tables_of

__all__ = ["load"]

KEPT_MAX = 32
_kept: OrderedDict[int, tuple[list[int], list[int], dict[str, Any]]] = OrderedDict()
"""Hash of rows -> risky types, relations with such columns, facts. Most catalogs are as they were a minute ago."""


async def load(connection: Any, harmless: Iterable[str] = (), tables: bool = False) -> dict[str, Any]:
    """Facts of the database that this asyncpg connection is in.

    ``harmless``: functions (``name`` or ``schema.name``) that the user declares to be reads that a replica may run.
    ``tables``: with what planners of a sharded database need (``shardproxy.catalog.tables``).
    """
    rows = await read(connection, TABLE_QUERIES if tables else None)
    declared = frozenset(name.rpartition(".")[2] for name in harmless)
    key = hash((declared, *((name, *map(_hashable, found)) for name, found in rows.items())))
    kept = _kept.get(key)
    types = kept[0] if kept is not None else sorted(await asyncio.to_thread(risky_types, rows, declared))
    unreadable = sorted(row["relation"] for row in await with_columns(connection, types))
    if kept is not None and kept[1] == unreadable:
        _kept.move_to_end(key)
        return kept[2]
    facts = await asyncio.to_thread(facts_of, rows, declared, unreadable)
    if tables:
        facts["tables"] = await asyncio.to_thread(tables_of, rows)
    _kept[key] = (types, unreadable, facts)
    while len(_kept) > KEPT_MAX:
        _kept.popitem(last=False)
    return facts


def _hashable(row: Any) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)
