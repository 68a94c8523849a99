"""Tokens of a statement as PostgreSQL's scanner cuts them, with their places in the text.

Invariant: the tokens and the blanks and comments between them are the whole text. A literal whose value depends on
settings or escapes is ``odd``: its place is known, its value is not.
"""

from __future__ import annotations

import re

from shardproxy.planner.nodes import Token

from .tokens import cut

__all__ = ["Unreadable", "scan"]

_NEXT = r"(?:[ \t\v\f]*(?:--[^\n\r]*)?[\n\r])+[ \t\v\f]*'"

_TOKEN = re.compile(rf"""
    (?P<blank> [ \t\n\v\f\r]+ | --[^\n\r]* )
  | (?P<comment> /\* )
  | (?P<escaped> [eE]'(?:[^'\\]|\\.|'')*'(?:{_NEXT}(?:[^'\\]|\\.|'')*')* )
  | (?P<odd> (?:[bBxX]|[uU]&)'(?:[^']|'')*'(?:{_NEXT}(?:[^']|'')*')* )
  | (?P<string> [nN]?'(?:[^']|'')*'(?:{_NEXT}(?:[^']|'')*')* )
  | (?P<dollar> \$(?P<tag>(?:[a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$ )
  | (?P<number> 0[xXoObB][0-9a-zA-Z_]+ | [0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?(?:[eE][+-]?[0-9]+)?
              | \.[0-9][0-9_]*(?:[eE][+-]?[0-9]+)? )
  | (?P<unicode> [uU]&"(?:[^"]|"")*" )
  | (?P<quoted> "(?:[^"]|"")+" )
  | (?P<word> [a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_$\x80-\U0010ffff]* )
  | (?P<param> \$[0-9]+ )
  | (?P<operator> :: | := | \.\. | [+\-*/<>=~!@\#%^&|`?]+ | . )
""", re.VERBOSE | re.DOTALL)

_SYMBOLS = frozenset("+-*/<>=~!@#%^&|`?")
_LONG = frozenset("~!@#%^&|`?")
_JOINT = re.compile(rf"'{_NEXT}")


class Unreadable(ValueError):
    """The text is not understood; whoever cannot read it does not plan it."""


def scan(text: str) -> list[Token]:
    """All tokens, with one of kind ``end`` behind them."""
    found: list[Token] = []
    at, size = 0, len(text)
    while at < size:
        match = _TOKEN.match(text, at)
        if match is None or match[0] in ("'", '"'):
            raise Unreadable(text[at:at + 20])
        kind, end = str(match.lastgroup), match.end()
        if kind == "tag":
            kind = "dollar"
        if kind == "comment":
            at = _comment_end(text, at)
            continue
        if kind != "blank":
            token = _token(kind, text, at, end, match)
            end = token.end
            found.append(token)
        at = end
    found.append(Token("end", "", size, size))
    return found


def _token(kind: str, text: str, start: int, end: int, match: re.Match[str]) -> Token:
    raw = text[start:end]
    if kind == "word":
        # PostgreSQL folds ASCII letters only, whatever the locale, in a multibyte encoding
        if raw.isascii():
            return Token("word", cut(raw.lower()), start, end)
        return Token("word", cut(re.sub("[A-Z]+", lambda found: found[0].lower(), raw)), start, end)
    if kind == "quoted":
        return Token("quoted", cut(raw[1:-1].replace('""', '"')), start, end)
    if kind == "dollar":
        edge = len(match["tag"]) + 2
        return Token("string", raw[edge:-edge], start, end)
    if kind == "string" and "\\" not in raw and raw[0] == "'" and _JOINT.search(raw) is None:
        return Token("string", raw[1:-1].replace("''", "'"), start, end)
    if kind in ("string", "escaped", "odd"):
        return Token("odd", raw, start, end)
    if kind == "unicode":
        raise Unreadable(raw)
    if kind == "operator" and raw[0] in _SYMBOLS:
        end = start + _operator_length(raw)
        return Token("op", text[start:end], start, end)
    return Token({"operator": "op"}.get(kind, kind), raw[1:] if kind == "param" else raw, start, end)


def _operator_length(raw: str) -> int:
    """As PostgreSQL does it: up to a comment, and without a sign at the end unless it has a character of its own."""
    for mark in ("--", "/*"):
        if (found := raw.find(mark)) > 0:
            raw = raw[:found]
    while len(raw) > 1 and raw[-1] in "+-" and not _LONG.intersection(raw[:-1]):
        raw = raw[:-1]
    return len(raw)


def _comment_end(text: str, start: int) -> int:
    depth, at = 1, start + 2
    while depth:
        opens, closes = text.find("/*", at), text.find("*/", at)
        if closes < 0:
            raise Unreadable("comment without end")
        if 0 <= opens < closes:
            depth, at = depth + 1, opens + 2
        else:
            depth, at = depth - 1, closes + 2
    return at
