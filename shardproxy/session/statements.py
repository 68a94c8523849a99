"""Prepared statements shared by all clients of a worker: one ``Statement`` for one text, types and search path.

Invariants:
* A statement has one name on every server connection, which no other statement has.
* ``clock`` grows with every statement that a client prepares. A client that prepared at time t is served only by a
  server-side copy prepared at t or later: what was prepared before a schema change never answers who prepared after it.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

__all__ = ["NAME_PREFIX", "Prepared", "Registry", "Statement"]

NAME_PREFIX = b"__shardproxy_"


class Statement:
    """A statement as servers know it. ``body``: what follows the name in a Parse; ``route``: where it may run."""

    __slots__ = ("__weakref__", "body", "name", "route")

    def __init__(self, number: int, body: bytes, route: Any) -> None:
        self.name = NAME_PREFIX + str(number).encode()
        self.body = body
        self.route = route


class Prepared:
    """A client's name for a statement. ``since``: the registry's clock when the client prepared it."""

    __slots__ = ("since", "statement")

    def __init__(self, statement: Statement, since: int) -> None:
        self.statement = statement
        self.since = since


class Registry:
    """All statements in use in one worker; those that nobody uses are forgotten."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[tuple[bytes, str], Statement] = weakref.WeakValueDictionary()
        self._numbers = itertools.count(1)
        self._clock = 0

    def tick(self) -> int:
        """Advance the clock."""
        self._clock += 1
        return self._clock

    def now(self) -> int:
        return self._clock

    def statement(self, body: bytes, scope: str, route: Any) -> Statement:
        """The statement with this text and these types, in sessions whose search path (``scope``) is the same."""
        found = self._known.get((body, scope))
        if found is None:
            found = self._known[(body, scope)] = Statement(next(self._numbers), body, route)
        else:
            found.route = route
        return found

    def __len__(self) -> int:
        return len(self._known)
