"""Which users the name in a client's certificate may log in as, as in pg_ident.conf."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NameMap"]

_ANY = "all"
_GROUP = "\\1"


@dataclass(frozen=True, slots=True)
class NameMap:
    """Pairs (name, user). Empty: the user of the same name.

    A name that begins with ``/`` is a regular expression for the whole name, and ``\\1`` in the user stands for its
    first group. The user ``all`` means any.
    """

    entries: Sequence[tuple[str, str]] = ()

    def allows(self, name: str, user: str) -> bool:
        """Whether a certificate for ``name`` may log in as ``user``."""
        if not self.entries:
            return name == user
        return any(_entry_allows(pattern, target, name, user) for pattern, target in self.entries)

    def mistakes(self) -> list[str]:
        """What is wrong with the patterns."""
        found = []
        for pattern, target in self.entries:
            if not pattern.startswith("/"):
                continue
            try:
                groups = re.compile(pattern[1:]).groups
            except re.error as error:
                found.append(f"{pattern!r} is not a regular expression: {error}")
                continue
            if _GROUP in target and not groups:
                found.append(f"{target!r} refers to a group that {pattern!r} does not have")
        return found


def _entry_allows(pattern: str, target: str, name: str, user: str) -> bool:
    if not pattern.startswith("/"):
        return pattern == name and target in (_ANY, user)
    match = re.fullmatch(pattern[1:], name)
    if match is None:
        return False
    if _GROUP in target:
        return bool(match.re.groups) and target.replace(_GROUP, match.group(1) or "") == user
    return target in (_ANY, user)
