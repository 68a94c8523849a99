"""Keyspaces of one shard whose tables have no key: statements within one run there whole, others are gathered."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

_numbers = itertools.count(1)
PLACES = ("", "_own", "_other")


@pytest_asyncio.fixture
async def client(sharded_node: Node, tmp_path: Path) -> AsyncIterator[Any]:
    """``items``, ``sales`` in keyspace own; ``events`` in keyspace other; ``plain`` on the coordinator."""
    name = f"fed{os.getpid()}_{next(_numbers)}"
    for place in PLACES:
        await sharded_node.sql(f'create database "{name}{place}"')

    def server(place: str) -> dict[str, Any]:
        return {"primary": f"{sharded_node.host}:{sharded_node.port}/{name}{place}"}

    proxy = Proxy(tmp_path / "proxy", [], databases={name: {
        "server_user": "postgres", "default_keyspace": "main", "keyspaces": {
            "main": {"shards": {"main": server("")}},
            "own": {"shards": {"only": server("_own")}, "tables": {"items": {}, "sales": {}}},
            "other": {"shards": {"only": server("_other")}, "tables": {"events": {}}}}}}).start()
    try:
        async with proxy.client(name) as connection:
            await connection.execute("create table items (id serial primary key, name text unique, price int)")
            await connection.execute("create table sales (id bigserial primary key, item int references items, n int)")
            await connection.execute("create table events (id int primary key, item int, what text)")
            await connection.execute("create table plain (id int primary key, item int)")
            await connection.execute("insert into items (name, price) "
                                     "select 'item ' || n, n from generate_series(1, 9) n")
            await connection.execute("insert into sales (item, n) values (1, 5), (2, 6), (1, 7)")
            await connection.execute("insert into events values (1, 1, 'seen'), (2, 2, 'sold'), (3, 1, 'sold')")
            await connection.execute("insert into plain values (1, 1), (2, 3)")
            yield connection
    finally:
        proxy.stop()
        for place in PLACES:
            await sharded_node.sql(f'drop database "{name}{place}" with (force)')
        proxy.check_log()


async def test_reads(client: Any) -> None:
    assert await client.fetchval("select sum(n) from sales s join items i on i.id = s.item where i.price < 2") == 12
    assert [tuple(row) for row in await client.fetch(
        "select i.name, count(*) over (), (select max(price) from items) from sales s join items i on i.id = s.item "
        "order by s.id desc limit 2")] == [("item 1", 3, 9), ("item 2", 3, 9)]
    assert await client.fetchval("with recursive r as (select 1 as n union all select n + 1 from r where n < 3) "
                                 "select sum(i.price) from r join items i on i.id = r.n") == 6
    assert await client.fetchval("select count(*) from items where id = $1", 3) == 1


async def test_joins_of_keyspaces(client: Any) -> None:
    assert [tuple(row) for row in await client.fetch(
        "select e.what, sum(i.price) from events e join items i on i.id = e.item group by 1 order by 1")] == [
            ("seen", 1), ("sold", 3)]
    assert await client.fetchval("select count(*) from plain p join items i on i.id = p.item") == 2
    assert await client.fetchval("select count(*) from plain p join items i on i.id = p.item "
                                 "left join events e on e.item = i.id where i.price > $1", 0) == 3


async def test_writes(client: Any) -> None:
    assert await client.execute("update items set price = price * 2 where id < 4") == "UPDATE 3"
    assert await client.fetchval("update items i set price = 100 from sales s where s.item = i.id and s.n = 6 "
                                 "returning i.price") == 100
    assert await client.execute("delete from sales where item in "
                                "(select id from items where price = 100)") == "DELETE 1"
    assert await client.execute("insert into items (id, name, price) values (1, 'item 1', 3) "
                                "on conflict (name) do update set price = 50") == "INSERT 0 1"
    assert await client.execute("update items set price = 7 from events e where e.item = items.id and e.what = 'seen'"
                                ) == "UPDATE 1"
    assert await client.fetchval("select price from items where id = 1") == 7
    assert await client.execute("insert into sales (item, n) select id, price from items where id > 7") == "INSERT 0 2"
    assert await client.execute("insert into events select id + 10, item, 'copied' from sales") == "INSERT 0 4"
    assert await client.fetchval("insert into items (name, price) values ('new', 1) returning id") == 10
    await client.copy_records_to_table("items", records=[("c1", 1), ("c2", 2)], columns=["name", "price"])
    assert await client.fetchval("select count(*) from items") == 12
    async with client.transaction():
        await client.execute("update items set price = 0")
        await client.execute("update events set what = 'x'")
        await client.execute("insert into plain values (3, 3)")
    assert await client.fetchval("select sum(price) from items") == 0


async def test_definitions(client: Any) -> None:
    await client.execute("alter table items add column color text default 'red'")
    await client.execute("create index on items (price)")
    await client.execute("create unique index on sales (n)")
    assert await client.fetchval("select count(color) from items") == 9
    await client.execute("truncate sales")
    assert await client.fetchval("select count(*) from sales") == 0
    try:
        await client.execute("insert into sales (item, n) values (99, 1)")
        raise AssertionError("the foreign key holds")
    except asyncpg.ForeignKeyViolationError:
        pass
