"""The store in a file: compare-and-swap between processes, damage, versions."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout
from shardproxy.topology.store import StoreError
from shardproxy.topology.store_file import FileStore

LAYOUT = Layout(0, "main", {"c": KeyspaceLayout("c", ("a", "b"), "hash", 2, (0, 1),
                                                (TableLayout("public", "t", "c", ("id",)),))})
RACE = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from shardproxy.topology.store_file import FileStore
async def main():
    store = FileStore(Path(sys.argv[1]), "shop")
    won = 0
    while won < 20:
        epoch, layout = await store.load()
        won += await store.compare_and_swap(epoch, replace(layout, default=f"{int(layout.default) + 1}")) is not None
asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_only_who_has_seen_a_layout_replaces_it(tmp_path: Path) -> None:
    store, other = FileStore(tmp_path / "new", "a/b"), FileStore(tmp_path / "new", "a/b")
    assert await store.load() == (0, None)
    made = await store.compare_and_swap(0, LAYOUT)
    assert made == replace(LAYOUT, epoch=1) and await other.load() == (1, made)
    assert await other.compare_and_swap(0, LAYOUT) is None
    second = await other.compare_and_swap(1, replace(LAYOUT, default="x"))
    assert second is not None and second.epoch == 2 and await store.load() == (2, second)
    assert await FileStore(tmp_path / "new", "a").load() == (0, None)


@pytest.mark.asyncio
async def test_processes_do_not_overwrite_each_other(tmp_path: Path) -> None:
    store = FileStore(tmp_path, "shop")
    await store.compare_and_swap(0, replace(LAYOUT, default="0"))
    root = Path(__file__).resolve().parents[3]
    racers = [await asyncio.create_subprocess_exec(sys.executable, "-c", RACE, str(tmp_path), cwd=root)
              for _ in range(3)]
    assert [await racer.wait() for racer in racers] == [0, 0, 0]
    epoch, layout = await store.load()
    assert layout is not None and (epoch, layout.default) == (61, "60")


@pytest.mark.asyncio
async def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    store = FileStore(tmp_path, "shop")
    await store.compare_and_swap(0, LAYOUT)
    data = json.loads(store.path.read_text())
    for text, said in (("{", "damaged"), (json.dumps({**data, "format": 2}), "another version"), ("[]", "damaged"),
                       (store.path.read_text().replace('"hash"', "7,", 1), "damaged")):
        store.path.write_text(text)
        with pytest.raises(StoreError, match=said):
            await store.load()
        with pytest.raises(StoreError, match=said):
            await store.compare_and_swap(1, LAYOUT)
    store.path.unlink()
    store.path.mkdir()
    with pytest.raises(StoreError):
        await store.load()
