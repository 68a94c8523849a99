"""A database with two tables before two proxies, unsharded at first, writers, and the real command line.

``City`` has a coordinator and shards ``s0`` to ``s3`` (keyspace ``customer``) and a keyspace ``billing`` of one shard,
all of them databases of one server. Writers note what was acknowledged; ``check`` compares it with what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from typer.testing import CliRunner

from shardproxy.tools.cli import app
from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = """
create table customers (id bigint primary key, name text not null, balance bigint not null default 0, note text);
create table orders (id bigserial, customer bigint not null references customers (id), amount numeric(10, 2) not null,
                     made timestamptz not null default now(), primary key (id, customer));
create index orders_customer on orders (customer);
create table invoices (id bigserial primary key, customer bigint not null, text text);
create table settings (name text primary key, value text);
"""
CUSTOMERS = 500


@dataclass
class City:
    """See the module."""

    node: Node
    name: str
    folder: Path
    store: str = "database"
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Sharded tables besides."""
    more_sql: str = ""
    """Run by ``build`` at last."""
    proxies: list[Proxy] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def at(self, place: str) -> Node:
        """The server that has a place now."""
        return self.node

    def servers(self, place: str) -> list[tuple[str, int]]:
        """Addresses of the servers that a place may have."""
        node = self.at(place)
        return [(node.host, node.port)]

    @property
    def places(self) -> dict[str, str]:
        """Place -> database."""
        return {"": self.name, **{f"customer/s{n}": f"{self.name}_s{n}" for n in range(4)},
                "billing/b0": f"{self.name}_b0"}

    def config(self) -> Mapping[str, Any]:
        """The [databases] section."""
        def server(place: str, **more: Any) -> dict[str, Any]:
            first, *others = [f"{host}:{port}/{self.places[place]}" for host, port in self.servers(place)]
            return {"primary": first, **({"replicas": others} if others else {}), **more}

        return {self.name: {"server_user": "postgres", **self.settings, "default_keyspace": "main", "keyspaces": {
            "main": {"shards": {"main": server("")}},
            "customer": {"function": "hash", "slots": 64,
                         "shards": {f"s{n}": server(f"customer/s{n}", empty=n > 0) for n in range(4)},
                         "tables": {"customers": {"key": "id"}, "orders": {"key": "customer"},
                                    "settings": {"reference": True}, **self.more}},
            "billing": {"shards": {"b0": server("billing/b0")}}}}}

    async def build(self) -> None:
        """Databases, tables and rows."""
        for place, name in self.places.items():
            await self.at(place).sql(f'create database "{name}"')
        async with self.direct() as there:
            await there.execute(SCHEMA)
            await there.execute(f"insert into customers select n, 'customer ' || n, 0, case when n % 50 = 0 then "
                                f"repeat(md5(n::text), 400) end from generate_series(1, {CUSTOMERS}) n")
            await there.execute(f"insert into orders (customer, amount) select n % {CUSTOMERS} + 1, n "
                                "from generate_series(1, 2000) n")
            await there.execute("insert into invoices (customer, text) select n, 'invoice' "
                                "from generate_series(1, 300) n")
            await there.execute(self.more_sql or "select 1")
            await there.execute("analyze")

    def start(self, count: int = 2) -> None:
        """The proxies."""
        for number in range(count):
            self.proxies.append(Proxy(self.folder / f"proxy{number}", [], databases=self.config(),
                                      topology=self.store, listen={"workers": 1}).start())

    async def remove(self) -> None:
        """Stop all, drop all."""
        await self.stop_runners()
        for proxy in self.proxies:
            proxy.stop()
        for place, name in self.places.items():
            async with self.direct(place, database="postgres") as there:
                for row in await there.fetch("select slot_name, active_pid from pg_replication_slots "
                                             "where database = $1", name):
                    if row["active_pid"]:
                        await there.execute("select pg_terminate_backend($1)", row["active_pid"])
                        await asyncio.sleep(0.2)
                    await there.execute("select pg_drop_replication_slot($1)", row["slot_name"])
            await self.at(place).sql(f'drop database if exists "{name}" with (force)')
        for proxy in self.proxies:
            proxy.check_log()

    async def stop_runners(self) -> None:
        """End the runners of this city, by their ids; also those that only wait for the lease of another one."""
        waiting = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().decode(errors="replace")
                if "shardproxy.tools.transfer.run" in words and f"{self.folder}/" in words:
                    waiting.append(int(entry.parent.name))
        for pid in {*await self.runners(), *waiting}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def runners(self) -> list[int]:
        """Ids of the processes that hold a lease."""
        async with self.direct() as there:
            try:
                rows = await there.fetch("select runner from shardproxy.transfers where runner is not null")
            except asyncpg.PostgresError:
                return []
        return [int(row["runner"].rpartition(":")[2]) for row in rows]

    def direct(self, place: str = "", *, database: str = "") -> Any:
        """A connection past the proxies, for a block."""
        return Connected(self._connect(place, database))

    async def open(self, place: str) -> Any:
        """The same; its user ends it."""
        return await self._connect(place)

    def _connect(self, place: str, database: str = "") -> Any:
        node = self.at(place)
        return asyncpg.connect(host=node.host, port=node.port, user="postgres",
                               database=database or self.places[place], ssl=False)

    def client(self, number: int = 0) -> Any:
        """A client of a proxy, for a block."""
        return Connected(self.proxies[number % len(self.proxies)].connect(self.name))

    # -- the command line

    async def cli(self, *words: str, failpoint: str = "", timeout: float = 90, machine: int = 0) -> tuple[int, str]:
        """Exit code and output of ``shardproxy ...``, with the configuration and in the folder of this machine."""
        config = self.proxies[machine].config_path
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        environment.pop("SHARDPROXY_FAILPOINT", None)
        if failpoint:
            environment["SHARDPROXY_FAILPOINT"] = failpoint
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shardproxy.tools.cli", *words, "--config", str(config),
            env=environment, cwd=config.parent, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            raise AssertionError(f"{' '.join(words)}: no end after {timeout:g} s\n{self.log()}") from None
        return process.returncode or 0, out.decode()

    async def say(self, *words: str) -> tuple[int, str]:
        """The same in this process, which is faster; one at a time, since its output is this process's."""
        def run() -> tuple[int, str]:
            done = CliRunner().invoke(app, [*words, "--config", str(self.proxies[0].config_path)])
            assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
            return done.exit_code, done.output

        return await asyncio.to_thread(run)

    async def do(self, *words: str, code: int = 0, **options: Any) -> str:
        """The same; its exit code must be this."""
        found, out = await self.cli(*words, **options)
        assert found == code, f"{' '.join(words)}: {found}\n{out}\n{self.log()}"
        return out

    async def status(self, tool: str, name: str) -> dict[str, Any]:
        """``status --json``."""
        found: dict[str, Any] = json.loads(await self.do(tool, "status", name, "--json"))
        return found

    async def state(self, name: str) -> tuple[str, str | None]:
        """State and error in the journal: the command line takes longer."""
        async with self.direct() as there:
            row = await there.fetchrow("select state, body ->> 'error' as error from shardproxy.transfers "
                                       "where name = $1", name)
        return (row["state"], row["error"]) if row is not None else ("", None)

    async def until(self, tool: str, name: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for a state. The journal is asked, not the command line: that would take the time of the runner."""
        deadline = time.monotonic() + seconds
        async with self.direct() as there:
            while True:
                row = await there.fetchrow("select state, body ->> 'error' as error from shardproxy.transfers "
                                           "where name = $1", name)
                if row is not None and row["state"] in states:
                    return await self.status(tool, name)
                assert row is None or not row["error"], f"{row}\n{self.log()}"
                assert time.monotonic() < deadline, f"{row}\n{self.log()}"
                await asyncio.sleep(0.1)

    def log(self) -> str:
        """Of the runners."""
        folders = [proxy.config_path.with_suffix(".topology") / "transfers" for proxy in self.proxies]
        return "\n".join(path.read_text()[-6000:] for folder in folders for path in sorted(folder.glob("*.log")))


class Connected:
    """A connection that is being made, for a block."""

    def __init__(self, connecting: Any) -> None:
        self._connecting = connecting
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        self._connection = await self._connecting
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        self._connection.terminate()


class Load:
    """Clients of both proxies. ``orders``: ids and customers of acknowledged orders; ``balance``: of all customers."""

    def __init__(self, city: City, clients: int = 4, pause: float = 0.004) -> None:
        self.city, self.pause = city, pause
        self.orders: list[tuple[int, int]] = []
        self.added, self.longest = 0, 0.0
        self.errors: list[str] = []
        self._stop = False
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]

    async def _client(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        async with self.city.client(number) as client:
            at = number
            while not self._stop:
                at += 7
                customer = at * 13 % CUSTOMERS + 1
                started = loop.time()
                try:
                    await self._once(client, number, customer)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError,
                        AssertionError) as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                    return
                self.longest = max(self.longest, loop.time() - started)
                await asyncio.sleep(self.pause)

    async def _once(self, client: Any, number: int, customer: int) -> None:
        if number % 2:
            async with client.transaction():
                await client.execute("update customers set balance = balance + 1 where id = $1", customer)
                order = await client.fetchval("insert into orders (customer, amount) values ($1, 1) returning id",
                                              customer)
        else:
            await client.execute("update customers set balance = balance + 1 where id = $1", customer)
            self.added += 1
            order = await client.fetchval("insert into orders (customer, amount) values ($1, 2) returning id", customer)
            self.added -= 1
        self.added += 1
        self.orders.append((order, customer))
        rows = await client.fetch("select id from orders where customer = $1", customer)
        assert (order,) in [tuple(row) for row in rows], f"order {order} is not read after it was written"

    async def stop(self) -> None:
        """End all clients; no error was seen."""
        self._stop = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 30)
        assert not self.errors, self.errors[:5]

    async def check_now(self) -> None:
        """While it goes on: what was acknowledged until now is there."""
        made = set(self.orders)
        async with self.city.client() as client:
            found = [tuple(row) for row in await client.fetch("select id, customer from orders where id > 2000")]
        assert len(found) == len(set(found)), "an order is there twice"
        missing = made - set(found)
        assert not missing, f"{len(missing)} of {len(made)} orders are lost: {sorted(missing)[:5]}"

    async def check(self) -> None:
        """Every acknowledged write is there exactly once, as clients see it."""
        async with self.city.client() as client:
            assert await client.fetchval("select sum(balance)::bigint from customers") == self.added
            found = [tuple(row) for row in await client.fetch("select id, customer from orders where id > 2000")]
            assert len(found) == len(set(found)), "an order is there twice"
            missing = set(self.orders) - set(found)
            assert not missing, f"{len(missing)} of {len(self.orders)} orders are lost: {sorted(missing)[:5]}"
            assert set(found) == set(self.orders), f"{len(set(found) - set(self.orders))} orders that nobody made"
