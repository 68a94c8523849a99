"""Texts that ask for figures of all servers, and how what the servers say is put together."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.figures_merge import Seen, activity, figures, statistics
from shardproxy.dialects.postgres.sharded.figures_text import asks, overview

EDITS = [
    ("select pg_table_size('t')", "select shardproxy.pg_table_size('t')"),
    ("select Pg_Catalog . pg_table_size ('t') from x", "select shardproxy.pg_table_size ('t') from x"),
    ("select * from pg_stat_activity", "select * from shardproxy.pg_stat_activity()"),
    ("select a.* from pg_catalog.pg_stat_activity AS a, pg_class c where c.relname = a.datname",
     "select a.* from shardproxy.pg_stat_activity() AS a, shardproxy.pg_class() c where c.relname = a.datname"),
    ('select pg_stat_activity.pid from x join "pg_stat_activity" on true',
     "select pg_stat_activity.pid from x join shardproxy.pg_stat_activity() on true"),
    ("select 1 from (a join (pg_inherits i join b on true) using (x, y)), pg_prepared_xacts",
     "select 1 from (a join (shardproxy.pg_inherits() i join b on true) using (x, y)), shardproxy.pg_prepared_xacts()"),
    ("select pg_catalog.pg_stat_all_indexes.relid from pg_catalog.pg_stat_all_indexes",
     "select pg_stat_all_indexes.relid from shardproxy.pg_stat_all_indexes()"),
    ("table pg_stat_user_tables", "SELECT * FROM shardproxy.pg_stat_user_tables()"),
    ("select reltuples from pg_class where oid in (select inhrelid from pg_inherits)",
     "select reltuples from shardproxy.pg_class() where oid in (select inhrelid from shardproxy.pg_inherits())"),
    ("select exists (select from pg_stat_activity), 'from pg_stat_activity' -- from pg_stat_activity",
     "select exists (select from shardproxy.pg_stat_activity()), 'from pg_stat_activity' -- from pg_stat_activity"),
]
UNTOUCHED = [
    "select relname from pg_class", "select count(*) from pg_class", "select public.pg_table_size('t')",
    "select * from public.pg_stat_activity", "select pg_table_size from t", "select 'pg_table_size(1)'",
    "with pg_stat_activity as (select 1) select * from pg_stat_activity",
    "with x as (select 1), pg_inherits(a) as not materialized (select 1) select * from pg_inherits",
    "select c.tableoid, c.reltuples from pg_class c", "select a is distinct from pg_stat_activity from t",
    "select * from only pg_inherits", "select x as pg_stat_activity, pg_inherits from t",
]


@pytest.mark.parametrize(("text", "edited"), EDITS)
def test_edited(text: str, edited: str) -> None:
    found = overview(text)
    assert found is not None and found.text.decode() == edited
    assert asks({word.strip('",') for word in text.lower().replace("(", " ").replace(".", " ").split()}, text)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_left_alone(text: str) -> None:
    assert overview(text) is None


def test_a_comment_is_no_reason_to_ask_the_shards() -> None:
    found = overview("select relhassubclass from pg_class")
    assert found is not None and not found.needs
    found = overview("select c.*, pg_indexes_size(c.oid) from pg_class c")
    assert found is not None and found.needs == {"row counts", "sizes"}


def test_sums_of_sizes_and_of_what_was_never_counted() -> None:
    cells = [b"s", b"t", b"", b"8192", b"0", None, b"0", b"8192", b"16384", b"24576", b"-1", b"0", b"0"]
    other = [*cells[:10], b"2.5e+06", b"10", b"3"]
    (row,) = figures([[cells], [other], [cells]])
    assert row == {"schema": "s", "name": "t", "part": "",
                   "cells": "24576,0,,0,24576,49152,73728,2500000.0,10,3"}
    (row,) = figures([[cells], [cells]])
    assert row["cells"].endswith(",-1.0,0,0")


def test_counters_are_summed_and_the_last_time_counts() -> None:
    one = b'{"relid": 5, "n_live_tup": 3, "last_vacuum": "2026-03-01T10:00:00+02:00", "last_analyze": null}'
    other = b'{"relid": 9, "n_live_tup": 4, "last_vacuum": "2026-03-01T09:00:00.5+00:00", "last_analyze": null}'
    found = statistics([[[b"v", b"s", b"t", one]], [[b"v", b"s", b"t", other]]])
    assert found == {"v": {"s": {"t": {"n_live_tup": 7, "last_vacuum": "2026-03-01T09:00:00.5+00:00"}}}}


def test_each_server_counts_once() -> None:
    seen = Seen([[b"1 100", b"shop"]])
    for place, who in (("k/s0", [b"1 100", b"shop_s0"]), ("k/s1", [b"2 100", b"shop_s1"]),
                       ("k/s2", [b"1 200", b"shop_s2"]), ("k/s3", [b"2 100", b"shop_s3"]),
                       ("l/s1", [b"2 100", b"shop_s1"]), ("l/s0", [b"1 100", b"shop"])):
        seen.add(place, [who])
    assert seen.servers == ["k/s1", "k/s2"] and seen.databases == ["k/s0", "k/s1", "k/s2", "k/s3"]
    rows = [[b'{"pid": 7, "leader_pid": null, "datname": "shop_s3"}'],
            [b'{"pid": 8, "leader_pid": 7, "datname": null}']]
    found = activity(seen, [rows, [[b'{"pid": 7, "datname": "shop_s3"}']]])
    assert found["names"] == ["shop_s0"]
    assert found["rows"] == [{"pid": 7 + (2 << 22), "leader_pid": None, "datname": "shop"},
                             {"pid": 8 + (2 << 22), "leader_pid": 7 + (2 << 22), "datname": None},
                             {"pid": 7 + (3 << 22), "datname": "shop_s3"}]
