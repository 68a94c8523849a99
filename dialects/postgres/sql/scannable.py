"""Which sessions' texts the digest may scan."""

from __future__ import annotations

__all__ = ["scannable"]

_UNSAFE = frozenset(("SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"))
"""Client encodings in which a byte of a longer character may be an ASCII character, a backslash for instance."""


def scannable(client_encoding: str, standard_conforming_strings: str) -> bool:
    """Whether a text means what the digest sees in it, by the parameters that the server reports.

    If not, the session takes ``Router.opaque`` for every text.
    """
    return standard_conforming_strings.lower() == "on" and client_encoding.upper() not in _UNSAFE
