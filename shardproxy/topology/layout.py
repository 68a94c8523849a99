"""Which table lives where: keyspaces, their shards, and who owns which slot. Immutable; each change has a new epoch.

Invariant: every slot of a keyspace has exactly one owner; a keyspace's tables are co-located (equal keys of any two of
them are on one shard); ``to_json`` and ``from_json`` are inverses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from shardproxy import dialects

from .functions import Key, Rule, range_slots, slot_of
from .lookup import KnownKeys, written

__all__ = ["DEFAULT_SCHEMA", "Key", "KeyspaceLayout", "Layout", "Rule", "TableLayout"]

DEFAULT_SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class TableLayout:
    """A table of a sharded keyspace: split by ``key``, or (``reference``) whole on every shard, with no key.

    Without a key and no reference table: whole on the one shard that its keyspace has."""

    schema: str
    name: str
    keyspace: str
    key: tuple[str, ...] = ()
    reference: bool = False


@dataclass(frozen=True)
class KeyspaceLayout:
    """A sharded keyspace. ``owners``: for each slot an index into ``shards``."""

    name: str
    shards: tuple[str, ...]
    function: str
    slots: int
    owners: tuple[int, ...]
    tables: tuple[TableLayout, ...] = ()
    rules: tuple[Rule, ...] = ()
    dialect: str = "postgres"

    def __post_init__(self) -> None:
        if len(self.owners) != self.slots or any(not 0 <= owner < len(self.shards) for owner in self.owners):
            raise ValueError(f'keyspace "{self.name}": every one of {self.slots} slots must have one of its shards')

    def slot_of(self, types: Sequence[int], values: Sequence[Key]) -> int | None:
        """The slot of a key; see ``shard_of``."""
        if self.function == "lookup" and any(value is not None for value in values):
            return self.known.get(self.lookup_key(types, values))
        return self.new_slot_of(types, values)

    def new_slot_of(self, types: Sequence[int], values: Sequence[Key]) -> int | None:
        """The slot of a key that has no place yet."""
        return slot_of(self.function, self._dialect, self.slots, self.rules, types, values)

    def shard_of(self, types: Sequence[int], values: Sequence[Key]) -> int | None:
        """Index of the shard that a key lives on. ``types``: OIDs of the types of the key's columns.

        None: it cannot be computed (type, format), no rule of the keyspace takes the key, or (``lookup``) it is not
        known here. Where one
        shard owns all slots, and hashes or has no key to look at, no key is looked at.
        """
        if len(self._used) == 1 and (self.function == "hash" or not types):
            return self._used[0]
        slot = self.slot_of(types, values)
        return None if slot is None else self.owners[slot]

    def shards_from(self, type_oid: int, low: Key) -> set[int] | None:
        """Indexes of the shards that may have keys of at least ``low``; None: it cannot be told."""
        return self._within(range_slots(self.function, self._dialect, self.rules, type_oid, low, None))

    def shards_to(self, type_oid: int, high: Key) -> set[int] | None:
        """Indexes of the shards that may have keys of at most ``high``; None: it cannot be told."""
        return self._within(range_slots(self.function, self._dialect, self.rules, type_oid, None, high))

    def _within(self, slots: set[int] | None) -> set[int] | None:
        return None if slots is None else {self.owners[slot] for slot in slots}

    def lookup_key(self, types: Sequence[int], values: Sequence[Key]) -> bytes | None:
        """A key as the table of ``lookup`` has it; None: it cannot be read."""
        return written(self._dialect.key_value(types[0], values[0])) if len(values) == 1 else None

    @cached_property
    def known(self) -> KnownKeys:
        """Keys that were looked up."""
        return KnownKeys()

    def used(self) -> tuple[int, ...]:
        """Indexes of the shards that own slots, ascending: all that may hold rows."""
        return self._used

    def places(self) -> tuple[str, ...]:
        """``keyspace/shard`` of each shard, by index."""
        return self._places

    @cached_property
    def _used(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.owners)))

    @cached_property
    def _places(self) -> tuple[str, ...]:
        return tuple(f"{self.name}/{shard}" for shard in self.shards)

    @cached_property
    def _dialect(self) -> Any:
        return dialects.get(self.dialect)


@dataclass(frozen=True)
class Layout:
    """All sharded keyspaces of one database. ``default``: the keyspace of the coordinator and of unlisted tables."""

    epoch: int
    default: str
    keyspaces: Mapping[str, KeyspaceLayout] = field(default_factory=dict)

    def table(self, schema: str | None, name: str) -> TableLayout | None:
        """A table of a sharded keyspace; None: not sharded.

        Without a schema: the one in ``public``, else the only one of that name.
        """
        if schema is not None:
            return self._tables.get((schema, name))
        found = self._tables.get((DEFAULT_SCHEMA, name))
        if found is not None:
            return found
        named = self._by_name.get(name, ())
        return named[0] if len(named) == 1 else None

    def tables(self) -> tuple[TableLayout, ...]:
        """All tables of all sharded keyspaces."""
        return tuple(self._tables.values())

    def places(self) -> tuple[str, ...]:
        """``keyspace/shard`` of every shard."""
        return tuple(place for keyspace in self.keyspaces.values() for place in keyspace.places())

    @cached_property
    def _tables(self) -> Mapping[tuple[str, str], TableLayout]:
        return {(table.schema, table.name): table for keyspace in self.keyspaces.values() for table in keyspace.tables}

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[TableLayout, ...]]:
        found: dict[str, tuple[TableLayout, ...]] = {}
        for table in self._tables.values():
            found[table.name] = (*found.get(table.name, ()), table)
        return found

    def with_table(self, table: TableLayout) -> Layout:
        """With this table in its keyspace, instead of one of its name. KeyError: no such keyspace."""
        left = self.without_table(table.schema, table.name)
        space = left.keyspaces[table.keyspace]
        return replace(left, keyspaces={**left.keyspaces, space.name: replace(space, tables=(*space.tables, table))})

    def without_table(self, schema: str, name: str) -> Layout:
        """Without this table."""
        return replace(self, keyspaces={
            own: replace(space, tables=tuple(one for one in space.tables if (one.schema, one.name) != (schema, name)))
            for own, space in self.keyspaces.items()})

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the store and the control channel."""
        return {"epoch": self.epoch, "default": self.default,
                "keyspaces": {name: _keyspace_json(keyspace) for name, keyspace in self.keyspaces.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """The layout that ``to_json`` described. ValueError, KeyError or TypeError if it is damaged."""
        return cls(data["epoch"], data["default"],
                   {name: _keyspace(name, found) for name, found in data["keyspaces"].items()})


def _keyspace_json(keyspace: KeyspaceLayout) -> dict[str, Any]:
    """Owners are written as runs: ``[count, owner]``."""
    return {"shards": list(keyspace.shards), "function": keyspace.function, "slots": keyspace.slots,
            "owners": [[len(list(run)), owner] for owner, run in groupby(keyspace.owners)],
            "tables": [asdict(table) | {"key": list(table.key)} for table in keyspace.tables],
            "rules": [asdict(rule) | {"values": list(rule.values)} for rule in keyspace.rules],
            "dialect": keyspace.dialect}


def _keyspace(name: str, data: Mapping[str, Any]) -> KeyspaceLayout:
    return KeyspaceLayout(
        name, tuple(data["shards"]), data["function"], data["slots"],
        tuple(owner for count, owner in data["owners"] for _ in range(count)),
        tuple(TableLayout(**{**table, "key": tuple(table["key"])}) for table in data["tables"]),
        tuple(Rule(**{**rule, "values": tuple(rule["values"])}) for rule in data["rules"]), data["dialect"])
