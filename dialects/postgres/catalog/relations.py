"""What reading and writing each relation may do, and which tables are behind it.

Invariant: a relation reads what its view and policies read and writes what its cascades, rules and triggers write;
partitions and children are one with their topmost parent, whose OID (root) stands for all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from shardproxy.dialects.facts import (
    CHANGES_CATALOG,
    CHANGES_SESSION,
    DEFAULTS,
    HIDES,
    READ_SEQUENCES,
    READ_SESSION,
    READ_WRITES,
    READABLE,
    SEQUENCES,
    STAYS,
    WRITE_SESSION,
    WRITES,
    FactsView,
)
from shardproxy.dialects.flags import ADVANCES, DDL, FOREVER, HIDDEN, PROBE, SEQUENCE_STATE
from shardproxy.dialects.postgres.digest_cy import digest
from shardproxy.dialects.postgres.sql import builtins, effects
from shardproxy.dialects.postgres.sql.tokens import QUOTED, WORD, tokenise

from .functions import Functions
from .queries import Rows

__all__ = ["Relation", "Relations", "judge_text"]

FIRST_OF_USERS = 16384
"""OIDs below came with the server."""


_PASSED_ON = STAYS | CHANGES_CATALOG | HIDES | SEQUENCES
"""Bits that functions and relations share."""


@dataclass(slots=True)
class Relation:
    """``reads``: relations that its view or its policies read. ``writes``: None if it may write any table."""

    schema: str
    name: str
    kind: str
    bits: int
    reads: set[int] = field(default_factory=set)
    writes: set[int] | None = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Text:
    """What an expression of the catalog may do, in the bits of functions; ``harmless``: replicas may evaluate it."""

    bits: int
    harmless: bool


def judge_text(text: str, known: FactsView, server_views: Collection[str]) -> Text:
    """Judge a view, a policy, a default or a check. ``server_views``: catalogs and views of the server."""
    key = digest(text.encode("utf-8", "surrogateescape"))
    if key[:1] == b"\0":
        return Text(CHANGES_SESSION | WRITES | HIDES | SEQUENCES, False)
    tokens = tokenise(key)
    found = effects.of_tokens(tokens, known)
    bits = ((CHANGES_SESSION if found.flags & PROBE else 0) | (STAYS if found.flags & FOREVER else 0)
            | (CHANGES_CATALOG if found.flags & DDL else 0) | (HIDES if found.flags & HIDDEN else 0)
            | (WRITES if found.writes else 0) | (SEQUENCES if found.flags & (ADVANCES | SEQUENCE_STATE) else 0))
    names = {token.text for token in tokens if token.kind in (WORD, QUOTED)}
    return Text(bits, found.harmless and not bits and not any(
        name in server_views and name not in builtins.CATALOGS for name in names))


class Relations:
    """All relations of the user. ``settle`` once before anything else is asked."""

    def __init__(self, rows: Rows, functions: Functions, known: FactsView, unreadable: Collection[int]) -> None:
        self._rows, self._functions, self._known = rows, functions, known
        self._server_views = frozenset(row["relname"] for row in rows["catalogs"])
        self.all: dict[int, Relation] = {}
        self._parents: dict[int, list[int]] = defaultdict(list)
        for row in rows["parents"]:
            self._parents[row["child"]].append(row["parent"])
        for row in rows["relations"]:
            stored = row["kind"] in ("r", "p", "m") and row["persistence"] == "p"
            readable = (stored or row["kind"] == "v") and row["oid"] not in unreadable
            bits = READABLE if readable else 0
            if row["oid"] in unreadable and any(risk & CHANGES_SESSION for risk in known.risky_types.values()):
                bits = READ_SESSION | WRITE_SESSION         # its values cannot even be moved without a risk
            self.all[row["oid"]] = Relation(row["nspname"], row["relname"], row["kind"], bits)

    def settle(self) -> None:
        """Work out bits and what is read and written."""
        self._look_at_texts()
        self._look_at_writes()
        self._share_with_parents()
        self._follow_reads()
        self._follow_cascades()

    def roots(self, oid: int) -> set[int]:
        """The topmost parents of a relation; itself if it has none."""
        found: set[int] = set()
        seen: set[int] = set()
        waiting = [oid]
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            above = [parent for parent in self._parents.get(one, ()) if parent in self.all]
            waiting.extend(above)
            if not above:
                found.add(one)
        return found

    def warnings(self) -> dict[str, int]:
        """For function bodies: what touching a relation of that name may do; DEFAULTS: if it is written."""
        found: dict[str, int] = {}
        for relation in self.all.values():
            bits = (CHANGES_SESSION if relation.bits & (READ_SESSION | WRITE_SESSION) else 0) | (
                WRITES if relation.bits & READ_WRITES else 0) | relation.bits & _PASSED_ON & ~SEQUENCES | (
                    SEQUENCES if relation.bits & READ_SEQUENCES else 0) | (
                    DEFAULTS if relation.bits & (DEFAULTS | SEQUENCES) else 0)
            if bits:
                found[relation.name] = found.get(relation.name, 0) | bits
        return found

    def read_roots(self, oid: int) -> set[int]:
        """Tables whose changes a reader of this relation would see."""
        relation = self.all[oid]
        own = set() if relation.kind == "v" else self.roots(oid)
        return own.union(*(self.roots(read) for read in relation.reads
                           if read in self.all and self.all[read].kind != "v"))

    def write_roots(self, oid: int) -> set[int] | None:
        """Tables that a write to this relation may change; None: any."""
        relation = self.all[oid]
        return None if relation.writes is None else self.roots(oid).union(
            *(self.roots(other) for other in relation.writes))

    def _look_at_texts(self) -> None:
        for row in self._rows["relations"]:
            if row["kind"] == "v":
                self._reads_text(self.all[row["oid"]], row["definition"] or "")
        secured = {row["oid"] for row in self._rows["relations"] if row["secured"]}
        for row in self._rows["policies"]:
            if row["relation"] in secured and row["relation"] in self.all:
                relation = self.all[row["relation"]]
                self._reads_text(relation, row["text"])
                self._writes_text(relation, row["text"])
        for row in self._rows["expressions"]:
            if row["relation"] in self.all:
                self._writes_text(self.all[row["relation"]], row["text"] or "", DEFAULTS if row["fills"] else SEQUENCES)
        for row in self._rows["identities"]:
            if row["relation"] in self.all:
                self.all[row["relation"]].bits |= DEFAULTS
        for row in self._rows["reads"]:
            if row["reader"] in self.all:
                self.all[row["reader"]].reads.add(row["read"])

    def _reads_text(self, relation: Relation, text: str) -> None:
        found = judge_text(text, self._known, self._server_views)
        if not found.harmless:
            relation.bits &= ~READABLE
        relation.bits |= ((READ_SESSION if found.bits & CHANGES_SESSION else 0)
                          | (READ_WRITES if found.bits & WRITES else 0)
                          | (READ_SEQUENCES if found.bits & SEQUENCES else 0) | found.bits & _PASSED_ON & ~SEQUENCES)

    def _writes_text(self, relation: Relation, text: str, sequences: int = SEQUENCES) -> None:
        """``sequences``: the bit that says that it uses one."""
        bits = judge_text(text, self._known, self._server_views).bits
        relation.bits |= sequences if bits & SEQUENCES else 0
        self._writes(relation, bits & ~SEQUENCES)

    def _writes(self, relation: Relation, bits: int) -> None:
        if bits & CHANGES_SESSION:
            relation.bits |= WRITE_SESSION
        if bits & WRITES:
            relation.writes = None
        relation.bits |= bits & _PASSED_ON

    def _look_at_writes(self) -> None:
        for row in self._rows["triggers"]:
            if row["relation"] in self.all:
                self._writes(self.all[row["relation"]], self._functions.of(row["function"], "", "v"))
        for row in self._rows["rules"]:
            if row["relation"] in self.all:
                self.all[row["relation"]].writes = None
                self.all[row["relation"]].bits |= SEQUENCES
        for row in self._rows["cascades"]:
            parent = self.all.get(row["parent"])
            if parent is not None and parent.writes is not None:
                parent.writes.add(row["child"])
        for relation in self.all.values():
            if relation.kind in ("v", "f"):             # a view's tables; another server's
                relation.writes = None

    def _share_with_parents(self) -> None:
        """A family is written as one, and read from the top: parents and children warn of the same."""
        families: dict[frozenset[int], list[Relation]] = defaultdict(list)
        for oid, relation in self.all.items():
            if relation.kind in ("r", "p", "f"):
                families[frozenset(self.roots(oid))].append(relation)
        for family in families.values():
            if len(family) == 1:
                continue
            warnings = 0
            writes: set[int] | None = set()
            for relation in family:
                warnings |= relation.bits & ~READABLE
                writes = None if writes is None or relation.writes is None else writes | relation.writes
            readable = READABLE if all(relation.bits & READABLE for relation in family) else 0
            for relation in family:
                relation.bits, relation.writes = warnings | readable, writes if writes is None else set(writes)

    def _follow_reads(self) -> None:
        """Views and policies read through others: pass on what those read and warn of."""
        order = list(self.all.values())
        changed = True
        while changed:
            changed = False
            order.reverse()                             # long chains settle in two rounds, whichever way
            for relation in order:
                before = (relation.bits, len(relation.reads))
                for read in tuple(relation.reads):
                    other = self.all.get(read)
                    if other is None:
                        if read >= FIRST_OF_USERS:      # a sequence, or what did not exist when this was read
                            relation.bits &= ~READABLE
                        continue
                    relation.reads |= other.reads
                    relation.bits |= other.bits & (READ_SESSION | READ_WRITES | READ_SEQUENCES | _PASSED_ON)
                    if relation.kind == "v":
                        relation.bits |= other.bits & (WRITE_SESSION | DEFAULTS)
                    if not other.bits & READABLE:
                        relation.bits &= ~READABLE
                changed = changed or before != (relation.bits, len(relation.reads))

    def _follow_cascades(self) -> None:
        """A cascade writes its child, and whatever that write writes."""
        order = list(self.all.values())
        changed = True
        while changed:
            changed = False
            order.reverse()
            for relation in order:
                if relation.writes is None:
                    continue
                before = (relation.bits, len(relation.writes))
                writes: set[int] | None = relation.writes
                for other in [self.all[oid] for oid in relation.writes if oid in self.all]:
                    relation.bits |= other.bits & (WRITE_SESSION | _PASSED_ON)
                    relation.bits |= SEQUENCES if other.bits & DEFAULTS and other is not relation else 0
                    writes = None if writes is None or other.writes is None else writes | other.writes
                relation.writes = writes
                changed = changed or writes is None or before != (relation.bits, len(writes))
