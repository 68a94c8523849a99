"""A replica is killed while clients read from it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..facts import Facts
from ..load import Load
from ..shop import email
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

BACK_S = 20.0


async def play(stage: Stage, facts: Facts) -> None:
    """Load, kill -9, load; then the replica is started again, still under load."""
    size = stage.size

    async def read(connection: Any, client: int, turn: int) -> None:
        name = await connection.fetchval(
            "select name from customers where email = $1", email(1 + (client * 7919 + turn) % size.customers)
        )
        assert name is not None

    async def write(connection: Any, client: int, turn: int) -> None:
        await connection.execute(
            "update products set stock = stock - 1 where id = $1", 1 + (client * 31 + turn) % size.products
        )

    before = await stage.figures()
    async with (
        Load(stage.connect, max(2, size.clients * 3 // 4), read) as readers,
        Load(stage.connect, max(1, size.clients // 4), write) as writers,
    ):
        await asyncio.sleep(size.load_s)
        connections = await stage.server_connections()
        victim = max(stage.cluster.replicas, key=lambda node: connections[node.name])
        open_there = connections[victim.name]
        at_kill = readers.tally.done
        await victim.kill9()
        facts.say(
            f"kill -9 of {victim.name}, after {at_kill} reads, with {open_there} connections of the proxy to it"
        )
        await asyncio.sleep(size.load_s)
        after_kill = readers.tally.done - at_kill
        await victim.start()
        began = time.monotonic()
        back = await _back(stage, victim.port)
        took = time.monotonic() - began
        async with Load(stage.connect, size.clients, read) as newcomers:
            await asyncio.sleep(size.load_s / 2)
            again = (await stage.server_connections())[victim.name]
    retried = (await stage.figures())["retried_reads"] - before.get("retried_reads", 0)
    facts.add(
        "reads before and after the kill",
        f"{at_kill} and {after_kill}",
        bool(open_there and at_kill and after_kill),
    )
    tallies = (readers.tally, writers.tally, newcomers.tally)
    facts.add(
        "errors that clients saw",
        f"{sum(t.failed for t in tallies)} in {sum(t.done for t in tallies)} statements; "
        f"connections lost: {sum(t.connections_lost for t in tallies)}",
        not any(t.failed or t.connections_lost for t in tallies),
    )
    facts.say(
        f"reads that ran again elsewhere because their server died: {retried}; the slowest statement took "
        f"{max(t.longest_s for t in tallies) * 1000:.0f} ms"
    )
    facts.add(
        "started again, healthy for the proxy, and read from by new clients",
        f"after {took:.1f} s, {again} connections" if back else "never",
        back and again > 0,
    )


async def _back(stage: Stage, port: int) -> bool:
    """Whether the proxy takes the server for a healthy replica again, in time."""
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        if any(
            row["port"] == port and row["role"] == "replica" and row["healthy"]
            for row in await stage.console("SHOW LAG")
        ):
            return True
        await asyncio.sleep(0.1)
    return False


ACT = Act(
    "A replica is killed under load",
    "kill -9, no warning. Reads of which nothing was delivered run again elsewhere.",
    play,
)
