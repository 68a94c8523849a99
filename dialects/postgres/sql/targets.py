"""The relations that INSERT, UPDATE, DELETE, MERGE and TRUNCATE name as their targets, at any depth (CTEs too)."""

from __future__ import annotations

from collections.abc import Sequence

from .shape import Name, name_at, word
from .tokens import OPERATOR, WORD, Token

__all__ = ["creates_table", "locks_rows", "truncated", "written"]


def written(tokens: Sequence[Token]) -> tuple[Name, ...] | None:
    """Targets of all data-modifying parts; empty: there are none; None: one could not be read."""
    found: list[Name] = []
    for i, (kind, text) in enumerate(tokens):
        if kind != WORD:
            continue
        after = word(tokens, i + 1)
        if (text in ("insert", "merge") and after == "into") or (text == "delete" and after == "from"):
            start = i + 2
        elif text == "update" and after != "set" and word(tokens, i - 1) not in ("for", "key", "do", "on"):
            start = i + 1
        else:
            continue
        if word(tokens, start) == "only":
            start += 1
        while start < len(tokens) and tokens[start] == (OPERATOR, "("):     # ONLY (t)
            start += 1
        name, _ = name_at(tokens, start)
        if name is None:
            return None
        found.append(name)
    return tuple(found)


def truncated(tokens: Sequence[Token]) -> tuple[Name, ...] | None:
    """Targets of TRUNCATE; None with CASCADE, which reaches further."""
    i = 2 if word(tokens, 1) == "table" else 1
    found: list[Name] = []
    while i < len(tokens):
        while word(tokens, i) == "only" or tokens[i:i + 1] == [(OPERATOR, "(")]:
            i += 1
        name, i = name_at(tokens, i)
        if name is None:
            return None
        found.append(name)
        while tokens[i:i + 1] in ([(OPERATOR, "*")], [(OPERATOR, ")")]):
            i += 1
        if tokens[i:i + 1] != [(OPERATOR, ",")]:
            break
        i += 1
    return None if any(token == (WORD, "cascade") for token in tokens[i:]) else tuple(found)


def creates_table(tokens: Sequence[Token]) -> int:
    """Index of the INTO of a SELECT INTO, or -1."""
    for i, token in enumerate(tokens):
        if token == (WORD, "into") and word(tokens, i - 1) not in ("insert", "merge"):
            return i
    return -1


def locks_rows(tokens: Sequence[Token]) -> bool:
    """Whether there is a FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE or FOR KEY SHARE."""
    return any(token == (WORD, "for") and word(tokens, i + 1) in ("update", "no", "share", "key")
               for i, token in enumerate(tokens))
