"""Where writes and reads went, as the servers themselves counted them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rich.table import Table

from shardproxy.tools.cluster import Node

from ..facts import Facts
from ..load import spread
from ..serving import DATABASE
from ..shop import email
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

READ = "select id, name from customers where email = $1"
COUNTS = """select
(select coalesce(sum(idx_scan), 0)::int from pg_stat_user_indexes where indexrelname = 'customers_email_key'),
(select coalesce(sum(n_tup_ins), 0)::int from pg_stat_user_tables where relname = 'orders')"""
SETTLE_S = 12.0
"""A server adds the counts of its connections at the latest ten seconds after they were last used."""

Counts = dict[str, tuple[int, int]]
"""By server: reads, and orders written."""


async def play(stage: Stage, facts: Facts) -> None:
    """Reads by e-mail and orders at the same time; then the index scans and inserted rows of each server."""
    size = stage.size
    await _flush(stage)
    before, figures = await _counts(stage), await stage.figures()

    async def read(connection: Any, client: int, turn: int) -> None:
        row = await connection.fetchrow(READ, email(1 + (client * 7919 + turn) % size.customers))
        assert row is not None

    async def order(connection: Any, client: int, turn: int) -> None:
        async with connection.transaction():
            made = await connection.fetchval(
                "insert into orders (customer_id) values ($1) returning id", 1 + turn % size.customers
            )
            product = 1 + (client * 31 + turn) % size.products
            await connection.execute("insert into order_items values ($1, $2, 1, 10)", made, product)
            await connection.execute("update products set stock = stock - 1 where id = $1", product)

    half = max(1, size.clients // 2)
    reads, orders = await asyncio.gather(
        spread(stage.connect, half, size.reads, read), spread(stage.connect, half, size.writes, order)
    )
    served = await _settled(stage, before, reads.done, orders.done)
    facts.console.print(_table(stage, served))
    _judge(stage, facts, served, (reads.done, orders.done), (figures, await stage.figures()))
    facts.add(
        "errors of clients",
        f"{reads.failed + orders.failed} ({reads.described()}; {orders.described()})",
        not reads.failed + orders.failed,
    )


def _judge(
    stage: Stage,
    facts: Facts,
    served: Counts,
    done: tuple[int, int],
    figures: tuple[dict[str, int], dict[str, int]],
) -> None:
    reads, orders = done
    primary = served[stage.cluster.primary.name]
    replicas = [served[node.name][0] for node in stage.cluster.replicas]
    total = sum(replicas) + primary[0]
    facts.add(
        "reads, as the servers counted them",
        f"{' + '.join(map(str, replicas))} on the replicas, {primary[0]} on the primary, of {reads}",
        total == reads and all(replicas) and primary[0] <= reads // 10,
    )
    counted = figures[1]["replica_reads"] - figures[0].get("replica_reads", 0)
    facts.add("reads from replicas, as the proxy counted them", str(counted), counted == sum(replicas))
    facts.add(
        "orders written, as the primary counted them", f"{primary[1]} of {orders}", primary[1] == orders
    )


def _table(stage: Stage, served: Counts) -> Table:
    table = Table("server", "role", "reads", "orders written", pad_edge=False)
    for node in stage.cluster.nodes:
        reads, orders = served[node.name]
        table.add_row(f"{node.name} (port {node.port})", stage.role(node), str(reads), str(orders))
    return table


async def _counts(stage: Stage) -> Counts:
    async def of(node: Node) -> tuple[str, tuple[int, int]]:
        row = (await node.sql(COUNTS, dbname=DATABASE))[0]
        return node.name, (row[0], row[1])

    return dict(await asyncio.gather(*map(of, stage.cluster.nodes)))


async def _flush(stage: Stage) -> None:
    """Replace all server connections: at its end each adds what it counted to the server's figures."""
    await stage.console(f"RECONNECT {DATABASE}")
    await stage.console(f"WAIT_CLOSE {DATABASE}")
    while any((await stage.server_connections()).values()):
        await asyncio.sleep(0.02)


async def _settled(stage: Stage, before: Counts, reads: int, orders: int) -> Counts:
    """What was served since ``before``."""
    await _flush(stage)
    deadline = time.monotonic() + SETTLE_S
    while True:
        now = await _counts(stage)
        served = {name: (now[name][0] - before[name][0], now[name][1] - before[name][1]) for name in now}
        all_reads, all_orders = (sum(counts[at] for counts in served.values()) for at in (0, 1))
        if (all_reads >= reads and all_orders >= orders) or time.monotonic() > deadline:
            return served
        await asyncio.sleep(0.1)


ACT = Act(
    "Where reads and writes went",
    "Clients look customers up and place orders, all through one connection string. The servers count.",
    play,
)
