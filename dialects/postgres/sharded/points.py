"""Statements of which one value names the shard: recognised by their digest, without a plan for every text.

Invariants:
* A rule by a literal is used only after two different texts of one digest were planned in full and agreed with it; a
  parameter has its number in the digest.
* Where a literal cannot be counted for certain there is no rule, and the statement is planned.
"""

from __future__ import annotations

from typing import Any

from shardproxy.dialects.postgres.partition_hash_cy import partition_hash
from shardproxy.planner.plan import Push, Select, ShardFilter, Value, Write

from .literals_cy import nth_literal, nth_parameter
from .statement import Unreadable, same_family

__all__ = ["Point", "learn"]

LITERALS_MAX = 16
LISTS = (b"\x0e", b"\x0f")
"""What stands for lists of literals in a digest: behind them literals cannot be counted."""
QUERY = 0x51


class Point:
    """The literal of number ``ordinal``, or the parameter of number ``param`` (both from 0), is the key of a table.

    ``types``: of the key's column, and as what a literal is read. ``proved``: the rule can be used.
    """

    __slots__ = ("keyspace", "ordinal", "param", "places", "proved", "sample", "slots", "type", "types")

    def __init__(self, ordinal: int, param: int, sample: bytes, keyspace: Any, oid: int) -> None:
        self.ordinal, self.param, self.sample, self.keyspace, self.type = ordinal, param, sample, keyspace, oid
        self.types = (20 if oid in (21, 23) else oid,)
        self.proved = param >= 0
        self.places = keyspace.places()
        self.slots = tuple(self.places[owner] for owner in keyspace.owners) if keyspace.function == "hash" else ()

    def _at(self, types: tuple[int, ...], value: Any) -> str | None:
        """The place of a value."""
        if self.slots and value is not None:
            found = partition_hash(types, (value,))
            return None if found is None else self.slots[found % len(self.slots)]
        index = self.keyspace.shard_of(types, (value,))
        return None if index is None else self.places[index]

    def place(self, batch: bytes, link: Any) -> str | None:
        """The shard of a batch whose only statement has this digest; None: plan it."""
        if self.param < 0:
            if batch[0] != QUERY:
                return None
            value = nth_literal(batch[5:-1], self.ordinal)
            return None if value is None else self._at(self.types, value)
        found = nth_parameter(batch, self.param)
        if found is None:
            return None
        declared, name, raw, form = found
        if declared < 0:
            declared = _declared(link, name, self.param)
        if declared not in (0, self.type):
            try:
                declared = same_family(declared, self.type)
            except Unreadable:
                return None
        return self._at((declared or self.type,), raw if raw is None or not form else (raw, 1))


def _declared(link: Any, name: bytes, number: int) -> int:
    """The type that the client declared for a parameter of a statement that it prepared before; 0: none."""
    if name:
        prepared = (link.statements or {}).get(name)
        body = prepared.statement.body if prepared is not None else b"\0\0\0"
    else:
        body = link.unnamed or b"\0\0\0"
    start = body.index(b"\0") + 3 + 4 * number
    return int.from_bytes(body[start : start + 4], "big")


def learn(known: Point | None, digest: bytes, text: bytes, plan: Any, layout: Any, types: Any) -> Point | None:
    """What a plan in full tells of its ``digest``. ``types(table)``: of the key's columns."""
    found = _value_of(plan)
    if found is None:
        return None
    wanted, value = found
    oids = types(wanted.table)
    if len(oids) != 1:
        return None
    keyspace = layout.keyspaces[wanted.keyspace]
    if value.param:
        return Point(-1, value.param - 1, b"", keyspace, oids[0])
    if value.text is None or any(mark in digest for mark in LISTS):
        return None
    sample = value.text.encode()
    at = [number for number in range(LITERALS_MAX) if nth_literal(text, number) == sample]
    if len(at) != 1:
        return known
    if known is None:
        return Point(at[0], -1, sample, keyspace, oids[0])
    if not known.proved:
        if known.ordinal != at[0]:
            return None
        known.proved = known.sample != sample
    return known


def _value_of(plan: Any) -> tuple[ShardFilter, Value] | None:
    """The one value that a plan's shard depends on."""
    whole = plan.filter if isinstance(plan, Push) else plan.whole if isinstance(plan, Select | Write) else None
    if whole is None or whole.keys is None or len(whole.keys) != 1 or len(whole.keys[0]) != 1:
        return None
    one = whole.keys[0][0]
    return None if one.array else (whole, one.value)
