"""Reading what was just written, while no replica shows it yet."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..facts import Facts
from ..load import leave
from ..shop import email
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

WRITE = "update products set stock = $2 where id = $1"
READ = "select stock from products where id = $1"
BACK_S = 10.0


async def play(stage: Stage, facts: Facts) -> None:
    """Writes on one connection, reads on another, with the replay of all replicas paused; then without."""
    replicas = [node for node in stage.cluster.replicas if node.running]
    writer, reader, bystander, hasty = [await stage.connect() for _ in range(4)]
    try:
        await asyncio.gather(*(node.pause_replay() for node in replicas))
        facts.say(
            f"replay paused on {', '.join(node.name for node in replicas)}: they receive, and show nothing new"
        )
        await _paused(stage, facts, writer, reader, bystander, hasty)
        await asyncio.gather(*(node.resume_replay() for node in replicas))
        facts.say("replay resumed")
        await _resumed(stage, facts, reader)
    finally:
        await asyncio.gather(*(node.resume_replay() for node in replicas), return_exceptions=True)
        await asyncio.gather(*map(leave, (writer, reader, bystander, hasty)))


async def _paused(stage: Stage, facts: Facts, writer: Any, reader: Any, bystander: Any, hasty: Any) -> None:
    count, products = stage.size.lagged, stage.size.products
    before = await stage.figures()
    stale = 0
    for number in range(count):
        await writer.execute(WRITE, 1 + number % products, number)
        stale += await reader.fetchval(READ, 1 + number % products) != number
    between = await stage.figures()
    facts.add("writes, each followed by a read on another connection", f"{count}, stale: {stale}", stale == 0)
    on_primary = _grown(before, between, "primary_reads")
    facts.add("of these reads, answered by the primary", str(on_primary), on_primary == count)
    for number in range(count):
        await bystander.fetchval(
            "select name from customers where email = $1", email(1 + number % stage.size.customers)
        )
    elsewhere = _grown(between, await stage.figures(), "replica_reads")
    facts.add(
        "reads of a table that was not written, still answered by replicas",
        f"{elsewhere} of {count}",
        elsewhere == count,
    )
    await hasty.execute("set shardproxy.consistency = eventual")
    last = [number for number in range(count) if number + products >= count]
    old = sum([await hasty.fetchval(READ, 1 + number % products) != number for number in last])
    facts.add(
        "the same reads with consistency = eventual: stale, so the replicas were behind",
        f"{old} of {len(last)}",
        old > 0,
    )


async def _resumed(stage: Stage, facts: Facts, reader: Any) -> None:
    """Until a read of the written table is answered by a replica again."""
    began = time.monotonic()
    before, value, reads = await stage.figures(), None, 0
    while _grown(before, await stage.figures(), "replica_reads") == 0 and time.monotonic() - began < BACK_S:
        value = await reader.fetchval(READ, 1)
        reads += 1
    back = _grown(before, await stage.figures(), "replica_reads") > 0
    right = max(number for number in range(stage.size.lagged) if number % stage.size.products == 0)
    facts.add(
        "reads of the written table go to replicas again after",
        f"{time.monotonic() - began:.1f} s" if back else "never",
        back and value == right,
    )


def _grown(before: dict[str, int], after: dict[str, int], name: str) -> int:
    return after.get(name, 0) - before.get(name, 0)


ACT = Act(
    "Reading your own writes while replicas lag",
    "A pooled application writes on one connection and reads on the next. It must see what it wrote.",
    play,
)
