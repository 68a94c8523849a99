"""The statements of one query string. Invariant: what stands between two semicolons outside literals, comments,
parentheses and SQL-standard function bodies is one statement, exactly as it was written."""

from __future__ import annotations

from shardproxy.planner.lexemes import lex

__all__ = ["split_statements"]


def split_statements(text: bytes) -> list[bytes]:
    """The statements that are not empty, without their semicolons."""
    if b";" not in text:
        return [text] if text.strip() and lex(_decoded(text)) else []
    whole = _decoded(text)
    found: list[bytes] = []
    start, depth, begins = 0, 0, 0
    last = -1
    words: list[str] = []
    for one in lex(whole):
        raw = whole[one.start : one.end]
        if raw in ("(", "[", "{"):
            depth += 1
        elif raw in (")", "]", "}"):
            depth -= 1
        elif raw == ";" and depth <= 0 and not begins:
            if words:
                found.append(_encoded(whole[start : one.start]))
            start, depth, words = one.end, 0, []
            continue
        upper = raw.upper()
        if words and words[0] == "CREATE" and upper in ("ATOMIC",) and words[-1] == "BEGIN":
            begins += 1
        elif begins and upper == "CASE":
            begins += 1
        elif begins and upper == "END":
            begins -= 1
        words.append(upper)
        last = one.end
    if words and last >= 0:
        found.append(_encoded(whole[start:]))
    return found


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
