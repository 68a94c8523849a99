"""The tool dies at every arrow of the cutover: undone or redone by the proxies, writable again, nothing lost."""

from __future__ import annotations

import asyncio

import pytest

from .test_switch import Load, totals, town
from .town import Town

__all__ = ["town"]

BEFORE = ("c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
AFTER = ("commit", "c9", "c10", "routed", "c11")
KILLED = (137, -9)
MAX_HOLD_S = 2.0


async def settled(town: Town, *phases: str) -> None:
    """Until the row says so."""
    async with asyncio.timeout(45):
        while await town.phase() not in phases:
            await asyncio.sleep(0.05)


async def check(town: Town, load: Load, sharded: bool) -> None:
    """Everything acknowledged is there once, at the side that serves."""
    assert load.errors == []
    assert await totals(town) == (50, load.done, load.done)
    async with town.direct() as there:
        shell = await there.fetchval("select exists (select from pg_inherits where inhparent = 'accounts'::regclass)")
    assert shell == sharded


@pytest.mark.timeout(240)
async def test_a_crash_before_the_commit_is_undone(town: Town) -> None:
    for arrow in BEFORE:
        load = Load(town)
        await asyncio.sleep(0.3)
        assert await town.switch_and_die(arrow, max_hold=MAX_HOLD_S) in KILLED, arrow
        await settled(town, "announced")
        assert await town.until_writable(0) < 2 and await town.until_writable(1) < 2
        await asyncio.sleep(0.2)
        await load.stop()
        assert load.errors == [], arrow
        assert load.longest < MAX_HOLD_S + 3, arrow
        await check(town, load, sharded=False)
        async with town.direct() as there:      # a stray may write again
            await there.execute("update accounts set balance = 0")
            await there.execute("update entries set delta = 0")
    assert await town.switch() < 3000


@pytest.mark.timeout(240)
async def test_a_crash_after_the_commit_is_redone(town: Town) -> None:
    backwards = False
    for arrow in AFTER:
        load = Load(town)
        await asyncio.sleep(0.3)
        assert await town.switch_and_die(arrow, backwards, max_hold=MAX_HOLD_S) in KILLED, arrow
        await settled(town, "switched")
        assert await town.until_writable(0) < 2 and await town.until_writable(1) < 2
        await asyncio.sleep(0.2)
        await load.stop()
        await check(town, load, sharded=not backwards)
        async with town.client() as client:
            await client.execute("update accounts set balance = 0")
            await client.execute("update entries set delta = 0")
        backwards = not backwards


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_crashes_between_shards(town: Town) -> None:
    await town.switch()
    backwards = False
    for arrow, committed in (("c3", False), ("c8", False), ("commit", True), ("c10", True)):
        load = Load(town)
        await asyncio.sleep(0.3)
        assert await town.switch_and_die(arrow, backwards, max_hold=MAX_HOLD_S, way="between") in KILLED, arrow
        async with asyncio.timeout(45):
            async with town.direct() as there:
                while await there.fetchval("select phase from shardproxy.holds where transfer = 'between'") != (
                        "switched" if committed else "announced" if not backwards else "switched"):
                    await asyncio.sleep(0.05)
        assert await town.until_writable(0) < 2 and await town.until_writable(1) < 2
        await asyncio.sleep(0.2)
        await load.stop()
        await check(town, load, sharded=True)
        async with town.client() as client:
            await client.execute("update accounts set balance = 0")
            await client.execute("update entries set delta = 0")
        if committed:
            backwards = not backwards
