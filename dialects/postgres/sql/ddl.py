"""CREATE, ALTER, DROP: what they do to the catalog, and to the session (temporary objects)."""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.dialects.flags import DDL, PREPARED_SQL, PROBE, SESSIONS, UNPIN

from .shape import Name, Shape, find, name_at, word
from .tokens import OPERATOR, Token

__all__ = ["ALTER", "CREATE", "DROP", "TEMP_SCHEMA", "dropped_relations", "is_temp_schema"]

TEMP_SCHEMA = "pg_temp"

_MODIFIERS = frozenset(("or", "replace", "global", "local", "temp", "temporary", "unlogged", "recursive", "unique",
                        "trusted", "procedural", "default", "constraint", "materialized", "foreign", "event"))
_SHARED = frozenset(("role", "user", "group", "database", "tablespace", "system"))
"""Objects of the whole server: nothing that routing relies on."""

_OUTSIDE_SCHEMAS = frozenset((*_SHARED, "schema", "extension", "language", "server", "publication", "subscription",
                              "cast", "access", "data", "index", "trigger", "rule", "policy", "transform"))
_DROPPED_RELATIONS = frozenset(("table", "view", "sequence", "materialized", "foreign"))


def is_temp_schema(name: str) -> bool:
    """Whether a schema is that of a session's temporary objects."""
    return name == TEMP_SCHEMA or name.startswith("pg_temp_")


def CREATE(tokens: Sequence[Token]) -> Shape:  # noqa: N802  (named as the command)
    """CREATE anything; a table made from a query runs it."""
    i = 1
    temporary = False
    while word(tokens, i) in _MODIFIERS:
        temporary = temporary or word(tokens, i) in ("temp", "temporary")
        i += 1
    what = word(tokens, i)
    if what in _SHARED and word(tokens, i + 1) != "mapping":
        return Shape("CREATE", SESSIONS if what == "database" else 0, targets=None)
    flags = PROBE if temporary or (what not in _OUTSIDE_SCHEMAS and not _has_schema(tokens, i + 1)) else 0
    runs: Sequence[Token] = ()
    if what in ("table", "view"):
        start = find(tokens, {"as"}, i)
        if start >= 0 and (what == "table" or "materialized" in [token.text for token in tokens[1:i]]):
            runs = tokens[start + 1:]
            if word(runs, 0) == "execute":
                flags |= PREPARED_SQL | PROBE
    prepared = (_name_text(runs, 1),) if flags & PREPARED_SQL else ()
    if temporary:
        return Shape("CREATE", flags, prepared, runs=runs)
    return Shape("CREATE", flags | DDL, prepared, targets=None, runs=runs)


def ALTER(tokens: Sequence[Token]) -> Shape:  # noqa: N802
    """ALTER anything. A new default or type may be computed for every row."""
    if word(tokens, 1) in _SHARED and word(tokens, 2) != "mapping":
        return Shape("ALTER", SESSIONS if word(tokens, 1) == "database" else 0, targets=None)
    return Shape("ALTER", DDL, targets=None, runs=tokens[2:], lax=True)


def DROP(tokens: Sequence[Token]) -> Shape:  # noqa: N802
    """DROP anything; ``names`` are the relations, if only such are dropped."""
    if word(tokens, 1) in _SHARED and word(tokens, 2) != "mapping":
        return Shape("DROP", SESSIONS if word(tokens, 1) == "database" else 0, targets=None)
    return Shape("DROP", DDL | UNPIN, targets=None)


def dropped_relations(tokens: Sequence[Token]) -> tuple[Name, ...]:
    """What a DROP TABLE, VIEW or SEQUENCE names; empty for any other."""
    if word(tokens, 1) not in _DROPPED_RELATIONS:
        return ()
    i = 2 if word(tokens, 1) in ("table", "view", "sequence") else 3
    if word(tokens, i) == "if":
        i += 2
    found: list[Name] = []
    while i < len(tokens):
        name, i = name_at(tokens, i)
        if name is None:
            return ()
        found.append(name)
        if i < len(tokens) and tokens[i] != (OPERATOR, ","):
            break
        i += 1
    return tuple(found)


def _has_schema(tokens: Sequence[Token], i: int) -> bool:
    """Whether the object named at ``i`` is put into a schema that is not temporary."""
    while word(tokens, i) in ("if", "not", "exists", "class", "family", "search", "configuration", "dictionary",
                              "parser", "template"):
        i += 1
    name, _ = name_at(tokens, i)
    return name is not None and name.schema is not None and not is_temp_schema(name.schema)


def _name_text(tokens: Sequence[Token], i: int) -> str:
    name, _ = name_at(tokens, i)
    return name.name if name else ""
