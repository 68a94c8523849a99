"""One statement being carried out: its text, the values bound to it, and the shards that its keys name.

Invariant: in doubt, more shards, never fewer: a key whose value cannot be read exactly is on any shard.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shardproxy.catalog.tables import Tables
from shardproxy.planner.plan import KeyValue, ShardFilter, Value
from shardproxy.topology.layout import KeyspaceLayout, Layout

from .arrays import elements
from .legs import NO_BIND, Bind

__all__ = ["Statement"]

CANDIDATES_MAX = 10_000
INTEGERS = frozenset({20, 21, 23})
TEXTS = frozenset({25, 1043, 19, 18, 705})
UNKNOWN = frozenset({0, 705})
ARRAYS = {1005: 21, 1007: 23, 1016: 20, 1009: 25, 1015: 1043, 2951: 2950, 1231: 1700, 1182: 1082, 1115: 1114,
          1185: 1184, 1000: 16, 1001: 17, 1014: 1042}
"""Type of the elements of an array type. Source: pg_type.dat."""

Candidate = bytes | tuple[bytes, int] | None


class Unreadable(Exception):
    """A key value cannot be read: any shard may have it."""


@dataclass
class Statement:
    """``formats``: result formats that the client asked for; ``max_rows``: 0 is all. ``flags``: of its route.

    ``shown``: what the coordinator can say the columns of, where it is not the text. ``one_clock``: it is a part of a
    statement that has the coordinator's time. ``placed``: slots of keys, by (keyspace, key), that this transaction
    sees in the coordinator's table, and others may not yet."""

    text: bytes
    layout: Layout
    tables: Tables
    bind: Bind = NO_BIND
    formats: tuple[int, ...] = ()
    max_rows: int = 0
    flags: int = 0
    write_slots: tuple[int, ...] = ()
    read_slots: tuple[int, ...] = ()
    simple: bool = True
    search_path: tuple[str, ...] = ("public",)
    shown: bytes = b""
    one_clock: bool = False
    placed: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _types: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)

    # -- where

    def shards(self, wanted: ShardFilter) -> list[str]:
        """Places of the shards that may have the rows, in shard order."""
        keyspace = self.layout.keyspaces[wanted.keyspace]
        return [keyspace.places()[index] for index in self.indexes(wanted)]

    def indexes(self, wanted: ShardFilter) -> list[int]:
        """The same, as indexes into the keyspace's shards."""
        keyspace = self.layout.keyspaces[wanted.keyspace]
        if wanted.keys is None:
            return self._bounded(keyspace, wanted) if wanted.bounds else list(keyspace.used())
        found: set[int] = set()
        try:
            types = self._key_types(wanted.table)
            for key in wanted.keys:
                for values in self._candidates(key, types):
                    found.add(self._index(keyspace, values))
        except Unreadable:
            return list(keyspace.used())
        return sorted(found)

    def _bounded(self, keyspace: KeyspaceLayout, wanted: ShardFilter) -> list[int]:
        """The shards of keys within bounds."""
        left = set(keyspace.used())
        for bound in wanted.bounds:
            try:
                (oid, value), = self._values(bound.value, self._key_types(wanted.table)[0][0])
            except Unreadable:
                continue
            if value is not None:
                within = keyspace.shards_from(oid, value) if bound.low else keyspace.shards_to(oid, value)
                left &= left if within is None else within
        return sorted(left)

    def place_of(self, keyspace: str, table: tuple[str, str], key: Sequence[KeyValue]) -> str | None:
        """The one place of a row with this key; None: it cannot be told."""
        layout = self.layout.keyspaces[keyspace]
        try:
            candidates = list(itertools.islice(self._candidates(key, self._key_types(table)), 2))
            if len(candidates) != 1:
                return None
            return layout.places()[self._index(layout, candidates[0])]
        except Unreadable:
            return None

    def place_of_text(self, keyspace: str, table: tuple[str, str], values: Sequence[bytes | None]) -> str | None:
        """The place of a row whose key is given in text format, typed as the table's columns are."""
        layout = self.layout.keyspaces[keyspace]
        types = [oid for oid, _ in self._key_types(table)]
        index = self.shard_of(layout, types, values)
        return None if index is None else layout.places()[index]

    def _key_types(self, name: tuple[str, str]) -> list[tuple[int, str]]:
        """Type (what values travel as) and SQL name of each key column."""
        table = self.tables.get(*name)
        layout = self.layout.table(*name)
        if table is None or layout is None:
            raise Unreadable
        found = []
        for column in (table.column(one) for one in layout.key):
            if column is None:
                raise Unreadable
            found.append((column.base or column.type, column.type_name))
        return found

    def shard_of(self, keyspace: KeyspaceLayout, types: Sequence[int], values: Sequence[Candidate]) -> int | None:
        """Index of the shard of a key; None: it cannot be told."""
        found = keyspace.shard_of(types, values)
        if found is None and self.placed and (key := keyspace.lookup_key(types, values)) is not None:
            slot = self.placed.get((keyspace.name, key))
            found = None if slot is None else keyspace.owners[slot]
        return found

    def lookup_keys(self, wanted: ShardFilter) -> set[bytes]:
        """The keys of a filter as the table of a keyspace with ``lookup`` has them; those that can be read."""
        keyspace = self.layout.keyspaces[wanted.keyspace]
        found: set[bytes] = set()
        if keyspace.function != "lookup":
            return found
        try:
            types = self._key_types(wanted.table)
            for key in wanted.keys or ():
                for values in self._candidates(key, types):
                    one = keyspace.lookup_key([oid for oid, _ in values], [value for _, value in values])
                    found |= set() if one is None else {one}
        except Unreadable:
            pass
        return found

    def all_known(self, wanted: ShardFilter) -> bool:
        """Whether every key of a filter has a place already: no row can have one that is new."""
        keyspace = self.layout.keyspaces[wanted.keyspace]
        if keyspace.function != "lookup" or wanted.keys is None:
            return True
        try:
            types = self._key_types(wanted.table)
            for key in wanted.keys:
                for values in self._candidates(key, types):
                    self._index(keyspace, values)
        except Unreadable:
            return False
        return True

    def _index(self, keyspace: KeyspaceLayout, values: Sequence[tuple[int, Candidate]]) -> int:
        index = self.shard_of(keyspace, [oid for oid, _ in values], [value for _, value in values])
        if index is None:
            raise Unreadable
        return index

    def _candidates(self, key: Sequence[KeyValue], types: Sequence[tuple[int, str]],
                    ) -> Iterator[tuple[tuple[int, Candidate], ...]]:
        columns = [self._values(one, oid) for one, (oid, _) in zip(key, types, strict=True)]
        size = 1
        for column in columns:
            size *= len(column)
        if size > CANDIDATES_MAX:
            raise Unreadable
        yield from itertools.product(*columns)

    # -- values

    def _values(self, one: KeyValue, oid: int) -> list[tuple[int, Candidate]]:
        """The candidates for one key column of type ``oid``, each with the type it is read as."""
        if not one.value.param:
            return self._constants(one, oid)
        number = one.value.param - 1
        if number >= len(self.bind.values):
            raise Unreadable
        value, form = self.bind.values[number], self._format(number)
        declared = self.bind.types[number] if number < len(self.bind.types) else 0
        if not one.array:
            kind = same_family(declared, oid)
            return [(kind, None if value is None else (value, 1) if form else value)]
        if value is None:
            return []
        element = ARRAYS.get(declared, 0)
        kind = same_family(element, oid)
        items = elements(value, form)
        if items is None:
            raise Unreadable
        return [(kind, (item, 1) if form else item) for item in items if item is not None]

    def _constants(self, one: KeyValue, oid: int) -> list[tuple[int, Candidate]]:
        text = one.value.text
        if text is None:
            return [(oid, None)]
        if not one.array:
            # an integer beyond the column's range equals no row, and hashes as the int8 that it is
            return [(20 if oid in INTEGERS else oid, text.encode())]
        items = elements(text.encode(), 0)
        if items is None:
            raise Unreadable
        return [(oid, item) for item in items if item is not None]

    def _format(self, number: int) -> int:
        formats = self.bind.formats
        return formats[number] if len(formats) > 1 else formats[0] if formats else 0

    def integer(self, value: Value | None) -> int | None:
        """A LIMIT or OFFSET; None: none."""
        if value is None or (not value.param and value.text is None):
            return None
        if not value.param:
            return int(value.text or "0")
        raw = self.bind.values[value.param - 1]
        if raw is None:
            return None
        return int.from_bytes(raw, "big", signed=True) if self._format(value.param - 1) else int(raw)


def same_family(declared: int, column: int) -> int:
    """The type as which a parameter of type ``declared`` is hashed for a key of type ``column``. Or Unreadable."""
    if declared in UNKNOWN or declared == column:
        return column
    if declared in INTEGERS and column in INTEGERS:
        return declared
    if declared in TEXTS and column in TEXTS:
        return column
    raise Unreadable
