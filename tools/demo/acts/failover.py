"""The primary is killed and a replica promoted, while clients write.

Replication is synchronous (``ANY 1 (*)``), so what was acknowledged must be there afterwards, all of it. Every write
has a token of its own; an outcome that is reported as unknown (08007) may or may not have left its token.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from ..facts import Facts
from ..load import Load, leave
from ..shop import email
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

UNKNOWN = "08007"
REPEATABLE = "40001"
DOWN_S = 1.0
"""How long there is no primary: the time that an operator, or Patroni, would need at least."""


@dataclass(slots=True)
class _Written:
    """Tokens of writes by what their clients were told."""

    acknowledged: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


async def play(stage: Stage, facts: Facts) -> None:
    """Load, kill -9 of the primary, promotion by this script, load; then every token is looked up."""
    size, cluster, written = stage.size, stage.cluster, _Written()
    old = cluster.primary

    async def write(connection: Any, client: int, turn: int) -> None:
        await _order(connection, f"{client}-{turn}", written, in_block=bool(client % 2))

    async def read(connection: Any, client: int, turn: int) -> None:
        await connection.fetchval(
            "select name from customers where email = $1", email(1 + (client * 7919 + turn) % size.customers)
        )

    before = await stage.figures()
    async with (
        Load(stage.connect, max(2, size.clients // 2), write) as writers,
        Load(stage.connect, max(2, size.clients // 2), read) as readers,
    ):
        await asyncio.sleep(size.load_s)
        reads, began = readers.tally.done, time.monotonic()
        await old.kill9()
        facts.say(
            f"kill -9 of the primary {old.name}, after {writers.tally.done} writes; shardproxy never promotes"
        )
        await asyncio.sleep(DOWN_S)
        held = (await stage.figures())["held_statements"] - before.get("held_statements", 0)
        reads = readers.tally.done - reads
        if not reads:
            for row in await stage.console("SHOW LAG"):
                facts.say(
                    ", ".join(
                        f"{name} {row[name]}" for name in ("server", "role", "healthy", "fresh_ms", "error")
                    )
                )
        new = await cluster.failover()
        facts.say(f"{new.name} promoted by the demo's script {time.monotonic() - began:.1f} s after the kill")
        await asyncio.sleep(size.load_s)
    await _judge(stage, facts, written, writers, readers)
    facts.add("statements that waited for the new primary and went through", str(held), held > 0)
    facts.add("reads answered while there was no primary", str(reads), reads > 0)
    await cluster.rejoin(old)
    facts.say(f"{old.name} is back, as a replica of {new.name}")


async def _order(connection: Any, token: str, written: _Written, in_block: bool) -> None:
    try:
        if in_block:
            async with connection.transaction():
                made = await connection.fetchval(
                    "insert into orders (customer_id, token) values (1, $1) returning id", token
                )
                await connection.execute("insert into order_items values ($1, 1, 1, 10)", made)
        else:
            await connection.execute("insert into orders (customer_id, token) values (1, $1)", token)
    except asyncpg.PostgresError as error:
        (written.unknown if error.sqlstate == UNKNOWN else written.refused).add(token)
        raise
    written.acknowledged.add(token)


async def _judge(stage: Stage, facts: Facts, written: _Written, writers: Load, readers: Load) -> None:
    connection = await stage.connect()
    try:
        rows = await connection.fetch(
            "select token, count(i.order_id)::int as items from orders o "
            "left join order_items i on i.order_id = o.id where token is not null group by token"
        )
    finally:
        await leave(connection)
    found = {row["token"]: row["items"] for row in rows}
    halves = [token for token, items in found.items() if items != int(token.split("-")[0]) % 2]
    kept = len(written.acknowledged & set(found))
    facts.add(
        "acknowledged writes, and those of them found afterwards",
        f"{len(written.acknowledged)} and {kept}",
        kept == len(written.acknowledged) > 0,
    )
    surprises = set(found) - written.acknowledged - written.unknown
    facts.add(
        "rows whose writer was told that nothing was written; half transactions",
        f"{len(surprises)}; {len(halves)}",
        not surprises and not halves,
    )
    tally, allowed = writers.tally, {UNKNOWN, REPEATABLE}
    unknown = len(written.unknown)
    facts.add(
        "errors of writers, by SQLSTATE",
        f"{tally.described()} in {tally.done + tally.failed}; of {unknown} with unknown outcome "
        f"{len(written.unknown & set(found))} were committed",
        set(tally.errors) <= allowed,
    )
    facts.add("longest pause of a writer", f"{tally.longest_s:.1f} s", tally.longest_s > DOWN_S / 2)
    facts.add(
        "errors of readers",
        f"{readers.tally.failed} in {readers.tally.done} ({readers.tally.described()})",
        not readers.tally.failed,
    )
    lost = tally.connections_lost + readers.tally.connections_lost
    facts.add("client connections lost", str(lost), lost == 0)


ACT = Act(
    "The primary is killed and a replica promoted",
    "Writes in progress are answered honestly, those not yet sent wait, and nothing acknowledged is lost.",
    play,
)
