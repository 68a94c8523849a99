"""Money moves between shards while the worker that commits is killed, again and again.

Every transfer is an UPDATE on each of two accounts and a row that says so. What a client was told is compared with what
is there afterwards. A transfer whose client lost its connection may or may not have happened, but never by half.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from ..facts import Facts
from ..load import Load, leave
from ..market import START_BALANCE, Market
from ..stage import Stage
from .act import Act

__all__ = ["ACT"]

ROLLED_BACK = ("40001", "40P01")
"""Certainly nothing happened."""
CATCH_S = 10.0
SETTLED_S = 20.0
DIFFERENT = """
select count(*)::int from accounts a
left join (select source, sum(amount) as gone from transfers group by source) o on o.source = a.id
left join (select target, sum(amount) as come from transfers group by target) i on i.target = a.id
where balance <> $1::bigint - coalesce(gone, 0) + coalesce(come, 0)
"""


@dataclass(slots=True)
class _Told:
    """Tokens of transfers by what their clients were told."""

    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


async def play(stage: Stage, facts: Facts) -> None:
    """Transfers; kill -9 of the worker as soon as something is prepared; then every account is looked at."""
    market, size, told = stage.market, stage.size, _Told()

    async def move(connection: Any, client: int, turn: int) -> None:
        source = 1 + (client * 7919 + turn * 31) % size.accounts
        target = 1 + (client * 104729 + turn * 37 + 1) % size.accounts
        if source != target:
            await _transfer(connection, source, target, f"{client}-{turn}", told)

    prepared = []
    async with Load(market.connect, size.movers, move) as movers:
        for _ in range(size.kills):
            await _more(movers, size.movers * 5)
            prepared.append(await _kill_amid_commits(market))
        killed = time.monotonic()
        await _more(movers, size.movers * 5)
    facts.add(
        "kill -9 of the worker, and transactions that were prepared on the shards at that moment",
        f"{len(prepared)} times: {', '.join(map(str, prepared))}",
        all(prepared),
    )
    restarts = (await market.proxy.console("SHOW WORKERS"))[0]["restarts"]
    facts.add("workers that the proxy replaced", str(restarts), restarts == size.kills)
    await _settled(market, facts, killed)
    await _judge(market, facts, told, movers)


async def _transfer(connection: Any, source: int, target: int, token: str, told: _Told) -> None:
    change = "update accounts set balance = balance + $2 where id = $1"
    try:
        async with connection.transaction():
            await connection.execute(change, source, -1)
            await connection.execute(change, target, 1)
            await connection.execute("insert into transfers values ($1, $2, $3, 1)", source, token, target)
    except asyncpg.PostgresError as error:
        (told.refused if error.sqlstate in ROLLED_BACK else told.unknown).add(token)
        raise
    except BaseException:
        told.unknown.add(token)
        raise
    told.acknowledged.add(token)


async def _more(load: Load, count: int) -> None:
    """Wait until so many more operations have succeeded."""
    goal, deadline = load.tally.done + count, time.monotonic() + CATCH_S
    while load.tally.done < goal:
        assert time.monotonic() < deadline, (
            f"no {count} transfers in {CATCH_S:.0f} s: {load.tally.described()}"
        )
        await asyncio.sleep(0.01)


async def _kill_amid_commits(market: Market) -> int:
    """Stop the worker wherever it is; if something is prepared then, kill it. How many were prepared."""
    pid = (await market.proxy.console("SHOW WORKERS"))[0]["pid"]
    deadline = time.monotonic() + CATCH_S
    while True:
        os.kill(pid, signal.SIGSTOP)
        prepared = await market.prepared()
        if prepared or time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return prepared
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.03)


async def _settled(market: Market, facts: Facts, since: float) -> None:
    deadline = time.monotonic() + SETTLED_S
    while (left := await market.prepared()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    rows = [row for row in await market.proxy.console("SHOW TRANSACTIONS") if row["gid"]]
    facts.add(
        "prepared transactions left on the four servers; in doubt according to SHOW TRANSACTIONS",
        f"{left}; {len(rows)} ({time.monotonic() - since:.1f} s after the last kill)",
        not left and not rows,
    )


async def _judge(market: Market, facts: Facts, told: _Told, movers: Load) -> None:
    connection = await market.connect()
    try:
        found = {row["token"] for row in await connection.fetch("select token from transfers")}
        crossing = await _crossing(market, connection)
        total = int(await connection.fetchval("select sum(balance) from accounts"))
        wrong = await connection.fetchval(DIFFERENT, START_BALANCE)
    finally:
        await leave(connection)
    sums = [
        int(rows[0][0]) for rows in (await market.everywhere("select sum(balance) from accounts")).values()
    ]
    right = START_BALANCE * market.size.accounts
    facts.add("sum of all accounts, through the proxy", f"{total}, as before", total == right)
    facts.add(
        "sums on the shards, as they count them",
        f"{' + '.join(map(str, sums))} = {sum(sums)}",
        sum(sums) == right,
    )
    facts.add("accounts that differ from the sum of their transfers", str(wrong), wrong == 0)
    kept = len(told.acknowledged & found)
    facts.add(
        "acknowledged transfers, and those of them found afterwards",
        f"{len(told.acknowledged)} and {kept}; {crossing} went from one shard to another",
        kept == len(told.acknowledged) > 0 and crossing > 0,
    )
    surprises = found - told.acknowledged - told.unknown
    facts.add(
        "transfers found whose client was told that they were rolled back", str(len(surprises)), not surprises
    )
    facts.say(
        f"clients lost their connection {movers.tally.connections_lost} times ({movers.tally.described()}): of "
        f"{len(told.unknown)} transfers without an answer {len(told.unknown & found)} were committed"
    )


async def _crossing(market: Market, connection: Any) -> int:
    """Transfers between accounts that live on different shards."""
    home = {
        row[0]: shard
        for shard, rows in (await market.everywhere("select id from accounts")).items()
        for row in rows
    }
    rows = await connection.fetch("select source, target from transfers")
    return sum(home[row["source"]] != home[row["target"]] for row in rows)


ACT = Act(
    "Transactions over shards survive a kill -9",
    "Clients move money between shards. The proxy's worker is killed in the middle of its commits.",
    play,
)
