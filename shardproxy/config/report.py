"""Collects mistakes, and keeps one mistake from causing others.

Invariant: a key is reported once. What is said about a table is dropped if something inside it is already known to be
wrong, and the other way round: the second is most likely a consequence of the first.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from shardproxy.errors import ConfigError, Mistake

__all__ = ["Report", "closest", "dotted"]

Key = tuple[str | int, ...]


class Report:
    """All mistakes of one file."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._found: dict[Key, list[Mistake]] = {}
        self._settled: set[Key] = set()

    def add(self, key: Key, problem: str, remedy: str = "") -> None:
        """Note a mistake, unless an earlier round has already found one above or below this key."""
        if not self.touches(key):
            self._found.setdefault(key, []).append(Mistake(self._file, dotted(key), problem, remedy))

    def touches(self, key: Key) -> bool:
        """Has an earlier round found a mistake at ``key``, in it or around it? Then little can be said about it."""
        return any(key[:len(other)] == other[:len(key)] for other in self._settled)

    def settle(self) -> None:
        """End a round of checks: later rounds say nothing about what is already known to be wrong."""
        self._settled.update(self._found)

    @property
    def mistakes(self) -> list[Mistake]:
        """All mistakes, in the order in which they were found."""
        return [mistake for mistakes in self._found.values() for mistake in mistakes]

    def raise_if_any(self) -> None:
        """Raise ``ConfigError`` with all mistakes."""
        if self._found:
            raise ConfigError(self.mistakes)


def dotted(key: Iterable[str | int]) -> str:
    """``auth.hosts[0].source``, with names quoted where TOML needs it: ``databases."*"``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part != "" and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in part)
            name = part if bare else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


def closest(word: object, candidates: Iterable[str]) -> str:
    """The candidate that ``word`` was probably meant to be, or an empty text."""
    if not isinstance(word, str):
        return ""
    matches = difflib.get_close_matches(word.lower(), list(candidates), n=1, cutoff=0.6)
    return matches[0] if matches else ""
