"""SASLprep (RFC 4013) exactly as PostgreSQL applies it to passwords.

Invariant: the same password gives the same bytes here and in PostgreSQL, or no one can log in. So
PostgreSQL's deviations from the RFC are kept: ASCII passes untouched (control characters too), the checks
look at the text before normalisation, and a password that is not UTF-8 or has prohibited characters is used
as it is.
"""

from __future__ import annotations

import stringprep
import unicodedata

__all__ = ["password_bytes", "saslprep"]

_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9, stringprep.in_table_a1,  # a1: not assigned in Unicode 3.2
)  # fmt: skip


def password_bytes(password: str | bytes) -> bytes:
    """The bytes that a client would send; text that came from undecodable bytes goes back to them."""
    return password if isinstance(password, bytes) else password.encode("utf-8", "surrogateescape")


def saslprep(password: str | bytes) -> bytes:
    """The password as it enters the key derivation."""
    raw = password_bytes(password)
    if raw.isascii():
        return raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
    mapped = "".join(filter(None, map(_map, text)))
    if not mapped or any(_prohibited(char) for char in mapped) or not _bidi_allowed(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")


def _map(char: str) -> str:
    if stringprep.in_table_c12(char):  # before b1: U+200B is in both tables, and PostgreSQL makes it a space
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _prohibited(char: str) -> bool:
    return any(table(char) for table in _PROHIBITED)


def _bidi_allowed(text: str) -> bool:
    """Right-to-left text has no left-to-right letters, and begins and ends right-to-left."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
