"""PostgreSQL's md5 authentication, both roles: ``"md5" + md5(md5(password + user) + salt)`` in hexadecimal.

The stored form is ``"md5" + md5(password + user)``, and it is as good as the password: whoever has it can
log in.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from .saslprep import password_bytes

__all__ = ["SALT_BYTES", "answer", "hash_password", "is_hash", "matches"]

SALT_BYTES = 4

_HASH = re.compile(r"md5[0-9a-f]{32}")


def _hex(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode("ascii")


def is_hash(text: str) -> bool:
    """Whether ``text`` is a stored md5 hash rather than a password, by PostgreSQL's own rule."""
    return _HASH.fullmatch(text) is not None


def hash_password(password: str | bytes, user: str) -> str:
    """The stored form."""
    return "md5" + _hex(password_bytes(password) + user.encode("utf-8", "surrogateescape")).decode("ascii")


def answer(stored: str, salt: bytes) -> bytes:
    """What a client sends for a stored hash and the server's salt."""
    return b"md5" + _hex(stored[3:].encode("ascii") + salt)


def matches(stored: str, salt: bytes, response: bytes) -> bool:
    """Whether a client's response proves the stored hash."""
    return hmac.compare_digest(answer(stored, salt), response)
