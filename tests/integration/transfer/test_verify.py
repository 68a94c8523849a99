"""Every kind of difference is found, and what repairs it is told."""

from __future__ import annotations

import asyncio

import pytest

from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.move import Move
from shardproxy.tools.transfer.parts import Verified
from shardproxy.tools.transfer.tables import MovedTable
from shardproxy.tools.transfer.verifying import Verifier

from .places import Places, into_shards
from .test_follow import begin, follow, same

pytestmark = pytest.mark.asyncio


async def compared(places: Places, move: Move, tables: dict[str, list[MovedTable]]) -> Verified:
    """With streams that run."""
    applier = Applier(move, move.sources[0], places, tables[""])
    running = asyncio.create_task(applier.run())
    try:
        return await asyncio.wait_for(Verifier(move, places, tables, lambda _, lsn: applier.reach(lsn)).run(), 60)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("kind", ["int", "text collate \"C\""])
async def test_differences(places: Places, kind: str) -> None:
    await places.execute("", f"""create table items (id int primary key, owner {kind}, note text);
        insert into items select i, (i % 50)::text::{kind.partition(' ')[0]}, E'it''s \\\\ ' || i
        from generate_series(1, 2000) i""")
    move = into_shards(places, {("public", "items"): ("owner",)}, [(23 if kind == "int" else 25,)], ["s0", "s1"])
    tables = await begin(places, move)
    found = await compared(places, move, tables)
    assert (found.mismatches, found.rows) == (0, 2000)
    rows = {shard: int(await places.value(f"shop/{shard}", "select min(id) from items")) for shard in ("s0", "s1")}
    await places.execute("shop/s0", f"delete from items where id = {rows['s0']}")
    await places.execute("shop/s1", f"update items set note = 'other' where id = {rows['s1']}")
    await places.execute("shop/s0", "insert into items values (5000, '1', 'stray')")
    found = await compared(places, move, tables)
    assert found.mismatches == 3
    assert {text.partition(": ")[0] for text in found.detail} == {"shop/s0", "shop/s1"}
    for text in found.detail:
        place, _, rest = text.partition(": ")
        await places.execute(place, rest.partition("repair: ")[2])
    found = await compared(places, move, tables)
    assert found.mismatches == 0
    await follow(places, move, tables)
    assert await same(places)
