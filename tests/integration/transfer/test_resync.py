"""After a lost slot: only chunks that differ are copied again, surplus rows go, and no difference is overlooked."""

from __future__ import annotations

import asyncio

import pytest

from shardproxy.dialects.changes import SlotLost
from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import COORDINATOR, NEW, Move
from shardproxy.tools.transfer.preparing import check_slots, finish_tables, prepare
from shardproxy.tools.transfer.resyncing import resync
from shardproxy.tools.transfer.tables import object_name
from shardproxy.topology.layout import Layout, TableLayout

from .places import SLOTS, Places, into_shards, keyspace
from .test_follow import begin, follow, same, split

pytestmark = pytest.mark.asyncio


async def lose(places: Places, move: Move) -> None:
    """The slots of the sources, as a failover does."""
    await check_slots(move, places)
    for source in move.streams():
        await places.value(source.name, f"select pg_drop_replication_slot('{object_name(move, source)}')")
    with pytest.raises(SlotLost):
        await check_slots(move, places)


@pytest.mark.parametrize("key", ["int", "text"])
async def test_only_what_differs(places: Places, key: str) -> None:
    """One row is lost at a target, one is surplus (the source that took over does not have it), one is an old one."""
    await places.execute("", f"""create table items (id int primary key, owner {key}, note text unique);
        alter table items alter note set storage external;
        insert into items select i, i % 97, i || repeat('x', 10) from generate_series(1, 3000) i; analyze items""")
    move = split(places, "owner", types=(23 if key == "int" else 25,))
    tables = await begin(places, move)
    await follow(places, move, tables)
    assert await finish_tables(move, places, tables) == []
    await lose(places, move)
    await places.execute("", """update items set owner = '5' where id between 500 and 510;
        delete from items where id = 7""")
    for shard in ("s0", "s1"):
        await places.execute(f"shop/{shard}", f"""insert into items values (5000, '{shard[1]}', 'surplus');
            delete from items where id = (select min(id) from items where id > 1500)""")
    found, = await resync(move, places, places, chunk_rows=100)
    assert 2 <= found.differing <= 10 and found.chunks > 30
    assert await same(places)
    await places.execute("", """update items set note = 'n' where id = 1; update items set note = '1xxxxxxxxxx'
        where id = 2; update items set owner = '11' where id > 2900""")
    await follow(places, move, tables)
    assert await finish_tables(move, places, tables) == []
    assert await same(places)
    assert await places.value("shop/s0", "select count(*) from pg_indexes where tablename = 'items'") == 2


async def test_while_others_write(places: Places) -> None:
    """Comparing and copying take their time; what happens meanwhile is in the new slot."""
    await places.execute("", """create table items (id int primary key, owner int, n int unique deferrable);
        insert into items select i, i % 97, i from generate_series(1, 4000) i; analyze items""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await lose(places, move)
    stop = asyncio.Event()

    async def write() -> int:
        done = 0
        while not stop.is_set():
            done += 1
            at = done * 37 % 3000 + 1
            await places.execute("", f"""begin; update items set n = -{at} where n = {at};
                update items set n = {at} where n = {at + 1}; update items set n = {at + 1} where n = -{at}; commit;
                update items set owner = owner + 1 where id = {at}; delete from items where id = {4001 - at // 2};
                insert into items values ({5000 + done}, {done}, {5000 + done})""")
        return done

    writing = asyncio.create_task(write())
    try:
        for _ in range(2):                      # begun again, as after a kill
            await resync(move, places, places, chunk_rows=100)
    finally:
        stop.set()
        assert await writing > 5
    await follow(places, move, tables)
    assert await finish_tables(move, places, tables) == []
    assert await same(places)


@pytest.mark.parametrize("key", ["int", "text"])
async def test_rows_of_two_sources_at_one_target(places: Places, key: str) -> None:
    """A row has gone from one source to the other; its old copy must not stand in the way of the new one."""
    table = TableLayout("public", "items", "shop", ("owner",))
    before = Layout(3, "main", {"shop": keyspace(("s0", "s1"), [slot % 2 for slot in range(SLOTS)], (table,))})
    after = Layout(3, "main", {"shop": keyspace(("s0", "s1"), [1] * SLOTS, (table,))})
    shards = (places.place("shop/s0"), places.place("shop/s1"))
    move = Move(places.prefix, "reshard", "shop", (("public", "items"),), shards, shards, before, after, (),
                ((23 if key == "int" else 25,),), places.place(COORDINATOR))
    for shard in shards:
        await places.execute(shard.name, f"create table items (id int primary key, owner {key}, note text)")
    for number in range(400):
        place = move.source_of(("public", "items"), [str(number % 40).encode()])
        await places.execute(place.name, f"insert into items values ({number}, '{number % 40}', 'n')")
    tables = await prepare(move, places, places, move.into)
    for source in move.streams():
        assert await Copier(move, source, places, tables[source.name]).run()
        await Applier(move, source, places, tables[source.name]).run(await places.written(source.name))
    await lose(places, move)
    for shard in shards:
        await places.execute(shard.name, f"delete from {NEW}.items where id between 100 and 110")
    gone, = [place for place in shards if place == move.source_of(("public", "items"), [b"1"])]
    other, = [place for place in shards if place != gone]
    there = next(n for n in range(40) if move.source_of(("public", "items"), [str(n).encode()]) == other)
    await places.execute(gone.name, "delete from items where id = 1")
    await places.execute(other.name, f"insert into items values (1, '{there}', 'has moved')")
    await resync(move, places, places)
    here = [row for shard in shards for row in await places.rows(shard.name, "public.items")]
    assert sorted(here) == await places.rows("shop/s1", f"{NEW}.items")
    assert await places.rows("shop/s0", f"{NEW}.items") == []


async def test_rows_without_identity_and_reference_tables(places: Places) -> None:
    await places.execute("", """create table items (owner int, what json); alter table items replica identity full;
        create table kinds (name text primary key, n int); insert into kinds values ('a', 1), ('c', 2);
        insert into items select i % 4, '{"a": 1}' from generate_series(1, 40) i""")


    move = into_shards(places, {("public", "items"): ("owner",)}, [(23,)], ["s0", "s1"], [("public", "kinds")])
    await begin(places, move)
    await lose(places, move)
    await places.execute("", "delete from items where owner = 1; update kinds set n = 3 where name = 'a'")
    await places.execute("shop/s1", "insert into kinds values ('surplus', 0)")
    await resync(move, places, places)
    assert await same(places)
    here = await places.rows("", "public.kinds")
    assert [await places.rows(f"shop/s{number}", "public.kinds") for number in range(2)] == [here] * 2
