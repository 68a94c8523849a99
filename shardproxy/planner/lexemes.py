"""Lexemes of a statement text with their places in it: what clauses are cut along.

Invariant: every character of the text belongs to one lexeme or lies between two (blanks, comments), and names are
folded, so that two are equal here exactly if the database takes them for equal. Offsets are characters; ``end`` is
exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Lexeme", "Unreadable", "close_of", "find", "is_op", "lex", "name_at", "quote", "quoted", "split", "strip",
           "word"]


class Unreadable(Exception):
    """The text ends within a literal or comment, or is not what its first words promise."""


class Lexeme(NamedTuple):
    """``kind``: word, quoted, string, number, param, op, other. ``text``: folded name, value of a string, or as is."""

    kind: str
    text: str
    start: int
    end: int


_LEXEME = re.compile(r"""
    (?P<blank> [ \t\n\v\f\r]+ | --[^\n\r]* )
  | (?P<comment> /\* )
  | (?P<escape> [eE]'(?:[^'\\]|\\.|'')*' )
  | (?P<string> '(?:[^']|'')*' )
  | (?P<dollar> \$(?P<tag>(?:[a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_\x80-\U0010ffff]*)?)\$(?P<body>.*?)\$(?P=tag)\$ )
  | (?P<other> [bBxXnN]'(?:[^']|'')*' | [uU]&'(?:[^']|'')*' | [uU]&"(?:[^"]|"")*" )
  | (?P<number> 0[xXoObB][0-9a-zA-Z_]+ | [0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?(?:[eE][+-]?[0-9]+)?
               | \.[0-9][0-9_]*(?:[eE][+-]?[0-9]+)? )
  | (?P<quoted> "(?:[^"]|"")*" )
  | (?P<word> [a-zA-Z_\x80-\U0010ffff][a-zA-Z0-9_$\x80-\U0010ffff]* )
  | (?P<param> \$[0-9]+ )
  | (?P<op> :: | := | => | \.\. | [+*/<>=~!@\#%^&|`?-]+ | . )
""", re.VERBOSE | re.DOTALL)

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))|''", re.DOTALL)

NAME_BYTES_MAX = 63


def lex(text: str) -> list[Lexeme]:
    """All lexemes of ``text``."""
    found: list[Lexeme] = []
    at = 0
    while at < len(text):
        match = _LEXEME.match(text, at)
        kind = str(match.lastgroup) if match is not None else ""
        if match is None:
            raise Unreadable(text[at:at + 20])
        end = match.end()
        if kind == "comment":
            end = _comment_end(text, at)
        elif kind == "op" and match[0] in ("'", '"'):
            raise Unreadable(text[at:at + 20])
        elif kind != "blank":
            if kind == "op":
                end = at + len(_operator(match[0]))
            found.append(_lexeme(kind, match, at, end))
        at = end
    return found


def _operator(symbols: str) -> str:
    """Operator characters up to a comment that begins among them; a sign behind a plain operator is its own."""
    for mark in ("--", "/*"):
        if (at := symbols.find(mark)) > 0:
            symbols = symbols[:at]
    if len(symbols) > 1 and symbols[-1] in "+-" and not set(symbols) & set("~!@#%^&|`?"):
        symbols = symbols.rstrip("+-") or symbols[0]
    return symbols


def _lexeme(kind: str, match: re.Match[str], start: int, end: int) -> Lexeme:
    text = match[0][:end - start]
    if kind == "word":
        return Lexeme(kind, cut(_fold(text)), start, end)
    if kind == "quoted":
        return Lexeme(kind, cut(text[1:-1].replace('""', '"')), start, end)
    if kind == "string" and "\\" not in text:            # else its value depends on standard_conforming_strings
        return Lexeme(kind, text[1:-1].replace("''", "'"), start, end)
    if kind == "string":
        return Lexeme("other", text, start, end)
    if kind == "escape":
        return Lexeme("string", _unescape(text[2:-1]), start, end)
    if kind == "dollar":
        return Lexeme("string", str(match["body"]), start, end)
    return Lexeme(kind, text, start, end)


def _fold(name: str) -> str:
    """ASCII letters in lower case."""
    return name.lower() if name.isascii() else "".join(c.lower() if c.isascii() else c for c in name)


def cut(name: str) -> str:
    """A name as the database shortens it."""
    if len(name) < 16:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= NAME_BYTES_MAX:
        return name
    return raw[:NAME_BYTES_MAX].decode("utf-8", "ignore")


def _unescape(body: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[0] == "''":
            return "'"
        for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
            if match[group]:
                return chr(int(match[group], base))
        return _ESCAPES.get(match[5], match[5])

    return _ESCAPE.sub(one, body)


def _comment_end(text: str, at: int) -> int:
    """Behind the comment at ``at``; comments nest."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    raise Unreadable("comment")


def word(lexemes: Sequence[Lexeme], i: int) -> str:
    """The keyword at ``i``; empty if there is none or it is quoted."""
    return lexemes[i].text if 0 <= i < len(lexemes) and lexemes[i].kind == "word" else ""


def is_op(lexemes: Sequence[Lexeme], i: int, symbol: str) -> bool:
    """Whether the operator ``symbol`` stands at ``i``."""
    return 0 <= i < len(lexemes) and lexemes[i].kind == "op" and lexemes[i].text == symbol


def close_of(lexemes: Sequence[Lexeme], opening: int) -> int:
    """Index of the parenthesis that closes the one at ``opening``."""
    depth = 0
    for i in range(opening, len(lexemes)):
        if lexemes[i].kind == "op":
            depth += (lexemes[i].text in ("(", "[")) - (lexemes[i].text in (")", "]"))
            if depth == 0:
                return i
    raise Unreadable("parenthesis")


def find(lexemes: Sequence[Lexeme], wanted: Sequence[str], start: int, end: int) -> int:
    """Index of the first of these keywords outside parentheses, ``end`` if there is none."""
    depth = 0
    for i in range(start, end):
        one = lexemes[i]
        if one.kind == "op":
            depth += (one.text in ("(", "[")) - (one.text in (")", "]"))
        elif depth == 0 and one.kind == "word" and one.text in wanted:
            return i
    return end


def split(lexemes: Sequence[Lexeme], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What stands between the commas outside parentheses, as index ranges."""
    depth, first = 0, start
    for i in range(start, end):
        one = lexemes[i]
        if one.kind != "op":
            continue
        depth += (one.text in ("(", "[")) - (one.text in (")", "]"))
        if depth == 0 and one.text == ",":
            yield first, i
            first = i + 1
    if first < end or first > start:
        yield first, end


def strip(lexemes: Sequence[Lexeme], start: int, end: int) -> tuple[int, int]:
    """The range without parentheses around all of it."""
    while end - start > 2 and is_op(lexemes, start, "(") and close_of(lexemes, start) == end - 1:
        start, end = start + 1, end - 1
    return start, end


def name_at(lexemes: Sequence[Lexeme], i: int) -> tuple[tuple[str | None, str], int]:
    """The possibly qualified name at ``i`` as (schema, name), and the index behind it."""
    parts: list[str] = []
    while i < len(lexemes) and lexemes[i].kind in ("word", "quoted"):
        parts.append(lexemes[i].text)
        i += 1
        if not is_op(lexemes, i, "."):
            break
        i += 1
    if not parts:
        raise Unreadable("name")
    return (parts[-2] if len(parts) > 1 else None, parts[-1]), i


def quote(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def quoted(table: tuple[str, str]) -> str:
    """A qualified name in quotes."""
    return f"{quote(table[0])}.{quote(table[1])}"
