"""Rules by which one value of a statement names its shard: learned from plans, used by ``points_cy``.

Invariants:
* A rule by a literal is used only after two different texts of one digest were planned in full and agreed with it; a
  parameter has its number in the digest.
* Where a literal cannot be counted for certain there is no rule, and the statement is planned.
"""

from __future__ import annotations

from typing import Any

from shardproxy.planner.plan import Push, Select, ShardFilter, Value, Write

from .points_cy import Point

__all__ = ["learn"]

LITERALS_MAX = 16
LISTS = (b"\x0e", b"\x0f")
"""What stands for lists of literals in a digest: behind them literals cannot be counted."""
KEYS = frozenset({20, 21, 23, 25, 1043})
"""Types of keys that ``Point`` reads."""


def learn(known: Point | None, digest: bytes, text: bytes, plan: Any, layout: Any, types: Any,
          generation: int) -> Point | None:
    """What a plan in full tells of its ``digest``. ``types(table)``: of the key's columns."""
    found = _value_of(plan)
    if found is None:
        return None
    wanted, value = found
    oids = types(wanted.table)
    keyspace = layout.keyspaces[wanted.keyspace]
    if len(oids) != 1 or oids[0] not in KEYS or keyspace.function != "hash":
        return None
    owners, places = keyspace.owners, keyspace.places()
    if value.param:
        return Point(generation, -1, value.param - 1, b"", oids[0], owners, places)
    if value.text is None or any(mark in digest for mark in LISTS):
        return None
    sample = value.text.encode()
    fresh = Point(generation, 0, -1, sample, oids[0], owners, places)
    at = [number for number in range(LITERALS_MAX) if fresh.literal_at(text, number) == sample]
    if len(at) != 1:
        return known
    fresh.ordinal = at[0]
    if known is None or known.param >= 0:
        return fresh
    if not known.proved:
        if known.ordinal != fresh.ordinal:
            return None
        known.proved = known.sample != sample
    return known


def _value_of(plan: Any) -> tuple[ShardFilter, Value] | None:
    """The one value that a plan's shard depends on."""
    if (isinstance(plan, Select) and plan.text is not None) or (isinstance(plan, Push) and plan.own):
        return None                     # there it is another text that runs
    whole = plan.filter if isinstance(plan, Push) else plan.whole if isinstance(plan, Select | Write) else None
    if whole is None or whole.keys is None or len(whole.keys) != 1 or len(whole.keys[0]) != 1:
        return None
    one = whole.keys[0][0]
    return None if one.array else (whole, one.value)
