"""What the body of a function, or a DO block, may do: found in its tokens.

Invariant: a body that is not plain SQL or PL/pgSQL, or that makes up SQL at run time, may do anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from shardproxy.dialects.facts import CHANGES_CATALOG, CHANGES_SESSION, HIDES, SEQUENCES, STAYS, WRITES
from shardproxy.dialects.flags import FOREVER, HIDDEN
from shardproxy.dialects.postgres.digest_cy import digest

from . import builtins
from .calls import calls
from .ddl import dropped_relations, is_temp_schema
from .effects import set_config_flags
from .settings import setting_at, unquote
from .shape import name_at, word
from .tokens import ESCAPED, LITERAL, OPERATOR, QUOTED, WORD, Token, tokenise

__all__ = ["Body", "judge", "judge_block"]

_ANYTHING = CHANGES_SESSION | WRITES | SEQUENCES

_STARTS = frozenset((";", "begin", "then", "else", "loop", ">>", "atomic", "declare", "language"))
"""Behind these a statement begins in SQL or PL/pgSQL."""

_AT_START = {
    **dict.fromkeys(("set", "reset", "discard", "listen", "unlisten", "prepare", "deallocate"),
                    CHANGES_SESSION),
    "load": CHANGES_SESSION | STAYS,
    **dict.fromkeys(("create", "alter", "drop", "import"), CHANGES_SESSION | CHANGES_CATALOG | WRITES),
    **dict.fromkeys(("truncate", "copy", "grant", "revoke", "comment", "refresh", "vacuum", "analyze", "cluster",
                     "reindex", "security", "reassign"), WRITES),
}
_ANYWHERE = {
    **dict.fromkeys(("insert", "update", "delete", "merge"), WRITES),
    **dict.fromkeys(("temp", "temporary", "hold"), CHANGES_SESSION | SEQUENCES),
    "execute": _ANYTHING,
}
_TEMPORARY = ("temp", "temporary")
_DDL_IN_TEXT = re.compile(r"\b(?:create|alter|drop)\s", re.IGNORECASE)
_SETS_IN_TEXT = re.compile(r"set_config|\bset\s+(?:session\s+)?(?:%|'|[\w\"]+\.)", re.IGNORECASE)
_EXECUTES_ARGUMENT = re.compile(r"\bexecute\s+\$\d", re.IGNORECASE)
_SHARED_DICTIONARY = re.compile(r"\b(?:GD|SD|_SHARED|global|globals)\b")


class Body(NamedTuple):
    """``bits``: what its own statements do. ``names``: what it may call or touch, to be judged by whoever knows.

    ``settings``: names with a dot that it sets for the session.
    """

    bits: int
    names: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


def judge(text: str, language: str) -> Body:
    """Judge the body of a function."""
    if language not in ("sql", "plpgsql"):
        stays = STAYS if _SHARED_DICTIONARY.search(text) else 0
        ddl = CHANGES_CATALOG if _DDL_IN_TEXT.search(text) else 0
        hides = HIDES if _SETS_IN_TEXT.search(text) else 0
        return Body(_ANYTHING | stays | ddl | hides)
    key = digest(text.encode("utf-8", "surrogateescape"))
    if key[:1] == b"\0":
        return Body(_ANYTHING | HIDES)
    tokens = tokenise(key)
    bits = _bits(tokens)
    if (WORD, "execute") in tokens:
        bits |= CHANGES_CATALOG if _DDL_IN_TEXT.search(text) else 0
        bits |= HIDES if _SETS_IN_TEXT.search(text) or _EXECUTES_ARGUMENT.search(text) else 0
    names = {token.text for token in tokens if token.kind in (WORD, QUOTED)}
    settings = {name for i in range(len(tokens)) if tokens[i] == (WORD, "set") and word(tokens, i + 1) != "local"
                and "." in (name := setting_at(tokens, i + 1 + (word(tokens, i + 1) == "session"))[0])}
    if "set_config" in names:
        found = [set_config_flags(tokens, call.at) for call in calls(tokens) if call.name == "set_config"]
        settings.update(name for _, named in found for name in named)
        bits |= HIDES if any(flags & HIDDEN for flags, _ in found) or not found else 0
        if found and not any(flags for flags, _ in found):
            names.discard("set_config")                     # all are local
    return Body(bits, frozenset(names), frozenset(settings))


def judge_block(tokens: Sequence[Token]) -> Body:
    """Judge a DO statement."""
    bodies = [unquote(token.text) for token in tokens if token.kind == LITERAL]
    language = next((tokens[i + 1].text for i in range(len(tokens) - 1) if word(tokens, i) == "language"), "plpgsql")
    bits = _ANYTHING
    settings: set[str] = set()
    for text in bodies:
        body = judge(text, language)
        bits |= body.bits
        settings |= body.settings
        if "execute" in body.names:
            bits |= CHANGES_CATALOG
        bits |= STAYS if any(builtins.EFFECTS.get(name, 0) & FOREVER for name in body.names) else 0
    return Body(bits if bodies else bits | STAYS | CHANGES_CATALOG | HIDES, settings=frozenset(settings))


def _bits(tokens: Sequence[Token]) -> int:
    bits = 0
    temporary = _temporary(tokens)
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
                bits |= _set_bits(tokens, i) if text == "set" else _ddl_bits(tokens, i, temporary)
    return bits


def _temporary(tokens: Sequence[Token]) -> frozenset[str]:
    """Tables that the body makes as temporary ones."""
    found = set()
    for i, token in enumerate(tokens):
        if token == (WORD, "create") and word(tokens, i + 1) in _TEMPORARY:
            at = i + 3 if word(tokens, i + 2) == "table" else i + 2
            name, _ = name_at(tokens, at + 3 if word(tokens, at) == "if" else at)
            if name is not None:
                found.add(name.name)
    return frozenset(found)


def _ddl_bits(tokens: Sequence[Token], i: int, temporary: frozenset[str]) -> int:
    """What a command does that begins at ``i``; temporary tables are the session's, not the catalog's."""
    text = tokens[i].text
    if text == "create" and word(tokens, i + 1) in _TEMPORARY:
        return CHANGES_SESSION
    if text == "drop":
        end = next((k for k in range(i, len(tokens)) if tokens[k] == (OPERATOR, ";")), len(tokens))
        dropped = dropped_relations(tokens[i:end])
        if dropped and all(name.name in temporary for name in dropped):
            return CHANGES_SESSION
    return _AT_START[text]


def _set_bits(tokens: Sequence[Token], i: int) -> int:
    after = word(tokens, i + 1)
    if "seed" in (after, word(tokens, i + 2)):
        return CHANGES_SESSION | STAYS
    return 0 if after in ("local", "transaction", "constraints") else CHANGES_SESSION
