"""Authentication messages, both directions: one encoder or decoder for each.

Encoders give whole messages, with type and length, ready to be sent. Decoders take the payload alone. They
raise ``ValueError`` for bytes that are not the message; whoever calls knows whether a client or a server is
to blame.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = [
    "ALPN", "CLEARTEXT", "GSS", "GSS_CONTINUE", "KERBEROS_V5", "MD5", "OK", "SASL", "SASL_CONTINUE",
    "SASL_FINAL", "SSPI", "decode_authentication", "decode_mechanisms", "decode_password",
    "decode_sasl_initial", "encode_authentication", "encode_mechanisms", "encode_password", "encode_response",
    "encode_sasl_initial",
]  # fmt: skip

ALPN = "postgresql"
"""Name of the protocol in TLS; a client must send it when TLS begins with the first byte."""

OK, KERBEROS_V5, CLEARTEXT, MD5, GSS, GSS_CONTINUE, SSPI = 0, 2, 3, 5, 7, 8, 9
SASL, SASL_CONTINUE, SASL_FINAL = 10, 11, 12

_INT32 = struct.Struct("!i")
_HEAD = struct.Struct("!ci")


def _message(kind: bytes, payload: bytes) -> bytes:
    return _HEAD.pack(kind, len(payload) + 4) + payload


def encode_authentication(code: int, body: bytes = b"") -> bytes:
    """'R': a request or answer of the server."""
    return _message(b"R", _INT32.pack(code) + body)


def encode_mechanisms(names: Sequence[str]) -> bytes:
    """AuthenticationSASL with the mechanisms offered, preferred first."""
    return encode_authentication(SASL, b"".join(name.encode("ascii") + b"\0" for name in names) + b"\0")


def encode_password(text: bytes) -> bytes:
    """'p': PasswordMessage, in clear or hashed."""
    return _message(b"p", text + b"\0")


def encode_sasl_initial(mechanism: str, response: bytes) -> bytes:
    """'p': SASLInitialResponse."""
    return _message(b"p", mechanism.encode("ascii") + b"\0" + _INT32.pack(len(response)) + response)


def encode_response(response: bytes) -> bytes:
    """'p': SASLResponse."""
    return _message(b"p", response)


def decode_authentication(payload: bytes) -> tuple[int, bytes]:
    """Code and body of an 'R' message."""
    if len(payload) < 4:
        raise ValueError("authentication request is shorter than its code")
    return _INT32.unpack_from(payload)[0], payload[4:]


def decode_mechanisms(body: bytes) -> list[str]:
    """Names in AuthenticationSASL."""
    if not body.endswith(b"\0\0") or not body.isascii():
        raise ValueError("malformed list of SASL mechanisms")
    return body[:-2].decode("ascii").split("\0")


def decode_password(payload: bytes) -> bytes:
    """Text of a PasswordMessage: exactly one NUL, at the end."""
    if payload.find(b"\0") != len(payload) - 1 or not payload:
        raise ValueError("invalid password packet size")
    return payload[:-1]


def decode_sasl_initial(payload: bytes) -> tuple[str, bytes | None]:
    """Mechanism and first response, ``None`` if the client sent none."""
    name, nul, rest = payload.partition(b"\0")
    if not nul or len(rest) < 4 or not name.isascii():
        raise ValueError("invalid message format")
    size: int = _INT32.unpack_from(rest)[0]
    if size != (len(rest) - 4 if size >= 0 else -1) or (size < 0 and len(rest) > 4):
        raise ValueError("invalid message format")
    return name.decode("ascii"), None if size < 0 else rest[4:]
