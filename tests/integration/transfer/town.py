"""A small database before two proxies, and a cutover of its tables: data moves by a plain copy inside the pause.

What is tested with it is the switch (holds, fences, the row of the cutover); the change streams have tests of their
own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg

from shardproxy.config.load import load
from shardproxy.tools.cluster import Node
from shardproxy.tools.transfer.cutover import Cutover
from shardproxy.tools.transfer.move import COORDINATOR, Move, Place
from shardproxy.tools.transfer.parts import Context
from shardproxy.tools.transfer.servers import Servers
from shardproxy.topology.seeding import seed
from shardproxy.topology.store_database import DatabaseStore
from tests.fixtures.proxy import Proxy

ROOT = Path(__file__).resolve().parents[3]
TABLES = (("public", "accounts"), ("public", "entries"))
SCHEMA = """
create table accounts (id bigint primary key, balance bigint not null default 0, name text);
create table entries (id bigserial, account bigint not null, delta bigint not null, primary key (id, account));
create index entries_account on entries (account);
"""


class Copy:
    """In the place of streams: copies all rows when it is asked to have caught up."""

    def __init__(self, move: Move, servers: Servers) -> None:
        self._move, self._servers = move, servers

    async def run(self) -> None:
        """Nothing runs."""

    def stop(self) -> None:
        """Nothing runs."""

    async def hold(self) -> None:
        """Nothing runs."""

    def go_on(self) -> None:
        """Nothing was stopped."""

    def failure(self) -> str:
        """Nothing fails."""
        return ""

    def lag_bytes(self) -> int:
        """Nothing waits."""
        return 0

    async def caught_up(self) -> None:
        """Every row to where it belongs."""
        move = self._move
        for table in move.tables:
            name = f'"{table[0]}"."{table[1]}"'
            rows: dict[str, list[Any]] = {place.name: [] for place in move.targets_of(table)}
            for place in move.sources_of(table):
                async with self._servers.connected(place.name) as there:
                    for row in await there.fetch(f"select * from {name}"):
                        key = [str(row[column]).encode() for column in move.key_of(table)]
                        rows[move.target_of(table, key).name].append(tuple(row))
            for place_name, found in rows.items():
                target = (move.into or table[0], table[1])
                async with self._servers.connected(place_name) as there, there.transaction():
                    await there.execute(f"create schema if not exists {target[0]}")
                    await there.execute(f'create table if not exists "{target[0]}"."{target[1]}" '
                                        f'(like {name} including all)')
                    await there.execute("set session_replication_role = replica")
                    await there.execute("select pg_replication_origin_create('copy') where not exists "
                                        "(select from pg_replication_origin where roname = 'copy')")
                    await there.execute("select pg_replication_origin_session_setup('copy')")
                    await there.execute(f'delete from "{target[0]}"."{target[1]}"')
                    await there.copy_records_to_table(target[1], schema_name=target[0], records=found)


@dataclass
class Town:
    """The database ``name``, its shards ``s0``, ``s1`` and (without slots at first) ``s2``, all on one server."""

    node: Node
    name: str
    folder: Path
    count: int = 3
    proxies: list[Proxy] = field(default_factory=list)

    @property
    def databases(self) -> list[str]:
        """All real databases."""
        return [self.name, *(f"{self.name}_s{n}" for n in range(self.count))]

    def config(self) -> Mapping[str, Any]:
        """The [databases] section."""
        def server(name: str) -> dict[str, str]:
            return {"primary": f"{self.node.host}:{self.node.port}/{name}"}

        return {self.name: {"server_user": "postgres", "default_keyspace": "main", "keyspaces": {
            "main": {"shards": {"main": server(self.name)}},
            "customer": {"function": "hash", "slots": 64,
                         "shards": {f"s{n}": {**server(f"{self.name}_s{n}"), "empty": n > 1}
                                    for n in range(self.count)},
                         "tables": {"accounts": {"key": "id"}, "entries": {"key": "account"}}}}}}

    async def build(self, rows: int = 50) -> None:
        """Databases, tables and rows, unsharded."""
        for name in self.databases:
            await self.node.sql(f'create database "{name}"')
            async with self.direct(name) as there:
                await there.execute(SCHEMA)
        async with self.direct(self.name) as there:
            await there.execute(f"insert into accounts select n, 0, 'name ' || n from generate_series(1, {rows}) n")
            await there.execute("insert into entries (account, delta) values (1, 0)")
            await there.execute("create view balances as select a.id, a.balance, count(e.id) as entries "
                                "from accounts a left join entries e on e.account = a.id group by a.id, a.balance")

    def start(self, count: int = 2) -> None:
        """Proxies over one store."""
        for number in range(count):
            self.proxies.append(Proxy(self.folder / f"proxy{number}", [], databases=self.config(),
                                      topology="database", listen={"workers": 1}).start())

    async def remove(self) -> None:
        """Stop all, drop all."""
        for proxy in self.proxies:
            proxy.stop()
        for name in self.databases:
            await self.node.sql(f'drop database if exists "{name}" with (force)')
        for proxy in self.proxies:
            proxy.check_log()

    def direct(self, database: str = "") -> Any:
        """A connection past the proxies, for a block."""
        return _Connected(lambda: asyncpg.connect(host=self.node.host, port=self.node.port, user="postgres",
                                                  database=database or self.name, ssl=False))

    def client(self, number: int = 0) -> Any:
        """A client of a proxy, for a block."""
        return _Connected(lambda: self.proxies[number].connect(self.name))

    # -- the cutover

    async def switch(self, backwards: bool = False, max_hold: float = 5.0, way: str = "into") -> float:
        """In this process; the pause in ms. ``way``: see ``made``."""
        cutover, move, servers = await asyncio.to_thread(made, self.proxies[0].config_path, self.name, way)
        moved = move.reversed() if backwards else move
        return (await cutover.cutover(backwards, Copy(moved, servers), max_hold)).pause_ms

    async def switch_and_die(self, failpoint: str, backwards: bool = False, max_hold: float = 3.0,
                             way: str = "into") -> int:
        """In another process, which ends at a failpoint; its exit code."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SHARDPROXY_FAILPOINT": failpoint}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.transfer.town", str(self.proxies[0].config_path), self.name,
            json.dumps([backwards, max_hold, way]), env=environment, cwd=ROOT)
        return await asyncio.wait_for(process.wait(), 60)

    async def until_writable(self, number: int = 0, seconds: float = 10) -> float:
        """How long until a write through a proxy is answered."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with self.client(number) as client:
            await client.execute("update accounts set name = 'x' where id = 1", timeout=seconds)
        return loop.time() - started

    async def phase(self) -> str:
        """Of the cutover."""
        async with self.direct() as there:
            return str(await there.fetchval("select phase from shardproxy.holds"))


class _Connected:
    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        self._connection = await self._connect()
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        self._connection.terminate()


def made(config_path: Path, name: str, way: str = "into") -> tuple[Cutover, Move, Servers]:
    """A cutover of a town, from its configuration: ``into`` the shards, or ``between`` them, from two to three."""
    entry = load(config_path).databases[name]
    servers = Servers(entry)
    store = DatabaseStore(lambda: servers.open(COORDINATOR), name)
    sharded = seed(entry)
    space = sharded.keyspaces["customer"]
    places = tuple(servers.place(place) for place in space.places())
    coordinator = servers.place(COORDINATOR)
    sources: tuple[Place, ...]
    if way == "into":
        before, after, sources, targets = sharded, sharded, (coordinator,), places[:2]
        for schema, table in TABLES:
            before = before.without_table(schema, table)
    else:
        owners = tuple(slot % 3 for slot in range(space.slots))
        before, after = sharded, replace(sharded, keyspaces={"customer": replace(space, owners=owners)})
        sources, targets = places[:2], places
    move = Move(way, "reshard", name, TABLES, sources, targets, before, after, types=((20,), (20,)),
                coordinator=coordinator)
    context = Context(move, None, servers, store, log=_log)     # type: ignore[arg-type]
    return Cutover(context, store), move, servers


def _log(event: str, **fields: Any) -> None:
    print(event, fields)


async def _main(config_path: str, name: str, arguments: str) -> None:
    backwards, max_hold, way = json.loads(arguments)
    cutover, move, servers = made(Path(config_path), name, way)
    await cutover.cutover(backwards, Copy(move.reversed() if backwards else move, servers), max_hold)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
