"""SHOW SHARDS and SHOW TOPOLOGY: which server has which part of which table."""

from __future__ import annotations

from shardproxy.server.state import State
from shardproxy.server.table import BOOL, INT, TEXT, Reply
from shardproxy.topology.view import DatabaseView

__all__ = ["shards", "topology"]


async def shards(state: State) -> Reply:
    """One row for each shard of each database: its slots, its primary, its replicas."""
    rows: list[list[object]] = []
    for database in state.databases():
        layout = state.layouts().get(database.name)
        default = state.config.databases[database.name].main_keyspace
        only = next((server.id.split("/")[2] for server in database.servers), None)
        rows.append([database.name, default, only, None, *_servers(database)])
        views = {entry.place: entry for entry in state.view.shards_of(database.name)}
        for keyspace in layout.keyspaces.values() if layout is not None else ():
            for index, (shard, place) in enumerate(zip(keyspace.shards, keyspace.places(), strict=True)):
                rows.append([database.name, keyspace.name, shard, keyspace.owners.count(index),
                             *_servers(views.pop(place, None))])
        rows += [[database.name, *place.split("/"), None, *_servers(view)] for place, view in views.items()]
    columns = (("database", TEXT), ("keyspace", TEXT), ("shard", TEXT), ("slots", INT), ("primary", TEXT),
               ("replicas", INT), ("hold", BOOL))
    return Reply(columns=columns, rows=rows)


def _servers(view: DatabaseView | None) -> list[object]:
    """A shard that the configuration does not know any more has no servers."""
    return [None, 0, True] if view is None else [view.primary, len(view.replicas), view.hold]


async def topology(state: State) -> Reply:
    """One row for each table of a sharded keyspace: where it lives, and by which key it is split."""
    rows = [[name, layout.epoch, keyspace.name, f"{table.schema}.{table.name}",
             "reference" if table.reference else "sharded", ", ".join(table.key) or None,
             None if table.reference else keyspace.function, keyspace.slots,
             ", ".join(keyspace.shards[index] for index in keyspace.used())]
            for name, layout in state.layouts().items()
            for keyspace in layout.keyspaces.values() for table in keyspace.tables]
    columns = (("database", TEXT), ("epoch", INT), ("keyspace", TEXT), ("table", TEXT), ("kind", TEXT), ("key", TEXT),
               ("function", TEXT), ("slots", INT), ("shards", TEXT))
    return Reply(columns=columns, rows=rows)
