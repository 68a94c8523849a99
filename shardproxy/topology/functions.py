"""Sharding functions: from the values of a key to a slot. Which shard owns a slot, the layout says.

``hash`` has as many slots as the keyspace says, ``range`` and ``list`` one for each rule, behind slot 0; ``lookup`` has
both, those of its rules at the end.
Invariant: NULL, and a key of NULLs, live in slot 0. None means that the slot cannot be computed, or that no rule takes
the value: whoever reads asks every shard then, whoever writes refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

__all__ = ["FUNCTIONS", "Hashes", "Key", "Rule", "range_slots", "slot_of"]

Key = bytes | tuple[bytes, int] | None
"""A value as a client sent it: None is NULL; bytes alone are in text format; else (bytes, format), format 1 binary."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Slot ``slot`` takes keys from ``low`` up to, but not with, ``high`` (None: no bound), those among ``values``, or,
    with ``default``, what no other rule takes. All in text format."""

    slot: int
    low: str | None = None
    high: str | None = None
    values: tuple[str, ...] = ()
    default: bool = False


class Hashes(Hashable, Protocol):
    """The part of a dialect that knows the keys of its database."""

    def partition_hash(self, types: Sequence[int], values: Sequence[Key]) -> int | None:
        """The hash of a key; None: not to be computed."""

    def key_value(self, type_oid: int, value: Key) -> Any:
        """The value in a form that compares and hashes as in the database; None: not to be read."""


Function = Callable[[Hashes, int, tuple[Rule, ...], Sequence[int], Sequence[Key]], int | None]
"""(dialect, slots, rules, types, values) -> slot."""


def slot_of(function: str, dialect: Hashes, slots: int, rules: tuple[Rule, ...], types: Sequence[int],
            values: Sequence[Key]) -> int | None:
    """The slot of a key."""
    if all(value is None for value in values):
        return 0
    return FUNCTIONS[function](dialect, slots, rules, types, values)


def _hash(dialect: Hashes, slots: int, rules: tuple[Rule, ...], types: Sequence[int], values: Sequence[Key],
          ) -> int | None:
    found = dialect.partition_hash(types, values)
    return None if found is None else found % slots


def _range(dialect: Hashes, slots: int, rules: tuple[Rule, ...], types: Sequence[int], values: Sequence[Key],
           ) -> int | None:
    value = dialect.key_value(types[0], values[0])
    ranges = _ranges(dialect, rules, types[0])
    if value is None or ranges is None:
        return None
    for slot, low, high in ranges:
        if (low is None or value >= low) and (high is None or value < high):
            return slot
    return next((rule.slot for rule in rules if rule.default), None)


def _list(dialect: Hashes, slots: int, rules: tuple[Rule, ...], types: Sequence[int], values: Sequence[Key],
          ) -> int | None:
    value = dialect.key_value(types[0], values[0])
    known = _listed(dialect, rules, types[0])
    if value is None or known is None:
        return None
    if value in known:
        return known[value]
    return next((rule.slot for rule in rules if rule.default), None)


def range_slots(function: str, dialect: Hashes, rules: tuple[Rule, ...], type_oid: int, low: Key, high: Key,
                ) -> set[int] | None:
    """Slots that may have keys from ``low`` to ``high`` (None: no bound), both included; None: it cannot be told."""
    ranges = _ranges(dialect, rules, type_oid) if function == "range" else None
    first = None if low is None else dialect.key_value(type_oid, low)
    last = None if high is None else dialect.key_value(type_oid, high)
    if ranges is None or (first is None) != (low is None) or (last is None) != (high is None):
        return None
    found = {slot for slot, start, end in ranges if not (first is not None and end is not None and first >= end)
             and not (last is not None and start is not None and last < start)}
    return found | {rule.slot for rule in rules if rule.default}


@lru_cache(maxsize=256)
def _ranges(dialect: Hashes, rules: tuple[Rule, ...], type_oid: int) -> tuple[tuple[int, Any, Any], ...] | None:
    """The bounds, read as the key's type; None if one of them is none of that type."""
    found: list[tuple[int, Any, Any]] = []
    for rule in rules:
        ends = [None if end is None else dialect.key_value(type_oid, end.encode()) for end in (rule.low, rule.high)]
        if (ends[0] is None) != (rule.low is None) or (ends[1] is None) != (rule.high is None):
            return None
        if not rule.default:
            found.append((rule.slot, ends[0], ends[1]))
    return tuple(found)


@lru_cache(maxsize=256)
def _listed(dialect: Hashes, rules: tuple[Rule, ...], type_oid: int) -> Mapping[Any, int] | None:
    found: dict[Any, int] = {}
    for rule in rules:
        for text in rule.values:
            value = dialect.key_value(type_oid, text.encode())
            if value is None or found.setdefault(value, rule.slot) != rule.slot:
                return None                 # not of this type, or (1 and 1.0) the same key twice
    return found


def _lookup(dialect: Hashes, slots: int, rules: tuple[Rule, ...], types: Sequence[int], values: Sequence[Key],
            ) -> int | None:
    listed = _list(dialect, slots, rules, types, values)
    return listed if listed is not None else _hash(dialect, slots - len(rules), rules, types, values)


FUNCTIONS: Mapping[str, Function] = {"hash": _hash, "range": _range, "list": _list, "lookup": _lookup}
"""``lookup`` says where a key goes that has no place yet; where the others are, ``lookup.py`` knows."""
