"""PostgreSQL's messages: builders, and decoders of those that the slow path reads. Sans-IO.

Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message Formats".
Invariant: decoders raise ``ValueError`` (or its subclasses) on anything malformed, never read past the payload, and
builders produce exactly one message.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

__all__ = [
    "BIND_COMPLETE",
    "CANCEL_REQUEST",
    "CLOSE_COMPLETE",
    "EMPTY_QUERY",
    "GSSENC_REQUEST",
    "NO_DATA",
    "PARSE_COMPLETE",
    "PROTOCOL_3_0",
    "PROTOCOL_3_2",
    "SSL_REQUEST",
    "SYNC",
    "TERMINATE",
    "backend_key",
    "cancel_request",
    "close_statement",
    "command_complete",
    "copy_fail",
    "error",
    "error_fields",
    "message",
    "negotiate",
    "notice",
    "parameter_status",
    "parse",
    "parse_data_row",
    "parse_parameter_status",
    "query",
    "quote_ident",
    "quote_literal",
    "ready",
    "row_description",
    "split",
    "startup",
    "startup_parameters",
]

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = (3 << 16) | 2
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104


def message(kind: bytes, payload: bytes) -> bytes:
    """A message of type ``kind``."""
    return kind + struct.pack("!I", len(payload) + 4) + payload


PARSE_COMPLETE = message(b"1", b"")
BIND_COMPLETE = message(b"2", b"")
CLOSE_COMPLETE = message(b"3", b"")
NO_DATA = message(b"n", b"")
EMPTY_QUERY = message(b"I", b"")
SYNC = message(b"S", b"")
TERMINATE = message(b"X", b"")


def query(sql: bytes) -> bytes:
    """Query."""
    return message(b"Q", sql + b"\0")


def parse(name: bytes, body: bytes) -> bytes:
    """Parse; ``body``: the text, a zero byte, and the parameter types."""
    return message(b"P", name + b"\0" + body)


def close_statement(name: bytes) -> bytes:
    """Close of a prepared statement."""
    return message(b"C", b"S" + name + b"\0")


def copy_fail(reason: bytes) -> bytes:
    """CopyFail."""
    return message(b"f", reason + b"\0")


def ready(status: bytes = b"I") -> bytes:
    """ReadyForQuery."""
    return message(b"Z", status)


def command_complete(tag: str) -> bytes:
    """CommandComplete."""
    return message(b"C", tag.encode() + b"\0")


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def backend_key(pid: int, secret: bytes) -> bytes:
    """BackendKeyData; the secret has 4 bytes in protocol 3.0, 4 to 256 in 3.2."""
    return message(b"K", struct.pack("!I", pid) + secret)


def negotiate(version: int, options: Sequence[str]) -> bytes:
    """NegotiateProtocolVersion: the newest minor version we know, and the options we do not know."""
    names = b"".join(option.encode() + b"\0" for option in options)
    return message(b"v", struct.pack("!II", version, len(options)) + names)


def _fields(
    severity: str, sqlstate: str, text: str, detail: str, hint: str, extra: Mapping[str, str]
) -> bytes:
    fields = [
        ("S", severity),
        ("V", severity),
        ("C", sqlstate),
        ("M", text),
        ("D", detail),
        ("H", hint),
        *extra.items(),
    ]
    clean = ((code, value.replace("\0", " ")) for code, value in fields if value)
    return b"".join(code.encode() + value.encode("utf-8", "replace") + b"\0" for code, value in clean) + b"\0"


def error(
    sqlstate: str,
    text: str,
    *,
    severity: str = "ERROR",
    detail: str = "",
    hint: str = "",
    extra: Mapping[str, str] = {},
) -> bytes:
    """ErrorResponse. ``severity``: ERROR, FATAL or PANIC; ``extra``: further fields by their code letter."""
    return message(b"E", _fields(severity, sqlstate, text, detail, hint, extra))


def notice(sqlstate: str, text: str, *, severity: str = "NOTICE", detail: str = "", hint: str = "") -> bytes:
    """NoticeResponse."""
    return message(b"N", _fields(severity, sqlstate, text, detail, hint, {}))


def error_fields(payload: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by code letter."""
    fields: dict[str, str] = {}
    for part in payload.split(b"\0"):
        if part:
            fields.setdefault(chr(part[0]), part[1:].decode("utf-8", "replace"))
    return fields


def row_description(columns: Sequence[tuple[str, int, int, int]]) -> bytes:
    """RowDescription; a column is (name, type OID, type size, format)."""
    parts = [struct.pack("!H", len(columns))]
    for name, oid, size, form in columns:
        parts.append(name.encode() + b"\0" + struct.pack("!IHIhiH", 0, 0, oid, size, -1, form))
    return message(b"T", b"".join(parts))


def parse_data_row(payload: bytes) -> list[bytes | None]:
    """The cells of a DataRow."""
    cells: list[bytes | None] = []
    pos = 2
    for _ in range(int.from_bytes(payload[:2], "big")):
        size = int.from_bytes(payload[pos : pos + 4], "big", signed=True)
        pos += 4
        if pos > len(payload):
            raise ValueError("truncated DataRow")
        if size < 0:
            cells.append(None)
        elif pos + size > len(payload):
            raise ValueError("truncated DataRow")
        else:
            cells.append(payload[pos : pos + size])
            pos += size
    return cells


def parse_parameter_status(payload: bytes) -> tuple[str, str]:
    """Name and value."""
    name, value, _ = payload.split(b"\0", 2)
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """All complete messages as (type byte, payload), and the rest."""
    found: list[tuple[int, bytes]] = []
    pos = 0
    while len(data) - pos >= 5:
        size = int.from_bytes(data[pos + 1 : pos + 5], "big")
        if size < 4:
            raise ValueError("malformed message")
        if len(data) - pos < size + 1:
            break
        found.append((data[pos], data[pos + 5 : pos + 1 + size]))
        pos += size + 1
    return found, data[pos:]


def startup(parameters: Mapping[str, str], version: int = PROTOCOL_3_0) -> bytes:
    """StartupMessage."""
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, version) + body


def startup_parameters(payload: bytes) -> dict[str, str]:
    """Parameters of a StartupMessage (without length and version)."""
    if payload != b"\0" and not payload.endswith(b"\0\0"):
        raise ValueError("invalid startup packet layout: expected terminator as last byte")
    parts = payload[:-2].split(b"\0") if len(payload) > 1 else []
    if len(parts) % 2:
        raise ValueError("invalid startup packet layout: a parameter has no value")
    texts = [part.decode("utf-8", "surrogateescape") for part in parts]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def cancel_request(pid: int, secret: bytes) -> bytes:
    """CancelRequest."""
    return struct.pack("!III", 12 + len(secret), CANCEL_REQUEST, pid) + secret


def quote_ident(name: str) -> str:
    """An identifier, always quoted."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A string literal that is right whatever standard_conforming_strings is."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return " E" + quoted if "\\" in text else quoted
