"""How each kind of object that transfers note is dropped, by name, if it is there.

Invariant: what is in use by a running transfer is never asked for here (see ``garbage``); a slot that somebody reads
is an error, not waited for.
"""

from __future__ import annotations

from typing import Any

from .tables import ident

__all__ = ["drop_object"]


async def drop_object(connection: Any, kind: str, name: str) -> None:
    """Through an asyncpg connection to the place. asyncpg's errors; ValueError: a kind that is not known."""
    if kind == "slot":
        await connection.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                                 "where slot_name = $1 and database = current_database()", name)
    elif kind == "publication":
        await connection.execute(f"drop publication if exists {ident(name)}")
    elif kind == "origin":
        await connection.execute("select pg_replication_origin_drop(roname) from pg_replication_origin "
                                 "where starts_with(roname, $1)", name)
    elif kind == "table":
        await connection.execute("set lock_timeout = '10s'")
        await connection.execute(f"drop table if exists {name} cascade")
    else:
        raise ValueError(f"how a {kind} is dropped is not known")
