"""Tables beside the move itself: empty ones on shards that get no rows yet, and what is dropped at the end.

Invariant: rows are dropped only of tables that are not in use: what is in ``shardproxy_old`` after a switch, what was
made by this transfer before one, and the table of a shard that has no slots any more.
"""

from __future__ import annotations

from .move import COORDINATOR, NEW, OLD, Table
from .parts import Context, failpoint
from .servers import FAILURES
from .tables import changes_of, ident

__all__ = ["drop_made", "drop_old", "make_everywhere"]


async def make_everywhere(context: Context) -> None:
    """Every shard of a keyspace has its tables, if only empty ones: it can be asked, and given slots, at any time."""
    move = context.move
    for table in (*move.tables, *move.references):
        found = move.after.table(*table)
        if found is None:
            continue
        targets = {target.name for target in move.targets}
        for place in move.after.keyspaces[found.keyspace].places():
            if move.is_between or place not in targets:
                await _make_one(context, table, place)


async def _make_one(context: Context, table: Table, place: str) -> None:
    move, servers = context.move, context.servers
    if place not in servers.places():
        return
    name = f"{ident(table[0])}.{ident(table[1])}"
    try:
        target = await servers.open(place)
    except (LookupError, *FAILURES):
        if place in {one.name for one in move.targets}:
            raise
        return                  # it is not needed now; its proxies say so, too
    try:
        if await target.fetchval("select to_regclass($1) is not null", name):
            return
        async with servers.connected(move.sources_of(table)[0].name) as source:
            made = await changes_of().table_sql(source, table, {})
        if made is None:
            raise LookupError(f"there is no table {'.'.join(table)}")
        await context.journal.note_object(move.name, place, "table", name)
        async with target.transaction():
            for sql in made.first:
                await target.execute(sql)
        for kind, _, sql in made.later:
            if kind in ("constraint", "index"):
                await target.execute(sql)
    finally:
        target.terminate()


async def drop_made(context: Context, keep_references: bool = False) -> None:
    """Before a switch, or after the way back: the tables that this transfer made; copies of references may stay."""
    kept = {f"{ident(schema)}.{ident(name)}" for schema, name in context.move.references if keep_references}
    for one in reversed(await context.journal.objects(context.move.name)):
        if one.kind == "table" and one.object in kept:
            await context.journal.forget_object(one.name, one.place, one.kind, one.object)
        elif one.kind == "table":
            async with context.servers.connected(one.place) as connection:
                await connection.execute("set lock_timeout = '10s'")
                await connection.execute(f"drop table if exists {one.object} cascade")
            failpoint("table_dropped")
            await context.journal.forget_object(one.name, one.place, one.kind, one.object)


async def drop_old(context: Context, keep: bool) -> None:
    """After a switch: what the old side has. The tables that were made are in use now: they are no garbage."""
    move = context.move
    for one in await context.journal.objects(move.name):
        if one.kind == "table":
            await context.journal.forget_object(one.name, one.place, one.kind, one.object)
    if keep:
        return
    for place in {place.name for place in (*move.sources, *move.targets)}:
        async with context.servers.connected(place) as connection:
            await connection.execute("set lock_timeout = '10s'")
            for table in move.tables:
                failpoint("old_kept")
                for schema in (OLD, NEW):
                    await connection.execute(f"drop table if exists {schema}.{ident(table[1])} cascade")
                if place != COORDINATOR and not move.is_between and place not in move.homes(move.after, table):
                    await connection.execute(f"drop table if exists {ident(table[0])}.{ident(table[1])} cascade")
