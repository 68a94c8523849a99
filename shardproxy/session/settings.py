"""Session settings as interned, immutable values: two sessions with equal settings share one object.

Invariant: ``a.values == b.values`` exactly when ``a is b``, so that the relay compares settings with one pointer
comparison, and a server connection is brought from one client's settings to another's by ``difference``.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["EMPTY", "Settings", "difference", "intern_settings"]


class Settings:
    """Name -> value of everything a session has set; names in lower case. Made by ``intern_settings`` only."""

    __slots__ = ("__weakref__", "values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = MappingProxyType(dict(values))

    def __repr__(self) -> str:
        return f"Settings({sorted(self.values)})"


_INTERNED: weakref.WeakValueDictionary[frozenset[tuple[str, str]], Settings] = weakref.WeakValueDictionary()


def intern_settings(values: Mapping[str, str]) -> Settings:
    """The one ``Settings`` with these values."""
    key = frozenset(values.items())
    found = _INTERNED.get(key)
    if found is None:
        found = _INTERNED[key] = Settings(values)
    return found


def difference(have: Settings, want: Settings) -> tuple[dict[str, str], list[str]]:
    """What to set and what to reset on a server that has ``have`` so that it has ``want``."""
    to_set = {name: value for name, value in want.values.items() if have.values.get(name) != value}
    return to_set, [name for name in have.values if name not in want.values]


EMPTY = intern_settings({})
