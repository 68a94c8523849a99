"""What a process knows of the keys of a keyspace with ``function = "lookup"``: key -> slot, as committed.

Invariant: a key never gets another slot, so what is known stays true while the layout is the same; a new layout begins
with nothing known. The table that it was read from is the coordinator's ``shardproxy.lookup``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

__all__ = ["KEYS_MAX", "KnownKeys", "written"]

KEYS_MAX = 100_000


class KnownKeys:
    """A bounded cache."""

    def __init__(self) -> None:
        self._slots: OrderedDict[bytes, int] = OrderedDict()

    def get(self, key: bytes | None) -> int | None:
        """The slot of a key; None: not known here."""
        if key is None:
            return None
        found = self._slots.get(key)
        if found is not None:
            self._slots.move_to_end(key)
        return found

    def put(self, key: bytes, slot: int) -> None:
        """It was read, and is committed."""
        self._slots[key] = slot
        if len(self._slots) > KEYS_MAX:
            self._slots.popitem(last=False)


def written(value: Any) -> bytes | None:
    """A value that the dialect has read, as the table has it: equal values are equal bytes."""
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()
