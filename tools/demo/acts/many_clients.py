"""Many clients on few server connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ..facts import Facts
from ..load import Load, leave
from ..serving import DATABASE, USER
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

AT_ONCE = 20
"""Logins at the same time."""


async def play(stage: Stage, facts: Facts) -> None:
    """All connect, all work; meanwhile the servers are asked how many connections they have."""
    size = stage.size
    gate = asyncio.Semaphore(AT_ONCE)
    most: Counter[str] = Counter()

    async def connect() -> Any:
        async with gate:
            return await stage.connect()

    async def work(connection: Any, client: int, turn: int) -> None:
        if turn % 2:
            await connection.execute(
                "update products set stock = stock - 1 where id = $1", 1 + client % size.products
            )
        else:
            async with connection.transaction():
                await connection.fetchval(
                    "select name from customers where id = $1", 1 + client % size.customers
                )
                await connection.execute(
                    "update products set stock = stock - 1 where id = $1", 1 + client % size.products
                )

    held = [await connect() for _ in range(2)]  # they do nothing, and must not hold anything
    load = Load(connect, size.many - len(held), work, turns=size.each)
    async with load:
        working = asyncio.create_task(_until_done(load, (size.many - len(held)) * size.each))
        clients, pools = await _clients(stage), await _pools(stage)
        while not working.done():
            for name, count in (await stage.server_connections()).items():
                most[name] = max(most[name], count)
            await asyncio.sleep(0.1)
    await asyncio.gather(*map(leave, held))
    tally = load.tally
    facts.add(
        "clients connected at the same time (SHOW CLIENTS, SHOW POOLS)",
        f"{clients}, {pools}",
        clients == pools == size.many,
    )
    facts.add(
        "server connections at most, as the servers counted them",
        " + ".join(f"{count} on {name}" for name, count in most.items()),
        bool(most) and max(most.values()) <= size.pool_size,
    )
    facts.add(
        "transactions done, errors",
        f"{tally.done}, {tally.failed} ({tally.described()})",
        not tally.failed and tally.done == (size.many - len(held)) * size.each,
    )


async def _until_done(load: Load, count: int) -> None:
    while load.tally.done + load.tally.failed < count:
        await asyncio.sleep(0.02)


async def _clients(stage: Stage) -> int:
    return sum(row["database"] == DATABASE for row in await stage.console("SHOW CLIENTS"))


async def _pools(stage: Stage) -> int:
    return sum(
        row["cl_active"] + row["cl_waiting"]
        for row in await stage.console("SHOW POOLS")
        if row["database"] == DATABASE and row["user"] == USER
    )


ACT = Act(
    "Many clients, few server connections",
    "In transaction pooling a client has a server connection only while a transaction lasts.",
    play,
)
