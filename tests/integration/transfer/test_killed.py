"""The process that copies and follows is killed again and again, while others write: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import asyncpg
import pytest

from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import Move
from shardproxy.tools.transfer.preparing import finish_tables, prepare
from shardproxy.tools.transfer.verifying import Verifier

from .places import Places, into_shards

pytestmark = pytest.mark.asyncio
ROOT = Path(__file__).resolve().parents[3]
KILLS = 7
ROWS = 6000


async def write(places: Places, stop: asyncio.Event, seed: int) -> int:
    """Transactions of every kind, until told to stop; gives their number."""
    chosen = random.Random(seed)
    connection = await places.open("")
    done = 0
    try:
        while not stop.is_set():
            one, two = chosen.randrange(ROWS), chosen.randrange(ROWS)
            try:
                async with connection.transaction():
                    for _ in range(chosen.randrange(1, 4)):
                        await connection.execute(chosen.choice((
                            f"insert into items values ({one + seed * ROWS}, {two}, 'new') on conflict (id) do nothing",
                            f"update items set note = note || '.' where id = {one}",
                            f"update items set owner = {two} where id = {one}",
                            f"delete from items where id = {two}",
                            f"update items set id = id + {100 * ROWS} where id = {one}",
                            f"update items set owner = owner + 1 where id between {one} and {one + 5}")))
                done += 1
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
                pass
            await asyncio.sleep(0.001)
    finally:
        await connection.close()
    return done


async def killed(places: Places, move: Move, seconds: float) -> None:
    """Run the process for so long, and kill it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.transfer.moving", places.host, str(places.port),
        json.dumps(move.to_json()), cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"prepared\n"
    await asyncio.sleep(seconds)
    process.kill()
    await process.wait()


async def test_kills_while_others_write(places: Places) -> None:
    await places.execute("", f"""create table items (id int primary key, owner int, note text);
        alter table items alter note set storage external;
        insert into items select i, i % 977, repeat('x', case when i % 10 = 0 then 3000 else 10 end)
          from generate_series(1, {ROWS}) i; analyze items""")
    move = into_shards(places, {("public", "items"): ("owner",)}, [(23,)], ["s0", "s1"])
    chosen, stop = random.Random(5), asyncio.Event()
    writers = [asyncio.create_task(write(places, stop, seed)) for seed in range(1, 4)]
    for _ in range(KILLS):
        await killed(places, move, chosen.random() * 0.9)
    tables = await prepare(move, places, places, move.into)
    main = move.sources[0]
    assert await Copier(move, main, places, tables[""]).run()
    applier = Applier(move, main, places, tables[""])
    running = asyncio.create_task(applier.run())
    try:
        await asyncio.wait_for(applier.reach(await places.written("")), 60)
        assert await finish_tables(move, places, tables) == []
        found = await asyncio.wait_for(Verifier(move, places, tables, lambda _, lsn: applier.reach(lsn)).run(), 60)
        assert found.mismatches == 0, found.detail
        assert found.rows
        stop.set()
        assert sum(await asyncio.gather(*writers)) > 100
        await asyncio.wait_for(applier.reach(await places.written("")), 60)
    finally:
        stop.set()
        running.cancel()
        await asyncio.gather(running, *writers, return_exceptions=True)
    there = [row for shard in ("s0", "s1") for row in await places.rows(f"shop/{shard}", "public.items")]
    assert sorted(there) == await places.rows("", "public.items")
