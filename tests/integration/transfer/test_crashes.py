"""The runner dies at every step of a transfer, and goes on in another folder with the same configuration: nothing is
lost, nothing is doubled, writes go on, and every verb still ends as it should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from .city import City, Load

COPYING = ("before_planned", "table_noted", "publication_noted", "slot_noted", "slot_made", "after_planned",
           "before_copying", "chunk_copied", "after_copying", "before_catching_up", "finish_index",
           "finish_foreign_key", "after_catching_up", "before_replicating", "before_verifying", "after_verifying",
           "before_ready")
SWITCHING = ("armed_slot", "armed", "before_cutover", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "commit",
             "c9", "c10", "routed", "c11", "after_cutover", "before_disarm", "slot_dropped", "answer_{verb}")
CANCELLING = ("before_cancel", "slot_dropped", "ending_tables", "table_dropped", "ending_fences", "after_cancel")
COMPLETING = ("before_complete", "slot_dropped", "ending_tables", "old_kept", "ending_fences", "after_complete")
MAX_HOLD = ("--max-hold", "3s")
START = ("--keyspace", "customer", "--tables", "customers,orders,settings", "--to", "s0,s1")


class Crashes:
    """Verbs whose runner dies at a point, alternately on two machines. Each point is passed once."""

    def __init__(self, city: City) -> None:
        self.city, self._number = city, 0

    async def die(self, point: str, *words: str, seconds: float = 90) -> None:
        """Have a runner die there: it is begun by this verb, which must end well although its runner died."""
        await self.city.stop_runners()
        self._number += 1
        mark = self.city.folder / f"died_{self._number}"
        await self.city.do(*words, failpoint=f"{point}@{mark}", machine=self._number % 2, timeout=seconds)
        deadline = time.monotonic() + seconds
        while not mark.exists():
            state, error = await self.city.state("out")
            assert not error and time.monotonic() < deadline, (point, state, error, self.city.log())
            await asyncio.sleep(0.1)

    async def copying(self, points: Sequence[str]) -> None:
        """From the start until it is ready."""
        first, *others = points
        await self.die(first, "reshard", "start", "out", *START)
        for point in others:
            await self.die(point, "reshard", "status", "out")
        await self.city.do("reshard", "status", "out")
        assert (await self.city.until("reshard", "out", "READY"))["verified"]["mismatches"] == 0

    async def state(self) -> str:
        """Of the transfer."""
        return (await self.city.state("out"))[0]


@asynccontextmanager
async def loaded(city: City) -> AsyncIterator[Load]:
    """Clients who write all the while, see no error, and find everything afterwards."""
    load = Load(city, clients=2, pause=0.05)
    yield load
    await load.stop()
    await load.check()


@pytest.mark.timeout(400)
async def test_one_crash_in_each_part(city: City) -> None:
    crashes = Crashes(city)
    async with loaded(city):
        await crashes.copying(("slot_made", "chunk_copied", "finish_index"))
        await crashes.die("c8", "reshard", "switch", "out", *MAX_HOLD)
        assert await crashes.state() == "SWITCHED"
        await crashes.die("c9", "reshard", "reverse", "out", *MAX_HOLD)
        assert await crashes.state() == "REVERSED"
        await city.do("reshard", "switch", "out", *MAX_HOLD)
        await crashes.die("old_kept", "reshard", "complete", "out")
        assert await crashes.state() == "DONE"
    assert await left_over(city) == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_crash_at_every_step(city: City) -> None:
    crashes = Crashes(city)
    async with loaded(city) as load:
        await crashes.copying(COPYING)
        for number, point in enumerate(SWITCHING):
            verb, state = (("switch", "SWITCHED"), ("reverse", "REVERSED"))[number % 2]
            await crashes.die(point.format(verb=verb), "reshard", verb, "out", *MAX_HOLD)
            assert await crashes.state() == state, point
            await load.check_now()
        assert len(SWITCHING) % 2 and state == "SWITCHED"
        await city.do("reshard", "complete", "out")
        assert await crashes.state() == "DONE"
    assert await left_over(city) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("verb", "points"), [("cancel", CANCELLING), ("complete", COMPLETING)])
async def test_a_crash_at_every_step_of_the_end(city: City, verb: str, points: Sequence[str]) -> None:
    """One command, whose runners die one after the other."""
    async with loaded(city):
        await city.do("reshard", "start", "out", *START)
        await city.until("reshard", "out", "READY")
        if verb == "complete":
            await city.do("reshard", "switch", "out", *MAX_HOLD)
        await city.stop_runners()
        marks = {point: city.folder / f"died_{point}" for point in points}
        await city.do("reshard", verb, "out", timeout=300,
                      failpoint=",".join(f"{point}@{mark}" for point, mark in marks.items()))
        assert [point for point, mark in marks.items() if not mark.exists()] == []
        assert (await city.state("out"))[0] == ("CANCELLED" if verb == "cancel" else "DONE")
    assert await left_over(city) == []


async def left_over(city: City) -> list[str]:
    """Everything of transfers that is still on the servers."""
    found = []
    for place in city.places:
        async with city.direct(place) as there:
            found += [f"{place}: {row[0]}" for row in await there.fetch("""
                select 'slot ' || slot_name from pg_replication_slots where database = current_database()
                union all select 'publication ' || pubname from pg_publication
                union all select 'trigger on ' || tgrelid::regclass from pg_trigger where tgname = 'shardproxy_fence'
                union all select 'table ' || oid::regclass from pg_class where relkind = 'r'
                    and relnamespace in (select oid from pg_namespace where nspname in ('shardproxy_old',
                                                                                      'shardproxy_new'))""")]
    async with city.direct() as there:
        found += [f"origin {row[0]}" for row in await there.fetch(
            "select roname from pg_replication_origin where roname like 'shardproxy:out:%'")]
        found += [f"object {row['object']}" for row in await there.fetch("select * from shardproxy.transfer_objects")]
    return found
