"""The client's messages, decoded for sessions that carry out statements themselves.

Source: PostgreSQL documentation, "Message Formats". Invariant: anything malformed is a ``PgError`` 08P01.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .errors import PgError

__all__ = ["BindMessage", "ParseMessage", "read_bind", "read_execute", "read_named", "read_parse", "with_formats"]


class ParseMessage(NamedTuple):
    name: bytes
    text: bytes
    types: tuple[int, ...]
    body: bytes
    """What follows the name, as it came."""


class BindMessage(NamedTuple):
    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    results: tuple[int, ...]


def _malformed(what: str) -> PgError:
    return PgError.of("08P01", f"malformed {what} message")


def read_parse(payload: bytes) -> ParseMessage:
    """Parse."""
    try:
        zero = payload.index(b"\0")
        end = payload.index(b"\0", zero + 1)
        (count,) = struct.unpack_from("!H", payload, end + 1)
        types = struct.unpack_from(f"!{count}I", payload, end + 3)
    except (ValueError, struct.error):
        raise _malformed("Parse") from None
    return ParseMessage(payload[:zero], payload[zero + 1 : end], types, payload[zero + 1 :])


def read_bind(payload: bytes) -> BindMessage:
    """Bind."""
    try:
        zero = payload.index(b"\0")
        end = payload.index(b"\0", zero + 1)
        pos = end + 1
        formats, pos = _shorts(payload, pos)
        (count,) = struct.unpack_from("!H", payload, pos)
        pos += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", payload, pos)
            pos += 4
            if size < 0:
                values.append(None)
                continue
            if pos + size > len(payload):
                raise _malformed("Bind")
            values.append(payload[pos : pos + size])
            pos += size
        results, pos = _shorts(payload, pos)
    except (ValueError, struct.error):
        raise _malformed("Bind") from None
    if len(formats) > 1 and len(formats) != count:
        raise PgError.of("08P01", f"bind message has {len(formats)} parameter formats but {count} parameters")
    return BindMessage(payload[:zero], payload[zero + 1 : end], formats, tuple(values), results)


def _shorts(payload: bytes, pos: int) -> tuple[tuple[int, ...], int]:
    (count,) = struct.unpack_from("!H", payload, pos)
    return struct.unpack_from(f"!{count}H", payload, pos + 2), pos + 2 + 2 * count


def read_named(payload: bytes) -> tuple[int, bytes]:
    """Describe and Close: ``S`` or ``P``, and the name."""
    if len(payload) < 2 or payload[-1]:
        raise _malformed("Describe")
    return payload[0], payload[1:-1]


def read_execute(payload: bytes) -> tuple[bytes, int]:
    """Execute: the portal and the row limit."""
    zero = payload.find(b"\0")
    if zero < 0 or len(payload) != zero + 5:
        raise _malformed("Execute")
    return payload[:zero], int.from_bytes(payload[zero + 1 :], "big", signed=True)


def with_formats(description: bytes, formats: tuple[int, ...]) -> bytes:
    """A RowDescription with these result formats: none, one for all columns, or one for each."""
    count = int.from_bytes(description[:2], "big")
    if len(formats) > 1 and len(formats) != count:
        raise PgError.of("08P01", f"bind message has {len(formats)} result formats but query has {count} columns")
    out = bytearray(description)
    pos = 2
    for number in range(count):
        pos = description.index(b"\0", pos) + 1 + 18
        form = formats[number] if len(formats) > 1 else formats[0] if formats else 0
        out[pos - 2 : pos] = form.to_bytes(2, "big")
    return bytes(out)
