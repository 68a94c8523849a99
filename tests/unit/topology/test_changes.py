"""What DDL changes in a layout, and how it is written down."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.laid_out import change_of, lay_out_sql
from shardproxy.topology.changes import changed
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

KEPT, OTHER = TableLayout("public", "kept", "shop", ("id",)), TableLayout("public", "other", "shop", ("id",))
LAYOUT = Layout(3, "main", {"shop": KeyspaceLayout("shop", ("s0", "s1"), "hash", 4, (0, 0, 1, 1), (KEPT, OTHER))})


def test_changes_count_in_their_order() -> None:
    renamed = TableLayout("public", "renamed", "shop", ("id",))
    found = changed(LAYOUT, [renamed, ("public", "other")], {("public", "kept")})
    assert set(found.tables()) == {KEPT, renamed}
    back = changed(found, [("public", "renamed"), OTHER], {("public", "kept")})
    assert set(back.tables()) == {KEPT, OTHER}
    rekeyed = TableLayout("public", "kept", "shop", ("number",))
    assert changed(LAYOUT, [rekeyed], ()).table("public", "kept") == rekeyed


def test_what_changes_nothing_leaves_the_layout() -> None:
    strange = TableLayout("public", "strange", "nowhere", ("id",))
    assert changed(LAYOUT, [KEPT, ("public", "kept"), ("public", "unknown"), strange], {("public", "kept")}) is LAYOUT


@pytest.mark.parametrize("change", [
    TableLayout("s", "it's", "shop", ("a", "b c")), TableLayout("s", "t", "shop", (), True), ("s", "gone")])
def test_rows_are_changes(change: TableLayout | tuple[str, str]) -> None:
    if isinstance(change, TableLayout):
        row = (change.schema, change.name, change.keyspace, "\x1f".join(change.key), change.reference)
    else:
        row = (*change, "", "", False)
    assert change_of(*row) == change
    assert lay_out_sql(change).startswith("SELECT shardproxy.lay_out(E's', ")
