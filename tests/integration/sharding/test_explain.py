"""EXPLAIN through the proxy: says which shard runs what, measures, and runs nothing that it should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment, counts

SHARDS = max(counts())


@pytest.fixture
def client(shop: Deployment) -> Iterator[psycopg.Connection[Any]]:
    with shop.systems[SHARDS].client(prepare_threshold=None) as connection:
        yield connection


def lines(client: psycopg.Connection[Any], text: str) -> str:
    return "\n".join(row[0] for row in client.execute(text))


def test_a_scatter(client: psycopg.Connection[Any]) -> None:
    said = lines(client, "explain select id, name from customers order by id limit 3")
    assert said.startswith("Scatter and merge")
    assert said.count("on customer/s") == SHARDS
    assert "Limit" in said
    assert " ms)" not in said


def test_a_scatter_measured(client: psycopg.Connection[Any]) -> None:
    said = lines(client, "explain (analyze, costs off) select count(*) from customers")
    assert said.startswith("Scatter and fold")
    assert said.count(" ms):") == SHARDS
    assert "actual" in said
    assert "cost=" not in said


def test_a_route(client: psycopg.Connection[Any]) -> None:
    said = lines(client, "explain select * from customers where id = 5")
    assert said.startswith("Route to customer/s") or "Index" in said
    assert said.count("on customer/s") <= 1


@pytest.mark.parametrize("begin", [False, True])
def test_a_gather_in_json(client: psycopg.Connection[Any], begin: bool) -> None:
    text = "select c.name, (select count(*) from customers d where d.name < c.name) from customers c"
    with client.transaction() if begin else client.cursor():
        [(found,)] = client.execute(f"explain (analyze, format json) {text}").fetchall()
    if isinstance(found, str):
        found = json.loads(found)
    top = found[0]["Plan"]
    assert top["Node Type"].startswith("Gather")
    assert top["Places"][0]["Place"] == "the coordinator"
    assert {place["Place"] for pull in top["Plans"] for place in pull["Places"]} == {
        f"customer/s{number}" for number in range(SHARDS)}


def test_a_write_is_shown_and_not_run(client: psycopg.Connection[Any]) -> None:
    before = client.execute("select count(*) from orders").fetchall()
    said = lines(client, "explain delete from orders")
    assert "DELETE" in said
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        client.execute("explain analyze delete from orders")
    assert client.execute("select count(*) from orders").fetchall() == before


def test_a_view_of_one_shard(client: psycopg.Connection[Any]) -> None:
    said = lines(client, "explain select * from active_customers where id = 5")
    assert said.startswith("Route to customer/s")
    assert "text: select * from ( SELECT customers.id" in said and "Filter:" in said


def test_time_in_a_condition(client: psycopg.Connection[Any]) -> None:
    said = lines(client, "explain (costs off) select id from customers where created < now() - interval '1 day'")
    assert said.startswith("Scatter\n")
    assert said.count("on customer/s") == SHARDS
    said = lines(client, "explain (analyze, costs off) select count(*) from customers c join orders o on o.id = c.id "
                         "where c.created < now()")
    assert said.startswith("Gather") and "now()" in said


def test_with_that_writes(client: psycopg.Connection[Any]) -> None:
    before = client.execute("select note from customers where id = 5").fetchone()
    said = lines(client, "explain with x as (update customers set note = 'no' where id = 5 returning id) table x")
    assert said.startswith("Route to customer/s") and "Update on customers" in said
    assert client.execute("select note from customers where id = 5").fetchone() == before
