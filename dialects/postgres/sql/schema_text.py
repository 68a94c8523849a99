"""A schema as a dump writes it, read into ``Tables``: what planners need without a server.

Invariants:
* What is not read is never guessed: a type without a known number has none, text without COLLATE is taken to sort by a
  language's rules, and relations that are no plain tables are only named (``Schema.skipped``).
* Names are those of the schema ``public`` unless they are qualified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shardproxy.catalog.tables import Column, Table, Tables
from shardproxy.planner.nodes import Token
from shardproxy.topology.layout import Layout

from .query_scan import Unreadable, scan
from .table_clauses import Clause, Cursor, clauses, read_action, read_element

__all__ = ["Schema", "read_schema"]

_OIDS = {
    **dict.fromkeys(("boolean", "bool"), 16), "bytea": 17,
    **dict.fromkeys(("bigint", "int8", "bigserial", "serial8"), 20),
    **dict.fromkeys(("smallint", "int2", "smallserial", "serial2"), 21),
    **dict.fromkeys(("integer", "int", "int4", "serial", "serial4"), 23), "text": 25, "json": 114,
    **dict.fromkeys(("real", "float4"), 700), **dict.fromkeys(("double precision", "float8", "float"), 701),
    "inet": 869, **dict.fromkeys(("character", "char", "bpchar"), 1042),
    **dict.fromkeys(("character varying", "varchar"), 1043), "date": 1082, "time": 1083, "timestamp": 1114,
    "timestamptz": 1184, "interval": 1186, "timetz": 1266, **dict.fromkeys(("numeric", "decimal", "dec"), 1700),
    "uuid": 2950, "jsonb": 3802,
}
"""Source: pg_type.dat."""
_TEXTS = frozenset((25, 1042, 1043))
_BYTEWISE = frozenset(("c", "posix", "c.utf-8", "c.utf8", "ucs_basic", "pg_c_utf8"))
_OTHERS = ("view", "materialized", "function", "procedure", "recursive", "foreign")
_FIRST_OID = 16384


@dataclass
class Schema:
    """``skipped``: names of views, functions and the like that the text makes and that were not read."""

    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)

    def with_shells(self, layout: Layout) -> Tables:
        """The tables as a coordinator with this layout has them."""
        shells = {(one.schema, one.name) for one in layout.tables() if not one.reference}
        return Tables([replace(table, shell=name in shells) for name, table in self.tables.items()])


def read_schema(text: str) -> Schema:
    """All CREATE TABLE statements, and the keys that ALTER TABLE adds. Raises Unreadable."""
    found = Schema()
    for tokens in _statements(scan(text)):
        cursor = Cursor(tokens)
        if cursor.take("create"):
            _create(found, cursor, text)
        elif cursor.take("alter", "table"):
            _alter(found, cursor)
    return found


def _statements(tokens: Sequence[Token]) -> list[list[Token]]:
    found: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "op" and token.text == ";":
            found.append([])
        elif token.kind != "end":
            found[-1].append(token)
    return [one for one in found if one]


def _create(found: Schema, cursor: Cursor, text: str) -> None:
    _ = cursor.take("or", "replace")
    _ = cursor.take("unlogged")
    if not cursor.take("table"):
        other = False
        while cursor.word() in _OTHERS:
            other = True
            cursor.at += 1
        if other and not cursor.done:
            _ = cursor.take("table")
            _ = cursor.take("if", "not", "exists")
            found.skipped.add(cursor.name()[1])
        return
    _ = cursor.take("if", "not", "exists")
    schema, name = cursor.name()
    if cursor.done or cursor.tokens[cursor.at].text != "(":
        found.skipped.add(name)         # AS a query, PARTITION OF, OF a type
        return
    columns: list[Column] = []
    keys: list[Clause] = []
    for tokens in clauses(cursor.group()):
        clause = read_element(tokens)
        if clause.kind == "like":
            raise Unreadable(f'LIKE in the definition of table "{name}"')
        if clause.kind == "column":
            columns.append(_column(clause, tokens, name, text))
        keys += [clause, *clause.also]
    if cursor.take("inherits"):
        raise Unreadable(f'table "{name}" inherits from another')
    kind = "p" if cursor.take("partition", "by") else "r"
    place = (schema or "public", name)
    found.tables[place] = _keyed(Table(_FIRST_OID + len(found.tables), *place, kind, tuple(columns)), keys)


def _alter(found: Schema, cursor: Cursor) -> None:
    _ = cursor.take("if", "exists")
    _ = cursor.take("only")
    schema, name = cursor.name()
    table = found.tables.get((schema or "public", name))
    if table is not None:
        actions = [read_action(tokens) for tokens in clauses(cursor.tokens[cursor.at:])]
        found.tables[table.schema, name] = _keyed(table, actions)


def _keyed(table: Table, keys: Sequence[Clause]) -> Table:
    primary = next((clause.columns for clause in keys if clause.kind == "primary"), table.primary_key)
    uniques = tuple(clause.columns for clause in keys if clause.kind == "unique")
    columns = tuple(replace(column, not_null=column.not_null or column.name in primary) for column in table.columns)
    return replace(table, columns=columns, primary_key=primary, uniques=(*table.uniques, *uniques))


def _column(clause: Clause, tokens: Sequence[Token], table: str, text: str) -> Column:
    name, words = clause.columns[0], clause.words
    type_name = re.sub(r"\s+([(),\[\].])\s*", r"\1", clause.type).removeprefix("pg_catalog.")
    plain = re.sub(r"\(.*?\)", "", type_name).strip()
    if plain in ("timestamp", "time") and {"with", "zone"} <= words:
        plain = type_name = plain + "tz"
    oid = _OIDS.get(plain, 0)
    serial = "serial" in plain
    collation = _after(tokens, "collate")
    default = f"nextval('{table}_{name}_seq'::regclass)" if serial else _default(tokens, text)
    identity = ("a" if "always" in words else "d") if "identity" in words else ""
    return Column(name, oid, type_name, base=oid, collation=collation or ("default" if oid in _TEXTS else ""),
                  bytewise=oid not in _TEXTS or collation.lower() in _BYTEWISE,
                  not_null=serial or bool(identity) or {"not", "null"} <= words, default=default, identity=identity,
                  generated="generated" in words and not identity,
                  sequence=f"public.{table}_{name}_seq" if serial or identity else "")


def _after(tokens: Sequence[Token], word: str) -> str:
    """The last part of the name behind a keyword; empty if the keyword is not there."""
    for at, token in enumerate(tokens[:-1]):
        if token.kind == "word" and token.text == word:
            cursor = Cursor(tokens, at + 1)
            return cursor.name()[1]
    return ""


def _default(tokens: Sequence[Token], text: str) -> str | None:
    """The expression behind DEFAULT, or in GENERATED ... AS (...)."""
    start = next((at + 1 for at, token in enumerate(tokens) if token.kind == "word" and (
        token.text == "default" and tokens[at - 1].text != "by"
        or token.text == "as" and tokens[at - 1].text == "always" and _opens(tokens, at + 1))), None)
    if start is None:
        return None
    depth, end = 0, start
    for end in range(start, len(tokens) + 1):
        if end == len(tokens):
            break
        token = tokens[end]
        if token.kind == "op":
            depth += (token.text in "([") - (token.text in ")]")
        elif depth == 0 and token.kind == "word" and end > start and token.text in (
                "not", "null", "unique", "primary", "references", "check", "constraint", "stored", "collate"):
            break
    return text[tokens[start].start:tokens[end - 1].end]


def _opens(tokens: Sequence[Token], at: int) -> bool:
    return at < len(tokens) and tokens[at].kind == "op" and tokens[at].text == "("
