"""What a transfer changes in a layout, in a form that any process can apply: the part of it that a cutover stores.

Invariant: applying it twice is applying it once, and nothing but its tables and keyspaces is touched: what DDL has
declared meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .layout import KeyspaceLayout, Layout, TableLayout

__all__ = ["Switch", "Table"]

Table = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True)
class Switch:
    """``tables``: where each moved table is afterwards (None: unsharded); ``keyspaces``: as they are afterwards, but
    for their tables."""

    tables: Mapping[Table, TableLayout | None]
    keyspaces: Mapping[str, KeyspaceLayout]

    @classmethod
    def between(cls, after: Layout, tables: Sequence[Table], keyspaces: Sequence[str]) -> Switch:
        """The change that moves these tables and gives these keyspaces what the layout ``after`` says."""
        return cls({table: after.table(*table) for table in tables},
                   {name: after.keyspaces[name] for name in keyspaces if name in after.keyspaces})

    def apply(self, now: Layout) -> Layout:
        """A layout with this change. KeyError: a table's keyspace is in neither."""
        made = now
        for schema, name in self.tables:
            made = made.without_table(schema, name)
        spaces = dict(made.keyspaces)
        for name, wanted in self.keyspaces.items():
            spaces[name] = replace(wanted, tables=spaces[name].tables if name in spaces else ())
        made = replace(made, keyspaces=spaces)
        for table in self.tables.values():
            made = made if table is None else made.with_table(table)
        return made

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the row of the cutover."""
        spaces = {name: replace(space, tables=()) for name, space in self.keyspaces.items()}
        return {"tables": [[*key, None if table is None else [table.keyspace, list(table.key), table.reference]]
                           for key, table in self.tables.items()],
                "keyspaces": Layout(0, "", spaces).to_json()["keyspaces"]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Switch:
        """What ``to_json`` described."""
        spaces = Layout.from_json({"epoch": 0, "default": "", "keyspaces": data["keyspaces"]}).keyspaces
        return cls({(schema, name): None if found is None else
                    TableLayout(schema, name, found[0], tuple(found[1]), found[2])
                    for schema, name, found in data["tables"]}, spaces)
