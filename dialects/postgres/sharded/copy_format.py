"""Fields of COPY's text and csv formats: read from what a client sent, and written behind a row.

Source: PostgreSQL documentation, COPY, "File Formats".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CopyFormat"]

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_WRITTEN = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}


@dataclass(frozen=True, slots=True)
class CopyFormat:
    """``not_null``, ``null_quoted``: positions of FORCE_NOT_NULL and FORCE_NULL columns."""

    csv: bool
    delimiter: bytes
    null: bytes
    quote: bytes
    escape: bytes
    not_null: frozenset[int]
    null_quoted: frozenset[int]

    @classmethod
    def of(cls, options: Mapping[str, str], columns: Sequence[str]) -> CopyFormat:
        """As the options of a COPY say."""
        csv = options.get("format") == "csv"
        quote = options.get("quote", '"')

        def raw(name: str, default: str) -> bytes:
            return options.get(name, default).encode()

        return cls(csv, raw("delimiter", "," if csv else "\t"), raw("null", "" if csv else "\\N"), quote.encode(),
                   raw("escape", quote), _positions(options.get("force_not_null", ""), columns),
                   _positions(options.get("force_null", ""), columns))

    def value(self, raw: bytes, position: int) -> bytes | None:
        """The value of a field as it was written; None is NULL."""
        if not self.csv:
            if raw == self.null:
                return None
            return _ESCAPE.sub(_unescaped, raw) if b"\\" in raw else raw
        value = self._unquoted(raw)
        quoted = self.quote in raw
        if value == self.null and ((not quoted and position not in self.not_null)
                                   or (quoted and position in self.null_quoted)):
            return None
        return value

    def _unquoted(self, raw: bytes) -> bytes:
        if self.quote not in raw:
            return raw
        found, inside, i = bytearray(), False, 0
        while i < len(raw):
            one, following = raw[i:i + 1], raw[i + 1:i + 2]
            if inside and one == self.escape and following in (self.quote, self.escape) and following:
                found += following
                i += 2
                continue
            if one == self.quote:
                inside = not inside
            else:
                found += one
            i += 1
        return bytes(found)

    def written(self, value: bytes | None) -> bytes:
        """A value as a field."""
        if value is None:
            return self.null
        if self.csv:
            body = value.replace(self.escape, self.escape + self.escape)
            if self.quote != self.escape:
                body = body.replace(self.quote, self.escape + self.quote)
            return self.quote + body + self.quote
        for one, two in _WRITTEN.items():
            value = value.replace(one, two)
        return value.replace(self.delimiter, b"\\" + self.delimiter)


def _positions(names: str, columns: Sequence[str]) -> frozenset[int]:
    if names == "*":
        return frozenset(range(len(columns)))
    wanted = {name[1:-1].replace('""', '"') for name in re.findall(r'"(?:[^"]|"")+"', names)}
    return frozenset(i for i, column in enumerate(columns) if column in wanted)


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    if match[2]:
        return bytes([int(match[2], 8) & 0xFF])
    return _CONTROL.get(match[3], match[3])
