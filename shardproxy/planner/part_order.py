"""In which order the parts of a statement whose WITH writes may run.

Invariant: a part runs after those whose rows it reads, and before those that write what it reads; foreign keys hold
after each part as they do after the whole, or there is no order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shardproxy.catalog.tables import Tables

from .analysis import Unplannable
from .lexemes import Lexeme

__all__ = ["Part", "in_order", "names_read", "written_by"]

_WORD = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
HINT = "Run the parts as statements of their own, in a transaction."


@dataclass(frozen=True, slots=True)
class Part:
    """``name``: of the query of WITH, "" for the statement at the end. ``needs``: the queries of WITH that it names.

    ``reads``, ``writes``: names of tables, in whatever schema; ``parents``: of those that the target refers to.
    ``conflict``: INSERT with ON CONFLICT."""

    name: str
    kind: str
    body: str
    lexemes: list[Lexeme]
    needs: frozenset[str]
    reads: frozenset[str]
    writes: frozenset[str]
    target: str
    parents: frozenset[str]
    conflict: bool


def names_read(tables: Tables, texts: Sequence[Sequence[Lexeme]]) -> set[str]:
    """Tables and views that may be read where these words stand; and what the views read. Raises for functions that
    may read more."""
    words = {one.text for text in texts for one in text if one.kind in ("word", "quoted")}
    for name in sorted(words & tables.functions.keys()):
        own = tables.functions[name]
        if own.opaque or own.touches:
            raise Unplannable(f"function {name}(), which may read tables, beside a WITH query that writes", HINT)
    views = {table.name: table.definition for table in tables if table.definition}
    found: set[str] = set()
    left = words & {table.name for table in tables}
    while left:
        name = left.pop()
        found.add(name)
        for quoted, plain in _WORD.findall(views.get(name, "")):
            word = quoted.replace('""', '"') or plain
            if word not in found:
                left |= {word} & {table.name for table in tables}
    return found


def written_by(tables: Tables, target: str, kind: str) -> tuple[frozenset[str], frozenset[str]]:
    """All tables that a write of ``target`` may change, by foreign keys; and those that it refers to."""
    found = {target}
    grown = kind != "insert"
    while grown:
        more = {table.name for table in tables for key in table.foreign_keys
                if key.target[1] in found and {key.on_delete, key.on_update} & {"c", "n", "d"}}
        grown = not more <= found
        found |= more
    views = [table for table in tables if table.name == target and table.definition]
    for view in views:
        found |= {quoted.replace('""', '"') or plain for quoted, plain in _WORD.findall(view.definition)} & {
            table.name for table in tables}
    parents = {key.target[1] for table in tables if table.name == target for key in table.foreign_keys}
    return frozenset(found), frozenset(parents - {target})


def _before(parts: Sequence[Part]) -> Iterator[tuple[Part, Part]]:
    """Pairs of which the first must run first."""
    for part in parts:
        for other in parts:
            if part is other:
                continue
            if part.name in other.needs and part.name:
                yield part, other
            if part.reads & other.writes and (part.name or part.kind != "select"):
                yield part, other
            if part.target in other.parents:            # ``other`` is the child
                if part.kind == "insert":
                    yield part, other
                elif part.kind == "delete" and other.kind != "insert":
                    yield other, part


def in_order(parts: Sequence[Part]) -> list[Part]:
    """The parts, each where it may run; else as they stand. Raises if there is no such order."""
    pairs = list(_before(parts))
    left, found = list(parts), []
    while left:
        free = next((part for part in left if not any(
            second is part and first in left for first, second in pairs)), None)
        if free is None:
            names = " and ".join(sorted({f'"{name}"' for part in left for name in part.writes & frozenset(
                name for other in left if other is not part for name in other.reads | other.writes)}))
            raise Unplannable(f"a WITH query that writes what another part reads or writes (table {names or 'unknown'}"
                              "), over several shards", HINT)
        left.remove(free)
        found.append(free)
    return found
