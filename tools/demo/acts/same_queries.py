"""The same statements on three shards and on one plain database, compared row by row; and how they were carried out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..facts import Facts
from ..load import leave
from ..market import BUYER, KEYS
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

QUERIES = {
    "by key": "select id, name, city from customers where id = 42",
    "join by key": "select o.id, sum(i.quantity * p.price) from orders o "
    "join items i on i.customer_id = o.customer_id and i.order_id = o.id "
    f"join products p on p.id = i.product_id where o.customer_id = {BUYER} group by o.id order by o.id",
    "ordered": "select id, since from customers where city = 'Oslo' order by since desc, id limit 20 offset 5",
    "aggregates": "select count(*), min(placed), max(placed), avg(id) from orders",
    "groups": "select placed, count(*) from orders group by placed having count(*) > 1 order by placed",
    "join of one customer's rows": "select c.city, sum(i.quantity) from customers c "
    "join items i on i.customer_id = c.id group by c.city order by c.city",
    "distinct": "select count(distinct name) from customers",
    "join across shards": "select a.id, b.id from customers a join customers b on a.name = b.name and a.id < b.id "
    "where a.city = 'Lima' and b.city = 'Riga' order by a.id, b.id",
    "with an unsharded table": "select c.city, g.budget, count(*) from customers c join campaigns g using (city) "
    "group by c.city, g.budget order by c.city",
    "window": "select * from (select city, id, rank() over (partition by city order by since, id) as place "
    "from customers) r where place <= 3 order by city, place",
    "subquery": "select id, name from customers c where not exists (select from orders o where o.customer_id = c.id) "
    "order by id limit 10",
    "median": "select percentile_cont(0.5) within group (order by quantity) from items",
}
WRITES = (
    "update customers set name = name || ' of ' || city where city in ('Kyoto', 'Lagos')",
    "insert into items select c.id, o.id, 1, 9 from customers c join orders o on o.customer_id = c.id "
    "where c.city = 'Quito' on conflict do nothing",
    "delete from items where quantity = 5",
    "update products set price = price * 1.1 where id <= 10",
    "delete from customers where not exists (select from orders o where o.customer_id = customers.id) and id % 5 = 0",
)
SHOWN = ("by key", "ordered", "groups", "join across shards")
PLAN_LINES = 7


async def play(stage: Stage, facts: Facts) -> None:
    """Queries, look-ups by key, writes; then all rows of all tables."""
    market = stage.market
    sharded, plain = await asyncio.gather(market.connect(), market.connect_plain())
    try:
        await _queries(sharded, plain, facts)
        await _lookups(sharded, plain, facts, stage.size.lookups, stage.size.customers)
        await _writes(sharded, plain, facts)
        await _contents(sharded, plain, facts)
    finally:
        await asyncio.gather(leave(sharded), leave(plain))


async def _timed(connection: Any, query: str) -> tuple[list[Any], float]:
    began = time.perf_counter()
    rows = await connection.fetch(query)
    return rows, (time.perf_counter() - began) * 1000


async def _queries(sharded: Any, plain: Any, facts: Facts) -> None:
    table = Table("query", "plan on three shards", "rows", "equal", "ms", "ms on one", pad_edge=False)
    equal, kinds, plans = 0, Counter[str](), {}
    for name, query in QUERIES.items():
        plans[name] = plan = [row[0] for row in await sharded.fetch(f"explain (costs off) {query}")]
        rows, took = await _timed(sharded, query)
        wanted, took_plain = await _timed(plain, query)
        same = _same(rows, wanted)
        equal += same and len(rows) > 0
        kinds[plan[0].split()[0]] += 1
        table.add_row(
            name, plan[0], str(len(rows)), "yes" if same else "NO", f"{took:.1f}", f"{took_plain:.1f}"
        )
    facts.console.print(table)
    for name in SHOWN:
        facts.console.print(
            f"  [bold]explain[/bold] {escape(QUERIES[name])}", overflow="ellipsis", no_wrap=True
        )
        for line in plans[name][:PLAN_LINES]:
            facts.console.print(f"    {escape(line)}", style="dim", overflow="ellipsis", no_wrap=True)
    facts.add(
        "queries with the very rows of the plain database",
        f"{equal} of {len(QUERIES)}",
        equal == len(QUERIES),
    )
    facts.add(
        "how they were carried out",
        ", ".join(f"{kind} {count}" for kind, count in kinds.items()),
        {"Route", "Scatter", "Gather"} <= set(kinds),
    )


def _same(rows: list[Any], wanted: list[Any]) -> bool:
    """Same values in the same order, under the same names."""
    return [tuple(row.items()) for row in rows] == [tuple(row.items()) for row in wanted]


async def _lookups(sharded: Any, plain: Any, facts: Facts, count: int, customers: int) -> None:
    equal = 0
    query = "select c.*, (select count(*) from orders o where o.customer_id = c.id) from customers c where c.id = $1"
    for number in range(count):
        customer = 1 + number * 7919 % customers
        equal += _same(await sharded.fetch(query, customer), await plain.fetch(query, customer))
    facts.add("look-ups by key, and those with the same row", f"{count}, {equal}", equal == count)


async def _writes(sharded: Any, plain: Any, facts: Facts) -> None:
    tags = [(await sharded.execute(query), await plain.execute(query)) for query in WRITES]
    facts.add(
        "writes over several shards, and the rows they say they wrote",
        ", ".join(here for here, _ in tags),
        all(here == there for here, there in tags),
    )


async def _contents(sharded: Any, plain: Any, facts: Facts) -> None:
    compared = different = 0
    for table in (*KEYS, "campaigns"):
        query = f"select * from {table}"
        here, there = await asyncio.gather(sharded.fetch(query), plain.fetch(query))
        ours, theirs = Counter(map(tuple, here)), Counter(map(tuple, there))
        compared += len(there)
        different += ((ours - theirs) + (theirs - ours)).total()
    facts.add(
        "rows of all tables afterwards, and those that differ from the plain database",
        f"{compared}, {different}",
        compared > 0 and not different,
    )


ACT = Act(
    "The same statements on three shards and on one database",
    "One shard where the key names it, all shards and a merge where that is right, else the coordinator's own SQL.",
    play,
)
