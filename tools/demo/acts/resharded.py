"""A third shard takes its part of the rows while clients work, by the verbs of ``shardproxy reshard``.

What clients were told is compared with what is there afterwards; the pause is what the switch itself has measured, and
what the slowest client saw.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shardproxy.errors import ShardproxyError

from ..facts import Facts
from ..load import Load, leave
from ..market import Market
from ..mover import Mover
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

NAME, KEYSPACE = "grow", "customer"
MAX_HOLD_S = 2.0
PROMISED_MS = 10_000
"""On a machine that does nothing else it is a tenth of that, and much less."""
CATCH_S = 20.0
PAUSE_S = 0.005
"""Between two operations of a client: the servers share this machine with what moves the rows."""


class _Shoppers:
    """Puts things into carts. ``told``: what was acknowledged, with how often it was changed."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.told: dict[tuple[int, str], int] = {}
        self.longest_s = 0.0

    async def shop(self, connection: Any, client: int, turn: int) -> None:
        """Two customers, mostly of two shards, in one transaction; a change by key; and both are read again."""
        await asyncio.sleep(PAUSE_S)
        began, token = time.monotonic(), f"{client}-{turn}"
        one = 1 + (client * 7919 + turn * 31) % self._market.size.customers
        other = 1 + one * 17 % self._market.size.customers
        customers = sorted({one, other})
        async with connection.transaction():
            for customer in customers:
                await connection.execute("insert into carts values ($1, $2, 0)", customer, token)
        self.told |= {(customer, token): 0 for customer in customers}
        await connection.execute(
            "update carts set changes = changes + 1 where customer_id = $1 and token = $2", one, token
        )
        self.told[one, token] += 1
        found = await connection.fetch("select customer_id from carts where token = $1 order by 1", token)
        if [row[0] for row in found] != customers:
            raise ShardproxyError(f"cart {token} of customers {customers} is read as {found}")
        self.longest_s = max(self.longest_s, time.monotonic() - began)


async def play(stage: Stage, facts: Facts) -> None:
    """Start, watch, compare, switch, complete; then everything is counted."""
    market, shoppers = stage.market, _Shoppers(stage.market)
    before = await _customers(market)
    mover = Mover(market.proxy.config, "reshard", NAME, facts.console)
    try:
        async with Load(market.connect, market.size.shoppers, shoppers.shop) as load:
            await _more(load)
            status = await _move(market, mover, facts)
            await _more(load)
            await mover.done("complete")
    finally:
        await mover.close()
    market.used = [*market.shards]
    pause = status["pause_ms"] or 0
    facts.add("how long the switch held writes, as it measured", f"{pause:.0f} ms", 0 < pause < PROMISED_MS)
    facts.add(
        f"operations of {market.size.shoppers} clients meanwhile, and their errors",
        f"{load.tally.done}, {load.tally.described()}; the slowest took {shoppers.longest_s:.2f} s",
        load.tally.done > 0 and load.tally.failed == 0,
    )
    await _judge(market, facts, shoppers)
    after = await _customers(market)
    facts.add(
        "customers on each shard before and after",
        f"{', '.join(map(str, before))} -> {', '.join(map(str, after))}",
        sum(before) == sum(after) == market.size.customers and before[-1] == 0 and min(after) > 0,
    )


async def _move(market: Market, mover: Mover, facts: Facts) -> dict[str, Any]:
    """Until the new shard serves; the status then."""
    await mover.start(keyspace=KEYSPACE, to=tuple(market.shards))
    await mover.watch()
    ready = await mover.status()
    facts.add(
        "rows copied to the new shard and beside those that give some away, while clients wrote",
        str(ready["rows_copied"]),
        ready["state"] == "READY" and ready["rows_copied"] > 0,
    )
    compared = await mover.done("verify")
    facts.add(
        "comparison of both sides, at one position of each server",
        compared.partition(" at ")[0],
        "are equal" in compared,
    )
    await mover.switch(MAX_HOLD_S)
    return await mover.status()


async def _judge(market: Market, facts: Facts, shoppers: _Shoppers) -> None:
    """Then the carts are emptied: both databases are alike again."""
    connection = await market.connect()
    try:
        rows = await connection.fetch("select customer_id, token, changes from carts")
        await connection.execute("delete from carts")
    finally:
        await leave(connection)
    found = {(row["customer_id"], row["token"]): row["changes"] for row in rows}
    facts.add(
        "acknowledged writes, and those of them found exactly once, as they were written",
        f"{len(shoppers.told)} and {sum(found.get(key) == value for key, value in shoppers.told.items())}",
        found == shoppers.told and len(rows) == len(found) > 0,
    )


async def _customers(market: Market) -> list[int]:
    answers = await market.everywhere("select count(*)::int from customers")
    return [int(rows[0][0]) for rows in answers.values()]


async def _more(load: Load) -> None:
    """Wait until every client has got something done."""
    goal, deadline = load.tally.done + 5 * 12, time.monotonic() + CATCH_S
    while load.tally.done < goal and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


ACT = Act(
    "A third shard, while clients write",
    "The rows are copied, followed, compared and switched by `shardproxy reshard`; clients see a pause, no error.",
    play,
)
