"""Names in DDL: which table is meant, where it lives, and lists of them cut apart by place.

Invariant: texts for a place are the client's own, with names of tables that do not live there cut out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shardproxy.catalog.tables import Tables
from shardproxy.dialects.postgres.sql.query_scan import scan
from shardproxy.dialects.postgres.sql.table_clauses import Cursor
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.ddl import Step
from shardproxy.planner.nodes import Token
from shardproxy.planner.plan import COORDINATOR, Place
from shardproxy.topology.layout import Layout, TableLayout

__all__ = ["HINT", "Item", "Names", "Uniques", "items"]

HINT = re.compile(r"/\*\s*shardproxy:(.*?)\*/", re.DOTALL)

Name = tuple[str | None, str]
Uniques = Mapping[tuple[str, str], Collection[frozenset[str]]]
"""By table: columns of unique indexes that the configuration says to keep."""


@dataclass(frozen=True, slots=True)
class Item:
    """A relation in a list; ``start`` and ``end``: its place in the text, with ONLY, * and columns."""

    name: Name
    start: int
    end: int


@dataclass
class Names:
    """What names mean to one statement."""

    text: str
    layout: Layout
    tables: Tables
    path: Sequence[str] = field(default=("public",))
    unique: Uniques = field(default_factory=dict)

    def keeps(self, table: TableLayout, columns: Sequence[str]) -> bool:
        """Whether it is declared that the values of a unique index without the key are kept."""
        return any(word == "lookup" for text in HINT.findall(self.text) for word in re.split(r"[\s,]+", text)) or (
            frozenset(columns) in self.unique.get((table.schema, table.name), ()))

    def kept(self, table: TableLayout) -> tuple[tuple[str, ...], ...]:
        """Columns of its unique indexes whose values are kept."""
        known = self.tables.get(table.schema, table.name)
        return known.kept if known is not None else ()

    def resolve(self, name: Name) -> tuple[str, str]:
        """Schema and name of a relation; of one that nobody knows, where it would be made."""
        if name[0] is not None:
            return (name[0], name[1])
        for schema in self.path:
            if self.tables.get(schema, name[1]) is not None or self.layout.table(schema, name[1]) is not None:
                return (schema, name[1])
        return self.new(name)

    def new(self, name: Name) -> tuple[str, str]:
        """Schema and name of what is about to be made."""
        if name[0] is not None:
            return (name[0], name[1])
        known = {table.schema for table in self.tables} | {"public"}
        return (next((schema for schema in self.path if schema in known), "public"), name[1])

    def sharded(self, name: Name) -> TableLayout | None:
        """The layout of a sharded or reference table."""
        return self.layout.table(*self.resolve(name))

    def shards(self, table: TableLayout) -> tuple[Place, ...]:
        """Places of its keyspace's shards."""
        return self.layout.keyspaces[table.keyspace].places()

    def of_index(self, name: Name) -> TableLayout | None:
        """The layout of the table that an index belongs to."""
        for table in self.tables:
            if name[1] in table.indexes and name[0] in (None, table.schema):
                found = self.layout.table(table.schema, table.name)
                if found is not None:
                    return found
        return None

    def places(self, table: TableLayout | None, shell: bool = True) -> tuple[Place, ...]:
        """Where a table lives; ``shell``: of a sharded one the coordinator too."""
        if table is None:
            return (COORDINATOR,)
        return (COORDINATOR, *self.shards(table)) if table.reference or shell else self.shards(table)

    def sequences(self, table: TableLayout, tokens: Sequence[Token]) -> tuple[Step, ...]:
        """Makes the sequences that defaults in a statement name at the shards: never used there, but looked up."""
        found: dict[str, None] = {}
        for number, token in enumerate(tokens[:-2]):
            if token.kind == "word" and token.text == "nextval" and tokens[number + 2].kind == "string":
                cursor = Cursor(scan(tokens[number + 2].text))
                schema, name = cursor.name()
                if cursor.done:
                    found[".".join(quote_ident(part) for part in (schema, name) if part)] = None
        return tuple(Step(self.shards(table), f"CREATE SEQUENCE IF NOT EXISTS {name}".encode()) for name in found)

    def split(self, listed: Sequence[Item], found: Sequence[TableLayout | None], shell: bool) -> tuple[Step, ...]:
        """The statement at each place, with those of ``listed`` that live there."""
        head, tail = self.text[:listed[0].start], self.text[listed[-1].end:]
        at: dict[Place, list[str]] = {}
        for item, table in zip(listed, found, strict=True):
            for place in self.places(table, shell):
                at.setdefault(place, []).append(self.text[item.start:item.end])
        steps: dict[str, list[Place]] = {}
        order = [place for place in (COORDINATOR, *self.layout.places()) if place in at]
        for place in order:
            steps.setdefault(head + ", ".join(at[place]) + tail, []).append(place)
        return tuple(Step(tuple(places), text.encode()) for text, places in steps.items())


def items(cursor: Cursor) -> list[Item]:
    """A list of relations, each perhaps with ONLY, * or columns."""
    found = []
    while True:
        start = cursor.tokens[cursor.at].start
        _ = cursor.take("only")
        wrapped = cursor.op("(")
        name = cursor.name()
        if wrapped:
            cursor.op(")")
        cursor.op("*")
        if not cursor.done and cursor.tokens[cursor.at].text == "(" and cursor.tokens[cursor.at].kind == "op":
            cursor.group()
        found.append(Item(name, start, cursor.tokens[cursor.at - 1].end))
        if not cursor.op(","):
            return found
