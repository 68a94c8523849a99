"""Elements of a one-dimensional array value. Source: PostgreSQL's array_in and array_send.

Invariant: None for whatever is not such an array; NULL elements are None.
"""

from __future__ import annotations

import struct

__all__ = ["elements"]

ELEMENTS_MAX = 100_000


def elements(value: bytes, form: int) -> list[bytes | None] | None:
    """The elements in the array's own format (``form`` 1: binary)."""
    return _binary(value) if form else _text(value)


def _binary(value: bytes) -> list[bytes | None] | None:
    if len(value) < 12:
        return None
    dimensions, _, _ = struct.unpack_from("!iiI", value)
    if dimensions == 0:
        return []
    if dimensions != 1 or len(value) < 20:
        return None
    count = int.from_bytes(value[12:16], "big", signed=True)
    if not 0 <= count <= ELEMENTS_MAX:
        return None
    found: list[bytes | None] = []
    pos = 20
    for _ in range(count):
        size = int.from_bytes(value[pos : pos + 4], "big", signed=True)
        pos += 4
        if size < 0:
            found.append(None)
            continue
        if pos + size > len(value):
            return None
        found.append(value[pos : pos + size])
        pos += size
    return found if pos == len(value) else None


def _text(value: bytes) -> list[bytes | None] | None:
    body = value.strip()
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return None
    body = body[1:-1]
    if not body.strip():
        return []
    found: list[bytes | None] = []
    pos, n = 0, len(body)
    while True:
        item, pos = _item(body, pos, n)
        if pos < 0 or len(found) >= ELEMENTS_MAX:
            return None
        found.append(item)
        if pos == n:
            return found
        if body[pos : pos + 1] != b",":
            return None
        pos += 1


def _item(body: bytes, pos: int, n: int) -> tuple[bytes | None, int]:
    """One element and where it ends; -1: it is no plain element."""
    while pos < n and body[pos : pos + 1].isspace():
        pos += 1
    if body[pos : pos + 1] == b'"':
        return _quoted(body, pos + 1, n)
    end = body.find(b",", pos)
    end = n if end < 0 else end
    raw = body[pos:end].strip()
    if not raw or b"{" in raw or b"}" in raw or b'"' in raw or b"\\" in raw:
        return None, -1
    return (None if raw.upper() == b"NULL" else raw), end


def _quoted(body: bytes, pos: int, n: int) -> tuple[bytes | None, int]:
    out = bytearray()
    while pos < n:
        char = body[pos]
        if char == 0x5C:
            out += body[pos + 1 : pos + 2]
            pos += 2
        elif char == 0x22:
            pos += 1
            while pos < n and body[pos : pos + 1].isspace():
                pos += 1
            return bytes(out), pos
        else:
            out.append(char)
            pos += 1
    return None, -1
