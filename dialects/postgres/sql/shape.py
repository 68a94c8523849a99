"""What a command is by its words alone, before any function or table is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .tokens import OPERATOR, QUOTED, WORD, Token

__all__ = ["Name", "Shape", "closing", "find", "name_at", "word", "words"]


class Name(NamedTuple):
    """Name of a relation as written; ``schema`` is None if it is not qualified."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Shape:
    """``targets``: relations that are written; None if they are not known.

    ``runs``: the part whose functions are called; empty if nothing is evaluated. ``query``: that part is a query whose
    rows go to the client (it may be proven a read). ``lax``: a function that is not known is no reason to worry.
    ``settings``: names with a dot that are set for the session.
    """

    kind: str
    flags: int = 0
    names: tuple[str, ...] = ()
    targets: tuple[Name, ...] | None = ()
    runs: Sequence[Token] = ()
    query: bool = False
    lax: bool = False
    settings: tuple[str, ...] = ()


def word(tokens: Sequence[Token], i: int) -> str:
    """The keyword at ``i``; empty if there is none or it is quoted."""
    return tokens[i].text if i < len(tokens) and tokens[i].kind == WORD else ""


def words(tokens: Sequence[Token], count: int) -> tuple[str, ...]:
    """The first keywords, as many as ``count``."""
    return tuple(word(tokens, i) for i in range(count))


def find(tokens: Sequence[Token], wanted: frozenset[str] | set[str], start: int = 0) -> int:
    """Index of the first of these keywords outside parentheses, or -1."""
    depth = 0
    for i in range(start, len(tokens)):
        kind, text = tokens[i]
        if kind == OPERATOR:
            depth += (text == "(") - (text == ")")
        elif kind == WORD and depth == 0 and text in wanted:
            return i
    return -1


def closing(tokens: Sequence[Token], opening: int) -> int:
    """Index of the parenthesis that closes the one at ``opening``; the end if there is none."""
    depth = 0
    for i in range(opening, len(tokens)):
        kind, text = tokens[i]
        if kind == OPERATOR:
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return i
    return len(tokens)


def name_at(tokens: Sequence[Token], i: int) -> tuple[Name | None, int]:
    """The possibly qualified name at ``i`` and the index behind it; None if it is not one that can be read."""
    parts: list[str] = []
    while i < len(tokens) and tokens[i].kind in (WORD, QUOTED):
        parts.append(tokens[i].text)
        i += 1
        if i < len(tokens) and tokens[i] == (OPERATOR, "."):
            i += 1
            continue
        return Name(parts[-2] if len(parts) > 1 else None, parts[-1]), i
    return None, i
