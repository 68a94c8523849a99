"""Copy and catch-up: every kind of change arrives at the right target, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import Move
from shardproxy.tools.transfer.preparing import drop_all, finish_tables, prepare
from shardproxy.tools.transfer.tables import MovedTable

from .places import Places, into_shards

pytestmark = pytest.mark.asyncio
ITEMS = ("public", "items")
Tables = dict[str, list[MovedTable]]


async def begin(places: Places, move: Move) -> Tables:
    """Prepared and copied."""
    tables = await prepare(move, places, places, move.into)
    for source in move.streams():
        assert await Copier(move, source, places, tables[source.name], chunk_rows=100).run()
    return tables


async def follow(places: Places, move: Move, tables: Tables) -> None:
    """All that was committed until now."""
    for source in move.streams():
        applier = Applier(move, source, places, tables[source.name], on_failure=unexpected)
        await asyncio.wait_for(applier.run(await places.written(source.name)), 30)


async def unexpected(failure: str) -> None:
    """Nothing fails here that could be tried again."""
    raise AssertionError(failure)


async def same(places: Places, table: str = "public.items", shards: Sequence[str] = ("s0", "s1")) -> bool:
    """Whether the shards have the coordinator's rows, each once."""
    there = [row for shard in shards for row in await places.rows(f"shop/{shard}", table)]
    here = await places.rows("", table)
    assert sorted(there) == here
    return True


def split(places: Places, *key: str, types: Sequence[int] = (23,)) -> Move:
    """The table of a test."""
    return into_shards(places, {ITEMS: key}, [tuple(types)], ["s0", "s1"])


async def test_changes_of_every_kind(places: Places) -> None:
    await places.execute("", """create table items (id int primary key, owner int, note text, at date default now());
        insert into items select i, i % 7, 'note ' || i from generate_series(1, 1000) i; analyze items""")
    move = split(places, "owner")
    tables = await begin(places, move)
    assert await same(places)
    await places.execute("", """update items set note = 'x' where id < 100;
        delete from items where id between 200 and 300;
        insert into items select i, i % 5 from generate_series(2000, 2200) i;
        update items set owner = owner + 1 where id % 3 = 0; update items set id = -id where id between 400 and 500;
        delete from items where id = 1; insert into items values (1, 6, E'tab\\there\\nand \\\\ there');
        update items set id = id + 1000000, owner = null where id > 900""")
    await follow(places, move, tables)
    assert await same(places)
    await drop_all(move, places, places, targets_too=True)
    assert not places.noted
    assert await places.value("shop/s0", "select to_regclass('items') is null")


async def test_a_row_that_moves_keeps_values_that_are_not_in_the_stream(places: Places) -> None:
    """Values stored out of line: unchanged, they are not sent."""
    await places.execute("", """create table items (id int primary key, owner int, big text, other text not null);
        alter table items alter big set storage external, alter other set storage external;
        insert into items select i, i, repeat(chr(64 + i % 50), 5000), repeat('o', 3000)
          from generate_series(1, 60) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """update items set owner = owner + 1; update items set id = id + 1000 where id <= 20;
        update items set owner = owner * 3 where id > 1000; update items set big = 'small' where id = 30;
        update items set owner = 0 where id = 30; delete from items where id = 31;
        insert into items select i, i, repeat('n', 4000), repeat('p', 4000) from generate_series(70, 80) i;
        update items set owner = -owner where id between 70 and 80;
        update items set id = -id where id between 75 and 80;
        delete from items where id = -76""")
    await follow(places, move, tables)
    assert await same(places)
    await places.execute("", "update items set owner = owner + 1")
    await follow(places, move, tables)
    assert await same(places)


@pytest.mark.parametrize("identity", ["full", "using index items_code"])
async def test_other_identities(places: Places, identity: str) -> None:
    await places.execute("", f"""create table items (id int primary key, owner int, code text not null, n numeric);
        create unique index items_code on items (code, owner); alter table items alter owner set not null;
        alter table items replica identity {identity};
        insert into items select i, i % 9, 'c' || i, i * 1.10 from generate_series(1, 300) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """update items set n = n + 1 where id % 2 = 0; update items set owner = 11 where id < 50;
        update items set code = 'd' || id where id between 60 and 70; delete from items where id > 250;
        update items set id = id + 500 where id between 100 and 120""")
    await follow(places, move, tables)
    assert await finish_tables(move, places, tables) == []
    assert await same(places)
    assert await places.value("shop/s0", "select count(*) from pg_indexes where tablename = 'items'") == 2


async def test_rows_without_identity(places: Places) -> None:
    await places.execute("", """create table items (owner int, what json); alter table items replica identity full;
        insert into items select i % 4, '{"a": 1}' from generate_series(1, 40) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """delete from items where ctid in (select ctid from items where owner = 1 limit 3);
        update items set owner = 9 where ctid = (select min(ctid) from items where owner = 2);
        insert into items values (1, '{"a": 1}'), (null, null); update items set what = null where owner = 3""")
    await follow(places, move, tables)
    assert await same(places)


async def test_truncation(places: Places) -> None:
    await places.execute("", """create table items (id int primary key, owner int);
        insert into items select i, i from generate_series(1, 500) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """begin; insert into items values (1000, 1); truncate items;
        insert into items values (1, 1), (2, 5); commit; insert into items values (3, 3)""")
    await follow(places, move, tables)
    assert await same(places)


async def test_partitions(places: Places) -> None:
    await places.execute("", """create table items (id int, owner int, primary key (id, owner)) partition by range (id);
        create table items_a partition of items for values from (0) to (100);
        create table items_b (owner int, id int, primary key (id, owner));
        alter table items attach partition items_b for values from (100) to (1000);
        insert into items select i, i from generate_series(1, 300) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """update items set id = id + 100 where id < 10; delete from items_b where id = 200;
        insert into items_a values (50, 99); update items set owner = owner + 1 where id > 250""")
    await follow(places, move, tables)
    assert await same(places)
    await places.execute("", "truncate items_a; insert into items values (7, 7)")
    await follow(places, move, tables)
    assert await same(places)


async def test_unique_values_that_change_places(places: Places) -> None:
    """Between the end of the copy and the state of now two rows of a batch have exchanged what is unique."""
    await places.execute("", """create table items (id int primary key, owner int, place int unique);
        insert into items select i, 1, i from generate_series(1, 10) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    await follow(places, move, tables)
    assert await finish_tables(move, places, tables) == []
    await places.execute("", """update items set place = 100 where id = 1; update items set place = 1 where id = 2;
        update items set place = 2 where id = 1; begin; delete from items where id = 5;
        insert into items values (50, 1, 5); commit""")
    await follow(places, move, tables)
    assert await same(places)


async def test_reference_tables_go_everywhere(places: Places) -> None:
    await places.execute("", """create table items (id int primary key, owner int); insert into items values (1, 1);
        create table kinds (name text primary key, n int); insert into kinds values (E'a\\tb', 1), ('c', 2)""")
    move = into_shards(places, {ITEMS: ("owner",)}, [(23,)], ["s0", "s1"], [("public", "kinds")])
    tables = await begin(places, move)
    await places.execute("", "update kinds set n = 5 where name = 'c'; insert into kinds values ('d', null)")
    await follow(places, move, tables)
    here = await places.rows("", "public.kinds")
    assert [await places.rows(f"shop/s{number}", "public.kinds") for number in range(2)] == [here] * 2
    assert await same(places)


async def test_text_keys_and_names_that_need_quotes(places: Places) -> None:
    await places.execute("", """create schema "a b"; create table "a b"."Items" ("the key" text collate "C" primary key,
          v text); insert into "a b"."Items" select 'k' || i || E'\\t\\\\', i from generate_series(1, 1000) i;
        analyze""")
    move = into_shards(places, {("a b", "Items"): ("the key",)}, [(25,)], ["s0", "s1"])
    tables = await begin(places, move)
    await places.execute("", """update "a b"."Items" set "the key" = "the key" || 'x' where v < '3';
        delete from "a b"."Items" where v > '9'""")
    await follow(places, move, tables)
    assert await same(places, '"a b"."Items"')


async def test_a_way_back_does_not_go_round(places: Places) -> None:
    """What a stream wrote is not sent back by the stream the other way."""
    await places.execute("", """create table items (id int primary key, owner int);
        insert into items select i, i from generate_series(1, 100) i""")
    move = split(places, "owner")
    tables = await begin(places, move)
    back = move.reversed()
    sources = await prepare(back, places, places)
    await places.execute("", "update items set owner = owner + 1")
    await follow(places, move, tables)
    changed = 0
    for source in back.streams():
        applier = Applier(back, source, places, sources[source.name])
        await asyncio.wait_for(applier.run(await places.written(source.name)), 30)
        changed += applier.applied
    assert changed == 0
    await places.execute("shop/s0", "update items set id = -id")
    await drop_all(back, places, places)


async def test_text_keys_under_a_collation_of_a_language(places: Places) -> None:
    """Chunks are cut by the bytes of keys, whatever order the database has them in; each change finds its chunk."""
    name = await places.value("", "select collname from pg_collation where collname in ('en-x-icu', 'ucs_basic') "
                                  "order by collname limit 1")         # a server without ICU knows no language
    await places.execute("", f"""create table items (id text collate "{name}" primary key, owner int);
        insert into items select case when i % 3 = 0 then 'a' when i % 3 = 1 then 'B' else 'é' end || i, i
          from generate_series(1, 3000) i; analyze items""")
    move = split(places, "owner")
    tables = await prepare(move, places, places, move.into)
    assert tables[""][0].ordered and tables[""][0].collated == {"id"}
    copier = Copier(move, move.sources[0], places, tables[""], chunk_rows=300, progress=lambda copied: copier.stop())
    while not await copier.run():
        await places.execute("", """update items set owner = owner + 1 where owner % 7 = 0;
            update items set id = 'C' || id where owner % 50 = 1; delete from items where owner % 50 = 2;
            insert into items select 'Ä' || n, n from (select (random() * 1e9)::int as n
                                                       from generate_series(1, 20)) s on conflict do nothing""")
        await follow(places, move, tables)
    assert 5 < copier.copied.tables["public.items"][1] <= 16
    await follow(places, move, tables)
    assert await same(places)


@pytest.mark.timeout(240)
async def test_a_transaction_that_is_applied_in_pieces(places: Places) -> None:
    """Nobody sees a part of it at a target, also when the tool ends in its middle."""
    await places.execute("", "create table items (id int primary key, owner int, n int)")
    move = split(places, "owner")
    tables = await begin(places, move)
    await places.execute("", """begin; insert into items select i, i % 100, 0 from generate_series(1, 60000) i;
        update items set n = id where id <= 50000; update items set owner = owner + 1 where id % 7 = 0;
        delete from items where id % 11 = 0; commit; insert into items values (70000, 1, 1)""")
    applier = Applier(move, move.sources[0], places, tables[""], on_failure=unexpected)
    running = asyncio.create_task(applier.run())
    while applier.applied < 50_000:             # at least one piece is there, and not committed
        await asyncio.sleep(0.01)
    assert applier.transactions == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for shard in ("s0", "s1"):
        assert await places.value(f"shop/{shard}", "select count(*) from items") == 0
    await asyncio.wait_for(Applier(move, move.sources[0], places, tables[""], on_failure=unexpected).run(
        await places.written("")), 180)
    assert await same(places)
    assert await places.value("", "select count(*) from items") == 54547
