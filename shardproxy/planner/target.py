"""What the planners of writes know about: the text, the layout, the catalog, and where a name leads."""

from __future__ import annotations

from dataclasses import dataclass

from shardproxy.catalog.tables import Table, Tables
from shardproxy.topology.layout import Layout, TableLayout

from .expressions import Judge
from .knowledge import Knowledge

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One statement and all that its planning needs."""

    text: str
    layout: Layout
    tables: Tables
    search_path: tuple[str, ...]
    knowledge: Knowledge
    judge: Judge

    def target(self, name: tuple[str | None, str]) -> tuple[TableLayout | None, Table | None]:
        """The layout (None: not sharded) and the columns (None: unknown) of a table by its name."""
        table = self.tables.get(*name, self.search_path)
        if table is not None:
            return self.layout.table(table.schema, table.name), table
        return (self.layout.table(*name) if name[0] is None else self.layout.table(name[0], name[1])), None
