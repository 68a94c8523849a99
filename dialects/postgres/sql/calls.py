"""The functions that a statement calls, found in its tokens.

Invariant: whatever calls a function by name is found: ``name (``, quoted or not. Names that are followed by a
parenthesis for another reason (column lists, aliases, types) are left out only where the grammar leaves no doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .keywords import NOT_FUNCTIONS
from .shape import closing, word
from .tokens import ESCAPED, OPERATOR, QUOTED, WORD, Token

__all__ = ["Call", "attributes", "calls"]

_QUERY_WORDS = frozenset(("select", "with", "values", "table", "insert", "update", "delete", "merge"))


class Call(NamedTuple):
    """``name (`` at ``at``, which is the parenthesis. ``quoted``: the name cannot be a keyword.

    ``before``: an unquoted name directly before it; if that is a relation, this one is only its alias.
    """

    schema: str | None
    name: str
    quoted: bool
    at: int
    before: str


def calls(tokens: Sequence[Token]) -> Iterator[Call]:
    """All that may be calls."""
    for at in range(1, len(tokens)):
        if tokens[at] != (OPERATOR, "("):
            continue
        kind, name = tokens[at - 1]
        if kind not in (WORD, QUOTED, ESCAPED):
            continue
        first = at - 1
        while first >= 2 and tokens[first - 1] == (OPERATOR, ".") and tokens[first - 2].kind in (WORD, QUOTED, ESCAPED):
            first -= 2
        schema = tokens[at - 3].text if first < at - 1 else None
        if not _is_no_call(tokens, first, at):
            yield Call(schema, name, kind != WORD or first < at - 1, at, word(tokens, first - 1) if first else "")


def attributes(tokens: Sequence[Token]) -> Iterator[str]:
    """Names behind a dot that are not called with parentheses: columns, or functions of one row."""
    for i in range(1, len(tokens)):
        if tokens[i].kind in (WORD, QUOTED, ESCAPED) and tokens[i - 1] == (OPERATOR, ".") and (
                i + 1 == len(tokens) or tokens[i + 1] != (OPERATOR, "(")):
            yield tokens[i].text


def _is_no_call(tokens: Sequence[Token], first: int, at: int) -> bool:
    """Whether the name from ``first`` to the parenthesis at ``at`` certainly is a relation, an alias or a type."""
    if first == 0:
        return False
    before, text = tokens[first - 1]
    if before == OPERATOR:
        if text in ("::", ")"):                 # a type; an alias of a subquery with its columns
            return True
        return text == "," and first == at - 1 and _is_cte(tokens, at)
    if before == WORD:
        if text in ("into", "as"):              # INSERT INTO t (a); AS t (a); CAST(x AS numeric(10))
            return True
        if text in ("with", "recursive"):
            return _is_cte(tokens, at)
        return text not in NOT_FUNCTIONS and first >= 2 and tokens[first - 2] == (OPERATOR, ".")
    return before == QUOTED                     # behind a name: its alias, ``FROM s.t x (a, b)``


def _is_cte(tokens: Sequence[Token], at: int) -> bool:
    """Whether the parenthesis at ``at`` holds the columns of a CTE: ``name (a, b) AS (SELECT ...)``."""
    i = closing(tokens, at) + 1
    if word(tokens, i) != "as":
        return False
    i += 1
    while word(tokens, i) in ("not", "materialized"):
        i += 1
    return i + 1 < len(tokens) and tokens[i] == (OPERATOR, "(") and (
        word(tokens, i + 1) in _QUERY_WORDS or tokens[i + 1] == (OPERATOR, "("))
