"""All kinds of clients at once, and a ledger of what was acknowledged to them.

``Traffic`` works on a ``City`` through its proxies (transactions over several statements and over shards, prepared
statements, pipelines, COPY, changes of keys, cursors, joins), and past them (``strays``). Invariants: the ledger has
a write as soon as its client was told, never before; ``check`` compares all of it with what is there, exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import psycopg

from .city import CUSTOMERS, City

__all__ = ["KEYS", "MORE", "Traffic"]

MORE = """
create table events (customer bigint not null references customers (id), tag text not null, n int not null default 1,
                     primary key (customer, tag));
create table visits (id bigint not null, customer bigint not null, hops int not null, note text,
                     primary key (id, customer));
create table receipts (id bigserial primary key, invoice bigint not null references invoices (id), text text);
insert into visits select n, n, 0, repeat('visit ', n % 600) from generate_series(1, 40) n;
create view balances as select c.id, c.balance, count(e.tag) as events
  from customers c left join events e on e.customer = c.id group by c.id, c.balance;
"""
"""What a city has besides for this."""
KEYS = {"events": {"key": "customer"}, "visits": {"key": "customer"}}
FENCED = "55000"
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, psycopg.Error, OSError,
            TimeoutError, AssertionError)
PATIENCE_S = 45.0
SCRAMBLE = 7919

Step = Callable[[Any, int], Awaitable[None]]


class Traffic:
    """See the module. ``errors``: what clients of proxies were told, which is nothing; ``longest``: the slowest step of
    each kind; ``fenced``: what strays were refused."""

    def __init__(self, city: City, pause: float = 0.01) -> None:
        self.city, self.pause = city, pause
        self.balance: Counter[int] = Counter()
        self.events: set[tuple[int, str]] = set()
        self.visits = {number: (number, 0) for number in range(1, 41)}
        self.invoices: set[int] = set()
        self.receipts: set[tuple[int, int]] = set()
        self.errors: list[str] = []
        self.longest: dict[str, float] = {}
        self.steps: Counter[str] = Counter()
        self.fenced = self.strayed = 0
        self._unclear: set[Any] = set()
        self._numbers = itertools.count(1)
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Two clients of each kind, one at each proxy; a stray at the coordinator."""
        kinds: dict[str, Step] = {
            "transaction": self._transaction, "split": self._split, "copy": self._copy, "key": self._key,
            "read": self._read, "cursor": self._cursor, "bill": self._bill}
        for name, step in kinds.items():
            for number in range(2):
                self._begin(self._client(name, step, number, self._asyncpg))
        for name, step in {"simple": self._simple, "pipeline": self._pipeline}.items():
            for number in range(2):
                self._begin(self._client(name, step, number, self._psycopg))
        self.stray("")
        self._begin(self._stray_bill())

    def stray(self, *places: str) -> None:
        """Writers past the proxies at servers whose tables are in use: whoever writes to copies in the making has only
        himself to blame."""
        for place in places:
            self._begin(self._stray(place))

    def _begin(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """End all clients."""
        self._stop = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)

    # -- clients of the proxies

    async def _asyncpg(self, number: int) -> Any:
        return await self.city.proxies[number].connect(self.city.name, command_timeout=PATIENCE_S)

    async def _psycopg(self, number: int) -> Any:
        return await psycopg.AsyncConnection.connect(self.city.proxies[number].dsn(self.city.name), autocommit=True,
                                                     prepare_threshold=0)

    async def _client(self, name: str, step: Step, number: int, connect: Callable[[int], Awaitable[Any]]) -> None:
        client, turn = await connect(number), number
        try:
            while not self._stop:
                turn += 2
                started = time.monotonic()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await step(client, turn)
                except FAILURES as error:
                    state = getattr(error, "sqlstate", "") or ""
                    self.errors.append(f"{time.strftime('%H:%M:%S')} {name} at proxy {number} after "
                                       f"{time.monotonic() - started:.2f} s: {type(error).__name__} {state} {error}")
                    _drop(client)
                    client = await connect(number)
                took = time.monotonic() - started
                self.longest[name] = max(self.longest.get(name, 0.0), took)
                self.steps[name] += 1
                await asyncio.sleep(self.pause)
        finally:
            _drop(client)

    def _tag(self) -> str:
        return f"tag {next(self._numbers)}"

    async def _transaction(self, client: Any, turn: int) -> None:
        """Money from one customer to another, mostly at another shard, and an event for both."""
        one, other = _customer(turn), _customer(turn * 3 + 1)
        tag = self._tag()
        pair = {(one, tag), (other, tag)}
        self._unclear |= pair
        async with client.transaction():
            await client.execute("update customers set balance = balance - 5 where id = $1", one)
            await client.execute("insert into events values ($1, $2)", one, tag)
            if turn % 3 == 0:
                await asyncio.sleep(0.02)
            assert await client.fetchval("select count(*) from events where customer = $1 and tag = $2", one, tag) == 1
            await client.execute("update customers set balance = balance + 5 where id = $1", other)
            await client.execute("insert into events values ($1, $2) on conflict do nothing", other, tag)
        self.balance.update({one: -5})
        self.balance.update({other: 5})
        self.events |= pair
        self._unclear -= pair

    async def _split(self, client: Any, turn: int) -> None:
        """One INSERT with rows for several shards, an UPDATE at all of them, and one by a join."""
        tag = self._tag()
        rows = {(_customer(turn * 5 + n), tag) for n in range(4)}
        self._unclear |= rows
        await client.execute("insert into events (customer, tag) select * from unnest($1::bigint[], $2::text[])"
                             if turn % 4 == 0 else
                             "insert into events (customer, tag) values " + ", ".join(
                                 f"({customer}, '{tag}')" for customer, _ in sorted(rows)),
                             *([[one for one, _ in sorted(rows)], [tag] * len(rows)] if turn % 4 == 0 else []))
        done = await client.execute("update events set n = 2 where tag = $1", tag)
        self.events |= rows
        self._unclear -= rows
        assert done == f"UPDATE {len(rows)}", f"{done} of {len(rows)} rows of {tag}"

    async def _copy(self, client: Any, turn: int) -> None:
        tag = self._tag()
        rows = {(_customer(turn * 11 + n), tag) for n in range(10)}
        self._unclear |= rows
        await client.copy_records_to_table("events", records=sorted(rows), columns=["customer", "tag"])
        self.events |= rows
        self._unclear -= rows

    async def _key(self, client: Any, turn: int) -> None:
        """A row of a visit goes to another customer, so to another shard."""
        visit = turn % 40 + 1
        customer, hops = self.visits[visit]
        wanted = _customer(turn * 17)
        self._unclear.add(visit)
        if turn % 3:
            done = await client.execute("update visits set customer = $1, hops = hops + 1 where id = $2 and "
                                        "customer = $3", wanted, visit, customer)
        else:
            async with client.transaction():
                done = await client.execute(f"update visits set customer = {wanted}, hops = hops + 1 "
                                            f"where id = {visit}")
        self.visits[visit] = (wanted, hops + 1)
        self._unclear.discard(visit)
        assert done == "UPDATE 1", f"{done} for visit {visit} of customer {customer}"

    async def _read(self, client: Any, turn: int) -> None:
        """At one shard, at all, joined, through a view; what was acknowledged before must be there."""
        known = len(self.events)
        if turn % 2:
            found = await client.fetchval("select count(*) from events")
        else:
            found = await client.fetchval("select sum(events)::bigint from balances")
        assert found >= known, f"{found} events are read, {known} were acknowledged before"
        customer = _customer(turn)
        assert await client.fetchval("select name from customers where id = $1", customer) == f"customer {customer}"
        paid = await client.fetchval("select count(*) from invoices i join customers c on c.id = i.customer "
                                     "where i.id <= 300")
        assert paid == 300, f"{paid} of 300 invoices joined"

    async def _cursor(self, client: Any, turn: int) -> None:
        """A transaction that stays open for a while, with a cursor."""
        async with client.transaction():
            numbers = [row["id"] async for row in client.cursor(
                "select id from customers order by id", prefetch=200)]
            assert numbers == list(range(1, CUSTOMERS + 1)), f"{len(numbers)} customers"
            await asyncio.sleep(0.02)
            assert await client.fetchval("select count(*) from customers") == CUSTOMERS

    async def _bill(self, client: Any, turn: int) -> None:
        """One transaction over keyspaces."""
        customer = _customer(turn)
        async with client.transaction():
            invoice = await client.fetchval("insert into invoices (customer, text) values ($1, 'bill') returning id",
                                            customer)
            self._unclear.add(invoice)
            receipt = await client.fetchval("insert into receipts (invoice, text) values ($1, 'paid') returning id",
                                            invoice)
            await client.execute("update customers set balance = balance + 1 where id = $1", customer)
        self.balance[customer] += 1
        self.invoices.add(invoice)
        self.receipts.add((receipt, invoice))
        self._unclear.discard(invoice)

    async def _simple(self, client: Any, turn: int) -> None:
        """Texts with literals, as psql sends them."""
        customer, tag = _customer(turn), self._tag()
        cursor = psycopg.AsyncClientCursor(client)
        self._unclear.add((customer, tag))
        await cursor.execute("insert into events (customer, tag) values (%s, %s) returning n", (customer, tag))
        self.events.add((customer, tag))
        self._unclear.discard((customer, tag))
        assert await cursor.fetchall() == [(1,)]
        await cursor.execute("begin; update customers set balance = balance + 1 where id = %s; commit",
                             (customer,))
        self.balance[customer] += 1

    async def _pipeline(self, client: Any, turn: int) -> None:
        """Several statements under way at once, each a transaction of its own by its Sync; prepared, all of them."""
        customers, tag = [_customer(turn * 7 + n) for n in range(3)], self._tag()
        rows = {(customer, tag) for customer in customers}
        self._unclear |= rows
        async with client.pipeline() as pipeline:
            for customer in customers:
                await client.execute("insert into events (customer, tag) values (%s, %s)", (customer, tag))
                await pipeline.sync()
        self.events |= rows
        self._unclear -= rows

    # -- past the proxies

    async def _stray(self, place: str) -> None:
        """Updates of rows that are there, wherever that is; a fence is the only reason why one fails."""
        connection, turn = await self.city.open(place), 0
        try:
            while not self._stop:
                turn += 1
                customer = _customer(turn)
                try:
                    done = await connection.execute("update customers set balance = balance + 1 where id = $1",
                                                    customer, timeout=PATIENCE_S)
                    if done == "UPDATE 1":
                        self.balance[customer] += 1
                        self.strayed += 1
                except asyncpg.ObjectNotInPrerequisiteStateError:
                    self.fenced += 1
                except asyncpg.UndefinedTableError:
                    if place == "":
                        self.errors.append("the coordinator has no customers any more, nor a shell")
                except FAILURES as error:
                    self.errors.append(f"stray at {place or 'the coordinator'}: {type(error).__name__} {error}")
                    connection.terminate()
                    connection = await self.city.open(place)
                await asyncio.sleep(self.pause)
        finally:
            connection.terminate()

    async def _stray_bill(self) -> None:
        connection = await self.city.open("")
        try:
            while not self._stop:
                try:
                    self.invoices.add(await connection.fetchval(
                        "insert into invoices (customer, text) values (1, 'stray') returning id", timeout=PATIENCE_S))
                except asyncpg.ObjectNotInPrerequisiteStateError:
                    self.fenced += 1
                await asyncio.sleep(self.pause * 5)
        finally:
            connection.terminate()

    # -- afterwards

    async def check(self) -> None:
        """Every acknowledged write is there exactly once, through every proxy and at the servers themselves."""
        for number in range(len(self.city.proxies)):
            async with self.city.client(number) as client:
                await self._check_one(client)
        await self._check_places()

    async def _check_one(self, client: Any) -> None:
        found = dict(await client.fetch("select id, balance from customers"))
        wrong = {one: (value, self.balance[one]) for one, value in found.items() if value != self.balance[one]}
        assert len(found) == CUSTOMERS and not wrong, f"balances (found, told): {wrong}"
        self._same("events", await client.fetch("select customer, tag from events"), self.events)
        visits = {row["id"]: (row["customer"], row["hops"]) for row in await client.fetch("select * from visits")}
        moved = {one: (at, self.visits[one]) for one, at in visits.items() if at != self.visits[one]}
        assert len(visits) == 40 and moved.keys() <= self._unclear, f"visits (found, told): {moved}"
        assert await client.fetchval("select count(*) from visits") == 40
        self._same("invoices", await client.fetch("select id from invoices where id > 300"),
                   {(one,) for one in self.invoices})
        self._same("receipts", await client.fetch("select id, invoice from receipts"), self.receipts)

    def _same(self, what: str, rows: Any, wanted: set[Any]) -> None:
        found = [tuple(row) for row in rows]
        assert len(found) == len(set(found)), f"{what}: {len(found) - len(set(found))} rows are there twice"
        lost = wanted - set(found)
        assert not lost, f"{what}: {len(lost)} of {len(wanted)} acknowledged rows are lost: {sorted(lost)[:5]}"
        more = {row for row in set(found) - wanted if row not in self._unclear and row[-1] not in self._unclear
                and row[0] not in self._unclear}
        assert not more, f"{what}: {len(more)} rows that nobody was told of: {sorted(more)[:5]}"

    async def _check_places(self) -> None:
        """No row is at two shards."""
        seen: Counter[Any] = Counter()
        for place in ("customer/s0", "customer/s1", "customer/s2", "customer/s3"):
            async with self.city.direct(place) as there:
                if await there.fetchval("select to_regclass('events') is not null"):
                    seen.update(tuple(row) for row in await there.fetch("select customer, tag from events"))
        twice = [row for row, count in seen.items() if count > 1]
        assert not twice, f"{len(twice)} events are at two shards: {twice[:5]}"

    def told(self) -> str:
        """For people."""
        slow = ", ".join(f"{name} {seconds:.2f}" for name, seconds in self.longest.items())
        return (f"{sum(self.steps.values())} steps; strays: {self.strayed} written, {self.fenced} refused; longest "
                f"steps, s: {slow}")


def _customer(number: int) -> int:
    return number * SCRAMBLE % CUSTOMERS + 1


def _drop(client: Any) -> None:
    """Without a word."""
    if isinstance(client, psycopg.AsyncConnection):
        with contextlib.suppress(psycopg.Error):
            client.pgconn.finish()
    else:
        client.terminate()
