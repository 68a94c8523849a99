"""From the configuration to a layout: once for each keyspace and table; afterwards the stored layout wins.

Invariant: ``reconcile`` never moves a slot, a key or a table of a layout that is stored; it adds what is new (a
keyspace, a table, a shard without slots) and says where configuration and layout differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shardproxy.config.model import Database, Keyspace

from .layout import DEFAULT_SCHEMA, KeyspaceLayout, Layout, Rule, TableLayout

__all__ = ["reconcile", "seed"]


def seed(database: Database) -> Layout:
    """The layout of a first start, with epoch 0."""
    return Layout(0, database.main_keyspace, {name: _keyspace(name, database) for name in database.sharded})


def reconcile(stored: Layout, database: Database) -> tuple[Layout, list[str]]:
    """The stored layout with what is new in the configuration, and the differences in which the layout wins."""
    wanted = seed(database)
    keyspaces = dict(stored.keyspaces)
    told: list[str] = []
    if stored.default != wanted.default:
        told.append(f'the default keyspace is "{stored.default}", not "{wanted.default}"')
    taken = {(table.schema, table.name): table.keyspace for table in stored.tables()}
    for name, seeded in wanted.keyspaces.items():
        own = keyspaces.get(name)
        if own is None:
            keyspaces[name] = replace(seeded, tables=tuple(_free(seeded, taken, told)))
            continue
        told += _differences(own, seeded)
        shards = (*own.shards, *(shard for shard in seeded.shards if shard not in own.shards))
        keyspaces[name] = replace(own, shards=shards, tables=(*own.tables, *_free(seeded, taken, told)))
    told += [f'keyspace "{name}" is not in the configuration' for name in keyspaces if name not in wanted.keyspaces]
    return replace(stored, keyspaces=keyspaces), told


def _free(seeded: KeyspaceLayout, taken: dict[tuple[str, str], str], told: list[str]) -> Iterator[TableLayout]:
    """Tables that no keyspace has yet."""
    for table in seeded.tables:
        home = taken.get((table.schema, table.name))
        if home is None:
            yield table
        elif home != seeded.name:
            told.append(f'table {table.schema}.{table.name} is in keyspace "{home}", not "{seeded.name}"')


def _differences(own: KeyspaceLayout, seeded: KeyspaceLayout) -> Iterator[str]:
    where = f'keyspace "{own.name}"'
    if own.function != seeded.function:
        yield f"{where}: function is {own.function}, not {seeded.function}"
    elif own.function == "hash" and own.slots != seeded.slots:
        yield f"{where}: slots are {own.slots}, not {seeded.slots}"
    elif own.rules != seeded.rules and own.function != "lookup":
        yield f"{where}: ranges or lists are others than those configured"
    for index, shard in enumerate(own.shards):
        if shard not in seeded.shards:
            slots = own.owners.count(index)
            yield f'{where}: shard "{shard}" is not in the configuration' + (f", and owns {slots} slots" * bool(slots))
    tables = {(table.schema, table.name): table for table in seeded.tables}
    for table in own.tables:
        configured = tables.get((table.schema, table.name))
        name = f"{table.schema}.{table.name}"
        if configured is None:
            yield f"{where}: table {name} is not in the configuration"
        elif configured.reference != table.reference:
            yield f"{where}: table {name} is {'a reference table' if table.reference else 'split by its key'}"
        elif configured.key != table.key:
            yield f"{where}: table {name} has the key {', '.join(table.key)}, not {', '.join(configured.key)}"


def _keyspace(name: str, database: Database) -> KeyspaceLayout:
    space = database.keyspace_map[name]
    shards = tuple(space.shards)
    tables = tuple(TableLayout(*_names(table), name, settings.key, settings.reference)
                   for table, settings in space.tables.items())
    if space.function == "hash":
        owners, rules = _dealt(space), tuple[Rule, ...]()
    elif space.function == "lookup":
        owners, rules = _looked_up(space)
    else:
        owners, rules = _ruled(space)
    return KeyspaceLayout(name, shards, space.function, len(owners), owners, tables, rules, database.dialect)


def _names(table: str) -> tuple[str, str]:
    schema, dot, name = table.partition(".")
    return (schema, name) if dot else (DEFAULT_SCHEMA, table)


def _filled(space: Keyspace) -> list[int]:
    """Shards that a first start gives rows to."""
    return [index for index, shard in enumerate(space.shards.values()) if not shard.empty] or [0]


def _dealt(space: Keyspace) -> tuple[int, ...]:
    """Even shares of neighbouring slots."""
    filled = _filled(space)
    return tuple(filled[slot * len(filled) // space.slots] for slot in range(space.slots))


def _looked_up(space: Keyspace) -> tuple[tuple[int, ...], tuple[Rule, ...]]:
    """Slots as under hash, and one more for each shard's list and the default."""
    shards, owners = list(space.shards), list(_dealt(space))
    rules = []
    for shard, values in space.lists.items():
        rules.append(Rule(len(owners), values=values))
        owners.append(shards.index(shard))
    if space.default_shard is not None:
        rules.append(Rule(len(owners), default=True))
        owners.append(shards.index(space.default_shard))
    return tuple(owners), tuple(rules)


def _ruled(space: Keyspace) -> tuple[tuple[int, ...], tuple[Rule, ...]]:
    """One slot for each range, each shard's list and the default, behind slot 0, the home of NULL."""
    shards = list(space.shards)
    owners, rules = [_filled(space)[0]], []
    for shard, ranges in space.ranges.items():
        for part in ranges:
            rules.append(Rule(len(owners), low=part.at_least, high=part.below))
            owners.append(shards.index(shard))
    for shard, values in space.lists.items():
        rules.append(Rule(len(owners), values=values))
        owners.append(shards.index(shard))
    if space.default_shard is not None:
        rules.append(Rule(len(owners), default=True))
        owners.append(shards.index(space.default_shard))
    return tuple(owners), tuple(rules)
