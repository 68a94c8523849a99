"""Tokens of a digest, and the statements they form.

Invariant: tokens are those of PostgreSQL's scanner, with names folded and cut as PostgreSQL does, so that two names
are equal here exactly if they are equal there. Literals are gone (``SLOT``) except where the digest keeps them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ESCAPED", "HINT", "LITERAL", "OPERATOR", "PARAMETER", "QUOTED", "SLOT", "UNREAD", "WORD", "Token",
           "display", "split", "tokenise"]

WORD, QUOTED, ESCAPED, SLOT, LITERAL, PARAMETER, OPERATOR, HINT = range(8)
"""``ESCAPED``: a quoted name with Unicode escapes, as written. ``LITERAL``: a literal that the digest kept."""

NAME_BYTES_MAX = 63
UNREAD = "(text of"
"""How ``display`` begins where a text could not be scanned, so names in it are not known."""

_NEXT_PART = r"(?:[ \t\v\f]*(?:--[^\n\r]*)?[\n\r])+[ \t\v\f]*'"

_TOKEN = re.compile(rf"""
    (?P<blank> [ \t\n\v\f\r\x0f]+ )
  | (?P<hint> /\*.*?\*/ )
  | (?P<slot> [\x01-\x07]\x0e? )
  | (?P<literal> [eE]'(?:[^'\\]|\\.|'')*' (?: {_NEXT_PART} (?:[^'\\]|\\.|'')*' )*
               | (?:[bBxX]|[uU]&)?'(?:[^']|'')*'
               | \$(?P<tag>(?:[a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$
               | 0[xXoObB][0-9a-zA-Z_]* | [0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?(?:[eE][+-]?[0-9][0-9_]*)?
               | \.[0-9][0-9_]*(?:[eE][+-]?[0-9][0-9_]*)? )
  | (?P<escaped> [uU]&"(?:[^"]|"")*" )
  | (?P<quoted> "(?:[^"]|"")*" )
  | (?P<word> [a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_$\x80-\U0010ffff]* )
  | (?P<parameter> \$[0-9]+ )
  | (?P<operator> :: | := | \.\. | => | [+\-*/<>=~!@\#%^&|`?]+ | . )
""", re.VERBOSE | re.DOTALL)

_KINDS = {"word": WORD, "quoted": QUOTED, "escaped": ESCAPED, "slot": SLOT, "literal": LITERAL,
          "parameter": PARAMETER, "operator": OPERATOR, "hint": HINT, "tag": LITERAL}


class Token(NamedTuple):
    """``text``: a word in lower case, a quoted name without its quotes, anything else as in the digest."""

    kind: int
    text: str


def tokenise(key: bytes) -> list[Token]:
    """The tokens of a digest that is not raw text."""
    found: list[Token] = []
    for match in _TOKEN.finditer(key.decode("utf-8", "surrogateescape")):
        group = str(match.lastgroup)
        if group == "blank":
            continue
        kind, text = _KINDS[group], match[0]
        if kind == QUOTED:
            text = cut(text[1:-1].replace('""', '"'))
        elif kind == WORD:
            text = cut(text)
        found.append(Token(kind, text))
    return found


def cut(name: str) -> str:
    """A name as PostgreSQL shortens it."""
    if len(name) < 16:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= NAME_BYTES_MAX:
        return name
    end = NAME_BYTES_MAX
    while raw[end] & 0xC0 == 0x80:              # not within a character
        end -= 1
    return raw[:end].decode("utf-8", "surrogateescape")


def split(tokens: list[Token]) -> tuple[list[list[Token]], list[str]]:
    """Statements without their semicolons, empty ones left out; and the hints, wherever they stood."""
    statements: list[list[Token]] = []
    hints: list[str] = []
    current: list[Token] = []
    depth = blocks = 0
    for token in tokens:
        kind, text = token
        if kind == HINT:
            hints.append(text)
            continue
        if kind == OPERATOR:
            if text == ";" and depth <= 0 and blocks <= 0:
                statements.append(current)
                current = []
                depth = blocks = 0
                continue
            depth += (text == "(") - (text == ")")
        elif kind == WORD and (blocks or text == "begin") and _has_body(current):
            blocks += (text in ("begin", "case")) - (text == "end")
        current.append(token)
    statements.append(current)
    return [statement for statement in statements if statement], hints


def _has_body(tokens: list[Token]) -> bool:
    """Whether a statement that begins so may have a body in BEGIN ATOMIC ... END."""
    words = [token.text for token in tokens[:4]]
    if words[1:3] == ["or", "replace"]:
        del words[1:3]
    return words[:1] == ["create"] and words[1:2] in (["function"], ["procedure"])


def display(key: bytes) -> str:
    """A digest for people, and for those who look for names in it: no literal is shown, not even those that it keeps,
    and every name is."""
    if key[:1] == b"\0":
        return f"{UNREAD} {len(key) - 1} bytes that is not SQL)"
    return _TOKEN.sub(_shown, key.decode("utf-8", "replace"))


def _shown(match: re.Match[str]) -> str:
    if match.lastgroup in ("literal", "tag"):
        return "?"
    if match.lastgroup == "slot":
        return "?, ..." if match[0].endswith("\x0e") else "?"
    return match[0].replace("\x0f", ", ...")
