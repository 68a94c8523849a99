"""Names of settings that applications make up (``app.tenant``): the server keeps them, and lists them nowhere.

So a probe must ask for each by its name. Names come from statements that may set one, from the values bound to such
statements, from the bodies of functions (through the facts), and from the settings that are known already.
Invariant: a name that a statement spells out in any of these ways is asked for. What is made up only while a function
runs is not found: the analysis pins the sessions that call such functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["CustomNames", "dotted", "names_in_sql", "names_in_values"]

NAMES_MAX = 1000
NAME_MAX = 200

_NAME = rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*(?:\.[A-Za-z_\x80-\xff][\w$\x80-\xff]*)+"
_SET = re.compile(rb"\b(?:set|reset)\s+(?:session\s+|local\s+)?(" + _NAME + rb")", re.IGNORECASE)
_LITERAL = re.compile(rb"['$](" + _NAME + rb")(?=['$])")
_ANY = re.compile(_NAME)
_COMMENT = re.compile(rb"/\*.*?\*/|--[^\n]*", re.DOTALL)


def _texts(found: Iterable[bytes]) -> set[str]:
    return {name.decode("utf-8", "surrogateescape").lower() for name in found if len(name) <= NAME_MAX}


def names_in_sql(text: bytes) -> set[str]:
    """Names behind SET and RESET, and literals that look like a name, also inside the text of a function."""
    if b"." not in text:
        return set()
    plain = text.replace(b'"', b"")
    found = _texts(_SET.findall(plain)) | _texts(_LITERAL.findall(plain))
    if b"/*" in plain or b"--" in plain:
        plain = _COMMENT.sub(b" ", plain)
        found |= _texts(_SET.findall(plain)) | _texts(_LITERAL.findall(plain))
    return found


def names_in_values(data: bytes) -> set[str]:
    """Anything that looks like a name in the values of a Bind or FunctionCall."""
    return _texts(_ANY.findall(data)) if b"." in data else set()


def dotted(values: Mapping[str, str]) -> set[str]:
    """The made-up names among settings."""
    return {name for name in values if "." in name}


def _readable(name: str) -> bool:
    """Whether its bytes were UTF-8."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


class CustomNames:
    """Names that one session may have set since its last probe. ``overflow``: there were too many to ask for."""

    __slots__ = ("names", "overflow")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.overflow = False

    def add(self, names: set[str], utf8: bool = True) -> None:
        """Ask for these, too. ``utf8``: the server refuses names of other bytes, so none of them is set."""
        readable = {name for name in names if _readable(name)}
        if len(readable) < len(names) and not utf8:
            self.overflow = True
        names = readable
        if names:
            if len(self.names) + len(names) > NAMES_MAX:
                self.overflow = True
            else:
                self.names |= names

    def clear(self) -> None:
        """They have been asked for."""
        self.names.clear()
        self.overflow = False
