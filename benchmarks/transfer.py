#!/usr/bin/env python3
"""How fast a transfer copies and follows, on real servers.

    .venv/bin/python benchmarks/transfer.py [--rows 1000000] [--changes 200000] [--rounds 3]

Two throw-away PostgreSQL servers. Measured, medians of the rounds:

* copy: rows a second from one table to two shards by the engine (2 workers), against ``psql COPY | psql COPY`` of the
  same rows between the same servers into one table of the same form (the aim is 0.5);
* catch-up: changes a second that one stream applies, of small transactions (the aim is 20,000);
* verification: rows a second that are compared;
* what the copy costs writers at the source: their transactions a second while it runs, against those without.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import asyncpg

from shardproxy._compiled import summary
from shardproxy.dialects.replication import Target
from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.transfer.applying import Applier
from shardproxy.tools.transfer.copying import Copier
from shardproxy.tools.transfer.move import Move, Place
from shardproxy.tools.transfer.preparing import drop_all, prepare
from shardproxy.tools.transfer.verifying import Verifier
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

SLOTS = 1024
TABLE = ("create table points (id bigint primary key, owner int not null, name text, value double precision, "
         "at timestamptz)")
FILL = ("insert into points select i, i % 5000, 'name of row ' || i, i * 0.5, now() - i * interval '1 second' "
        "from generate_series(1, {}) i")


class Places:
    """``Links`` and ``Notes``: the coordinator on one server, two shards on the other."""

    def __init__(self, source: Node, target: Node) -> None:
        self.nodes = {"": source, "shop/s0": target, "shop/s1": target}

    def place(self, name: str) -> Place:
        node = self.nodes[name]
        return Place(name, node.host, node.port, None, self.dbname(name))

    def dbname(self, name: str) -> str:
        return name.replace("/", "_") or "main"

    async def open(self, place: str, *, name: str = "") -> Any:
        node = self.nodes[place]
        return await asyncpg.connect(node.dsn(self.dbname(place)), statement_cache_size=0)

    async def primary(self, place: str) -> Any:
        node = self.nodes[place]

        class Found:
            target = Target(node.host, node.port, None, (self.dbname(place),), "postgres")

        return Found()

    async def note_object(self, name: str, place: str, kind: str, what: str) -> None:
        """Not needed here."""

    async def forget_object(self, name: str, place: str, kind: str, what: str) -> None:
        """Not needed here."""

    async def objects(self, name: str | None = None) -> Sequence[Any]:
        return ()

    async def execute(self, place: str, sql: str) -> None:
        connection = await self.open(place)
        try:
            await connection.execute(sql, timeout=600)
        finally:
            await connection.close()

    async def written(self) -> int:
        connection = await self.open("")
        try:
            return int(await connection.fetchval("select (pg_current_wal_insert_lsn() - '0/0')::int8"))
        finally:
            await connection.close()


def move_of(places: Places, name: str, key: str = "owner") -> Move:
    owners = tuple(slot % 2 for slot in range(SLOTS))
    space = KeyspaceLayout("shop", ("s0", "s1"), "hash", SLOTS, owners)
    table = TableLayout("public", "points", "shop", (key,))
    before = Layout(1, "main", {"shop": space})
    main = places.place("")
    return Move(name, "reshard", "shop", (("public", "points"),), (main,),
                (places.place("shop/s0"), places.place("shop/s1")), before, before.with_table(table), (),
                ((20 if key == "id" else 23,),), main)


async def piped(psql: str, places: Places) -> float:
    """``psql COPY | psql COPY`` into an empty table with the same primary key."""
    await places.execute("shop/s0", f"drop table if exists points; {TABLE}")
    one, two = places.nodes[""].dsn("main"), places.nodes["shop/s0"].dsn("shop_s0")
    started = time.monotonic()
    process = await asyncio.create_subprocess_shell(
        f"'{psql}' -qX '{one}' -c 'copy points to stdout' | '{psql}' -qX '{two}' -c 'copy points from stdin'")
    if await process.wait():
        raise SystemExit("psql failed")
    seconds = time.monotonic() - started
    await places.execute("shop/s0", "drop table points")
    return seconds


async def writing(dsn: str) -> None:
    """One writer, a process of its own, until its input ends; prints its transactions a second."""
    connection = await asyncpg.connect(dsn)
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    done, started = 0, time.monotonic()
    while not stop.done():
        await connection.execute("update points set value = value + 1 where id = $1", 1 + done * 7919 % 10_000)
        done += 1
    print(done / (time.monotonic() - started))
    await connection.close()


async def beside(places: Places, work: Awaitable[Any]) -> float:
    """A writer's transactions a second while this is done."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--writer", places.nodes[""].dsn("main"), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE)
    await asyncio.sleep(1)
    await work
    found, _ = await process.communicate(b"")
    return float(found)


async def one_round(places: Places, psql: str, number: int, changes: int) -> dict[str, float]:
    found = {"pipe": await piped(psql, places)}
    move = move_of(places, f"bench{number}")
    tables = await prepare(move, places, places)
    copier = Copier(move, move.sources[0], places, tables[""])
    started = time.monotonic()
    await copier.run()
    found["copy"] = time.monotonic() - started
    half = changes // 2
    await places.execute("", f"do $$ begin for i in 1..{half // 10} loop "
                             "update points set value = value + 1 where id between i * 10 and i * 10 + 9; commit; "
                             "end loop; end $$")
    await places.execute("", f"do $$ begin for i in 1..{half // 10} loop insert into points select "
                             f"{10_000_000 + number * changes} + i * 10 + j, j, 'new', 1, now() "
                             "from generate_series(0, 9) j; commit; end loop; end $$")
    applier = Applier(move, move.sources[0], places, tables[""])
    until = await places.written()
    started = time.monotonic()
    await applier.run(until)
    found["apply"] = applier.applied / (time.monotonic() - started)
    running = asyncio.create_task(applier.run())
    started = time.monotonic()
    verified = await Verifier(move, places, tables, lambda _, lsn: applier.reach(lsn)).run()
    found["verify"] = verified.rows / (time.monotonic() - started)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if verified.mismatches:
        raise SystemExit(f"rows differ: {verified.detail}")
    await drop_all(move, places, places)
    for shard in ("shop/s0", "shop/s1"):
        await places.execute(shard, "drop table points")
    return found


async def overhead(places: Places) -> tuple[float, float]:
    """A writer's transactions a second alone, and beside a copy."""
    alone = await beside(places, asyncio.sleep(2))
    move = move_of(places, "overhead")
    tables = await prepare(move, places, places)
    slowed = await beside(places, Copier(move, move.sources[0], places, tables[""]).run())
    await drop_all(move, places, places)
    return alone, slowed


async def main(rows: int, changes: int, rounds: int) -> None:
    async with Cluster() as one, Cluster() as two:
        places = Places(one.primary, two.primary)
        for place in places.nodes:
            await places.nodes[place].sql(f"create database {places.dbname(place)}")
        await places.execute("", TABLE)
        await places.execute("", FILL.format(rows))
        await places.execute("", "vacuum analyze points")
        psql = str(one.binaries.program("psql"))
        found = [await one_round(places, psql, number, changes) for number in range(rounds)]
        middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
        alone, slowed = await overhead(places)
    print(summary())
    print(f"copy      {rows / middle['copy']:12,.0f} rows/s  = {middle['pipe'] / middle['copy']:.2f} of psql | psql "
          f"({rows / middle['pipe']:,.0f} rows/s)")
    print(f"catch-up  {middle['apply']:12,.0f} changes/s")
    print(f"verify    {middle['verify']:12,.0f} rows/s")
    print(f"writer    {slowed:12,.0f} transactions/s beside a copy, {alone:,.0f} alone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        asyncio.run(writing(options.writer))
        raise SystemExit
    asyncio.run(main(options.rows, options.changes, options.rounds))
