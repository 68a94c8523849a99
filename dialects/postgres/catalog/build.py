"""Rows of the catalog -> facts as JSON. Equal catalogs give equal facts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shardproxy.dialects.facts import HARMLESS, RelationView

from .functions import WARNINGS, Functions
from .queries import Rows
from .relations import FIRST_OF_USERS, Relations

__all__ = ["facts_of", "risky_types"]

VERSION = 2


class _Known:
    """What is known while relations are looked at (a ``FactsView``): functions, no relations yet."""

    event_triggers = False
    risky_relations: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()

    def __init__(self, functions: Functions, rows: Rows) -> None:
        self._names = functions.by_name
        self.risky_operators = _operators(rows, functions)
        self.risky_types: Mapping[str, int] = _types(rows, functions)[0]
        self.risky_attributes = functions.attributes()

    def function(self, name: str) -> int | None:
        return self._names.get(name)

    def relation(self, name: str, schema: str | None = None) -> RelationView | None:
        return None


def risky_types(rows: Rows, harmless: Collection[str]) -> set[int]:
    """OIDs of types whose values run a function that is not harmless when they are only moved."""
    functions = Functions(rows, harmless)
    functions.settle({})
    return _types(rows, functions)[1]


def facts_of(rows: Rows, harmless: Collection[str], unreadable: Collection[int]) -> dict[str, Any]:
    """The facts. ``unreadable``: relations that no replica may read."""
    functions = Functions(rows, harmless)
    warnings: dict[str, int] = {}
    while True:                 # functions and relations depend on each other; warnings only grow, so this ends
        functions.settle(warnings)
        known = _Known(functions, rows)
        relations = Relations(rows, functions, known, unreadable)
        relations.settle()
        before, warnings = warnings, relations.warnings()
        if before == warnings:
            break
    return {
        "version": VERSION,
        "event_triggers": bool(rows["event_triggers"]),
        "relations": sorted(
            [one.schema, one.name, one.bits, sorted(relations.read_roots(oid)), _sorted(relations.write_roots(oid))]
            for oid, one in relations.all.items()),
        "settings": sorted(functions.settings),
        "functions": dict(sorted(functions.by_name.items())),
        "operators": dict(sorted(known.risky_operators.items())),
        "types": dict(sorted(known.risky_types.items())),
        "attributes": dict(sorted(known.risky_attributes.items())),
    }


def _sorted(roots: set[int] | None) -> list[int] | None:
    return None if roots is None else sorted(roots)


def _operators(rows: Rows, functions: Functions) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows["operators"]:
        bits = functions.of(row["function"], row["proname"], row["volatility"])
        if not bits & HARMLESS or bits & WARNINGS:
            found[row["name"]] = found.get(row["name"], 0) | bits & WARNINGS
    return found


def _types(rows: Rows, functions: Functions) -> tuple[dict[str, int], set[int]]:
    """Names and OIDs of types whose input, output or casts are risky."""
    names: dict[str, int] = {}
    oids: set[int] = set()

    def add(oid: int, name: str, bits: int) -> None:
        names[name] = names.get(name, 0) | bits & WARNINGS
        oids.add(oid)

    for row in rows["types"]:
        bits = functions.of(row["function"], row["proname"], row["volatility"])
        if not bits & HARMLESS or bits & WARNINGS:
            add(row["oid"], row["name"], bits)
    for row in rows["casts"]:
        bits = functions.of(row["function"], row["proname"], row["volatility"])
        if bits & HARMLESS and not bits & WARNINGS:
            continue
        ends = [(row[end], row[f"{end}_name"]) for end in ("source", "target") if row[end] >= FIRST_OF_USERS]
        for oid, name in ends or [(0, "*")]:
            add(oid, name, bits)
    oids.discard(0)
    return names, oids
