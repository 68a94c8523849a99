"""What the functions and tables that a statement uses may do to the session and to other tables.

Invariant: a function or table that is not known may do anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shardproxy.dialects.facts import (
    CHANGES_CATALOG,
    CHANGES_SESSION,
    DEFAULTS,
    HARMLESS,
    HIDES,
    READ_SEQUENCES,
    READ_SESSION,
    READ_WRITES,
    SEQUENCES,
    STAYS,
    UNKNOWN_TABLE,
    WRITE_SESSION,
    WRITES,
    FactsView,
)
from shardproxy.dialects.flags import ADVANCES, DDL, FOREVER, HIDDEN, PREPARED_SQL, PROBE

from . import builtins
from .calls import Call, attributes, calls
from .ddl import is_temp_schema
from .keywords import NOT_FUNCTIONS
from .settings import unquote
from .shape import Name, closing
from .tokens import ESCAPED, LITERAL, OPERATOR, QUOTED, WORD, Token

__all__ = ["Effects", "bits_of", "of_tables", "of_tokens", "set_config_flags"]

_ANYTHING = CHANGES_SESSION | WRITES | HIDES | SEQUENCES


@dataclass(slots=True)
class Effects:
    """``harmless``: nothing here keeps a read from running on a replica. ``writes``: may change unknown tables.

    ``settings``: names with a dot that may have been set for the session.
    """

    flags: int = 0
    writes: bool = False
    harmless: bool = True
    settings: set[str] = field(default_factory=set)

    def add(self, bits: int, facts: FactsView | None) -> None:
        """Take in the bits of a function or relation that is used."""
        if bits & CHANGES_SESSION:
            self.flags |= PROBE
            if facts is not None:
                self.settings |= facts.settings
        if bits & HIDES:
            self.flags |= PROBE | HIDDEN
        if bits & STAYS:
            self.flags |= PROBE | FOREVER
        if bits & CHANGES_CATALOG:
            self.flags |= DDL
        if bits & SEQUENCES:
            self.flags |= ADVANCES
        self.writes = self.writes or bool(bits & WRITES)
        self.harmless = self.harmless and bool(bits & HARMLESS)


def of_tokens(tokens: Sequence[Token], facts: FactsView | None, lax: bool = False) -> Effects:
    """What evaluating these tokens may do, whatever tables are written."""
    effects = Effects()
    for call in calls(tokens):
        _call(call, tokens, facts, effects, lax)
    names = {token.text for token in tokens if token.kind in (WORD, QUOTED)}
    if any(token.kind == ESCAPED for token in tokens):
        effects.add(_ANYTHING, facts)
    if any(map(is_temp_schema, names)):
        effects.flags |= PROBE
        effects.harmless = False
    if "pg_prepared_statements" in names:
        effects.flags |= PREPARED_SQL
        effects.harmless = False
    if facts is None:
        effects.harmless = False
    else:
        _risks(tokens, names, facts, effects)
    return effects


def of_tables(targets: Sequence[Name] | None, facts: FactsView | None, effects: Effects, fills: bool = True,
              ) -> tuple[int, ...]:
    """Slots that writing these tables marks; what their triggers do goes to ``effects``. ``fills``: defaults, too."""
    if targets is None or effects.writes:
        slots: tuple[int, ...] = UNKNOWN_TABLE
    else:
        slots = ()
    if facts is None:
        effects.flags |= ADVANCES if targets else 0
        return UNKNOWN_TABLE if targets is None or targets else slots
    for target in targets or ():
        relation = facts.relation(target.name, target.schema)
        if relation is None:
            slots = UNKNOWN_TABLE
            effects.flags |= ADVANCES
            continue
        if relation.bits & (SEQUENCES | DEFAULTS if fills else SEQUENCES):
            effects.flags |= ADVANCES
        if relation.bits & WRITE_SESSION:
            effects.add(CHANGES_SESSION | relation.bits & (STAYS | CHANGES_CATALOG | HIDES), facts)
        slots = UNKNOWN_TABLE if slots == UNKNOWN_TABLE or relation.write_slots == UNKNOWN_TABLE else tuple(
            sorted({*slots, *relation.write_slots}))
    return slots


def bits_of(name: str, facts: FactsView | None, quoted: bool = True) -> int | None:
    """Bits of all functions of this name, the server's own among them; None if there is none, or only a keyword."""
    found = facts.function(name) if facts is not None else None
    own = _own_bits(name, facts is not None)
    if found is None:
        return HARMLESS if own is None and not quoted and name in NOT_FUNCTIONS else own
    if own is None:
        return found
    return (found | own) & ~HARMLESS | (found & own & HARMLESS)


def _own_bits(name: str, sure: bool) -> int | None:
    """Bits of a built-in function. ``sure``: it is known that the user has none of that name."""
    if name in builtins.HARMLESS:
        return HARMLESS
    if name in builtins.EFFECTS or name in builtins.CALM or (sure and name.startswith("pg_")):
        return WRITES if name in builtins.WRITERS else 0
    return None


def _call(call: Call, tokens: Sequence[Token], facts: FactsView | None, effects: Effects, lax: bool) -> None:
    bits = bits_of(call.name, facts, call.quoted)
    if bits is None:
        alias = call.before and facts is not None and facts.relation(call.before) is not None
        effects.add(HARMLESS if alias else 0 if lax else _ANYTHING, facts)
        return
    if call.name == "current_setting" and bits == 0 and "." in _first_literal(tokens, call.at):
        bits = HARMLESS                     # a setting of the application, not one of this server
    effects.add(bits, facts)
    if call.name == "set_config":
        flags, setting = set_config_flags(tokens, call.at)
        effects.flags |= flags
        effects.settings.update(setting)
    else:
        effects.flags |= builtins.EFFECTS.get(call.name, 0)


def _risks(tokens: Sequence[Token], names: set[str], facts: FactsView, effects: Effects) -> None:
    """Functions that are called without being named: by operators, casts, attributes, views."""
    if facts.risky_types:
        for name in names | {"*"}:
            if name in facts.risky_types:
                effects.add(facts.risky_types[name], facts)
    for name in attributes(tokens):
        if name in facts.risky_attributes:
            effects.add(facts.risky_attributes[name], facts)
        elif name in builtins.WRITERS or name in builtins.EFFECTS:
            effects.add(_ANYTHING, facts)
    if facts.risky_operators:
        for symbol, bits in facts.risky_operators.items():
            if any(symbol in token.text for token in tokens if token.kind == OPERATOR):
                effects.add(bits, facts)
    for name in facts.risky_relations & names if facts.risky_relations else ():
        relation = facts.relation(name)
        bits = relation.bits if relation is not None else 0
        effects.add((CHANGES_SESSION if bits & READ_SESSION else 0) | (WRITES if bits & READ_WRITES else 0)
                    | (SEQUENCES if bits & READ_SEQUENCES else 0) | bits & (STAYS | CHANGES_CATALOG | HIDES), facts)


def _first_literal(tokens: Sequence[Token], at: int) -> str:
    """The string literal behind the parenthesis at ``at``, if the digest kept one."""
    return unquote(tokens[at + 1].text) if at + 1 < len(tokens) and tokens[at + 1].kind == LITERAL else ""


def set_config_flags(tokens: Sequence[Token], at: int) -> tuple[int, tuple[str, ...]]:
    """set_config(name, value, is_local): flags, and the setting if the server does not list it.

    A local change is undone by the end of the transaction.
    """
    name = _first_literal(tokens, at).strip().lower()
    if at + 2 < len(tokens) and tokens[at + 2] != (OPERATOR, ","):
        name = ""  # only a part of the name is spelled out
    if name == "seed":
        return PROBE | FOREVER, ()
    end = closing(tokens, at)
    if end >= 2 and tokens[end - 1] == (WORD, "true") and tokens[end - 2] == (OPERATOR, ","):
        return 0, ()
    if not name:
        return PROBE | HIDDEN, ()
    return PROBE, (name,) if "." in name else ()
