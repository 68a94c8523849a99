"""From a digest to what the router needs to know: split, classify, look up functions and tables, prove reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce

from shardproxy.dialects.base import Analysis
from shardproxy.dialects.facts import UNKNOWN_TABLE, FactsView
from shardproxy.dialects.flags import (
    ADVANCES,
    DDL,
    DEALLOCATE_ALL,
    EMPTY,
    MAYBE_READ,
    MULTI,
    PREPARED_SQL,
    PROBE,
    PROXY_SET,
    READ,
    SEQUENCE_STATE,
    UNPARSED,
    UNPIN,
)

from . import builtins, ddl, effects, reads
from .bodies import judge_block
from .calls import calls
from .kinds import classify
from .shape import Shape
from .tokens import QUOTED, WORD, Token, split, tokenise

__all__ = ["NO_SQL", "UNSCANNED", "analyse"]

UNSCANNED = Analysis(PROBE | UNPIN | DDL | PREPARED_SQL | DEALLOCATE_ALL | SEQUENCE_STATE | ADVANCES | UNPARSED,
                     write_slots=UNKNOWN_TABLE, note="control characters in names or kept literals")
"""What is said of a text that the digest refuses although the server may take it."""

NO_SQL = Analysis(PROBE | UNPARSED, write_slots=UNKNOWN_TABLE, note="no SQL: it ends within a literal or comment")
"""What is said of a text that the server refuses before it runs any part of it."""

_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f]")

_SLOTS_MAX = 64
"""More slots than these are not told apart."""

_FILLS = frozenset(("insert", "merge", "copy", "default"))
"""With one of these words a statement may take values from defaults."""

_RUNS = frozenset(("", "COPY", "DECLARE", "DELETE", "DO", "EXECUTE", "EXPLAIN", "INSERT", "MERGE", "REFRESH", "SELECT",
                   "TRUNCATE", "UPDATE"))
"""Kinds that, if what they touch is not known, may call any function."""

_ALL_OF = READ | MAYBE_READ
"""Flags that a text has only if all its statements have them."""

_CERTAIN_WRITES = frozenset(("nextval", "setval", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
                             "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared")
                            ) | builtins.WRITERS | builtins.EFFECTS.keys()


def analyse(key: bytes, facts: FactsView | None) -> Analysis:
    """What the text with this digest is."""
    if key[:1] == b"\0":
        return UNSCANNED if _CONTROL.search(key, 1) else NO_SQL
    statements, hints = split(tokenise(key))
    if not statements:
        return Analysis(EMPTY, statements=0, hints=tuple(hints))
    found = [_statement(statement, facts) for statement in statements]
    if len(found) > 1:
        found = [_together(found)]
    one = found[0]
    return Analysis(one.flags, one.kind, _bounded(one.read_slots, 1), _bounded(one.write_slots, 0), len(statements),
                    one.names, one.settings, tuple(hints), one.note)


def _statement(tokens: Sequence[Token], facts: FactsView | None) -> Analysis:
    shape = classify(tokens)
    found = effects.of_tokens(shape.runs, facts, shape.lax) if shape.runs else effects.Effects()
    fills = any(token.kind == WORD and token.text in _FILLS for token in tokens)
    writes = effects.of_tables(shape.targets, facts, found, fills)
    if shape.kind == "DO":
        block = judge_block(tokens)
        found.add(block.bits, facts)
        found.settings |= block.settings
    flags = shape.flags | found.flags
    if flags & DDL:
        flags = _ddl(tokens, shape, flags, facts) | ADVANCES
    elif shape.targets is None and shape.kind in _RUNS:
        flags |= ADVANCES
    if shape.kind in ("CREATE", "ALTER") and any(
            ddl.is_temp_schema(token.text) for token in tokens if token.kind in (WORD, QUOTED)):
        flags |= PROBE
    read_slots: tuple[int, ...] = ()
    if shape.query:
        if not any(call.name in _CERTAIN_WRITES for call in calls(shape.runs)):
            flags |= MAYBE_READ
        if facts is not None and found.harmless and not writes and not flags & (PROBE | ADVANCES):
            proof = reads.prove(shape.runs, facts)
            flags |= READ if proof.slots is not None else UNPARSED if proof.unparsed else 0
            flags |= ADVANCES if proof.unknown else 0
            read_slots = proof.slots or ()
            return Analysis(flags, shape.kind, read_slots, writes, names=shape.names, note=proof.why)
    settings = tuple(sorted(found.settings.union(shape.settings))) if flags & (PROBE | PROXY_SET) else ()
    return Analysis(flags, shape.kind, read_slots, writes, names=shape.names, settings=settings)


def _ddl(tokens: Sequence[Token], shape: Shape, flags: int, facts: FactsView | None) -> int:
    """DDL may run event triggers; to drop temporary tables is none."""
    if facts is None or facts.event_triggers:
        flags |= PROBE
    if shape.kind == "DROP" and facts is not None:
        dropped = ddl.dropped_relations(tokens)
        if dropped and all(facts.relation(name.name, name.schema) is None for name in dropped):
            flags &= ~DDL
    return flags


def _together(found: Sequence[Analysis]) -> Analysis:
    """One analysis for the statements of one text."""
    flags = reduce(lambda a, b: a | b, (one.flags for one in found)) & ~_ALL_OF | MULTI
    flags |= reduce(lambda a, b: a & b, (one.flags for one in found)) & _ALL_OF
    names: tuple[str, ...] = tuple(name for one in found for name in one.names)
    if any(one.flags & PREPARED_SQL and not one.names for one in found):
        names = ()                                      # one of them may mean any name
    return Analysis(flags, found[0].kind, _union(one.read_slots for one in found),
                    _union(one.write_slots for one in found), names=names,
                    settings=tuple(sorted({name for one in found for name in one.settings})),
                    note="; ".join(filter(None, (one.note for one in found))))


def _union(slots: object) -> tuple[int, ...]:
    return tuple(sorted({slot for some in slots for slot in some}))  # type: ignore[attr-defined]


def _bounded(slots: tuple[int, ...], whole: int) -> tuple[int, ...]:
    return slots if whole not in slots and len(slots) <= _SLOTS_MAX else (whole,)
