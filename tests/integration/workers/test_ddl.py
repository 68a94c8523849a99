"""DDL through one worker, or one proxy: every other one plans by it as soon as the client has heard of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from .conftest import MakeSpread, Spread

KEYED = "create table {} /* shardproxy: key={} keyspace=customer */ {}"
COPIED = "create table {} /* shardproxy: reference keyspace=customer */ {}"
MEANWHILE = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.ObjectInUseError,
             asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


async def _in_turns(one: asyncpg.Connection, two: asyncpg.Connection, rounds: int) -> None:
    """What one has done to the schema, the other uses at once."""
    for n in range(rounds):
        await one.execute(KEYED.format(f"t{n}", "id", "(id int primary key, v text)"))
        assert await two.execute(f"insert into t{n} select g, 'x' from generate_series(1, 20) g") == "INSERT 0 20"
        await two.execute(f"alter table t{n} add column more int default 7")
        assert await one.execute(f"insert into t{n} values (21, 'y', 8)") == "INSERT 0 1"
        assert await two.fetch(f"select sum(more), count(distinct v) from t{n}") == [(148, 2)]
        await two.execute(f"alter table t{n} drop column v")
        assert await one.fetch(f"select * from t{n} where id = 21") == [(21, 8)]
        assert await one.fetch(f"select a.* from t{n} a join t{n} b on a.more = b.id where a.id = 21") == [(21, 8)]
        await two.execute(f"alter table t{n} rename to u{n}")
        assert await one.fetchval(f"select count(*) from u{n}") == 21
        await one.execute(f"drop table u{n}")
        with pytest.raises(asyncpg.UndefinedTableError):
            await two.fetch(f"select * from u{n}")
        await two.execute(KEYED.format(f"u{n}", "other", "(id int, other int primary key)"))
        await one.execute(f"insert into u{n} select g, g * 3 from generate_series(1, 9) g")
        assert await two.fetchval(f"select id from u{n} where other = 27") == 9
        await one.execute(COPIED.format(f"c{n}", "(id int primary key)"))
        await two.execute(f"insert into c{n} values (1), (2)")
        assert await one.fetchval(f"select count(*) from u{n} join c{n} using (id)") == 2


async def test_of_two_workers(spread: MakeSpread) -> None:
    made = await spread(shards=2)
    one, two = await made.pair()
    await _in_turns(one, two, 4)
    assert await made.everywhere("select count(*) from c3") == [2, 2, 2]


async def test_of_two_proxies(spread: MakeSpread) -> None:
    made = await spread(shards=2, proxies=2, topology="database")
    one, two = await made.client(proxy=0), await made.client(proxy=1)
    await _in_turns(one, two, 3)
    assert await made.everywhere("select count(*) from c2") == [2, 2, 2]


async def test_in_transactions_of_others(spread: MakeSpread) -> None:
    """One that has begun, and one that has changed the schema itself, plan by what others have committed meanwhile."""
    made = await spread()
    one, two = await made.pair()
    await one.execute(KEYED.format("t", "id", "(id int primary key, v int)"))
    await two.execute("begin; select sum(money) from account")
    await one.execute("alter table t add column w int; insert into t values (1, 2, 3)")
    assert await two.fetch("select * from t") == [(1, 2, 3)]
    await two.execute("commit")
    await two.execute("begin")
    await two.execute(KEYED.format("own", "id", "(id int primary key)"))
    await two.execute("insert into own values (1), (2)")
    await one.execute("drop table t")
    await one.execute(KEYED.format("t", "v", "(id int, v int primary key)"))
    await two.execute("insert into t select g, g + 10 from generate_series(1, 20) g")
    assert await two.fetchval("select id from t where v = 25") == 15
    assert await two.fetchval("select count(*) from own") == 2
    await two.execute("rollback")
    assert await one.fetchval("select count(*) from t") == 0


async def _busy(client: asyncpg.Connection, statement: Callable[[int], str], until: asyncio.Event) -> int:
    """Run statements one after the other; how many did something."""
    done = 0
    for n in range(1_000_000):
        if until.is_set():
            break
        with contextlib.suppress(*MEANWHILE):
            await client.execute(statement(n))
            done += 1
    return done


async def _all_at_home(made: Spread, client: asyncpg.Connection, key: str) -> int:
    """Every row is found by its key, on the shard where it is; gives how many there are."""
    count = 0
    for place in made.places[1:]:
        for row in await made.node.sql("select a, b from t", dbname=place):
            value = row[0] if key == "a" else row[1]
            found = await client.fetch(f"select a, b from t where {key} = {value}")
            assert tuple(row) in [tuple(one) for one in found], (place, tuple(row))
            count += 1
    return count


async def _anew(client: asyncpg.Connection, key: str, at_once: bool) -> bool:
    """Drop and create the table with this key. False: it is what it was."""
    made = KEYED.format("t", key, "(a int, b int)")
    if not at_once:
        await client.execute("drop table t")
        await client.execute(made)
        return True
    try:
        await client.execute(f"begin; drop table t; {made}; commit")
    except (asyncpg.ObjectInUseError, asyncpg.DeadlockDetectedError):
        await client.execute("rollback")
        return False
    return True


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_table_is_made_anew_with_another_key(spread: MakeSpread, at_once: bool) -> None:
    """While others write to it: no row goes to where the old one had it. At once it may be refused, as long as
    statements wait that were planned by the old one."""
    made = await spread()
    one, two = await made.pair()
    three = await made.client(0)
    await one.execute(KEYED.format("t", "a", "(a int, b int)"))
    over = asyncio.Event()
    writers = [asyncio.ensure_future(_busy(client, statement, over)) for client, statement in (
        (two, lambda n: f"insert into t values ({n}, {n * 7 + 1})"),
        (three, lambda n: f"insert into t values ({n}, {n * 5}), ({n + 1}, 3)"))]
    key = "a"
    for wanted in ("b", "a", "b", "a"):
        await asyncio.sleep(0.2)
        key = wanted if await _anew(one, wanted, at_once) else key
    await asyncio.sleep(0.3)
    over.set()
    assert min(await asyncio.gather(*writers)) > 5
    assert await _all_at_home(made, one, key) == await one.fetchval("select count(*) from t") > 0
    assert await _anew(one, "b" if key == "a" else "a", at_once)


async def test_a_new_reference_table_is_never_written_at_one_place_alone(spread: MakeSpread) -> None:
    made = await spread()
    one, two = await made.pair()
    over = asyncio.Event()
    for n in range(4):
        over.clear()
        writer = asyncio.ensure_future(_busy(two, lambda k, n=n: f"insert into r{n} values ({k})", over))  # type: ignore[misc]
        await asyncio.sleep(0.1)
        await one.execute(COPIED.format(f"r{n}", "(id int)"))
        await asyncio.sleep(0.2)
        over.set()
        assert await writer > 0
        counts: list[Any] = await made.everywhere(f"select count(*) from r{n}")
        assert counts[0] > 0 and len(set(counts)) == 1, counts


async def test_what_waits_for_a_connection_is_planned_again(spread: MakeSpread) -> None:
    """A statement that stood in a pool's queue while a table got another key runs by the new one."""
    made = await spread(pool={"size": 2})
    one, two = await made.client(0), await made.client(0)
    other = await made.client(1, "postgres")
    await other.execute(KEYED.format("t", "a", "(a int, b int)"))
    ((first,), _) = await made.keys()
    await one.execute(f"begin; update account set money = 0 where id = {first}")
    waiting = asyncio.ensure_future(two.execute("insert into t select g, g * 2 from generate_series(1, 30) g"))
    await asyncio.sleep(0.3)
    await other.execute("drop table t")
    await other.execute(KEYED.format("t", "b", "(a int, b int)"))
    await one.execute("commit")
    assert await waiting == "INSERT 0 30"
    assert await _all_at_home(made, one, "b") == 30


async def test_a_worker_that_dies_after_its_commit(spread: MakeSpread) -> None:
    """Others know what it has done to the schema soon, though it could not tell."""
    made = await spread()
    one, two = await made.pair()
    await one.execute(KEYED.format("t", "id", "(id int primary key)"))
    for place in made.places:
        await made.node.sql("alter table t add column v int default 5", dbname=place)
    assert await two.fetchval("select count(*) from t") == 0
    os.kill(made.proxy.worker_pids[0], signal.SIGKILL)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
                client = await made.client()
                await client.execute("insert into t values (1, 2) on conflict (id) do update set v = 9")
                break
            await asyncio.sleep(0.1)
