"""What the models accept and this version cannot do yet.

Invariant: such a setting is refused, never ignored. When a feature is built, its lines here go, and nothing
else changes.
"""

from __future__ import annotations

from .model import Config
from .report import Key, Report
from .servers import Keyspace

__all__ = ["check_unbuilt"]


def check_unbuilt(config: Config, report: Report) -> None:
    """Report settings of features that are not built."""
    if config.listen.mysql:
        report.add(("listen", "mysql"), "MySQL is not built yet", "remove it")
    for name, database in config.databases.items():
        key: Key = ("databases", name)
        if database.dialect != "postgres":
            report.add((*key, "dialect"), f'"{database.dialect}" is not built yet', 'this version supports "postgres"')
        if len(database.keyspace_map) > 1:
            report.add((*key, "keyspaces"), "several keyspaces: federation is not built yet",
                       "keep the one that holds the tables")
        if len(database.shards) > 1:
            report.add((*key, "shards"), f"{len(database.shards)} shards: sharded keyspaces are not built yet",
                       "keep one shard")
        for keyspace_name, keyspace in database.keyspaces.items():
            _check_keyspace(keyspace, (*key, "keyspaces", keyspace_name), report)


def _check_keyspace(keyspace: Keyspace, key: Key, report: Report) -> None:
    remedy = "keep one shard, without function, slots and tables"
    if len(keyspace.shards) > 1:
        report.add((*key, "shards"), f"{len(keyspace.shards)} shards: sharded keyspaces are not built yet", remedy)
    for setting in ("function", "slots", "tables"):
        if getattr(keyspace, setting):
            report.add((*key, setting), "sharded keyspaces are not built yet", remedy)
    for name, shard in keyspace.shards.items():
        if shard.empty:
            report.add((*key, "shards", name, "empty"), "sharded keyspaces are not built yet", remedy)
