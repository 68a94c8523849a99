"""Seeding a layout from the configuration once, and what becomes of later differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shardproxy.config.model import Config, Database
from shardproxy.topology.layout import KeyspaceLayout, Rule
from shardproxy.topology.seeding import reconcile, seed


def shop(**customer: Any) -> Database:
    shards = {"s0": {"primary": "h:2/shop"}, "s1": {"primary": "h:3/shop", "empty": True},
              "s2": {"primary": "h:4/shop"}}
    space = {"shards": shards, "slots": 5, "tables": {"orders": {"key": "id"}, "app.x": {"reference": True}}}
    space.update(customer)
    config = Config.model_validate({"databases": {"shop": {"default_keyspace": "main", "keyspaces": {
        "main": {"shards": {"m": {"primary": "h:1/shop"}}}, "customer": space}}}})
    return config.databases["shop"]


def customer(database: Database) -> KeyspaceLayout:
    return seed(database).keyspaces["customer"]


def test_slots_are_dealt_evenly_over_shards_that_are_not_empty() -> None:
    layout = seed(shop())
    assert layout.epoch == 0 and layout.default == "main"
    space = layout.keyspaces["customer"]
    assert space.shards == ("s0", "s1", "s2") and space.owners == (0, 0, 0, 2, 2) and space.used() == (0, 2)
    orders, reference = layout.table(None, "orders"), layout.table("app", "x")
    assert orders is not None and orders.key == ("id",) and reference is not None and reference.reference


def test_ranges_and_lists_have_a_slot_each() -> None:
    space = customer(shop(function="range", ranges={"s2": [{"below": 10}, {"at_least": 20}], "s0": {"at_least": 10,
                                                                                                "below": 20}}))
    assert space.rules == (Rule(1, high="10"), Rule(2, low="20"), Rule(3, low="10", high="20"))
    assert space.owners == (0, 2, 2, 0)
    assert [space.shard_of((20,), (key,)) for key in (b"1", b"15", b"20", None)] == [2, 0, 2, 0]
    space = customer(shop(function="list", lists={"s2": ["a"]}, default_shard="s1"))
    assert [space.shard_of((25,), (key,)) for key in (b"a", b"b", None)] == [2, 1, 0]


def test_what_is_new_is_added_and_the_stored_layout_wins() -> None:
    first = seed(shop())
    again, told = reconcile(first, shop())
    assert (again, told) == (first, [])
    shards = {name: {"primary": f"h:{port}/shop"} for name, port in (("s0", 2), ("s3", 5))}
    tables = {"orders": {"key": "other"}, "new": {"key": "id"}}
    changed, told = reconcile(first, shop(shards=shards, slots=9, tables=tables))
    space = changed.keyspaces["customer"]
    assert space.shards == ("s0", "s1", "s2", "s3") and space.owners == (0, 0, 0, 2, 2)
    assert changed.table(None, "orders") == first.table(None, "orders")
    new = changed.table(None, "new")
    assert new is not None and new.key == ("id",)
    assert told == [
        'keyspace "customer": slots are 5, not 9', 'keyspace "customer": shard "s1" is not in the configuration',
        'keyspace "customer": shard "s2" is not in the configuration, and owns 2 slots',
        'keyspace "customer": table public.orders has the key id, not other',
        'keyspace "customer": table app.x is not in the configuration']


def test_a_table_stays_in_its_keyspace() -> None:
    stored = seed(shop())
    space = stored.keyspaces["customer"]
    renamed = replace(stored, keyspaces={"old": replace(space, name="old", tables=tuple(
        replace(table, keyspace="old") for table in space.tables))})
    made, told = reconcile(renamed, shop())
    assert made.keyspaces["customer"].tables == () and made.keyspaces["old"] == renamed.keyspaces["old"]
    assert 'table public.orders is in keyspace "old", not "customer"' in told
    assert 'keyspace "old" is not in the configuration' in told
