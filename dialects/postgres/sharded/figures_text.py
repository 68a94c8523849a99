"""Which statements ask for figures that all servers have, and their texts with the proxy's functions in place.

    select relname, pg_table_size(oid) from pg_class        a call: shardproxy.pg_table_size(oid)
    select * from pg_catalog.pg_stat_activity a             a relation: shardproxy.pg_stat_activity() a

Invariants:
* Everything else of the text stays, byte for byte. A function has the name, the columns and the row type of what it
  stands for, so other parts of the statement that name it mean the same.
* A relation is looked for where FROM can name one; whatever else has its name is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from shardproxy.dialects.postgres.sql.query_scan import Unreadable, scan
from shardproxy.planner.nodes import Token
from shardproxy.planner.plan import Overview

from .figures_sql import STATISTICS

__all__ = ["ACTIVITY", "DATABASE_SIZE", "PREPARED", "SIZES", "TUPLES", "WATCHED", "overview"]

SIZES, TUPLES, DATABASE_SIZE = "sizes", "row counts", "database size"
ACTIVITY, PREPARED = "pg_stat_activity", "pg_prepared_xacts"
CALLS = {"pg_relation_size": SIZES, "pg_table_size": SIZES, "pg_indexes_size": SIZES, "pg_total_relation_size": SIZES,
         "pg_database_size": DATABASE_SIZE}
RELATIONS = {ACTIVITY: ACTIVITY, PREPARED: PREPARED, "pg_class": "", "pg_inherits": ""} | {
    view: view for view in STATISTICS}
WATCHED = frozenset((*CALLS, *RELATIONS)) - {"pg_class"}
COUNTED = frozenset(("reltuples", "relpages", "relallvisible"))
"""Columns of pg_class that shells cannot know."""
SYSTEM = frozenset(("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"))
"""Functions have no such columns."""
_ENDS_FROM = frozenset(("where", "group", "order", "having", "limit", "offset", "fetch", "for", "window", "union",
                        "intersect", "except", "select", "returning", "set", "values"))


def asks(words: Collection[str], text: str) -> bool:
    """Whether a statement with these words in it may be one."""
    return not WATCHED.isdisjoint(words) or ("pg_class" in words and (
        not COUNTED.isdisjoint(words) or "relhassubclass" in words or "*" in text))


def overview(text: str) -> Overview | None:
    """What to run instead; None: the statement asks for nothing of this kind."""
    try:
        tokens = scan(text)
    except Unreadable:
        return None
    words = {token.text for token in tokens if token.kind in ("word", "quoted")}
    names = set(RELATIONS) - _common_tables(tokens)
    if words & SYSTEM:
        names -= {"pg_class", "pg_inherits"}
    counted = bool(words & COUNTED) or _stars(tokens)
    if not counted and "relhassubclass" not in words:
        names.discard("pg_class")
    edits: dict[int, tuple[int, str]] = {}
    needs: set[str] = set()
    for at in _calls(tokens):
        needs.add(CALLS[tokens[at].text])
        edits[_head(tokens, at)] = (tokens[at].end, f"shardproxy.{tokens[at].text}")
    found = set()
    for at in _relations(tokens):
        name = tokens[at].text
        if name in names:
            found.add(name)
            needs.add(TUPLES if name == "pg_class" and counted else RELATIONS[name])
            whole = at > 0 and tokens[at - 1].kind == "word" and tokens[at - 1].text == "table"
            start = tokens[at - 1].start if whole else _head(tokens, at)
            edits[start] = (tokens[at].end, f"{'SELECT * FROM ' if whole else ''}shardproxy.{name}()")
    for at, token in enumerate(tokens[:-1]):            # pg_catalog.pg_class.relname
        if token.text in found and _is(tokens, at + 1, ".") and _head(tokens, at) != token.start:
            edits[_head(tokens, at)] = (token.start, "")
    return Overview(_edited(text, edits), frozenset(needs - {""})) if edits else None


def _edited(text: str, edits: dict[int, tuple[int, str]]) -> bytes:
    parts, done = [], 0
    for start, (end, new) in sorted(edits.items()):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]]).encode("utf-8", "surrogateescape")


def _is(tokens: Sequence[Token], at: int, text: str) -> bool:
    return 0 <= at < len(tokens) and tokens[at].kind == "op" and tokens[at].text == text


def _named(token: Token, names: Collection[str]) -> bool:
    return token.kind in ("word", "quoted") and token.text in names


def _head(tokens: Sequence[Token], at: int) -> int:
    """Where a name begins: with ``pg_catalog.`` before it."""
    qualified = _is(tokens, at - 1, ".") and at > 1 and _named(tokens[at - 2], ("pg_catalog",))
    return tokens[at - 2].start if qualified else tokens[at].start


def _free(tokens: Sequence[Token], at: int) -> bool:
    """Whether a name has no qualifier but ``pg_catalog``."""
    return not _is(tokens, at - 1, ".") or _head(tokens, at) != tokens[at].start


def _stars(tokens: Sequence[Token]) -> bool:
    """Whether a ``*`` may stand for all columns of something."""
    return any(_is(tokens, at, "*") and not (_is(tokens, at - 1, "(") and _is(tokens, at + 1, ")")) and (
        _is(tokens, at - 1, ".") or _is(tokens, at - 1, ",") or tokens[at - 1].text in ("select", "distinct", "all"))
        for at in range(1, len(tokens) - 1))


def _common_tables(tokens: Sequence[Token]) -> set[str]:
    """Names that WITH gives a meaning of its own."""
    found = set()
    for at in range(1, len(tokens) - 2):
        if _named(tokens[at], RELATIONS) and (tokens[at - 1].text in ("with", "recursive", ",")):
            ahead = at + 1
            if _is(tokens, ahead, "("):
                while ahead < len(tokens) - 1 and not _is(tokens, ahead, ")"):
                    ahead += 1
                ahead += 1
            follows = [token.text for token in tokens[ahead:ahead + 4]]
            if follows[:1] == ["as"] and "(" in follows:
                found.add(tokens[at].text)
    return found


def _calls(tokens: Sequence[Token]) -> Iterator[int]:
    """Where functions of ``CALLS`` are called."""
    for at, token in enumerate(tokens[:-1]):
        if _named(token, CALLS) and _is(tokens, at + 1, "(") and _free(tokens, at):
            yield at


def _relations(tokens: Sequence[Token]) -> Iterator[int]:
    """Where a relation of ``RELATIONS`` stands in a FROM list or behind TABLE."""
    modes = ["other"]                       # of each parenthesis: "item": a relation is expected, "list": behind one
    for at, token in enumerate(tokens):
        if token.kind == "op" and token.text in "()":
            if token.text == ")":
                del modes[max(len(modes) - 1, 1):]
                continue
            inner = "item" if modes[-1] == "item" else "other"
            modes[-1] = "list" if modes[-1] == "item" else modes[-1]
            modes.append(inner)
        elif _is(tokens, at, ","):
            modes[-1] = "item" if modes[-1] == "list" else modes[-1]
        elif token.kind == "word" and token.text in ("from", "join"):
            distinct = at > 0 and tokens[at - 1].text == "distinct" and tokens[at - 2].text in ("is", "not")
            modes[-1] = modes[-1] if distinct else "item"
        elif token.kind == "word" and token.text in ("on", "using"):
            modes[-1] = "list" if modes[-1] in ("item", "list") else modes[-1]
        elif token.kind == "word" and token.text in _ENDS_FROM:
            modes[-1] = "other"
        elif token.kind in ("word", "quoted") and not _is(tokens, at + 1, "."):
            table = at > 0 and tokens[at - 1].kind == "word" and tokens[at - 1].text == "table"
            if (modes[-1] == "item" or table) and not _is(tokens, at + 1, "(") and _named(token, RELATIONS) and _free(
                    tokens, at) and tokens[at - 1].text != "only":
                yield at
            if token.text not in ("lateral", "only"):
                modes[-1] = "list" if modes[-1] == "item" else modes[-1]
