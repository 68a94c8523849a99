"""The digest without a compiler: what ``digest_cy.Scanner`` does, with regular expressions.

One expression runs over words and operators up to the next token of interest, so a short statement costs a few
matches and not a step for each character. Invariant: equal to ``Scanner`` on every input; a property test holds it.
"""

from __future__ import annotations

import re

__all__ = ["interpret"]

_DULL = re.compile(rb"""(?: [A-Za-z_\x80-\xff][\w$\x80-\xff]*+ | [ ](?![ \t\n\v\f\r/-])
    | [(),=;*<>+\[\]:!~^%@\#|&?{}\\`\x7f]++ | \.(?![0-9]) | -(?!-) | /(?!\*) )*+""", re.VERBOSE | re.ASCII)
_BLANKS = re.compile(rb"(?:[ \t\n\v\f\r]|--[^\n\r]*)*+")
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_HINT = re.compile(rb"/\*[ \t\n\v\f\r]*shardproxy:")
_PREFIX = re.compile(rb"(?<![\w$\x80-\xff])(?:[eEbBxX]|[uU]&)\Z", re.ASCII)
_PLAIN = re.compile(rb"'[^']*+(?:''[^']*+)*+'")
_ESCAPED = re.compile(rb"'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'", re.DOTALL)
_CONTINUED = re.compile(rb"(?:[ \t\v\f]*+(?:--[^\n\r]*+)?[\n\r])++[ \t\v\f]*+(?=')")
_QUOTED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')
_NUMBER = re.compile(rb"""
    0[xXoObB][0-9A-Za-z_\x80-\xff]*+
  | (?: [0-9][0-9_]*+ | (?=\.) ) (?P<broken> \.(?!\.)[0-9_]*+ )? (?P<power> [eE][+-]?[0-9][0-9_]*+ )?
""", re.VERBOSE)
_DOLLAR = re.compile(rb"\$(?:([0-9]++)|([A-Za-z_\x80-\xff][0-9A-Za-z_\x80-\xff]*+)?\$)")
_NAME_CHARACTER = re.compile(rb"[\w$\x80-\xff]", re.ASCII)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_TAKES_SETTING = re.compile(rb"(?<![\w$\x80-\xff])(?:set_config|current_setting)(?![\w$\x80-\xff])",
                            re.ASCII | re.IGNORECASE)
_SETTING = re.compile(rb"[ \t\n\v\f\r]*\([ \t\n\v\f\r]*(?=')")
_ITEMS = re.compile(rb"([\x01-\x07])(?:, ?\1)+")
_ROWS = re.compile(rb"(\([\w$., \x0e\x80-\xff-]*+[\x01-\x07][\w$., \x01-\x07\x0e\x80-\xff-]*+\))(?:, ?\1)+", re.ASCII)
_ROWS_WITH_CALLS = re.compile(
    rb"(\([\w$., \x01-\x07\x0e\x80-\xff-]*+(?:\([\w$., \x01-\x07\x0e\x80-\xff-]*+\)\x0f?"
    rb"[\w$., \x01-\x07\x0e\x80-\xff-]*+)++\))(?:, ?\1)+", re.ASCII)
_SLOT_IN = re.compile(rb"[\x01-\x07]")
_MAYBE_KEPT = re.compile(rb"(?:^|[;/]) ?(?:set|do)")
_KEPT = re.compile(rb"(?:^|;) *(?:set|do)(?![\w$\x80-\xff])", re.ASCII)
_QUOTES = re.compile(rb"""'[^']*+(?:''[^']*+)*+' | "[^"]*+(?:""[^"]*+)*+" | /\*.*?\*/""", re.VERBOSE | re.DOTALL)
_QUOTED_TAKERS = (b'"set_config"', b'"current_setting"')
_SLOT = {b"": b"\3", b"e": b"\4", b"u&": b"\5", b"b": b"\6", b"x": b"\7"}


class _NoSQL(Exception):
    """The text ends within a token, or holds what no token may."""


def interpret(sql: bytes) -> bytes:
    """The digest of ``sql``."""
    try:
        out = _read(sql, False)
        if (b"set" in out or b"do" in out) and _MAYBE_KEPT.search(out) and _KEPT.search(_QUOTES.sub(_blot, out)):
            return _read(sql, True)
    except _NoSQL:
        return b"\0" + sql
    if b"," in out:
        out = _ITEMS.sub(b"\\1\x0e", out)
        if b")," in out:
            out = _ROWS.sub(b"\\1\x0f", out)
            out = _ROWS_WITH_CALLS.sub(_folded, out)
    return out


def _folded(match: re.Match[bytes]) -> bytes:
    return match[1] + b"\x0f" if _SLOT_IN.search(match[1]) else match[0]


def _blot(match: re.Match[bytes]) -> bytes:
    return b" " if match[0].startswith(b"/") else b'"'


def _read(sql: bytes, keep: bool) -> bytes:
    """The digest before lists are folded; with ``keep``, with all its literals."""
    out: list[bytes] = []
    pos, name_at, size = 0, -1, len(sql)
    while True:
        at = _end(_DULL.match(sql, pos))
        if at > pos:
            piece = sql[pos:at].lower()
            out.append(piece)
            if b"set_config" in piece or b"current_setting" in piece:
                name_at = _settings(sql, pos, at)
        if at >= size:
            return b"".join(out).strip(b" ")
        c = sql[at]
        if c == 39:                                                     # '
            pos, at, slot = _string(sql, pos, at, out)
            out.append(_verbatim(sql[at:pos]) if keep or at == name_at else slot)
        elif c < 33 or c == 45:                                         # blanks, --
            pos = _blanks(sql, at, out)
        elif c == 46 or 48 <= c <= 57:                                  # . 0 to 9
            pos, slot = _number(sql, at)
            out.append(sql[at:pos] if keep else slot)
        elif c == 36:                                                   # $
            pos = _dollar(sql, at)
            out.append(_verbatim(sql[at:pos]) if keep or sql[at + 1:at + 2].isdigit() else b"\3")
        elif c == 34:                                                   # "
            pos, name_at = _quoted(sql, pos, at, out, name_at)
        else:
            pos = _comment(sql, at, out)


def _end(match: re.Match[bytes] | None) -> int:
    if match is None:
        raise _NoSQL
    return match.end()


def _space(out: list[bytes]) -> None:
    if out and out[-1] != b" ":
        out.append(b" ")


def _verbatim(text: bytes) -> bytes:
    if _CONTROL.search(text):
        raise _NoSQL
    return text


def _prefix(sql: bytes, pos: int, at: int, out: list[bytes]) -> bytes:
    """The letters before a quote at ``at`` that belong to it, taken back from ``out``."""
    match = _PREFIX.search(sql, max(pos, at - 2), at) if at > pos else None
    if match is None:
        return b""
    out[-1] = out[-1][:-len(match[0])]
    return match[0].lower()


def _string(sql: bytes, pos: int, quote: int, out: list[bytes]) -> tuple[int, int, bytes]:
    """End, beginning and slot of a string; its parts on further lines belong to it."""
    prefix = _prefix(sql, pos, quote, out)
    body = _ESCAPED if prefix == b"e" else _PLAIN
    end = _end(body.match(sql, quote))
    while more := _CONTINUED.match(sql, end):
        end = _end(body.match(sql, more.end()))
    return end, quote - len(prefix), _SLOT[prefix]


def _quoted(sql: bytes, pos: int, quote: int, out: list[bytes], name_at: int) -> tuple[int, int]:
    """Copy a quoted name: its end, and where the next name of a setting is."""
    at = quote
    if sql[quote - 1:quote] == b"&" and _prefix(sql, pos, quote, out):
        at -= 2
    end = _end(_QUOTED.match(sql, quote))
    out.append(_verbatim(sql[at:end]))
    return end, _setting(sql, end) if out[-1] in _QUOTED_TAKERS else name_at


def _number(sql: bytes, at: int) -> tuple[int, bytes]:
    match = _NUMBER.match(sql, at)
    end = _end(match)
    if _NAME_CHARACTER.match(sql, end):
        raise _NoSQL
    return end, b"\2" if match and (match["broken"] or match["power"]) else b"\1"


def _dollar(sql: bytes, at: int) -> int:
    """End of a parameter or of a string in dollar quotes."""
    match = _DOLLAR.match(sql, at)
    end = _end(match)
    if match and not match[1]:
        closing = sql.find(match[0], end)
        if closing < 0:
            raise _NoSQL
        end = closing + len(match[0])
    if _NAME_CHARACTER.match(sql, end):
        raise _NoSQL
    return end


def _blanks(sql: bytes, at: int, out: list[bytes]) -> int:
    """Skip blanks and line comments; a blank before a block comment is that comment's."""
    end = _end(_BLANKS.match(sql, at))
    if end == at:
        raise _NoSQL
    if sql[end:end + 2] == b"/*":
        return _comment(sql, end, out, spaced=True)
    _space(out)
    return end


def _comment(sql: bytes, at: int, out: list[bytes], spaced: bool = False) -> int:
    """Skip a comment and the blanks behind it; a hint is copied."""
    depth, deepest, end = 0, 0, at
    while depth or not deepest:
        edge = _COMMENT_EDGE.search(sql, end)
        end = _end(edge)
        depth += 1 if edge and edge[0] == b"/*" else -1
        deepest = max(deepest, depth)
    if deepest == 1 and _HINT.match(sql, at):
        if spaced:
            _space(out)
        out.append(_verbatim(sql[at:end]))
    _space(out)
    return _end(_BLANKS.match(sql, end))


def _settings(sql: bytes, pos: int, end: int) -> int:
    """Where the name of the setting stands that the last call in ``sql[pos:end]`` takes, or -1."""
    found = -1
    for match in _TAKES_SETTING.finditer(sql, pos, end):
        found = _setting(sql, match.end())
    return found


def _setting(sql: bytes, pos: int) -> int:
    match = _SETTING.match(sql, pos)
    return match.end() if match else -1
