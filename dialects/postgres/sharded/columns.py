"""RowDescription: read, written, and compared between servers that should agree.

Source: PostgreSQL documentation, "Message Formats". Invariant: a client is never told an OID of a shard's own: those
of user types are the coordinator's, those of tables are the coordinator's or 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .errors import PgError

__all__ = ["BINARY_IS_LOCAL", "FIRST_USER_OID", "ColumnDescription", "agreed", "read_columns", "write_columns"]

FIRST_USER_OID = 16384
BINARY_IS_LOCAL = frozenset({2249, 2287, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4096, 4089, 4191})
"""Types whose binary format holds OIDs: records and the reg* types."""


class ColumnDescription(NamedTuple):
    """One column of a RowDescription."""

    name: bytes
    table: int
    number: int
    type: int
    size: int
    typmod: int
    format: int


def read_columns(payload: bytes) -> list[ColumnDescription]:
    """The columns of a RowDescription."""
    return list(_read(payload))


@lru_cache(maxsize=512)
def _read(payload: bytes) -> tuple[ColumnDescription, ...]:
    """The same; statements that run again have the same ones."""
    (count,) = struct.unpack_from("!H", payload)
    pos = 2
    found: list[ColumnDescription] = []
    for _ in range(count):
        end = payload.index(b"\0", pos)
        found.append(ColumnDescription(payload[pos:end], *struct.unpack_from("!IhIhih", payload, end + 1)))
        pos = end + 19
    return tuple(found)


def write_columns(columns: Sequence[ColumnDescription]) -> bytes:
    """A RowDescription."""
    parts = [struct.pack("!H", len(columns))]
    for column in columns:
        parts.append(column.name + b"\0" + struct.pack("!IhIhih", *column[1:]))
    return b"".join(parts)


def agreed(places: Sequence[str], descriptions: Sequence[bytes | None]) -> list[ColumnDescription]:
    """The columns of what several servers answer; 55000 if one of them answers something else than the first."""
    found = [[] if one is None else read_columns(one) for one in descriptions]
    first = found[0]
    for place, columns in zip(places[1:], found[1:], strict=True):
        difference = _difference(first, columns)
        if difference:
            raise PgError.of("55000", f"the rows of {place} are not like those of {places[0]}", detail=difference,
                             hint="The table's definitions differ: run the DDL that is missing through the proxy.")
    return first


def _difference(first: Sequence[ColumnDescription], other: Sequence[ColumnDescription]) -> str:
    if len(first) != len(other):
        return f"It gives {len(other)} columns, not {len(first)}."
    for number, (one, two) in enumerate(zip(first, other, strict=True), 1):
        if one.name != two.name:
            return f"Column {number} is {_text(two.name)}, not {_text(one.name)}."
        user = one.type >= FIRST_USER_OID
        if user != (two.type >= FIRST_USER_OID) or (not user and one.type != two.type) or one.format != two.format:
            return f"Column {_text(one.name)} has type {two.type}, not {one.type}."
    return ""


def _text(name: bytes) -> str:
    return '"' + name.decode("utf-8", "replace") + '"'
