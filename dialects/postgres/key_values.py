"""Values of sharding keys, read from what a client sent: text or binary format, by the type of the key's column.

Invariant: two values get equal results exactly if PostgreSQL's ``=`` of that type says so; what cannot be read as the
server would read it, whatever its settings, gives None. Read are integers, text, varchar, bpchar, bytea, bool, uuid,
numeric, date, timestamp and timestamptz; dates and times in ISO form only. Typmods are not applied: a value that is to
be stored in ``numeric(10,2)`` or ``timestamp(0)`` must have been rounded before.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import total_ordering
from typing import NamedTuple

from .key_times import date, timestamp, timestamptz

__all__ = ["KEY_TYPES", "Key", "Numeric", "read"]

Key = bytes | tuple[bytes, int] | None
"""A value as it came: None is NULL; bytes alone are in text format; else (bytes, format), format 1 binary."""

BLANKS = b" \t\n\r\f\v"
_INTEGER = re.compile(rb"[ \t\n\r\f\v]*([+-]?[0-9]{1,40})[ \t\n\r\f\v]*")
_NUMERIC = re.compile(rb"[ \t\n\r\f\v]*([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,6}))?"
                      rb"[ \t\n\r\f\v]*")
_NUMERIC_MAX = 2000
"""Digits in front of or behind the point; more are refused."""
_UUID = re.compile(rb"\{?([0-9a-fA-F]{8})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{12})\}?")
_ESCAPED = re.compile(rb"\\(?:(\\)|([0-3][0-7]{2}))|([^\\]+)")


@total_ordering
class Numeric(NamedTuple):
    """``digits``: base 10000, two bytes each, as the server hashes them, without zeros at either end; ``weight``: power
    of 10000 of the first. Zero has no digits; NaN and the infinities have None, told apart by ``sign`` (2: NaN)."""

    sign: int
    digits: bytes | None
    weight: int

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Numeric):
            return NotImplemented
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, tuple[int, ...]]:
        """Ascending in the server's order: -Infinity, numbers, Infinity, NaN."""
        if self.digits is None:
            return self.sign * 10, 0, ()
        if not self.digits:
            return 0, 0, ()
        digits = struct.unpack(f"<{len(self.digits) // 2}h", self.digits)
        if self.sign > 0:
            return 1, self.weight, digits
        return -1, -self.weight, (*(-digit for digit in digits), 1)     # a longer one is further from zero


def read(oid: int, value: Key) -> int | bytes | Numeric | None:
    """The value in comparable form; None if the type or the value is not one of those above."""
    reader = _READERS.get(oid)
    if reader is None or value is None:
        return None
    if isinstance(value, tuple):
        return reader(value[0], value[1] == 1)
    return reader(value, False)


def _integer(bits: int) -> Callable[[bytes, bool], int | None]:
    limit = 1 << (bits - 1)

    def read_integer(data: bytes, binary: bool) -> int | None:
        if binary:                  # of any width: equal integers are equal keys
            number = int.from_bytes(data, "big", signed=True) if len(data) in (2, 4, 8) else limit
        else:
            found = _INTEGER.fullmatch(data)
            number = int(found.group(1)) if found is not None else limit
        return number if -limit <= number < limit else None

    return read_integer


def _text(data: bytes, binary: bool) -> bytes | None:
    return None if b"\0" in data else data


def _bpchar(data: bytes, binary: bool) -> bytes | None:
    return None if b"\0" in data else data.rstrip(b" ")


def _bytea(data: bytes, binary: bool) -> bytes | None:
    if binary:
        return data
    if data[:2] == b"\\x":
        try:
            return bytes.fromhex(data[2:].decode("ascii")) if not set(BLANKS) & set(data) else None
        except ValueError:
            return None
    found = bytearray()
    at = 0
    while at < len(data):
        part = _ESCAPED.match(data, at)
        if part is None:
            return None
        found += b"\\" if part.group(1) else part.group(3) or bytes([int(part.group(2), 8)])
        at = part.end()
    return bytes(found)


def _bool(data: bytes, binary: bool) -> int | None:
    if binary:
        return {b"\0": 0, b"\1": 1}.get(data)
    word = data.strip(BLANKS).lower()
    if not word or word == b"o":
        return None
    if any(full.startswith(word) for full in (b"true", b"yes", b"1")) or word == b"on":
        return 1
    return 0 if any(full.startswith(word) for full in (b"false", b"no", b"off", b"0")) else None


def _uuid(data: bytes, binary: bool) -> bytes | None:
    if binary:
        return data if len(data) == 16 else None
    found = _UUID.fullmatch(data)
    if found is None or data.startswith(b"{") != data.endswith(b"}"):
        return None
    return bytes.fromhex(b"".join(found.groups()).decode())


def _numeric(data: bytes, binary: bool) -> Numeric | None:
    if binary:
        return _numeric_binary(data)
    found = _NUMERIC.fullmatch(data)
    if found is None:
        special = {b"nan": 2, b"infinity": 1, b"-infinity": -1}.get(data.lower())
        return None if special is None else Numeric(special, None, 0)
    sign, whole, part, part_only, exponent = found.groups()
    return _decimal(-1 if sign == b"-" else 1, whole or b"", part or part_only or b"", int(exponent or 0))


def _decimal(sign: int, whole: bytes, part: bytes, exponent: int) -> Numeric | None:
    """Decimal digits around a point that is then moved by ``exponent``, as digits of base 10000."""
    if abs(exponent) > _NUMERIC_MAX or len(whole) > _NUMERIC_MAX or len(part) > _NUMERIC_MAX:
        return None
    point = len(whole) + exponent
    digits = whole + part
    if point < 0:
        digits, point = b"0" * -point + digits, 0
    digits = digits.ljust(point, b"0")
    front = -point % 4
    digits = b"0" * front + digits
    digits += b"0" * (-len(digits) % 4)
    words = [int(digits[at:at + 4]) for at in range(0, len(digits), 4)]
    return _stripped(sign, words, (point + front) // 4 - 1)


def _numeric_binary(data: bytes) -> Numeric | None:
    if len(data) < 8:
        return None
    count, weight, sign, scale = struct.unpack_from("!hhHH", data)
    if sign in (0xC000, 0xD000, 0xF000):
        return Numeric({0xC000: 2, 0xD000: 1, 0xF000: -1}[sign], None, 0)
    if sign not in (0, 0x4000) or count < 0 or len(data) != 8 + 2 * count or scale > 0x3FFF:
        return None
    words = list(struct.unpack_from(f"!{count}h", data, 8))
    if any(not 0 <= word < 10000 for word in words):
        return None
    for number, word in enumerate(words):       # the server cuts off what is behind the scale
        behind = scale - 4 * (number - weight - 1) if number > weight else 4
        if word and (behind <= 0 or (behind < 4 and word % 10 ** (4 - behind))):
            return None
    return _stripped(-1 if sign else 1, words, weight)


def _stripped(sign: int, words: list[int], weight: int) -> Numeric:
    first = next((number for number, word in enumerate(words) if word), None)
    if first is None:
        return Numeric(1, b"", 0)
    last = max(number for number, word in enumerate(words) if word)
    kept = words[first:last + 1]
    return Numeric(sign, struct.pack(f"<{len(kept)}h", *kept), weight - first)


_READERS: dict[int, Callable[[bytes, bool], int | bytes | Numeric | None]] = {
    16: _bool, 17: _bytea, 20: _integer(64), 21: _integer(16), 23: _integer(32), 25: _text, 1042: _bpchar, 1043: _text,
    1082: date, 1114: timestamp, 1184: timestamptz, 1700: _numeric, 2950: _uuid}

KEY_TYPES = frozenset(_READERS)
"""OIDs of the types that a sharding key may have."""
