"""What the models accept and this version cannot do yet.

Invariant: such a setting is refused, never ignored. When a feature is built, its lines here go, and nothing
else changes.
"""

from __future__ import annotations

from .model import Config
from .report import Key, Report

__all__ = ["check_unbuilt"]


def check_unbuilt(config: Config, report: Report) -> None:
    """Report settings of features that are not built."""
    if config.listen.mysql:
        report.add(("listen", "mysql"), "MySQL is not built yet", "remove it")
    for name, database in config.databases.items():
        key: Key = ("databases", name)
        if database.dialect != "postgres":
            report.add((*key, "dialect"), f'"{database.dialect}" is not built yet', 'this version supports "postgres"')
        if database.coordinator in database.sharded:
            report.add((*key, "coordinator"), "not built yet: the default keyspace coordinates", "remove it")
        for keyspace, space in database.keyspaces.items():
            if keyspace != database.main_keyspace:
                for table, settings in space.tables.items():
                    if not settings.key and not settings.reference and len(space.shards) == 1:
                        report.add((*key, "keyspaces", keyspace, "tables", table),
                                   "a table of another keyspace that is not split: federation is not built yet",
                                   'give it a key, or leave it out (then it is in the default keyspace)')
