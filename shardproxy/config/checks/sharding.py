"""Keyspaces whose tables are spread over shards: every table has a home, and every key exactly one shard.

Invariant: the default keyspace has one shard, the coordinator; no two shards are one and the same database.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..databases import ANY, Database
from ..model import Config
from ..report import Key, Report, closest
from ..servers import Keyspace, Table

__all__ = ["check_sharding"]

DEFAULT_SLOTS = Keyspace.model_fields["slots"].default


def check_sharding(config: Config, report: Report) -> None:
    """All databases that have more than one keyspace or shard."""
    for name, database in config.databases.items():
        key: Key = ("databases", name)
        main = database.main_keyspace
        _check_default(database, main, key, report)
        if not database.sharded or not main:
            continue
        if name == ANY:
            report.add((*key, "keyspaces"), "a database must be named to have sharded tables",
                       "write an entry [databases.NAME]")
        _check_names(name, database, key, report)
        _check_places(database, key, report)
        _check_tables(database, key, report)
        for keyspace in database.sharded:
            _check_function(database.keyspace_map[keyspace], (*key, "keyspaces", keyspace), report)


def _check_default(database: Database, main: str, key: Key, report: Report) -> None:
    space = database.keyspace_map.get(main)
    if space is None:
        return
    where: Key = (*key, "shards") if database.shards else (*key, "keyspaces", main, "shards")
    if len(space.shards) > 1 and (database.primary is None or not database.shards):
        report.add(where, f"{len(space.shards)} shards in the default keyspace, whose primary coordinates",
                   "keep one there, and make another keyspace for the tables that are split")
    for setting in ("tables", "ranges", "lists", "default_shard"):
        if getattr(space, setting):
            report.add((*key, "keyspaces", main, setting), "the tables of the default keyspace are not split",
                       "move them to another keyspace")
    for shard, settings in space.shards.items():
        if settings.empty:
            report.add((*where, shard, "empty"), "the only shard of a keyspace cannot be empty", "remove it")


def _check_names(name: str, database: Database, key: Key, report: Report) -> None:
    """Names are joined by slashes to those of servers and shards."""
    if "/" in name:
        report.add(key, "the name of a database with sharded tables has no slash", "choose another name")
    for keyspace in database.keyspaces:
        for part, where in [(keyspace, (*key, "keyspaces", keyspace)),
                            *((shard, (*key, "keyspaces", keyspace, "shards", shard))
                              for shard in database.keyspaces[keyspace].shards)]:
            if "/" in part or not part:
                report.add(where, "a name without slashes is needed here", "choose another name")


def _check_places(database: Database, key: Key, report: Report) -> None:
    """No database serves as two shards, under whichever of its servers' addresses."""
    seen: dict[tuple[object, ...], tuple[str, str]] = {}
    for server in database.servers:
        place = (server.host, server.unix, server.port, server.dbname)
        shard = (server.keyspace, server.shard)
        if seen.setdefault(place, shard) != shard:
            report.add((*key, "keyspaces", server.keyspace, "shards", server.shard),
                       f"{server.unix or server.host}:{server.port}/{server.dbname} is also used by the shard "
                       f"{'.'.join(seen[place])}", "every shard has a database of its own")


def _check_tables(database: Database, key: Key, report: Report) -> None:
    homes: dict[str, str] = {}
    for keyspace in database.sharded:
        space, where = database.keyspace_map[keyspace], (*key, "keyspaces", keyspace)
        if len(space.shards) > 1 and not space.tables:
            report.add((*where, "tables"), "are missing: nothing is kept in this keyspace",
                       'add tables.NAME = { key = "COLUMN" }')
        for name, table in space.tables.items():
            full = name if "." in name else f"public.{name}"
            if full in homes:
                report.add((*where, "tables", name), f'is also a table of the keyspace "{homes[full]}"', "keep one")
            homes.setdefault(full, keyspace)
            if not all(part for part in full.split(".", 1)):
                report.add((*where, "tables", name), "is not the name of a table", 'write "schema.table"')
            _check_table(space, table, (*where, "tables", name), report)
        _check_alike(space.sharded_tables, where, report)


def _check_table(space: Keyspace, table: Table, where: Key, report: Report) -> None:
    if table.reference and table.key:
        report.add((*where, "key"), "a reference table is not split by a key", "keep one of them")
    elif not table.reference and not table.key and len(space.shards) > 1:
        report.add((*where, "key"), "is missing: the keyspace has several shards",
                   'add key = "COLUMN", or reference = true; other tables belong to the default keyspace')
    if len(set(table.key)) < len(table.key):
        report.add((*where, "key"), "names a column twice", "name each column once")
    if len(table.key) > 1 and space.function != "hash":
        report.add((*where, "key"), f'function = "{space.function}" takes a key of one column', 'use function = "hash"')


def _check_alike(tables: Mapping[str, Table], where: Key, report: Report) -> None:
    """Tables of a keyspace are co-located: their keys have the same number of columns."""
    sizes = {len(table.key) for table in tables.values() if table.key}
    if len(sizes) > 1:
        report.add((*where, "tables"), "keys of different numbers of columns in one keyspace",
                   "tables that are split differently belong to different keyspaces")


def _check_function(space: Keyspace, where: Key, report: Report) -> None:
    if space.shards and all(shard.empty for shard in space.shards.values()):
        report.add((*where, "shards"), "all shards are empty", "let one of them own slots")
    lookup = space.function == "lookup"
    used = {"hash": "", "range": "ranges", "list": "lists", "lookup": "lists"}[space.function]
    for setting in ("ranges", "lists"):
        if getattr(space, setting) and setting != used:
            report.add((*where, setting), f'are not used under function = "{space.function}"', "remove them")
    if used and not lookup and not getattr(space, used) and space.default_shard is None:
        report.add((*where, used), f'are missing: function = "{space.function}" needs them',
                   f"add {used}.SHARD, or default_shard")
    if space.slots != DEFAULT_SLOTS and used and not lookup:
        report.add((*where, "slots"), f'are not used under function = "{space.function}"', "remove it")
    if space.default_shard is not None and not used:
        report.add((*where, "default_shard"), 'is not used under function = "hash"', "remove it")
    named: list[tuple[Key, str]] = [((*where, setting, shard), shard) for setting in ("ranges", "lists")
                                    for shard in getattr(space, setting)]
    named += [((*where, "default_shard"), space.default_shard)] if space.default_shard is not None else []
    for key, shard in named:
        if shard not in space.shards:
            meant = closest(shard, space.shards)
            report.add(key, f'there is no shard "{shard}"', f'did you mean "{meant}"?' if meant else "name a shard")
    _check_lists(space, where, report)


def _check_lists(space: Keyspace, where: Key, report: Report) -> None:
    seen: dict[str, str] = {}
    for shard, values in space.lists.items():
        for value in values:
            if value in seen:
                report.add((*where, "lists", shard), f'"{value}" is also in the list of "{seen[value]}"', "keep one")
            seen.setdefault(value, shard)
