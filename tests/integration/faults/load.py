"""Clients under load that write down what they were told: the judge of every fault test.

Each write inserts an id that no one else uses, once, and records the answer. Afterwards the table is compared.
Invariant: a client never repeats a write; a read that failed is counted, whatever the reason.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import psycopg

from tests.fixtures.proxy import Proxy

__all__ = ["SCHEMA", "Load"]

SCHEMA = "create table written (id bigint primary key, kind text); create table looked (id int primary key, n int);" \
         "insert into looked select i, 0 from generate_series(1, 1000) i"
RETRYABLE = ("40001",)


def state_of(error: BaseException) -> str:
    """SQLSTATE of a driver's error; the class's name if the connection is gone."""
    return getattr(error, "sqlstate", None) or type(error).__name__


@dataclass
class Load:
    """``async with Load(proxy)``: 16 clients; all counters are complete afterwards."""

    proxy: Proxy
    readers: int = 6
    writers: int = 4
    transactions: int = 4
    psycopgs: int = 2
    pause: float = 0.002
    acknowledged: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    read_errors: Counter[str] = field(default_factory=Counter)
    write_errors: Counter[str] = field(default_factory=Counter)
    transaction_errors: Counter[str] = field(default_factory=Counter)
    commit_errors: Counter[str] = field(default_factory=Counter)
    lost_connections: int = 0
    reads: int = 0
    longest_read: float = 0.0
    longest_write: float = 0.0
    last_write: float = 0.0

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        for count, run in ((self.readers, self._read), (self.writers, self._write),
                           (self.transactions, self._transact), (self.psycopgs, self._psycopg)):
            self._tasks += [asyncio.create_task(run()) for _ in range(count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    async def run(self, seconds: float) -> None:
        """Go on for a while; a task that ended is a bug of the test."""
        await asyncio.sleep(seconds)
        for task in self._tasks:
            if task.done():
                task.result()

    async def until_written(self, count: int = 20, timeout: float = 40) -> None:
        """Until so many more writes were acknowledged."""
        target = len(self.acknowledged) + count
        async with asyncio.timeout(timeout):
            while len(self.acknowledged) < target:
                await self.run(0.02)

    # -- what the clients do

    async def _connection(self) -> Any:
        return await self.proxy.connect("app", timeout=40)

    async def _alive(self, db: Any) -> Any:
        if not db.is_closed():
            return db
        self.lost_connections += 1
        return await self._connection()

    async def _read(self) -> None:
        db = await self._connection()
        while not self.stopped:
            started = time.monotonic()
            try:
                assert await db.fetchval("select id from looked where id = $1", self.reads % 1000 + 1) is not None
                self.reads += 1
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                self.read_errors[state_of(error)] += 1
                db = await self._alive(db)
            self.longest_read = max(self.longest_read, time.monotonic() - started)
            await asyncio.sleep(self.pause)
        await db.close()

    async def _write(self) -> None:
        db = await self._connection()
        while not self.stopped:
            number, started = next(self._ids), time.monotonic()
            try:
                await db.execute("insert into written values ($1, 'auto')", number)
                self._ack(number, started)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                self._not(number, error, self.write_errors)
                db = await self._alive(db)
            await asyncio.sleep(self.pause)
        await db.close()

    async def _transact(self) -> None:
        db = await self._connection()
        while not self.stopped:
            number, started, committing = next(self._ids), time.monotonic(), False
            try:
                await db.execute("begin")
                await db.execute("insert into written values ($1, 'transaction')", number)
                await db.fetchval("select count(*) from written where id = $1", number)
                committing = True
                await db.execute("commit")
                self._ack(number, started)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                self._not(number, error, self.commit_errors if committing else self.transaction_errors)
                db = await self._alive(db)
                if not db.is_closed() and db.is_in_transaction():
                    await db.execute("rollback")
            await asyncio.sleep(self.pause)
        await db.close()

    async def _psycopg(self) -> None:
        """Simple queries: reads and writes by turns."""
        connection = None
        while not self.stopped:
            if connection is None:
                connection = await psycopg.AsyncConnection.connect(
                    self.proxy.dsn("app"), autocommit=True, connect_timeout=40,
                    cursor_factory=psycopg.AsyncClientCursor)
            try:
                await connection.execute("select n from looked where id = 7")
                self.reads += 1
            except psycopg.Error as error:
                self.read_errors[state_of(error)] += 1
            number, started = next(self._ids), time.monotonic()
            try:
                if not connection.closed:
                    await connection.execute(f"insert into written values ({number}, 'simple')")
                    self._ack(number, started)
            except psycopg.Error as error:
                self._not(number, error, self.write_errors)
            if connection.closed:
                self.lost_connections += 1
                connection = None
            await asyncio.sleep(self.pause)
        if connection is not None:
            await connection.close()

    def _ack(self, number: int, started: float) -> None:
        self.acknowledged.add(number)
        self.last_write = time.monotonic()
        self.longest_write = max(self.longest_write, self.last_write - started)

    def _not(self, number: int, error: BaseException, where: Counter[str]) -> None:
        state = state_of(error)
        where[state] += 1
        if state in RETRYABLE or state == "57P03":
            self.failed[number] = state
        else:
            self.unknown.add(number)

    # -- the verdict

    async def check(self, node: Any) -> dict[str, Any]:
        """What is in the table of this server is what the clients were told. The numbers, for the record."""
        rows = await node.sql("select id, count(*) from written group by 1", dbname="app")
        found = {row[0] for row in rows}
        assert all(row[1] == 1 for row in rows)
        lost = self.acknowledged - found
        ghosts = set(self.failed) & found
        assert not lost, f"{len(lost)} acknowledged writes are lost: {sorted(lost)[:10]}"
        assert not ghosts, f"writes that were said to have failed are there: {sorted(ghosts)[:10]}"
        assert found <= self.acknowledged | self.unknown
        return self.numbers

    @property
    def numbers(self) -> dict[str, Any]:
        return {"reads": self.reads, "writes": len(self.acknowledged), "unknown": len(self.unknown),
                "failed": Counter(self.failed.values()), "read_errors": dict(self.read_errors),
                "write_errors": dict(self.write_errors), "in_transaction": dict(self.transaction_errors),
                "at_commit": dict(self.commit_errors), "lost_connections": self.lost_connections,
                "longest_read_s": round(self.longest_read, 3), "longest_write_s": round(self.longest_write, 3)}
