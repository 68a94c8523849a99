"""What DDL changes in a layout: tables that are declared, and names that stand for nothing any more.

Invariant: a table that the configuration lists stays in the layout when it is dropped, so that one made again under its
name is sharded as configured.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shardproxy.config.model import Database

from .layout import Layout, TableLayout
from .seeding import seed

__all__ = ["LayoutChange", "changed", "configured"]

LayoutChange = TableLayout | tuple[str, str]
"""A table as it is from now on, or the (schema, name) of one that is gone."""


def configured(database: Database) -> frozenset[tuple[str, str]]:
    """Tables that the configuration lists."""
    return frozenset((table.schema, table.name) for table in seed(database).tables())


def changed(layout: Layout, changes: Sequence[LayoutChange], kept: Collection[tuple[str, str]]) -> Layout:
    """The layout after these changes, in their order; ``kept``: ``configured``. Changes in a keyspace that is not there
    are left out."""
    for change in changes:
        if isinstance(change, TableLayout):
            if change.keyspace in layout.keyspaces and layout.table(change.schema, change.name) != change:
                layout = layout.with_table(change)
        elif change not in kept and layout.table(*change) is not None:
            layout = layout.without_table(*change)
    return layout
