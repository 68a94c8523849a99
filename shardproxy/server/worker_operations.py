"""What an operator asks of a worker through the parent: kill, pause, drain, shut down.

Invariant: nothing here closes a client inside a transaction unless it was asked to; server connections are closed when
they are released, never under a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from shardproxy.server.accept import Acceptor
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.worker_api import DRAIN_CLIENTS, DRAIN_NOW, DRAIN_SERVERS
from shardproxy.server.worker_transactions import TransactionOperations

__all__ = ["Operations"]


class Operations(TransactionOperations):
    """The part of ``Worker`` that the console drives; the fields are the worker's."""

    loop: asyncio.AbstractEventLoop
    links: dict[int, Any]
    databases: dict[str, DatabaseRuntime]
    acceptors: list[Acceptor]
    draining: str
    stopped: asyncio.Event
    _disabled: set[str]
    _paused: set[str | None]
    _held: dict[str, dict[str, tuple[Sequence[Sequence[str]], float]]]
    _moving: dict[str, dict[str, tuple[str, frozenset[tuple[str, str]]]]]

    async def kill(self, client_id: int) -> bool:
        link = self.links.get(client_id)
        if link is None or link.session is None:
            return False
        link.session.fatal("57P01", "terminating connection due to administrator command")
        return True

    async def kill_database(self, database: str | None) -> int:
        count = 0
        for runtime in self._named(database):
            for session in list(runtime.sessions):
                session.fatal("57P01", "terminating connection due to administrator command")
                count += 1
            for pool in runtime.pools.values():
                pool.retire_all()
        return count

    def _named(self, database: str | None) -> list[DatabaseRuntime]:
        """A database and its shards; None: all."""
        return [d for name, d in self.databases.items() if database in (None, name, d.view.owner)]

    async def pause(self, database: str | None) -> None:
        self._paused.add(database)
        for runtime in self._named(database):
            runtime.paused = True
            runtime.end_dedicated("the database is paused")
            for pool in runtime.pools.values():
                pool.paused = True
                pool.retire_all()
        while any(pool.links for runtime in self._named(database) for pool in runtime.pools.values()):
            await asyncio.sleep(0.02)
            if not all(runtime.paused for runtime in self._named(database)):
                return

    async def resume(self, database: str | None) -> None:
        self._paused = self._paused - {database} if database is not None else set()
        for runtime in self._named(database):
            runtime.paused = False
            for pool in runtime.pools.values():
                pool.resume()

    async def hold_tables(self, database: str, transfer: str, tables: Sequence[Sequence[str]], seconds: float,
                          asking: int = 0) -> bool:
        self._held.setdefault(database, {})[transfer] = (tables, self.loop.time() + seconds)
        runtime = self.databases.get(database)
        return runtime is None or await runtime.holds.hold(transfer, tables, seconds, asking)

    async def release_tables(self, database: str, transfer: str) -> None:
        self._held.get(database, {}).pop(transfer, None)
        if database in self.databases:
            self.databases[database].holds.release(transfer)

    async def set_moving(self, database: str, moving: Mapping[str, tuple[str, Sequence[Sequence[str]]]]) -> None:
        self._moving[database] = {transfer: (tool, frozenset((schema, name) for schema, name in tables))
                                  for transfer, (tool, tables) in moving.items()}
        if database in self.databases:
            self.databases[database].holds.moving = self._moving[database]

    def hold_again(self, runtime: DatabaseRuntime) -> None:
        """A database is met while its tables are held, or being moved."""
        runtime.holds.moving = self._moving.get(runtime.name, {})
        for transfer, (tables, until) in self._held.get(runtime.name, {}).items():
            self.loop.create_task(runtime.holds.hold(transfer, tables, until - self.loop.time()))

    async def enable(self, database: str, enabled: bool) -> None:
        (self._disabled.discard if enabled else self._disabled.add)(database)

    async def reconnect(self, database: str | None) -> None:
        for runtime in self._named(database):
            for pool in runtime.pools.values():
                pool.retire_all()

    async def wait_close(self, database: str | None) -> None:
        while any(
            s.retiring
            for runtime in self._named(database)
            for pool in runtime.pools.values()
            for s in pool.links
        ):
            await asyncio.sleep(0.02)

    async def drain(self, server_id: str) -> None:
        for runtime in self.databases.values():
            for (known, _), pool in runtime.pools.items():
                if known == server_id:
                    pool.retire_all()

    async def stop_accepting(self) -> None:
        acceptors, self.acceptors = self.acceptors, []
        for acceptor in acceptors:
            acceptor.stop()

    async def shutdown(self, grace_s: float | None, mode: str) -> None:
        self.draining = mode
        await self.stop_accepting()
        deadline = None if grace_s is None else self.loop.time() + grace_s
        while mode != DRAIN_NOW and self.links and (deadline is None or self.loop.time() < deadline):
            if mode == DRAIN_SERVERS:
                for link in list(self.links.values()):
                    session = link.session
                    if session is not None and (
                        (link.server is None and not link.busy) or session in session.database.dedicated_to
                    ):
                        link.session.fatal("57P01", "terminating connection due to administrator command")
            elif mode == DRAIN_CLIENTS and not self.links:
                break
            await asyncio.sleep(0.02)
        for link in list(self.links.values()):
            if link.session is not None:
                link.session.fatal("57P01", "terminating connection due to administrator command")
        await asyncio.sleep(0.02)
        self.loop.call_later(0.05, self.stopped.set)
