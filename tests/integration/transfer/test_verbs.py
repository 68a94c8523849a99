"""Every verb in every state: what is refused, what is done, twice the same, and exit codes; two terminals at once."""

from __future__ import annotations

import asyncio
import json

import pytest

from shardproxy.config.load import load
from shardproxy.tools.transfer.finding import journal_of
from shardproxy.tools.transfer.journal import Journal
from shardproxy.tools.transfer.servers import Servers

from .city import City
from .test_crashes import left_over

START = ("--keyspace", "customer", "--tables", "customers,orders,settings", "--to", "s0,s1")
HOLD = ("--max-hold", "5s")
DONE, FAILED, USAGE, REFUSED, BLOCKED = range(5)


class Terminal:
    """Verbs of one transfer."""

    def __init__(self, city: City, name: str = "out") -> None:
        self.city, self.name = city, name

    async def __call__(self, verb: str, *options: str, code: int = DONE, has: str = "") -> str:
        """Its exit code must be this one, and its text have that."""
        found, text = await self.city.say("reshard", verb, self.name, *options)
        assert (found, has in text) == (code, True), (verb, options, found, text, self.city.log())
        return text

    async def is_in(self, *states: str) -> None:
        """Wait for a state."""
        await self.city.until("reshard", self.name, *states)

    async def body(self, key: str) -> str | None:
        """A value in the journal."""
        async with self.city.direct() as there:
            found: str | None = await there.fetchval("select body ->> $2 from shardproxy.transfers where name = $1",
                                                     self.name, key)
        return found


@pytest.mark.timeout(400)
async def test_before_a_switch(city: City) -> None:
    verb = Terminal(city)
    await verb("status", code=FAILED, has='there is no reshard "out"')
    await verb("switch", code=FAILED, has='there is no reshard "out"')
    assert (await city.say("reshard", "list")) == (DONE, "no reshard yet\n")
    await verb("plan", "--keyspace", "nowhere", code=USAGE, has="names no sharded keyspace")
    for _ in range(2):
        await verb("plan", *START, has="next: shardproxy reshard start out")
    await verb("status", has="PLANNED")
    await verb("switch", code=REFUSED, has="wait until it is READY")
    for _ in range(2):
        await verb("cancel", has="out is CANCELLED")
    await verb("resume", code=REFUSED, has="out is CANCELLED")
    await verb("plan", *START)
    for _ in range(2):
        await verb("throttle", "--rate", "20kB", "--parallel", "1", has="20480 bytes/s, 1 chunks")
    await verb("start")
    await verb.is_in("COPYING")
    await verb("start", *START)
    await verb("start", "--keyspace", "customer", "--to", "s0", code=REFUSED, has="moves something else")
    for _ in range(2):
        await verb("pause")
    assert json.loads(await verb("status", "--json"))["paused"]
    await verb("status", has="next     resume")
    await verb("complete", code=REFUSED, has="switch first")
    await verb("verify", code=REFUSED, has="wait until it replicates")
    for _ in range(2):
        await verb("resume")
    await verb("throttle", "--rate", "0", has="as fast as it goes")
    await verb.is_in("READY")
    await verb("reverse", code=REFUSED, has="nothing to take back")
    await verb("verify", has="rows are equal")
    await verb("switch", "--dry-run", has="would go ahead")
    await verb("pause")
    await verb("switch", code=REFUSED, has="is paused: resume it first")
    assert "READY paused" in (await city.say("reshard", "list"))[1]
    await verb("cancel", has="out is CANCELLED")
    assert await left_over(city) == []
    async with city.direct("customer/s1") as s1:
        assert await s1.fetchval("select to_regclass('customers') is null and to_regclass('settings') is null")
    assert json.loads((await city.say("reshard", "list", "--json"))[1])[0]["state"] == "CANCELLED"
    assert "state state=READY" in await verb("logs")


@pytest.mark.timeout(400)
async def test_after_a_switch(city: City) -> None:
    """The copies of reference tables are in use since the first switch: they outlive a way back, and its end."""
    verb = Terminal(city)
    async with city.client() as client:
        await client.execute("insert into settings values ('a', '1')")
    await verb("start", *START)
    await verb.is_in("READY")
    await verb("switch", *HOLD, has="switched: writes waited")
    await verb("switch", has="SWITCHED already")
    await verb("cancel", code=REFUSED, has="after a switch: `reverse`, then `cancel`; or `complete`")
    await verb("verify", code=REFUSED)
    await verb("pause")
    async with city.client() as client:
        await client.execute("insert into settings values ('b', '2')")
        await client.execute("insert into orders (customer, amount) values (1, 1)")
    await verb("reverse", code=REFUSED, has="is paused")
    await verb("resume")
    await verb("reverse", *HOLD, has="reversed: writes waited")
    await verb("reverse", has="REVERSED already")
    await verb("complete", code=REFUSED, has="switch first")
    for _ in range(2):
        await verb("cancel", has="out is CANCELLED")
    assert await left_over(city) == []
    async with city.client() as client:
        await client.execute("insert into settings values ('c', '3')")
        assert await client.fetchval("select count(*) from orders o join settings s on s.name = 'b'") == 2001
        assert await client.fetchval("select string_agg(value, ',' order by name) from settings") == "1,2,3"
    assert (await city.say("reshard", "gc"))[1].endswith("nothing to collect\n")
    async with city.client() as client:
        assert await client.fetchval("select count(*) from settings") == 3
    await verb("start", *START, code=USAGE, has="settings is in keyspace customer already")
    await verb("start", "--keyspace", "customer", "--tables", "customers,orders", "--to", "s0,s1")
    await verb.is_in("READY")
    await verb("switch", *HOLD)
    await verb("complete", "--keep")
    await verb("complete", has="out is DONE")
    await verb("cancel", code=REFUSED, has="out is DONE")
    async with city.client() as client, city.direct() as there:
        assert await client.fetchval("select count(*) from orders o join settings s on s.name = 'b'") == 2001
        assert await there.fetchval("select count(*) from shardproxy_old.orders") == 2001
    async with city.direct("customer/s1") as s1:
        assert await s1.fetchval("select count(*) from settings") == 3


@pytest.mark.timeout(300)
async def test_two_terminals(city: City) -> None:
    """They contradict each other: one wins, the other is told so, and nothing is between."""
    verb = Terminal(city)
    started = await asyncio.gather(city.cli("reshard", "start", "out", *START),
                                   city.cli("reshard", "start", "out", *START))
    assert sorted(code for code, _ in started) in ([DONE, DONE], [DONE, REFUSED]), started
    await verb.is_in("READY")
    (pausing, _), (switching, text) = await asyncio.gather(city.cli("reshard", "pause", "out"),
                                                           city.cli("reshard", "switch", "out", *HOLD))
    assert pausing == DONE and (switching == DONE or "is paused" in text), text
    await verb("resume")
    (one, first), (other, second) = await asyncio.gather(city.cli("reshard", "switch", "out", *HOLD),
                                                         city.cli("reshard", "cancel", "out"))
    state = (await city.state("out"))[0]
    assert (one, other, state) in ((DONE, REFUSED, "SWITCHED"), (REFUSED, DONE, "CANCELLED")), (first, second, state)
    if state == "SWITCHED":
        found = await asyncio.gather(city.cli("reshard", "reverse", "out", *HOLD),
                                     city.cli("reshard", "complete", "out"))
        assert sorted(code for code, _ in found) == [DONE, REFUSED], found
    async with city.client() as client:
        await client.execute("insert into orders (customer, amount) values (1, 1)")
        assert await client.fetchval("select count(*) from orders") == 2001


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_cancel_in_every_state(city: City) -> None:
    verb = Terminal(city)
    for state in ("PREPARED", "COPYING", "CATCHING_UP", "REPLICATING", "VERIFYING", "READY"):
        mark = city.folder / state
        await city.do("reshard", "start", "out", *START, failpoint=f"before_{state.lower()}@{mark}")
        async with asyncio.timeout(60):
            while not mark.exists():
                await asyncio.sleep(0.1)
        assert (await city.state("out"))[0] == state
        await verb("cancel", has="out is CANCELLED")
        assert await left_over(city) == [], state
    async with city.client() as client:
        await client.execute("insert into orders (customer, amount) values (1, 1)")


@pytest.mark.timeout(120)
async def test_gc(city: City) -> None:
    """What ended transfers have left goes, what one that is under way has made stays, what is out of reach is named."""
    journal = _journal(city)
    try:
        for name, state in (("ended", "CANCELLED"), ("running", "READY")):
            record = await journal.create(name, "PLANNED", {"started": True, "move": {"tool": "reshard"}})
            async with city.direct() as there:
                await there.execute("update shardproxy.transfers set state = $2 where name = $1", record.name, state)
            await _make(city, journal, name)
        await journal.note_object("ended", "customer/gone", "slot", "at_nowhere")
        code, text = await city.say("reshard", "gc", "--dry-run")
        assert code == DONE and text.count("would drop") == 5, text
        code, text = await city.say("reshard", "gc")
        assert code == FAILED and text.count("dropped") == 4 and "is in the configuration no more" in text, text
        await journal.forget_object("ended", "customer/gone", "slot", "at_nowhere")
        assert (await city.say("reshard", "gc")) == (DONE, f"{city.name}: nothing to collect\n")
        assert {one.name for one in await journal.objects()} == {"running"}
        async with city.direct("customer/s2") as there:
            assert await there.fetchval("select array_agg(slot_name::text) from pg_replication_slots where database = "
                                        "current_database()") == ["of_running"]
            assert await there.fetchval("select to_regclass('of_ended') is null and to_regclass('of_running') "
                                        "is not null")
            await there.execute("select pg_drop_replication_slot('of_running')")
            await there.execute("select pg_replication_origin_drop('shardproxy:of_running')")
    finally:
        await journal.close()


def _journal(city: City) -> Journal:
    return journal_of(Servers(load(city.proxies[0].config_path).databases[city.name]))


async def _make(city: City, journal: Journal, name: str) -> None:
    """One object of each kind."""
    async with city.direct("customer/s2") as there:
        await there.execute(f"create table of_{name} (a int)")
        await there.execute(f"create publication of_{name}")
        await there.execute(f"select pg_create_logical_replication_slot('of_{name}', 'pgoutput')")
        await there.execute(f"select pg_replication_origin_create('shardproxy:of_{name}')")
    for kind in ("table", "publication", "slot"):
        await journal.note_object(name, "customer/s2", kind, f"of_{name}")
    await journal.note_object(name, "customer/s2", "origin", f"shardproxy:of_{name}")
