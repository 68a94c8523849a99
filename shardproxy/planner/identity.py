"""Defaults that one server must give for all shards: sequences, clocks and whatever else is no constant.

Invariant: a value that is left to a shard is the same on every shard. The coordinator's sequences are the only ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from shardproxy.catalog.tables import Column, Table

__all__ = ["default_of", "defaults_for", "is_constant"]

_CAST = r"(?:::[\w \".]+(?:\(\d+(?:,\s*-?\d+)?\))?(?:\[\])*)*"
_CONSTANT = re.compile(
    rf"(?:\(?-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?\)?|'(?:[^']|'')*'|true|false|null){_CAST}", re.IGNORECASE)


def is_constant(expression: str) -> bool:
    """Whether a default's SQL text is a plain constant, perhaps with casts."""
    return _CONSTANT.fullmatch(expression.strip()) is not None


def default_of(table: Table, column: Column) -> str | None:
    """SQL that gives an omitted column its value on the coordinator; None: it becomes NULL, or is generated."""
    if column.identity:
        return f"shardproxy.next_identity({_literal(table)}::regclass, {_text(column.name)})"
    return None if column.generated else column.default


def defaults_for(table: Table, given: Collection[str], key: Sequence[str] = ()) -> tuple[tuple[str, str], ...] | None:
    """Omitted columns that must be given a value once, each with its SQL: those of the sharding key first, then those
    with a default that is no constant. ``given``: the columns that a statement names. None: none must."""
    found: list[tuple[str, str]] = []
    for name in key:
        column = table.column(name)
        if column is not None and name not in given:
            found.append((name, default_of(table, column) or "NULL"))
    for column in table.columns:
        if column.name in given or column.name in key:
            continue
        expression = default_of(table, column)
        if expression is not None and not is_constant(expression):
            found.append((column.name, expression))
    return tuple(found) or None


def _literal(table: Table) -> str:
    name = ".".join('"' + part.replace('"', '""') + '"' for part in (table.schema, table.name))
    return _text(name)


def _text(value: str) -> str:
    if "\\" in value:
        return " E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + value.replace("'", "''") + "'"
