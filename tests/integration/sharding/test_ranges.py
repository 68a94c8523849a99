"""Tables split by ranges of dates: a condition with bounds asks only the shards within them, and the rows are right."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

DAYS = [datetime.date(2024, month, day) for month in range(1, 7) for day in (1, 15)]
PLACES = ("ranged", "ranged_old", "ranged_mid", "ranged_new")
QUERIES = [
    ("day >= '2024-05-01'", 1),
    ("day > date '2024-04-30' and day < '2024-06-02'", 2),
    ("day between '2024-02-15' and '2024-03-15'", 2),
    ("'2024-01-20' > day", 1),
    ("day <= '2024-03-01'", 2),
    ("day > '2024-06-01' and day < '2024-01-01'", 0),
    ("day not between '2024-02-15' and '2024-03-15'", 3),
    ("day >= '2024-05-01' or n = 3", 3),
    ("day > 'Feb 10, 2024'", 3),
    ("n > 3", 3),
]


@pytest.fixture(scope="module")
def client(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(sharded_node.dsn(), autocommit=True) as control:
        for place in PLACES:
            control.execute(f'create database "{place}"')
    shards = {name: {"primary": f"{sharded_node.host}:{sharded_node.port}/ranged_{name}"}
              for name in ("old", "mid", "new")}
    ranges = {"old": {"below": "2024-03-01"}, "mid": {"at_least": "2024-03-01", "below": "2024-05-01"},
              "new": {"at_least": "2024-05-01"}}
    main = {"shards": {"main": {"primary": f"{sharded_node.host}:{sharded_node.port}/ranged"}}}
    days = {"function": "range", "shards": shards, "ranges": ranges,
            "tables": {"visits": {"key": "day"}, "sales": {"key": "day"}}}
    proxy = Proxy(tmp_path_factory.mktemp("ranges"), [], databases={"ranged": {
        "server_user": "postgres", "default_keyspace": "main", "keyspaces": {"main": main, "days": days}}}).start()
    with psycopg.connect(f"postgresql://postgres@127.0.0.1:{proxy.port}/ranged", autocommit=True) as made:
        made.execute("create table visits (day date, n int, primary key (day, n))")
        made.execute("create table sales (day date, n int, primary key (day, n))")
        for number, day in enumerate(DAYS):
            made.execute("insert into visits values (%s, %s), (%s, %s)", (day, number, day, number + 1))
            made.execute("insert into sales values (%s, %s)", (day, number))
        yield made
    proxy.stop()
    proxy.check_log()


@pytest.mark.parametrize(("condition", "asked"), QUERIES)
def test_bounds(client: psycopg.Connection[Any], condition: str, asked: int) -> None:
    every = client.execute("select day, n from visits").fetchall()
    with psycopg.connect(client.info.dsn, autocommit=True) as plain:    # the condition, judged without the table
        values = ", ".join(f"(date '{day}', {n})" for day, n in every)
        right = plain.execute(f"select day, n from (values {values}) v(day, n) where {condition} order by 1, 2")
        wanted = right.fetchall()
    text = f"select day, n from visits where {condition} order by 1, 2"
    assert client.execute(text.encode()).fetchall() == wanted
    said = "\n".join(row[0] for row in client.execute(f"explain (costs off) {text}".encode()))
    assert said.count("on days/") == asked, said


def test_bounds_by_parameter(client: psycopg.Connection[Any]) -> None:
    text = "select count(*), min(day), max(day) from visits where day between %s and %s"
    for first, last in [(DAYS[0], DAYS[2]), (DAYS[5], DAYS[5]), (DAYS[-1], DAYS[0]), (DAYS[3], None)]:
        inside = [day for day in DAYS if last is not None and first <= day <= last]
        assert client.execute(text, (first, last)).fetchone() == (
            2 * len(inside), min(inside, default=None), max(inside, default=None))


def test_bounds_of_joined_tables(client: psycopg.Connection[Any]) -> None:
    text = "select count(*) from visits v join sales s using (day) where v.day >= '2024-05-01'"
    assert client.execute(text).fetchone() == (8,)
    assert client.execute("select count(*) from visits v join sales s on s.n = v.n where v.day >= '2024-05-01' "
                          "and s.day < '2024-06-10'").fetchone() == (5,)
    said = "\n".join(row[0] for row in client.execute("explain (costs off) " + text))
    assert said.startswith("Route to days/new"), said
