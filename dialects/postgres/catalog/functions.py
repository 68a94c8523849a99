"""What the functions of the user and of extensions may do: bits for each, by OID and by name.

Invariant: a function does what its body does and what all functions and relations that its body names do; a body
that cannot be read may do anything. Immutable functions are believed to be: PostgreSQL relies on it as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from shardproxy.dialects.facts import (
    CHANGES_CATALOG,
    CHANGES_SESSION,
    DEFAULTS,
    HARMLESS,
    HIDES,
    SEQUENCES,
    STAYS,
    WRITES,
)
from shardproxy.dialects.flags import ADVANCES, FOREVER, PROBE, SEQUENCE_STATE
from shardproxy.dialects.postgres.sql import builtins
from shardproxy.dialects.postgres.sql.bodies import judge

from . import extensions
from .queries import Rows

__all__ = ["WARNINGS", "Function", "Functions"]

WARNINGS = CHANGES_SESSION | STAYS | WRITES | CHANGES_CATALOG | HIDES | SEQUENCES
_ANYTHING = CHANGES_SESSION | WRITES | SEQUENCES


@dataclass(slots=True)
class Function:
    """``uses``: names in its body, or the OIDs of an aggregate's parts."""

    name: str
    bits: int
    attribute: bool = False
    uses: frozenset[str] = frozenset()
    parts: list[int] = field(default_factory=list)


class Functions:
    """All functions that did not come with the server. Call ``settle`` before ``by_name`` and ``of`` count."""

    def __init__(self, rows: Rows, harmless: Collection[str] = ()) -> None:
        self._harmless = frozenset(harmless)
        self.settings: set[str] = set()
        self._all: dict[int, Function] = {row["oid"]: self._read(row) for row in rows["functions"]}
        for row in rows["aggregates"]:
            owner = self._all.get(row["aggregate"])
            if owner is not None:
                owner.parts.append(row["function"])
        self.by_name: dict[str, int] = {}

    def _read(self, row: Mapping[str, object]) -> Function:
        name, extension, volatility = str(row["proname"]), row["extension"], row["volatility"]
        uses: frozenset[str] = frozenset()
        if row["kind"] == "a":
            bits = HARMLESS                              # its parts decide
        elif row["body"] is not None:
            body = judge(str(row["body"]), str(row["language"]))
            bits, uses = body.bits, body.names
            self.settings |= body.settings
        elif extension is not None and (extension in extensions.CALM or volatility == "i"):
            bits = extensions.EXCEPTIONS.get((str(extension), name), 0)
        else:
            bits = extensions.EXCEPTIONS.get((str(extension), name), _ANYTHING)
        if volatility == "i" or (volatility == "s" and extension in extensions.STABLE_IS_HARMLESS):
            bits |= HARMLESS
        return Function(name, bits, bool(row["attribute"]), uses)

    def settle(self, relations: Mapping[str, int]) -> None:
        """Pass warnings on from what is used to what uses it, until nothing changes.

        ``relations``: warnings of relations by name. May be called again when these are known better.
        """
        order = list(self._all.values())
        changed = True
        while changed:
            self.by_name = self._names()
            changed = False
            order.reverse()                              # long chains of calls settle in two rounds, whichever way
            for function in order:
                bits = function.bits
                for part in function.parts:
                    bits = self._with_part(bits, part)
                for name in function.uses:
                    bits |= self._warnings(name, relations)
                    if bits & WRITES and relations.get(name, 0) & DEFAULTS:
                        bits |= SEQUENCES
                if bits != function.bits:
                    function.bits = bits
                    self.by_name[function.name] |= bits & WARNINGS
                    changed = True
        for name in self._harmless & self.by_name.keys():
            self.by_name[name] |= HARMLESS

    def _with_part(self, bits: int, part: int) -> int:
        found = self._all.get(part)
        if found is None:
            return bits                                  # the server's own
        return bits | found.bits & WARNINGS if found.bits & HARMLESS else (bits | found.bits & WARNINGS) & ~HARMLESS

    def _warnings(self, name: str, relations: Mapping[str, int]) -> int:
        bits = (self.by_name.get(name, 0) | relations.get(name, 0)) & WARNINGS
        flags = builtins.EFFECTS.get(name, 0)
        return (bits | (CHANGES_SESSION if flags & PROBE else 0) | (STAYS if flags & FOREVER else 0)
                | (WRITES if name in builtins.WRITERS else 0)
                | (SEQUENCES if flags & (ADVANCES | SEQUENCE_STATE) else 0))

    def _names(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for function in self._all.values():
            same = found.get(function.name, function.bits)
            found[function.name] = (same | function.bits) & WARNINGS | (same & function.bits & HARMLESS)
        return found

    def of(self, oid: int, name: str, volatility: str) -> int:
        """Bits of one function; of the server's own by name and volatility."""
        found = self._all.get(oid)
        if found is not None:
            return found.bits | (HARMLESS if found.name in self._harmless else 0)
        return HARMLESS if volatility == "i" or name in builtins.HARMLESS else self._warnings(name, {})

    def attributes(self) -> dict[str, int]:
        """Functions that are not harmless and that ``row.name`` may call."""
        found: dict[str, int] = {}
        for function in self._all.values():
            if function.attribute and not function.bits & HARMLESS and function.name not in self._harmless:
                found[function.name] = found.get(function.name, 0) | function.bits & WARNINGS
        return found
