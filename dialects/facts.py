"""What an analysis may ask about the tables and functions of a database, and the bits it gets in answer.

A dialect's catalog loader sets the bits, ``shardproxy.catalog.facts.Facts`` looks them up, the dialect's analysis reads
them. Invariant: what is not known counts as dangerous. A name stands for all objects of that name; bits that grant
something (``HARMLESS``, ``READABLE``) hold for all of them, bits that warn hold if they do for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = [
    "ANY_TABLE",
    "CHANGES_CATALOG",
    "CHANGES_SESSION",
    "DEFAULTS",
    "HARMLESS",
    "HIDES",
    "READABLE",
    "READ_SEQUENCES",
    "READ_SESSION",
    "READ_WRITES",
    "SEQUENCES",
    "STAYS",
    "UNKNOWN_TABLE",
    "WRITES",
    "WRITE_SESSION",
    "FactsView",
    "RelationView",
]

UNKNOWN_TABLE = (0,)
"""Slots of a write that may have changed any table."""

ANY_TABLE = (1,)
"""Slots of a read that may have touched any table."""

# functions
HARMLESS = 1
"""May be called in a read that runs on a replica."""
CHANGES_SESSION = 2
"""May leave something behind in the session."""
STAYS = 4
"""What it leaves behind cannot be seen from outside. Also of relations."""
WRITES = 8
"""May change tables."""
CHANGES_CATALOG = 16
"""May create, alter or drop tables and functions."""

HIDES = 512
"""May set a setting of a name that is not known."""

SEQUENCES = 1024
"""May call nextval, setval, currval or lastval. Of relations: when anything is written (triggers, rules, cascades)."""

# relations
READABLE = 32
"""A read of it may run on a replica."""
READ_SESSION = 64
"""Reading it runs functions that may change the session."""
READ_WRITES = 128
"""Reading it runs functions that may change tables."""
WRITE_SESSION = 256
"""Writing it runs functions (triggers, defaults, checks) that may change the session."""
DEFAULTS = 2048
"""A default, or an identity column, uses a sequence."""
READ_SEQUENCES = 4096
"""Reading it runs functions with SEQUENCES."""


class RelationView(Protocol):
    """A table or view, or several of one name."""

    @property
    def bits(self) -> int:
        """READABLE and the warnings."""

    @property
    def read_slots(self) -> tuple[int, ...]:
        """Where writes to the tables behind it are marked."""

    @property
    def write_slots(self) -> tuple[int, ...]:
        """What a write to it marks: itself, what cascades reach, or ``UNKNOWN_TABLE``."""


class FactsView(Protocol):
    """A snapshot of one database's catalog."""

    @property
    def event_triggers(self) -> bool:
        """Whether DDL runs functions of the user."""

    @property
    def risky_operators(self) -> Mapping[str, int]:
        """Operators of which one runs a function that is not HARMLESS, and the bits of those functions."""

    @property
    def risky_types(self) -> Mapping[str, int]:
        """Types of which input, output or casts run such a function. ``*``: a cast between the server's own types."""

    @property
    def risky_attributes(self) -> Mapping[str, int]:
        """Such functions that ``row.name`` may call."""

    @property
    def risky_relations(self) -> frozenset[str]:
        """Relations with READ_SESSION, READ_WRITES or READ_SEQUENCES."""

    @property
    def settings(self) -> frozenset[str]:
        """Settings that functions may set and that the server does not list (names with a dot)."""

    def relation(self, name: str, schema: str | None = None) -> RelationView | None:
        """The relation of that name; None if the catalog has none. Without a schema: all of that name as one."""

    def function(self, name: str) -> int | None:
        """Bits of the functions of that name that did not come with the database server; None if there is none."""
