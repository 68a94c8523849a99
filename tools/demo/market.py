"""A shop that has outgrown one server: shards, a coordinator and a proxy before them; and the same on one server.

    main      the coordinator: unsharded tables, copies of reference tables, shells of the sharded ones
    s0 to s2  the shards; s2 is empty until an act moves rows there
    plain     a database of the coordinator's server that the proxy knows nothing of: where right answers come from

Invariant: both databases are given the same statements and the same rows, the sharded one through the proxy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import asyncpg

from ..cluster import Cluster, Node
from .load import OPERATION_S
from .serving import PASSWORD, USER, Proxy, sharded
from .size import Size

__all__ = ["BUYER", "CITIES", "DATABASE", "KEYS", "START_BALANCE", "Market"]

DATABASE, PLAIN = "market", "plain"
SHARDS, EMPTY = ("s0", "s1", "s2"), ("s2",)
KEYS: Mapping[str, str] = {
    "customers": "id",
    "orders": "customer_id",
    "items": "customer_id",
    "products": "",
    "accounts": "id",
    "transfers": "source",
    "carts": "customer_id",
}
"""Sharded tables and their keys; "" is a reference table. ``campaigns`` is not here: it is unsharded."""
SCHEMA = """
create table products (id int primary key, name text not null, price numeric(8,2) not null);
create table customers (id int primary key, name text not null, city text not null, since date not null);
create table orders (customer_id int not null references customers (id), id int not null, placed date not null,
                     primary key (customer_id, id));
create table items (customer_id int not null, order_id int not null,
                    product_id int not null references products (id), quantity int not null,
                    primary key (customer_id, order_id, product_id),
                    foreign key (customer_id, order_id) references orders (customer_id, id));
create table accounts (id int primary key, balance bigint not null);
create table transfers (source int not null, token text not null, target int not null, amount bigint not null,
                        primary key (source, token));
create table carts (customer_id int not null, token text not null, changes int not null,
                    primary key (customer_id, token));
create table campaigns (city text primary key, budget numeric(10,2) not null);
"""
CITIES = ("Berlin", "Kyoto", "Lagos", "Lima", "Oslo", "Quito", "Riga")
START_BALANCE = 1000
BUYER = 7
"""A customer who has placed an order."""
PRODUCTS = 40
DAY = date(2025, 1, 1)

Rows = dict[str, list[tuple[Any, ...]]]


class Market:
    """``start_servers``, ``start_proxy``, ``load``; ``close`` leaves nothing."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.main = Cluster(auth="scram-sha-256")
        self.shards = {name: Cluster(auth="scram-sha-256") for name in SHARDS}
        self.used = [name for name in SHARDS if name not in EMPTY]
        """Shards that have rows."""
        self.started: Proxy | None = None
        """The proxy, as soon as there is one."""

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """The coordinator's and the shards'."""
        return (self.main, *self.shards.values())

    @property
    def proxy(self) -> Proxy:
        """The running proxy."""
        assert self.started is not None, "start_proxy comes first"
        return self.started

    async def start_servers(self) -> None:
        """Four servers, the application's user and empty databases."""
        await asyncio.gather(*(cluster.start() for cluster in self.clusters))
        await asyncio.gather(*(_prepare(cluster.primary) for cluster in self.clusters))
        await self.main.primary.sql(f"create database {PLAIN} owner {USER}")

    async def start_proxy(self) -> None:
        """One worker: it is going to be killed, and all clients are on it."""
        servers = sharded(self.main, self.shards, EMPTY, DATABASE, KEYS)
        self.started = Proxy(
            self.main.folder, DATABASE, servers, max(self.size.pool_size, self.size.movers), 1
        )
        await self.started.start()

    async def close(self) -> None:
        """End the proxy and the servers."""
        try:
            if self.started is not None:
                await self.started.stop()
        finally:
            await asyncio.gather(*(cluster.close() for cluster in self.clusters))

    async def connect(self) -> Any:
        """A connection of the application to the sharded database."""
        return await self.proxy.connect()

    async def connect_plain(self) -> Any:
        """A connection of the application to the database that is not sharded, past the proxy."""
        return await asyncpg.connect(
            self.main.primary.dsn(PLAIN, USER, PASSWORD), ssl=False, command_timeout=OPERATION_S
        )

    async def load(self, connection: Any) -> None:
        """Tables and rows: by COPY, by INSERT of many rows, and by INSERT of what a query makes."""
        await connection.execute(SCHEMA)
        rows = _rows(self.size)
        await connection.executemany("insert into products values ($1, $2, $3)", rows.pop("products"))
        for table, records in rows.items():
            await connection.copy_records_to_table(table, records=records)
        values = ", ".join(f"('{city}', {100 * number}.50)" for number, city in enumerate(CITIES[:5], 1))
        await connection.execute(f"insert into campaigns values {values}")
        await connection.execute(
            f"insert into accounts select n, {START_BALANCE} from generate_series(1, {self.size.accounts}) n"
        )

    async def everywhere(self, query: str) -> dict[str, list[Any]]:
        """The rows of a query, as each shard itself answers it."""
        answers = await asyncio.gather(
            *(cluster.primary.sql(query, dbname=DATABASE) for cluster in self.shards.values())
        )
        return dict(zip(self.shards, answers, strict=True))

    async def prepared(self) -> int:
        """Prepared transactions on all servers, as the servers count them."""
        found = await asyncio.gather(
            *(
                cluster.primary.value("select count(*)::int from pg_prepared_xacts")
                for cluster in self.clusters
            )
        )
        return sum(map(int, found))


async def _prepare(node: Node) -> None:
    await node.sql(f"create role {USER} login password '{PASSWORD}'")
    await node.sql(f"create database {DATABASE} owner {USER}")


def _rows(size: Size) -> Rows:
    draw = random.Random(3)
    found: Rows = {"products": [(n, f"product {n}", n + 0.25) for n in range(1, PRODUCTS + 1)]}
    found["customers"] = [
        (n, f"customer {draw.randrange(size.customers // 2)}", draw.choice(CITIES), DAY + timedelta(n % 300))
        for n in range(1, size.customers + 1)
    ]
    found["orders"] = [
        (draw.randint(1, size.customers) if n > 1 else BUYER, n, DAY + timedelta(draw.randrange(365)))
        for n in range(1, size.orders + 1)
    ]
    found["items"] = list(_items(found["orders"], draw))
    return found


def _items(orders: list[tuple[Any, ...]], draw: random.Random) -> Iterator[tuple[Any, ...]]:
    for customer, order, _ in orders:
        for product in draw.sample(range(1, PRODUCTS + 1), draw.randint(1, 3)):
            yield customer, order, product, draw.randint(1, 5)
