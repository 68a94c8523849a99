"""Sharded keyspaces as they are written, and what they become."""

from __future__ import annotations

import datetime

from shardproxy.config.model import Config, Database

SHOP = {"default_keyspace": "main", "keyspaces": {
    "main": {"shards": {"main": {"primary": "127.0.0.1:1/shop"}}},
    "customer": {"shards": {"s0": {"primary": "127.0.0.1:2/shop"},
                            "s1": {"primary": "127.0.0.1:3/shop", "empty": True}},
                 "tables": {"customers": {"key": "id"}, "app.notes": {"key": ["tenant", "id"]},
                            "countries": {"reference": True}}},
    "old": {"shards": {"o0": {"primary": "127.0.0.1:4"}}, "function": "range", "default_shard": "o0",
            "ranges": {"o0": {"at_least": 5, "below": datetime.date(2020, 1, 2)}, "o1": [{"below": 1}, {}]},
            "lists": {"o0": [1, "a", True, datetime.datetime(2020, 1, 2, 3, 4)]}}}}


def test_keys_and_values_become_texts() -> None:
    shop = Database.model_validate(SHOP)
    assert shop.main_keyspace == "main" and shop.sharded == ("customer", "old")
    customer = shop.keyspaces["customer"]
    assert customer.function == "hash" and customer.slots == 1024
    assert {name: table.key for name, table in customer.sharded_tables.items()} == {
        "customers": ("id",), "app.notes": ("tenant", "id")}
    old = shop.keyspaces["old"]
    assert (old.ranges["o0"][0].at_least, old.ranges["o0"][0].below) == ("5", "2020-01-02")
    assert [(part.at_least, part.below) for part in old.ranges["o1"]] == [(None, "1"), (None, None)]
    assert old.lists["o0"] == ("1", "a", "true", "2020-01-02 03:04:00")


def test_settings_of_a_sharded_database_reach_the_workers() -> None:
    config = Config.model_validate({"databases": {"shop": {
        **SHOP, "gather": {"max_rows": 7}, "max_fanout": 3, "transactions": "refuse"}, "plain": {"primary": "a:1"}}})
    again = Config.from_worker_json(config.to_worker_json())
    assert again == config
    shop = again.databases["shop"]
    assert (shop.gather.max_rows, shop.gather.max_bytes, shop.max_fanout) == (7, 2**30, 3)
    assert shop.transactions == "refuse" and shop.isolation == "refuse"
    plain = again.databases["plain"]
    assert plain.sharded == () and plain.gather.max_rows == 5_000_000 and plain.transactions == "2pc"
