"""``topology show`` and what ``check`` says about a stored layout."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.tools.check import check
from shardproxy.tools.topology import show
from shardproxy.topology.seeding import seed
from shardproxy.topology.store_file import FileStore

TEXT = """
[listen]
postgres = "127.0.0.1:6432"
[auth.users]
app = { password = "x" }
[databases.plain]
primary = "127.0.0.1:1/plain"
[databases.shop]
default_keyspace = "main"
keyspaces.main.shards.m = { primary = "127.0.0.1:1/shop" }
[databases.shop.keyspaces.customer]
shards.s0 = { primary = "127.0.0.1:2/shop" }
shards.s1 = { primary = "127.0.0.1:3/shop" }
slots = 8
tables.orders = { key = ["tenant", "id"] }
tables.countries = { reference = true }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shardproxy.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def store_other(file: Path) -> None:
    layout = seed(load(file).databases["shop"])
    space = replace(layout.keyspaces["customer"], owners=(0, 1, 1, 0, 0, 1, 0, 1), tables=(
        replace(layout.keyspaces["customer"].tables[0], key=("id",)),))
    store = FileStore(file.with_suffix(".topology"), "shop")
    assert asyncio.run(store.compare_and_swap(0, replace(layout, keyspaces={"customer": space}))) is not None


def test_show_before_and_after_the_first_start(file: Path) -> None:
    out = io.StringIO()
    assert show(file, out=out) == 0
    assert out.getvalue().splitlines() == [
        "database shop: not stored yet; other tables are in keyspace main", "  keyspace customer: hash, 8 slots",
        "    shard s0       4 slots  0-3", "    shard s1       4 slots  4-7", "    table public.orders: by tenant, id",
        "    table public.countries: reference: whole on every shard"]
    assert not file.with_suffix(".topology").exists()
    store_other(file)
    out = io.StringIO()
    assert show(file, out=out) == 0
    text = out.getvalue()
    assert "database shop: epoch 1" in text and "shard s1       4 slots  1-2, 5, 7" in text
    assert "differs from the configuration: " in text and "has the key id, not tenant, id" in text


def test_json_for_programs(file: Path) -> None:
    store_other(file)
    out = io.StringIO()
    assert show(file, as_json=True, out=out) == 0
    shop = json.loads(out.getvalue())["shop"]
    assert shop["epoch"] == 1 and shop["default_keyspace"] == "main"
    customer = shop["keyspaces"]["customer"]
    assert customer["shards"]["s1"] == {"slots": 4, "ranges": [[1, 2], [5, 5], [7, 7]]}
    assert customer["tables"] == {"public.orders": {"key": ["id"]}}


def test_mistakes_and_damage(file: Path) -> None:
    (folder := file.with_suffix(".topology")).mkdir()
    (folder / "layout-shop.json").write_text("{}")
    err = io.StringIO()
    assert show(file, err=err) == 1 and "damaged" in err.getvalue()
    file.write_text("[pool]")
    assert show(file, err=err) == 2


def test_check_tells_where_the_store_wins(file: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert check(file, out=out, err=err) == 0 and "stored layout" not in out.getvalue()
    store_other(file)
    assert check(file, out=out, err=err) == 0
    assert "the stored layout wins: keyspace \"customer\": table public.orders has the key id" in out.getvalue()
