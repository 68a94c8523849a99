"""Statements of which one value names the shard: recognised by their digest, without a plan for every text.

Invariants:
* A rule is used only after two different texts of one digest were planned in full and agreed with it.
* Where a literal cannot be counted for certain there is no rule, and the statement is planned.
"""

from __future__ import annotations

from typing import Any

from shardproxy.planner.plan import Select, ShardFilter, Write

from .literals_cy import nth_literal

__all__ = ["Point", "learn"]

LITERALS_MAX = 16
LISTS = (b"\x0e", b"\x0f")
"""What stands for lists of literals in a digest: behind them literals cannot be counted."""


class Point:
    """The literal of number ``ordinal`` is the key of ``table``. ``proved``: two texts agreed."""

    __slots__ = ("keyspace", "ordinal", "places", "proved", "sample", "types")

    def __init__(self, ordinal: int, sample: bytes, keyspace: Any, types: list[int]) -> None:
        self.ordinal, self.sample, self.keyspace, self.types = ordinal, sample, keyspace, types
        self.proved = False
        self.places = keyspace.places()

    def place(self, text: bytes) -> str | None:
        """The shard of a text of this digest; None: plan it."""
        value = nth_literal(text, self.ordinal)
        if value is None:
            return None
        index = self.keyspace.shard_of(self.types, (value,))
        return None if index is None else self.places[index]


def learn(known: Point | None, key: bytes, text: bytes, plan: Any, layout: Any, types: Any) -> Point | None:
    """What a plan in full tells of its digest (``key``). ``types(table)``: of the key's columns."""
    whole = _value_of(plan)
    if whole is None or any(mark in key for mark in LISTS):
        return None
    wanted, value = whole
    found = [number for number in range(LITERALS_MAX) if nth_literal(text, number) == value]
    if len(found) != 1:
        return known
    if known is not None and not known.proved:
        if known.ordinal != found[0]:
            return None
        known.proved = known.sample != value
        return known
    oids = types(wanted.table)
    return Point(found[0], value, layout.keyspaces[wanted.keyspace], [20 if oid in (21, 23) else oid for oid in oids])


def _value_of(plan: Any) -> tuple[ShardFilter, bytes] | None:
    whole = plan.whole if isinstance(plan, Select | Write) else None
    if whole is None or whole.keys is None or len(whole.keys) != 1 or len(whole.keys[0]) != 1:
        return None
    one = whole.keys[0][0]
    if not hasattr(one, "value") or one.array or one.value.param or one.value.text is None:
        return None
    return whole, one.value.text.encode()
