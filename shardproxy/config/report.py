"""Collects mistakes, and keeps one mistake from causing others.

Invariant: a key is reported once. What is said about a table is dropped if something inside it is already known to be
wrong, and the other way round: the second is most likely a consequence of the first.
"""

from __future__ import annotations

import difflib
import itertools
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
        self._removed: dict[Key, set[int]] = {}

    def add(self, key: Key, problem: str, remedy: str = "") -> None:
        """Note a mistake, unless an earlier round has already found one above or below this key."""
        key = self._as_in_file(key)
        if not any(key[:len(other)] == other[:len(key)] for other in self._settled):
            self._found.setdefault(key, []).append(Mistake(self._file, dotted(key), problem, remedy))

    def removed(self, key: Key) -> None:
        """The item ``key`` of a list is cut out for later rounds; keys given to ``add`` count without it."""
        *before, number = self._as_in_file(key)
        assert isinstance(number, int)
        self._removed.setdefault(tuple(before), set()).add(number)

    def _as_in_file(self, key: Key) -> Key:
        for depth, part in enumerate(key):
            gone = self._removed.get(key[:depth])
            if gone and isinstance(part, int):
                kept = itertools.filterfalse(gone.__contains__, itertools.count())
                key = (*key[:depth], next(itertools.islice(kept, part, None)), *key[depth + 1:])
        return key

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
