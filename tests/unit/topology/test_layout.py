"""Layouts: look-up of tables, slots to shards, JSON both ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shardproxy.topology.layout import KeyspaceLayout, Layout, Rule, TableLayout

INT8, TEXT, NUMERIC = 20, 25, 1700


def keyspace(function: str = "hash", rules: tuple[Rule, ...] = (), owners: tuple[int, ...] = (0, 0, 1, 1),
             ) -> KeyspaceLayout:
    tables = (TableLayout("public", "orders", "customer", ("customer_id",)),
              TableLayout("app", "orders", "customer", ("id",)), TableLayout("app", "notes", "customer", ("a", "b")),
              TableLayout("public", "countries", "customer", reference=True),
              TableLayout("x", "twice", "customer", ("id",)), TableLayout("y", "twice", "customer", ("id",)))
    return KeyspaceLayout("customer", ("s0", "s1", "s2"), function, len(owners), owners, tables, rules)


def test_tables_are_found_by_name() -> None:
    layout = Layout(1, "main", {"customer": keyspace()})
    found = layout.table(None, "orders")
    assert found is not None and found.schema == "public"
    found = layout.table("app", "orders")
    assert found is not None and found.key == ("id",)
    found = layout.table(None, "notes")
    assert found is not None and found.key == ("a", "b")
    assert layout.table(None, "twice") is None and layout.table("public", "notes") is None
    assert layout.table(None, "unknown") is None
    countries = layout.table(None, "countries")
    assert countries is not None and countries.reference and countries.key == ()


def test_layout_survives_json() -> None:
    rules = (Rule(1, low="0", high="10"), Rule(2, values=("a", "b")), Rule(3, default=True))
    other = replace(keyspace(owners=(2, 0, 2, 1, 1)), name="other")
    layout = Layout(7, "main", {"customer": keyspace("range", rules), "other": other})
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_hash_slots_and_owners() -> None:
    space = keyspace()
    # bigint 1 hashes to 11274504255086170040, 5 modulo 16 is that of -1: known from a server
    assert space.slot_of((INT8,), (b"1",)) == 11274504255086170040 % 4
    assert space.shard_of((INT8,), (b"-1",)) == (0, 0, 1, 1)[288437243775528869 % 4]
    assert space.shard_of((INT8,), ((b"\0" * 7 + b"\1", 1),)) == space.shard_of((INT8,), (b"1",))
    assert space.slot_of((INT8, TEXT), (None, None)) == 0 == space.shard_of((INT8,), (None,))
    assert space.shard_of((114,), (b"{}",)) is None and space.shard_of((INT8,), (b"one",)) is None
    assert space.used() == (0, 1) and space.places() == ("customer/s0", "customer/s1", "customer/s2")


def test_range_has_half_open_bounds_of_the_keys_type() -> None:
    space = keyspace("range", (Rule(1, high="10"), Rule(2, low="10", high="200"), Rule(3, low="1000")), (0, 0, 1, 2))
    assert [space.shard_of((INT8,), (str(key).encode(),)) for key in (-5, 9, 10, 199, 200, 1000, 5000)] == [
        0, 0, 1, 1, None, 2, 2]
    assert space.shard_of((NUMERIC,), (b"9.99",)) == 0 and space.shard_of((NUMERIC,), (b"10.0",)) == 1
    assert space.slot_of((INT8,), (None,)) == 0
    bad = keyspace("range", (Rule(1, high="m"), Rule(2, low="m")), (0, 0, 1))
    assert bad.shard_of((TEXT,), (b"lz",)) == 0 and bad.shard_of((TEXT,), (b"m",)) == 1
    assert bad.shard_of((INT8,), (b"1",)) is None


def test_range_has_shards_of_keys_within_bounds() -> None:
    space = keyspace("range", (Rule(1, high="10"), Rule(2, low="10", high="200"), Rule(3, low="1000")), (0, 0, 1, 2))
    assert [space.shards_from(INT8, key) for key in (b"-3", b"9", b"10", b"300", b"x")] == [
        {0, 1, 2}, {0, 1, 2}, {1, 2}, {2}, None]
    assert [space.shards_to(NUMERIC, key) for key in (b"9.99", b"10", b"999", b"1000.0")] == [
        {0}, {0, 1}, {0, 1}, {0, 1, 2}]
    rest = keyspace("range", (Rule(1, high="10"), Rule(2, default=True)), (0, 0, 1))
    assert rest.shards_to(INT8, b"3") == {0, 1}
    assert keyspace().shards_to(INT8, b"3") is None


def test_list_takes_equal_values_and_the_rest() -> None:
    space = keyspace("list", (Rule(1, values=("de", "at")), Rule(2, values=("fr",)), Rule(3, default=True)),
                     (0, 0, 1, 2))
    assert [space.shard_of((TEXT,), (key,)) for key in (b"at", b"fr", b"us", None)] == [0, 1, 2, 0]
    closed = keyspace("list", (Rule(1, values=("1", "2")), Rule(2, values=("3",))), (0, 0, 1))
    assert closed.shard_of((NUMERIC,), (b"3.00",)) == 1 and closed.shard_of((NUMERIC,), (b"4",)) is None


def test_lookup_knows_what_was_looked_up() -> None:
    space = keyspace("lookup", (Rule(4, values=("de", "at")),), (0, 0, 1, 1, 2))
    assert space.shard_of((TEXT,), (b"at",)) is None and space.shard_of((TEXT,), (None,)) == 0
    assert space.new_slot_of((TEXT,), (b"at",)) == 4
    assert space.new_slot_of((TEXT,), (b"us",)) == keyspace().slot_of((TEXT,), (b"us",))
    key = space.lookup_key((NUMERIC,), (b"1.50",))
    assert key is not None and key == space.lookup_key((NUMERIC,), (b"1.5",)) != space.lookup_key((NUMERIC,), (b"1.6",))
    space.known.put(b"us", 2)
    assert space.shard_of((TEXT,), (b"us",)) == 1
    assert Layout.from_json(Layout(1, "main", {"customer": space}).to_json()).keyspaces["customer"] == space


def test_every_slot_has_an_owner() -> None:
    with pytest.raises(ValueError, match="every one of 2 slots"):
        KeyspaceLayout("k", ("a",), "hash", 2, (0,))
    with pytest.raises(ValueError, match="every one of 2 slots"):
        KeyspaceLayout("k", ("a",), "hash", 2, (0, 1))
