"""Slots that go from one shard to another: every shard gets a copy beside the table that is in use."""

from __future__ import annotations

import asyncio

import pytest

from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import COORDINATOR, NEW, Move
from shardproxy.tools.transfer.preparing import drop_all, finish_tables, prepare
from shardproxy.tools.transfer.verifying import Verifier
from shardproxy.topology.layout import Layout, TableLayout

from .places import SLOTS, Places, keyspace

pytestmark = pytest.mark.asyncio
TABLES = (TableLayout("public", "items", "shop", ("owner",)), TableLayout("public", "Parts", "shop", ("owner",)))
SCHEMA = """
create table items (id int generated always as identity primary key, owner int, note text check (note <> ''), n int
    generated always as (owner * 2) stored);
create unique index items_note on items (owner, lower(note)) where note is not null;
create table "Parts" (owner int, id int references items on delete cascade, public text, primary key (owner, id));
create index on "Parts" (public) where public = 'on public.items (';
create function seen() returns trigger language plpgsql as 'begin return new; end';
create trigger seen before insert on items for each row execute function seen();
comment on column items.note is 'of public.items'
"""


def between(places: Places) -> Move:
    """All slots of the first shard, half of them to the second."""
    before = Layout(3, "main", {"shop": keyspace(("s0", "s1"), [0] * SLOTS, TABLES)})
    after = Layout(3, "main", {"shop": keyspace(("s0", "s1"), [slot % 2 for slot in range(SLOTS)], TABLES)})
    sources, targets = (places.place("shop/s0"),), (places.place("shop/s0"), places.place("shop/s1"))
    return Move(places.prefix, "reshard", "shop", (("public", "items"), ("public", "Parts")), sources, targets, before,
                after, (), ((23,), (23,)), places.place(COORDINATOR))


async def test_one_shard_becomes_two(places: Places) -> None:
    await places.execute("shop/s0", SCHEMA)
    await places.execute("shop/s0", """insert into items (owner, note) select i % 40, 'n' || i from
        generate_series(1, 400) i; insert into "Parts" select owner, id, 'p' from items""")
    move = between(places)
    assert move.into == NEW
    tables = await prepare(move, places, places, move.into)
    source = move.sources[0]
    assert await Copier(move, source, places, tables[source.name]).run()
    await places.execute("shop/s0", """update items set owner = owner + 1;
        update "Parts" set owner = owner + 1; delete from items where id < 50;
        insert into items (owner, note) select i, 'new' from generate_series(1, 60) i;
        update "Parts" set public = public || 'x' where id > 300""")
    applier = Applier(move, source, places, tables[source.name])
    running = asyncio.create_task(applier.run())
    try:
        await asyncio.wait_for(applier.reach(await places.written(source.name)), 30)
        if await places.value("shop/s1", "select to_regproc('public.seen') is null"):
            assert await finish_tables(move, places, tables) == []
        found = await asyncio.wait_for(
            Verifier(move, places, tables, lambda _, lsn: applier.reach(lsn)).run(), 30)
        assert (found.mismatches, found.rows) == (0, 762)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for name in ("items", '"Parts"'):
        there = [row for shard in ("s0", "s1") for row in await places.rows(f"shop/{shard}", f"{NEW}.{name}")]
        assert sorted(there) == await places.rows("shop/s0", f"public.{name}")
    for shard in ("shop/s0", "shop/s1"):
        connection = await places.open(shard)
        made = await connection.fetch(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::text::regclass "
            "and contype = 'f'", f'{NEW}."Parts"')
        assert [row[0] for row in made] == [f"FOREIGN KEY (id) REFERENCES {NEW}.items(id) ON DELETE CASCADE"]
        indexes = await connection.fetch("select indexdef from pg_indexes where schemaname = $1 order by 1", NEW)
        assert len(indexes) == 4
        assert sum("'on public.items ('" in row[0] for row in indexes) == 1
        assert await connection.fetchval("select count(*) from pg_trigger where tgname = 'seen' and tgrelid = "
                                         "$1::text::regclass", f"{NEW}.items") == 1
        await connection.close()
    await drop_all(move, places, places, targets_too=True)
    assert not places.noted
    assert await places.value("shop/s0", "select count(*) from items") == 411
