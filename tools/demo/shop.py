"""The sample data: a small shop, created and filled through the proxy, half by COPY and half by INSERT."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from .size import Size
from .stage import Stage

__all__ = ["email", "fill"]

SCHEMA = """
create table customers (id int primary key, email text not null unique, name text not null);
create table products (id int primary key, name text not null, price numeric(8,2) not null, stock int not null);
create table orders (id bigint generated always as identity primary key, customer_id int not null references customers,
                     token text unique, placed_at timestamptz not null default now());
create table order_items (order_id bigint not null references orders, product_id int not null references products,
                          quantity int not null, price numeric(8,2) not null, primary key (order_id, product_id));
"""
FIRST = ("Ada", "Alan", "Barbara", "Donald", "Edsger", "Grace", "John", "Katherine", "Ken", "Margaret")
LAST = (
    "Lovelace",
    "Turing",
    "Liskov",
    "Knuth",
    "Dijkstra",
    "Hopper",
    "Backus",
    "Johnson",
    "Thompson",
    "Hamilton",
)
THINGS = ("lamp", "chair", "table", "shelf", "rug", "clock", "mirror", "vase", "stool", "bench")


def email(customer: int) -> str:
    """Of a customer by number."""
    return f"customer{customer}@example.com"


def _customers(count: int) -> Iterator[tuple[int, str, str]]:
    for number in range(1, count + 1):
        yield number, email(number), f"{FIRST[number % 10]} {LAST[number // 10 % 10]}"


def _products(count: int) -> Iterator[tuple[int, str, float, int]]:
    for number in range(1, count + 1):
        yield number, f"{THINGS[number % 10]} no. {number}", 5 + number % 95, 1_000_000


async def fill(stage: Stage) -> dict[str, int]:
    """Create and fill the tables; how many rows each has afterwards, as counted by the database."""
    size = stage.size
    connection = await stage.connect()
    try:
        await connection.execute(SCHEMA)
        await connection.copy_records_to_table("customers", records=list(_customers(size.customers)))
        await connection.copy_records_to_table("products", records=list(_products(size.products)))
        await _orders(connection, size)
        await connection.execute("analyze")
        tables = ("customers", "products", "orders", "order_items")
        return {table: await connection.fetchval(f"select count(*)::int from {table}") for table in tables}
    finally:
        await connection.close()


async def _orders(connection: Any, size: Size) -> None:
    """Each with one to three items, some hundred orders in a transaction."""
    draw = random.Random(1)
    async with connection.transaction():
        ids = [
            row["id"]
            for row in await connection.fetch(
                "insert into orders (customer_id) "
                "select 1 + n % $1::int from generate_series(1, $2::int) n returning id",
                size.customers,
                size.orders,
            )
        ]
    items = [
        (order, product, draw.randint(1, 5), 5 + product % 95)
        for order in ids
        for product in draw.sample(range(1, size.products + 1), draw.randint(1, 3))
    ]
    for start in range(0, len(items), 500):
        async with connection.transaction():
            await connection.executemany(
                "insert into order_items values ($1, $2, $3, $4)", items[start : start + 500]
            )
