"""Which target a row goes to: by the router's own code, with short cuts for keys that were met before.

Invariant: rows that do not belong to the source (left behind by an earlier move), and rows that stay where they are,
go nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shardproxy.dialects.changes import Changes

from .move import COORDINATOR, Move, Place
from .tables import MovedTable, TableChanged

__all__ = ["Routing"]

KNOWN_MAX = 200_000
DIGITS = {20: 18, 21: 4, 23: 9}
"""For each integer type, how many digits it always holds."""
_UNSET = -2
NOWHERE = -1


class Routing:
    """One table of one source. ``targets``: where its rows may go; ``everywhere``: a reference table."""

    def __init__(self, move: Move, source: Place, table: MovedTable, changes: Changes,
                 targets: Sequence[Place]) -> None:
        self._move, self._source, self._table, self._changes = move, source, table, changes
        self.targets = tuple(targets)
        self.everywhere = table.table in move.references
        self._index = {place.name: number for number, place in enumerate(self.targets)}
        self._known: dict[tuple[bytes | None, ...], int] = {}
        self.fixed = self._fixed()
        self._slots: list[int] = []
        self._digits = 0
        if self.fixed is None:
            self._prepare()

    def _fixed(self) -> int | None:
        """The only target, where no key decides."""
        if self.everywhere:
            return 0
        return self._place(()) if not self._table.key else None

    def _prepare(self) -> None:
        """Where the key is one integer, and a layout hashes: the target of each slot."""
        before, after = (layout.table(*self._table.table) for layout in (self._move.before, self._move.after))
        types = self._move.types_of(self._table.table)
        spaces = [(layout.keyspaces[found.keyspace] if found is not None and found.key else None, found)
                  for layout, found in ((self._move.before, before), (self._move.after, after))]
        hashed = [space for space, _ in spaces if space is not None]
        if len(types) != 1 or types[0] not in DIGITS or not hashed or any(
                space.function != "hash" or space.slots != hashed[0].slots for space in hashed):
            return
        self._digits = DIGITS[types[0]]
        self._slots = [_UNSET] * hashed[0].slots

    def owner(self, key: Sequence[bytes | None]) -> int:
        """Index of the target of a row with this key (values in text); ``NOWHERE``: it is not moved."""
        if self.fixed is not None:
            return self.fixed
        if self._digits:
            value = key[0]
            if value is not None and len(value) <= self._digits and value.isdigit():
                slot = self._changes.slot_of_int(int(value)) % len(self._slots)
                found = self._slots[slot]
                if found == _UNSET:
                    found = self._slots[slot] = self._place(key)
                return found
        values = tuple(key)
        cached = self._known.get(values)
        if cached is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            cached = self._known[values] = self._place(values)
        return cached

    def by_slot(self) -> tuple[int, tuple[int, ...]] | None:
        """Number of slots, and the owner of each, where a key of one integer is hashed; None: it is not."""
        if self.fixed is not None or not self._digits:
            return None
        name = self._table.table
        places: list[list[str]] = []
        for layout in (self._move.before, self._move.after):
            found = layout.table(*name)
            space = layout.keyspaces[found.keyspace] if found is not None else None
            places.append([space.places()[owner] for owner in space.owners] if space is not None and found is not None
                          and found.key else [COORDINATOR] * len(self._slots))
        return len(self._slots), tuple(
            self._index.get(new, NOWHERE) if old == self._source.name else NOWHERE
            for old, new in zip(*places, strict=True))

    def own_slots(self) -> tuple[int, frozenset[int]] | None:
        """Number of slots, and those whose rows are this source's, where a key of one integer is hashed."""
        found = self._move.before.table(*self._table.table)
        if self.fixed is not None or not self._digits or found is None or not found.key:
            return None
        space = self._move.before.keyspaces[found.keyspace]
        return space.slots, frozenset(slot for slot, owner in enumerate(space.owners)
                                      if space.places()[owner] == self._source.name)

    def is_own(self, key: Sequence[bytes | None]) -> bool:
        """Whether a row with this key was this source's before the move."""
        return self._move.source_of(self._table.table, key) == self._source

    def owners(self, key: Sequence[bytes | None]) -> tuple[int, ...]:
        """All targets that have the row."""
        if self.everywhere:
            return tuple(range(len(self.targets)))
        found = self.owner(key)
        return () if found == NOWHERE else (found,)

    def deal(self, rows: Sequence[bytes], keys: Sequence[bytes | tuple[bytes, ...] | None]) -> Mapping[int, bytes]:
        """Rows of a copy, with their keys as they are written, by target."""
        if self.fixed is not None:
            return {self.fixed: b"".join(rows)} if self.fixed != NOWHERE else {}
        parts: list[list[bytes]] = [[] for _ in range(len(self.targets) + 1)]       # the last: nowhere
        digits, slots, hashed, value = self._digits, self._slots, self._changes.slot_of_int, self._changes.values
        count = len(slots)
        for row, key in zip(rows, keys, strict=True):
            if digits and key.__class__ is bytes and len(key) <= digits and key.isdigit():
                found = slots[hashed(int(key)) % count]
                if found != _UNSET:
                    parts[found].append(row)
                    continue
            fields = self._ordered(key)
            parts[self.owner([value(field) for field in fields])].append(row)
        return {number: b"".join(part) for number, part in enumerate(parts[:-1]) if part}

    def _ordered(self, key: bytes | tuple[bytes, ...] | None) -> list[bytes]:
        """The fields of a key in the order of its columns; the cutter gives them in the order of the row."""
        if key is None:
            raise TableChanged(f"a row of {self._table.text} has too few columns")
        if isinstance(key, bytes):
            return [key]
        places = sorted(self._table.key_at)
        return [key[places.index(at)] for at in self._table.key_at]

    def _place(self, key: Sequence[bytes | None]) -> int:
        if self._move.source_of(self._table.table, key) != self._source:
            return NOWHERE
        return self._index.get(self._move.target_of(self._table.table, key).name, NOWHERE)
