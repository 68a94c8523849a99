"""A database over two shards: made, filled and looked at. The rows are counted on the servers themselves."""

from __future__ import annotations

import asyncio
import time

import asyncpg
from rich.table import Table

from ..facts import Facts
from ..load import leave
from ..market import DATABASE, KEYS, Market
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

WITHOUT_HANDLER = "55000"
"""What a server says when a shell is read."""


async def play(stage: Stage, facts: Facts) -> None:
    """Servers, proxy, the same tables and rows here and there; then who has what."""
    market, began = stage.market, time.monotonic()
    await market.start_servers()
    facts.say(f"a coordinator and three more servers, two of them in use: {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    await market.start_proxy()
    facts.say(f"a proxy before them: {time.monotonic() - began:.1f} s")
    sharded, plain = await asyncio.gather(market.connect(), market.connect_plain())
    try:
        began = time.monotonic()
        await market.load(sharded)
        facts.say(f"tables made and filled through the proxy: {time.monotonic() - began:.1f} s")
        await market.load(plain)
        through = {table: await sharded.fetchval(f"select count(*)::int from {table}") for table in KEYS}
        wanted = {table: await plain.fetchval(f"select count(*)::int from {table}") for table in KEYS}
    finally:
        await asyncio.gather(leave(sharded), leave(plain))
    await _rows(market, facts, through, wanted)
    await _topology(market, facts)
    await _shell(market, facts)


async def _rows(market: Market, facts: Facts, through: dict[str, int], wanted: dict[str, int]) -> None:
    counts = {}
    for name in KEYS:
        answers = await market.everywhere(f"select count(*)::int from {name}")
        counts[name] = {shard: int(answers[shard][0][0]) for shard in market.used}
    table = Table("table", "key", *market.used, "through the proxy", "plain database", pad_edge=False)
    for name, here in counts.items():
        numbers = (*here.values(), through[name], wanted[name])
        table.add_row(name, KEYS[name] or "(reference)", *map(str, numbers))
    facts.console.print(table)
    split = [name for name, key in KEYS.items() if key]
    right = [name for name in split if sum(counts[name].values()) == through[name] == wanted[name]]
    facts.add(
        "sharded tables whose rows on the shards add up to those of the plain database",
        f"{len(right)} of {len(split)}, {sum(wanted[name] for name in split)} rows",
        right == split,
    )
    least = min(counts["customers"].values())
    facts.add(
        "customers on the shard that has the fewest",
        f"{least} of {wanted['customers']}",
        least > wanted["customers"] // (2 * len(market.used)),
    )
    copies = set(counts["products"].values()) | {through["products"]}
    facts.add(
        "rows of the reference table on every shard",
        ", ".join(map(str, copies)),
        copies == {wanted["products"]},
    )


async def _topology(market: Market, facts: Facts) -> None:
    rows = [row for row in await market.proxy.console("SHOW TOPOLOGY") if row["database"] == DATABASE]
    table = Table(
        "table", "kind", "key", "function", "slots", "shards", title="SHOW TOPOLOGY", title_justify="left"
    )
    for row in rows:
        table.add_row(
            *(str(row[name] or "") for name in ("table", "kind", "key", "function", "slots", "shards"))
        )
    facts.console.print(table)
    shown = {row["table"].removeprefix("public."): row["key"] or "" for row in rows}
    facts.add(
        "tables as configured, according to SHOW TOPOLOGY",
        f"{len(shown)} of {len(KEYS)}",
        shown == dict(KEYS),
    )


async def _shell(market: Market, facts: Facts) -> None:
    """Past the proxy, the coordinator must not answer from its empty shells."""
    refused = 0
    names = [name for name, key in KEYS.items() if key]
    for name in names:
        try:
            await market.main.primary.sql(f"select * from {name}", dbname=DATABASE)
        except asyncpg.PostgresError as error:
            refused += error.sqlstate == WITHOUT_HANDLER
    facts.add(
        "sharded tables that the coordinator itself refuses to read, past the proxy",
        f"{refused} of {len(names)}",
        refused == len(names),
    )


ACT = Act(
    "One database over two shards",
    "Three servers behind one connection string. The application makes tables and fills them as on one server.",
    play,
)
