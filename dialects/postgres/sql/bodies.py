"""What the body of a function, or a DO block, may do: found in its tokens.

Invariant: a body that is not plain SQL or PL/pgSQL, or that makes up SQL at run time, may do anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from shardproxy.dialects.facts import CHANGES_CATALOG, CHANGES_SESSION, STAYS, WRITES
from shardproxy.dialects.flags import FOREVER
from shardproxy.dialects.postgres.digest_cy import digest

from . import builtins
from .ddl import is_temp_schema
from .settings import unquote
from .shape import word
from .tokens import ESCAPED, LITERAL, QUOTED, WORD, Token, tokenise

__all__ = ["Body", "judge", "judge_block"]

_ANYTHING = CHANGES_SESSION | WRITES

_STARTS = frozenset((";", "begin", "then", "else", "loop", ">>", "atomic", "declare", "language"))
"""Behind these a statement begins in SQL or PL/pgSQL."""

_AT_START = {
    **dict.fromkeys(("set", "reset", "discard", "listen", "unlisten", "prepare", "deallocate", "declare_cursor"),
                    CHANGES_SESSION),
    "load": CHANGES_SESSION | STAYS,
    **dict.fromkeys(("create", "alter", "drop", "import"), CHANGES_SESSION | CHANGES_CATALOG | WRITES),
    **dict.fromkeys(("truncate", "copy", "grant", "revoke", "comment", "refresh", "vacuum", "analyze", "cluster",
                     "reindex", "security", "reassign"), WRITES),
}
_ANYWHERE = {
    **dict.fromkeys(("insert", "update", "delete", "merge"), WRITES),
    **dict.fromkeys(("temp", "temporary", "hold"), CHANGES_SESSION),
    "execute": _ANYTHING,
}
_DDL_IN_TEXT = re.compile(r"\b(?:create|alter|drop)\s", re.IGNORECASE)
_SHARED_DICTIONARY = re.compile(r"\b(?:GD|SD|_SHARED|global|globals)\b")


class Body(NamedTuple):
    """``bits``: what its own statements do. ``names``: what it may call or touch, to be judged by whoever knows."""

    bits: int
    names: frozenset[str]


def judge(text: str, language: str) -> Body:
    """Judge the body of a function."""
    if language not in ("sql", "plpgsql"):
        stays = STAYS if _SHARED_DICTIONARY.search(text) else 0
        ddl = CHANGES_CATALOG if _DDL_IN_TEXT.search(text) else 0
        return Body(_ANYTHING | stays | ddl, frozenset())
    key = digest(text.encode("utf-8", "surrogateescape"))
    if key[:1] == b"\0":
        return Body(_ANYTHING, frozenset())
    tokens = tokenise(key)
    bits = _bits(tokens)
    if any(token == (WORD, "execute") for token in tokens) and _DDL_IN_TEXT.search(text):
        bits |= CHANGES_CATALOG
    return Body(bits, frozenset(token.text for token in tokens if token.kind in (WORD, QUOTED)))


def judge_block(tokens: Sequence[Token]) -> int:
    """Bits of a DO statement; who may run one anyway is probed, so only what stays or is DDL counts."""
    bodies = [unquote(token.text) for token in tokens if token.kind == LITERAL]
    language = next((tokens[i + 1].text for i in range(len(tokens) - 1) if word(tokens, i) == "language"), "plpgsql")
    bits = _ANYTHING
    for text in bodies:
        body = judge(text, language)
        bits |= body.bits
        if "execute" in body.names:
            bits |= CHANGES_CATALOG
        bits |= STAYS if any(builtins.EFFECTS.get(name, 0) & FOREVER for name in body.names) else 0
    return bits if bodies else bits | STAYS | CHANGES_CATALOG


def _bits(tokens: Sequence[Token]) -> int:
    bits = 0
    for i, (kind, text) in enumerate(tokens):
        if kind == ESCAPED:
            bits |= _ANYTHING
        elif kind == QUOTED and is_temp_schema(text):
            bits |= CHANGES_SESSION
        elif kind == WORD:
            bits |= _ANYWHERE.get(text, 0)
            if is_temp_schema(text):
                bits |= CHANGES_SESSION
            if text in _AT_START and (i == 0 or tokens[i - 1].text in _STARTS):
                bits |= _set_bits(tokens, i) if text == "set" else _AT_START[text]
    return bits


def _set_bits(tokens: Sequence[Token], i: int) -> int:
    after = word(tokens, i + 1)
    if "seed" in (after, word(tokens, i + 2)):
        return CHANGES_SESSION | STAYS
    return 0 if after in ("local", "transaction", "constraints") else CHANGES_SESSION
