"""Decoder of logical replication messages as the plugin ``pgoutput`` writes them, protocol version 1. Sans-IO.

Source: PostgreSQL documentation, "Logical Replication Message Formats".
Invariant: what is decoded was the whole message; anything malformed is a ``ValueError``. Values stay bytes in text
format; binary values and the streaming of transactions in progress are never asked for, so they are malformed here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from shardproxy.dialects.changes import (
    UNCHANGED,
    Begin,
    Cell,
    Column,
    Commit,
    Custom,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    Row,
    Truncate,
    Type,
    Update,
)

__all__ = ["decode"]

_BEGIN, _COMMIT = struct.Struct("!QqI"), struct.Struct("!BQQq")
_SIZED, _OID, _COUNT, _LSN = struct.Struct("!i"), struct.Struct("!I"), struct.Struct("!H"), struct.Struct("!Q")
_COLUMN, _TRUNCATE, _CUSTOM = struct.Struct("!Ii"), struct.Struct("!iB"), struct.Struct("!BQ")
_NULL, _TOAST, _TEXT = 0x6E, 0x75, 0x74
_OLD, _KEY, _NEW = 0x4F, 0x4B, 0x4E
_COLUMNS_MAX = 1664


def decode(data: bytes) -> Message:
    """One message."""
    if not data:
        raise ValueError("an empty message")
    reader = _READERS.get(data[0])
    if reader is None:
        raise ValueError(f"unknown message {data[:1]!r}")
    try:
        found, end = reader(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"truncated message {data[:1]!r}") from error
    if end != len(data):
        raise ValueError(f"message {data[:1]!r} has {len(data) - end} bytes too many")
    return found


def _row(data: bytes, at: int) -> tuple[Row, int]:
    count = (data[at] << 8) | data[at + 1]
    if count > _COLUMNS_MAX:
        raise ValueError("too many columns")
    at += 2
    cells: list[Cell] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _TEXT:
            start = at + 4
            (size,) = _SIZED.unpack_from(data, at)
            at = start + size
            if size < 0 or at > len(data):
                raise ValueError("a value is longer than its message")
            cells.append(data[start:at])
        elif kind == _NULL:
            cells.append(None)
        elif kind == _TOAST:
            cells.append(UNCHANGED)
        else:
            raise ValueError(f"unknown kind of value {kind}")
    return tuple(cells), at


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise ValueError("a string has no end")
    return data[at:end].decode(), end + 1


def _begin(data: bytes) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, 1)), 1 + _BEGIN.size


def _commit(data: bytes) -> tuple[Commit, int]:
    _, lsn, end, at = _COMMIT.unpack_from(data, 1)
    return Commit(lsn, end, at), 1 + _COMMIT.size


def _origin(data: bytes) -> tuple[Origin, int]:
    (lsn,) = _LSN.unpack_from(data, 1)
    name, end = _string(data, 9)
    return Origin(lsn, name), end


def _relation(data: bytes) -> tuple[Relation, int]:
    (oid,) = _OID.unpack_from(data, 1)
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    identity = chr(data[at])
    if identity not in "dnfi":
        raise ValueError(f"unknown replica identity {identity!r}")
    (count,) = _COUNT.unpack_from(data, at + 1)
    at += 3
    columns: list[Column] = []
    for _ in range(count):
        flags = data[at]
        column, at = _string(data, at + 1)
        kind, typmod = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        columns.append(Column(bool(flags & 1), column, kind, typmod))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), at


def _type(data: bytes) -> tuple[Type, int]:
    (oid,) = _OID.unpack_from(data, 1)
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    return Type(oid, schema or "pg_catalog", name), at


def _insert(data: bytes) -> tuple[Insert, int]:
    (oid,) = _OID.unpack_from(data, 1)
    if data[5] != _NEW:
        raise ValueError("an insert has no row")
    new, at = _row(data, 6)
    return Insert(oid, new), at


def _update(data: bytes) -> tuple[Update, int]:
    (oid,) = _OID.unpack_from(data, 1)
    kind, at = data[5], 6
    old: Row | None = None
    if kind in (_OLD, _KEY):
        old, at = _row(data, 6)
        at += 1
        if data[at - 1] != _NEW:
            raise ValueError("an update has no new row")
    elif kind != _NEW:
        raise ValueError("an update has no new row")
    new, at = _row(data, at)
    return Update(oid, old, kind == _OLD, new), at


def _delete(data: bytes) -> tuple[Delete, int]:
    (oid,) = _OID.unpack_from(data, 1)
    kind = data[5]
    if kind not in (_OLD, _KEY):
        raise ValueError("a delete has no old row")
    old, at = _row(data, 6)
    return Delete(oid, old, kind == _OLD), at


def _truncate(data: bytes) -> tuple[Truncate, int]:
    count, options = _TRUNCATE.unpack_from(data, 1)
    end = 6 + 4 * count
    if count < 0 or end > len(data):
        raise ValueError("a truncation has fewer tables than it says")
    return Truncate(struct.unpack_from(f"!{count}I", data, 6), bool(options & 1), bool(options & 2)), end


def _custom(data: bytes) -> tuple[Custom, int]:
    flags, lsn = _CUSTOM.unpack_from(data, 1)
    prefix, at = _string(data, 10)
    (size,) = _SIZED.unpack_from(data, at)
    end = at + 4 + size
    if size < 0 or end > len(data):
        raise ValueError("a custom message is longer than its message")
    return Custom(bool(flags & 1), lsn, prefix, data[at + 4:end]), end


_READERS: dict[int, Callable[[bytes], tuple[Message, int]]] = {
    ord("B"): _begin, ord("C"): _commit, ord("O"): _origin, ord("R"): _relation, ord("Y"): _type, ord("I"): _insert,
    ord("U"): _update, ord("D"): _delete, ord("T"): _truncate, ord("M"): _custom}
