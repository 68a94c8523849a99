"""Clients that work until they are told to stop, and the tally of what happened to them.

Invariant: every operation is counted once, as done or under the SQLSTATE that it failed with; a connection that was
lost is counted too, and replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

__all__ = ["FAILURES", "OPERATION_S", "Connect", "Job", "Load", "Tally", "leave", "spread"]

OPERATION_S = 60.0
"""No operation takes longer; one that does has failed."""

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

Connect = Callable[[], Awaitable[Any]]
Job = Callable[[Any, int, int], Awaitable[None]]
"""One operation: the connection, the number of the client, the number of the operation."""


@dataclass(slots=True)
class Tally:
    """What clients met."""

    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    connections_lost: int = 0
    longest_s: float = 0.0
    """The slowest operation that succeeded."""

    @property
    def failed(self) -> int:
        """Operations that failed."""
        return sum(self.errors.values())

    def described(self) -> str:
        """Errors by SQLSTATE, for people."""
        found = ", ".join(f"{count} x {state}" for state, count in sorted(self.errors.items()))
        return found or "no errors"

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the operation of the block; its failure is counted and goes on to the caller."""
        began = time.monotonic()
        try:
            yield
        except FAILURES as error:
            self.errors[sqlstate(error)] += 1
            raise
        self.done += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began)


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error, or what took its place."""
    return getattr(error, "sqlstate", None) or type(error).__name__


class Load:
    """``async with Load(...) as load``: ``clients`` connections do ``job`` again and again. Then ``load.tally``."""

    def __init__(self, connect: Connect, clients: int, job: Job, *, turns: int = 0) -> None:
        """``turns``: operations of each client; 0: until the end of the block."""
        self.tally = Tally()
        self._connect, self._clients, self._job, self._turns = connect, clients, job, turns
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        connections = await asyncio.gather(*(self._connect() for _ in range(self._clients)))
        self._tasks = [
            asyncio.create_task(self._work(number, connection))
            for number, connection in enumerate(connections)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._turns:
            self._stop.set()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _work(self, number: int, connection: Any) -> None:
        turn = 0
        try:
            while not self._stop.is_set() and (not self._turns or turn < self._turns):
                try:
                    with self.tally.counting():
                        await self._job(connection, number, turn)
                except FAILURES:
                    connection = await self._whole(connection)
                turn += 1
                await asyncio.sleep(0)
        finally:
            await leave(connection)

    async def _whole(self, connection: Any) -> Any:
        """The connection, or a new one if it was lost."""
        while connection.is_closed() and not self._stop.is_set():
            self.tally.connections_lost += 1
            try:
                connection = await self._connect()
            except FAILURES as error:
                self.tally.errors[sqlstate(error)] += 1
                await asyncio.sleep(0.1)
        return connection


async def leave(connection: Any) -> None:
    """Close a connection, whatever state it is in."""
    try:
        await connection.close(timeout=5)
    except FAILURES:
        connection.terminate()


async def spread(connect: Connect, clients: int, count: int, job: Job) -> Tally:
    """``count`` operations (rounded up), dealt to ``clients`` connections; what they met."""
    async with Load(connect, clients, job, turns=-(-count // clients)) as load:
        pass
    return load.tally
