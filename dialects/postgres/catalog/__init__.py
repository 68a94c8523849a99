"""What routing must know of a database: read from its catalog, worked out once, shipped to workers as JSON.

    queries.py      rows, as of one moment
    functions.py    rows -> what each function may do
    relations.py    rows -> what reading and writing each relation may do, and the tables behind it
    extensions.py   functions in C that were looked at
    build.py        all of it -> the JSON that ``shardproxy.catalog.facts.Facts`` takes
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from .build import build, risky_types
from .queries import read, with_columns

__all__ = ["load"]


async def load(connection: Any, harmless: Iterable[str] = ()) -> dict[str, Any]:
    """Facts of the database that this asyncpg connection is in.

    ``harmless``: functions (``name`` or ``schema.name``) that the user declares to be reads that a replica may run.
    """
    rows = await read(connection)
    declared = frozenset(name.rpartition(".")[2] for name in harmless)
    types = await asyncio.to_thread(risky_types, rows, declared)
    unreadable = await with_columns(connection, sorted(types))
    return await asyncio.to_thread(build, rows, declared, [row["relation"] for row in unreadable])
