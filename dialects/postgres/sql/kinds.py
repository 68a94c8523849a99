"""The kind of a statement, from its first keywords: of every command that PostgreSQL has, parsed or not.

Invariant: a command that is not known may do anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shardproxy.dialects.flags import (
    ADVANCES,
    BEGIN,
    BEGIN_READ_ONLY,
    COMMIT,
    COPY_IN,
    COPY_OUT,
    DDL,
    DEALLOCATE_ALL,
    FOREVER,
    PREPARED_SQL,
    PROBE,
    ROLLBACK,
    UNPARSED,
    UNPIN,
)

from . import ddl, settings, targets
from .shape import Shape, closing, find, name_at, word, words
from .tokens import LITERAL, OPERATOR, SLOT, WORD, Token

__all__ = ["classify"]

Tokens = Sequence[Token]

_FIXED = {
    "abort": Shape("ROLLBACK", ROLLBACK),
    "analyse": Shape("ANALYZE", targets=None),
    "analyze": Shape("ANALYZE", targets=None),
    "checkpoint": Shape("CHECKPOINT"),
    "close": Shape("CLOSE", UNPIN),
    "cluster": Shape("CLUSTER", targets=None),
    "comment": Shape("COMMENT", targets=None),
    "fetch": Shape("FETCH"),
    "grant": Shape("GRANT", targets=None),
    "import": Shape("IMPORT", DDL, targets=None),
    "listen": Shape("LISTEN", PROBE),
    "load": Shape("LOAD", PROBE | FOREVER),
    "lock": Shape("LOCK"),
    "move": Shape("MOVE"),
    "notify": Shape("NOTIFY"),
    "reassign": Shape("REASSIGN", targets=None),
    "refresh": Shape("REFRESH", targets=None),
    "reindex": Shape("REINDEX", targets=None),
    "release": Shape("RELEASE"),
    "revoke": Shape("REVOKE", targets=None),
    "savepoint": Shape("SAVEPOINT"),
    "security": Shape("SECURITY", targets=None),
    "unlisten": Shape("UNLISTEN", UNPIN),
    "vacuum": Shape("VACUUM", targets=None),
}
_QUERIES = frozenset(("select", "values", "table", "with", "insert", "update", "delete", "merge"))
_UNKNOWN = Shape("", PROBE | UNPIN | PREPARED_SQL | UNPARSED, targets=None)
"""No command of these versions. Most likely a typing error, so it does not count as DDL."""


def classify(tokens: Tokens) -> Shape:
    """What the words of one statement say."""
    first = word(tokens, 0)
    if first in _QUERIES or tokens[0] == (OPERATOR, "("):
        return _query(tokens)
    if first in _FIXED:
        return _FIXED[first]
    return _READERS.get(first, _unknown)(tokens)


def _unknown(tokens: Tokens) -> Shape:
    return _UNKNOWN


def _query(tokens: Tokens) -> Shape:
    """SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, MERGE, with or without WITH."""
    first = word(tokens, 0)
    if first == "with":
        main = find(tokens, _QUERIES - {"with", "table"}, 1)
        first = word(tokens, main) if main >= 0 else "select"
    kind = "SELECT" if first in ("", "values", "table") else first.upper()
    written = targets.written(tokens)
    into = targets.creates_table(tokens)
    if into >= 0:
        temporary = bool({"temp", "temporary"} & set(words(tokens[into + 1:], 3)))
        return Shape(kind, PROBE if temporary else PROBE | DDL, targets=written if temporary else None, runs=tokens)
    return Shape(kind, targets=written, runs=tokens, query=written == () and not targets.locks_rows(tokens))


def _begin(tokens: Tokens) -> Shape:
    read_only, flags = settings.modes(tokens[1:])
    plain = all(token.kind == WORD or token.text == "," for token in tokens)
    modes = (" ".join(token.text for token in tokens[1:]),) if read_only and plain else ()
    return Shape("BEGIN", flags | BEGIN | (BEGIN_READ_ONLY if read_only else 0), modes)


def _start(tokens: Tokens) -> Shape:
    return _begin(tokens) if word(tokens, 1) == "transaction" else _UNKNOWN


def _commit(tokens: Tokens) -> Shape:
    return Shape("COMMIT", COMMIT, targets=None if word(tokens, 1) == "prepared" else ())


def _rollback(tokens: Tokens) -> Shape:
    if word(tokens, 1) == "prepared":
        return Shape("ROLLBACK", targets=None)
    return Shape("ROLLBACK", 0 if "to" in words(tokens, 3) else ROLLBACK)


def _prepare(tokens: Tokens) -> Shape:
    if word(tokens, 1) == "transaction" and len(tokens) == 3 and tokens[2].kind in (SLOT, LITERAL):
        return Shape("PREPARE TRANSACTION", COMMIT)
    return Shape("PREPARE", PROBE | PREPARED_SQL, _statement_name(tokens, 1))


def _execute(tokens: Tokens) -> Shape:
    return Shape("EXECUTE", PROBE | PREPARED_SQL, _statement_name(tokens, 1), targets=None)


def _deallocate(tokens: Tokens) -> Shape:
    i = 2 if word(tokens, 1) == "prepare" and len(tokens) > 2 else 1
    if word(tokens, i) == "all":
        return Shape("DEALLOCATE", UNPIN | DEALLOCATE_ALL)
    return Shape("DEALLOCATE", UNPIN | PREPARED_SQL, _statement_name(tokens, i))


def _statement_name(tokens: Tokens, i: int) -> tuple[str, ...]:
    name, _ = name_at(tokens, i)
    return (name.name,) if name else ()


def _discard(tokens: Tokens) -> Shape:
    what = word(tokens, 1)
    if what == "plans":
        return Shape("DISCARD")
    if what == "sequences":
        return Shape("DISCARD", UNPIN | ADVANCES)
    return Shape("DISCARD", PROBE | UNPIN | (DEALLOCATE_ALL | ADVANCES if what == "all" else 0))


def _declare(tokens: Tokens) -> Shape:
    """DECLARE ... CURSOR: its query runs at FETCH, and for WITH HOLD at the end of the transaction."""
    cursor = find(tokens, {"cursor"}, 2)
    query = find(tokens, {"for"}, cursor + 1) if cursor >= 0 else -1
    if query < 0:
        return _UNKNOWN
    held = word(tokens, cursor + 1) == "with" and word(tokens, cursor + 2) == "hold"
    inner = _query(tokens[query + 1:]) if len(tokens) > query + 1 else _UNKNOWN
    return Shape("DECLARE", inner.flags | (PROBE if held else 0), targets=inner.targets, runs=inner.runs,
                 query=inner.query and not held)


def _explain(tokens: Tokens) -> Shape:
    """EXPLAIN: it runs nothing without ANALYZE, but the planner may call stable functions."""
    start, analyze = 1, False
    if len(tokens) > 1 and tokens[1] == (OPERATOR, "("):
        end = closing(tokens, 1)
        options = tokens[2:end]
        analyze = any(word(options, i) in ("analyze", "analyse") and word(options, i + 1) not in ("false", "off")
                      for i in range(len(options)))
        start = end + 1
    while word(tokens, start) in ("analyze", "analyse", "verbose"):
        analyze = analyze or word(tokens, start) != "verbose"
        start += 1
    if start >= len(tokens):
        return _UNKNOWN
    inner = classify(tokens[start:])
    if analyze:
        return Shape("EXPLAIN", inner.flags, inner.names, inner.targets, inner.runs)
    return Shape("EXPLAIN", inner.flags & ~(DDL | PROBE | UNPIN), inner.names, (), inner.runs)


def _copy(tokens: Tokens) -> Shape:
    """COPY in either direction; to and from the client, or files and programs of the server."""
    start = 2 if word(tokens, 1) == "binary" else 1
    way = find(tokens, {"from", "to"}, start)
    if way < 0:
        return _UNKNOWN
    client = word(tokens, way + 1) in ("stdin", "stdout")
    if tokens[start] == (OPERATOR, "("):
        inner = _query(tokens[start + 1:closing(tokens, start)])
        return Shape("COPY", inner.flags | (COPY_OUT if client else 0), targets=inner.targets, runs=inner.runs,
                     query=inner.query and client)
    name, end = name_at(tokens, start)
    if word(tokens, way) == "from":
        where = find(tokens, {"where"}, way)
        return Shape("COPY", COPY_IN if client else 0, targets=(name,) if name else None,
                     runs=tokens[where:] if where >= 0 else ())
    table = [Token(WORD, "table"), *tokens[start:end]]
    return Shape("COPY", COPY_OUT if client else 0, runs=table, query=client)


def _do(tokens: Tokens) -> Shape:
    return Shape("DO", PROBE | UNPIN, targets=None)


def _call(tokens: Tokens) -> Shape:
    return Shape("CALL", runs=tokens[1:])


def _truncate(tokens: Tokens) -> Shape:
    return Shape("TRUNCATE", targets=targets.truncated(list(tokens)))


_READERS: dict[str, Callable[[Tokens], Shape]] = {
    "alter": ddl.ALTER, "begin": _begin, "call": _call, "commit": _commit, "copy": _copy, "create": ddl.CREATE,
    "deallocate": _deallocate, "declare": _declare, "discard": _discard, "do": _do, "drop": ddl.DROP, "end": _commit,
    "execute": _execute, "explain": _explain, "prepare": _prepare, "reset": settings.RESET, "rollback": _rollback,
    "set": settings.SET, "show": settings.SHOW, "start": _start, "truncate": _truncate,
}
