"""``Facts``: a snapshot of one database's tables and functions, for look-ups by name.

It is made from JSON that a dialect's ``catalog_load`` gives; the worker that routes has never talked to the catalog.

    {"version": 2, "event_triggers": false,
     "relations": [[schema, name, bits, [root, ...], [root, ...] | null], ...],    read roots; write roots or unknown
     "functions": {name: bits, ...}, "settings": [name with a dot, ...],
     "operators": {name: bits}, "types": {...}, "attributes": {...},                the risky ones
     "tables": {...}}                                          of a sharded database: ``Tables`` of this package

Invariant: objects of one name are as one, and the most careful of them decides. Bits: ``shardproxy.dialects.facts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardproxy.dialects.facts import (
    ANY_TABLE,
    READ_SEQUENCES,
    READ_SESSION,
    READ_WRITES,
    READABLE,
    UNKNOWN_TABLE,
)
from shardproxy.topology.board_cy import slot_of

from .tables import Tables

__all__ = ["VERSION", "Facts", "Relation", "slot_of"]

VERSION = 2

SLOTS_MAX = 64
"""A name that stands for more tables than these is not told apart from all tables."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation, or all of one name. See ``RelationView``."""

    bits: int
    read_slots: tuple[int, ...]
    write_slots: tuple[int, ...]

    def __or__(self, other: Relation) -> Relation:
        bits = (self.bits | other.bits) & ~READABLE | (self.bits & other.bits & READABLE)
        return Relation(bits, _join(self.read_slots, other.read_slots, ANY_TABLE),
                        _join(self.write_slots, other.write_slots, UNKNOWN_TABLE))


class Facts:
    """See the module and ``FactsView``."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        if data.get("version") != VERSION:
            raise ValueError(f"facts of version {data.get('version')}, not {VERSION}")
        self.event_triggers = bool(data["event_triggers"])
        self.risky_operators: dict[str, int] = dict(data["operators"])
        self.risky_types: dict[str, int] = dict(data["types"])
        self.risky_attributes: dict[str, int] = dict(data["attributes"])
        self.settings: frozenset[str] = frozenset(data["settings"])
        self.tables = Tables.from_json(data["tables"]) if "tables" in data else None
        self._functions: dict[str, int] = dict(data["functions"])
        self._qualified: dict[tuple[str, str], Relation] = {}
        self._named: dict[str, Relation] = {}
        risky = []
        for schema, name, bits, reads, writes in data["relations"]:
            relation = Relation(bits, _slots(reads, ANY_TABLE), _slots(writes, UNKNOWN_TABLE))
            self._qualified[schema, name] = relation
            same = self._named.get(name)
            self._named[name] = relation if same is None else same | relation
            if bits & (READ_SESSION | READ_WRITES | READ_SEQUENCES):
                risky.append(name)
        self.risky_relations = frozenset(risky)

    def relation(self, name: str, schema: str | None = None) -> Relation | None:
        """The relation of that name; None if the catalog has none. Without a schema: all of that name as one."""
        return self._named.get(name) if schema is None else self._qualified.get((schema, name))

    def function(self, name: str) -> int | None:
        """Bits of the functions of that name that did not come with the database server; None if there is none."""
        return self._functions.get(name)

    def __repr__(self) -> str:
        return f"<Facts {len(self._qualified)} relations, {len(self._functions)} functions>"


def _slots(roots: list[int] | None, whole: tuple[int, ...]) -> tuple[int, ...]:
    return whole if roots is None or len(roots) > SLOTS_MAX else tuple(sorted({slot_of(root) for root in roots}))


def _join(a: tuple[int, ...], b: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...]:
    joined = {*a, *b}
    return whole if whole in (a, b) or len(joined) > SLOTS_MAX else tuple(sorted(joined))
