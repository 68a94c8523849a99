"""A proxy before two shards (databases of one server): what it shows, what clients cannot reach, what it stores."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from shardproxy.server.layouts import store_in
from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

NAMES = ("hidden_main", "hidden_s0", "hidden_s1")


@pytest_asyncio.fixture
async def databases(pg: Node) -> AsyncIterator[None]:
    for name in NAMES:
        await pg.sql(f"create database {name}")
    yield
    for name in NAMES:
        await pg.sql(f"drop database {name} with (force)")


def entry(pg: Node) -> dict[str, Any]:
    main, s0, s1 = [f"{pg.host}:{pg.port}/{name}" for name in NAMES]
    return {"default_keyspace": "main", "keyspaces": {
        "main": {"shards": {"main": {"primary": main}}},
        "customer": {"shards": {"s0": {"primary": s0}, "s1": {"primary": s1}},
                     "tables": {"orders": {"key": "id"}, "countries": {"reference": True}}}}}


def rows(proxy: Proxy, sql: str) -> list[dict[str, Any]]:
    with psycopg.connect(host=proxy.host, port=proxy.port, user="postgres", dbname="shardproxy", autocommit=True,
                         row_factory=psycopg.rows.dict_row) as console:
        done = console.execute(sql.encode())
        return done.fetchall() if done.description else []


def refusal(proxy: Proxy, name: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(host=proxy.host, port=proxy.port, user="postgres", dbname=name)
    return str(caught.value)


@pytest.mark.asyncio
async def test_shards_are_watched_and_hidden(pg: Node, databases: None, start_proxy: Callable[..., Proxy]) -> None:
    everything = {"primary": f"{pg.host}:{pg.port}"}
    proxy = start_proxy([], databases={"shop": entry(pg), "*": everything})
    servers = {row["server"]: row for row in rows(proxy, "SHOW LAG")}
    places = [f"shop/{place}/0" for place in ("main/main", "customer/s0", "customer/s1")]
    assert [servers[place]["role"] for place in places] == ["primary"] * 3
    with psycopg.connect(host=proxy.host, port=proxy.port, user="postgres", dbname="shop") as client:
        found = client.execute("select current_database()").fetchone()
        assert found == ("hidden_main",)
        for name in ("shop/customer/s0", "shop/customer/s1"):
            assert "does not exist" in refusal(proxy, name)
    shown = rows(proxy, "SHOW SHARDS")
    assert [(row["shard"], row["slots"], row["primary"]) for row in shown if row["keyspace"] == "customer"] == [
        ("s0", 512, places[1]), ("s1", 512, places[2])]
    tables = {row["table"]: row for row in rows(proxy, "SHOW TOPOLOGY")}
    assert tables["public.orders"]["key"] == "id" and tables["public.countries"]["kind"] == "reference"
    rows(proxy, "DRAIN shop/customer/s1/0")
    assert [row["draining"] for row in rows(proxy, "SHOW LAG") if row["server"] == places[2]] == [True]
    rows(proxy, "UNDRAIN shop/customer/s1/0")
    rows(proxy, "PAUSE shop")
    rows(proxy, "RESUME shop")


@pytest.mark.asyncio
async def test_the_store_wins_and_is_watched(pg: Node, databases: None, start_proxy: Callable[..., Proxy]) -> None:
    proxy = start_proxy([], databases={"shop": entry(pg)})
    store = store_in(proxy.config_path.with_suffix(".topology"), "shop")
    epoch, layout = await store.load()
    assert epoch == 1 and layout is not None
    data = layout.to_json()
    data["keyspaces"]["customer"]["owners"] = [[1024, 1]]
    assert await store.compare_and_swap(1, type(layout).from_json(data)) is not None
    deadline = time.monotonic() + 10
    while [row["slots"] for row in rows(proxy, "SHOW SHARDS") if row["keyspace"] == "customer"] != [0, 1024]:
        assert time.monotonic() < deadline
        time.sleep(0.1)     # noqa: ASYNC251  # nothing else runs here
    proxy.settings["databases"]["shop"]["keyspaces"]["customer"]["tables"]["orders"] = {"key": "other"}
    proxy.stop()
    proxy.start()
    assert "has the key id, not other" in proxy.log
    assert [row["slots"] for row in rows(proxy, "SHOW SHARDS") if row["keyspace"] == "customer"] == [0, 1024]


@pytest.mark.asyncio
async def test_the_layout_may_be_kept_in_the_database(pg: Node, databases: None,
                                                      start_proxy: Callable[..., Proxy]) -> None:
    first = start_proxy([], topology="database", databases={"shop": entry(pg)})
    second = start_proxy([], topology="database", databases={"shop": entry(pg)})
    for proxy in (first, second):
        assert [row["epoch"] for row in rows(proxy, "SHOW TOPOLOGY")] == [1, 1]
    with psycopg.connect(host=pg.host, port=pg.port, user="postgres", dbname=NAMES[0]) as direct:
        stored = direct.execute("select epoch, layout from shardproxy.topology").fetchall()
    assert [row[0] for row in stored] == [1] and "orders" in str(json.loads(stored[0][1]))
