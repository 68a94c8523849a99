"""Reads the catalog of every database from its primary, and tells what it found.

Invariant: the epoch that facts are told with was read from the board *before* they were loaded; so facts are current
exactly as long as the board still shows that epoch. Failing to load keeps the old facts (they are then not current
after DDL, and the router proves nothing by them), and is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shardproxy.config.model import ANY, Database
from shardproxy.dialects.base import Dialect
from shardproxy.dialects.replication import LinkError
from shardproxy.log import Log
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import DatabaseView, ServerView, TopologyView

from .watched import target_at

__all__ = ["Catalogs", "OnFacts"]

EVERY_S = 60.0
"""Changes made past the proxy are noticed this late."""
AGAIN_S, AGAIN_MAX_S = 0.5, 10.0
LOAD_S = 60.0
REST_SHARE = 4
"""After a load, rest this many times as long: a storm of DDL does not become a storm of catalog queries."""
WILDCARDS_MAX = 1000
FAILURES_MAX = 10
"""A database of the wildcard is given up after this many failures in a row; its name came from a client."""

OnFacts = Callable[[str, dict[str, Any], int], None]
"""(database, facts, epoch)"""


class Monitoring(Protocol):
    """The part of the monitor that is needed here."""

    view: TopologyView

    async def wait_primary(self, database: str, timeout: float) -> ServerView | None:
        """The primary, as soon as there is one."""


class Catalogs:
    """One task for each database; for those of the wildcard from their first ``need`` or ``ddl`` on."""

    def __init__(self, databases: Mapping[str, Database], board: Board, dialects: Callable[[str], Dialect],
                 monitor: Monitoring, on_facts: OnFacts, log: Log) -> None:
        self._databases, self._board, self._dialects = databases, board, dialects
        self._monitor, self._on_facts, self._log = monitor, on_facts, log
        self._watches: dict[str, _Watch] = {}

    def start(self) -> None:
        """Watch all configured databases; be ready for those that clients will name."""
        for dialect in {entry.dialect for entry in self._databases.values()}:
            self._dialects(dialect).warm_catalog()
        for name in self._databases:
            if name != ANY:
                self._watch(name)

    async def stop(self) -> None:
        """End all tasks."""
        await self._end(list(self._watches))

    async def reload(self, databases: Mapping[str, Database]) -> None:
        """Another configuration: everything is read again."""
        gone = [name for name in self._watches if databases.get(name) != self._databases.get(name)
                or name not in databases]
        self._databases = databases
        await self._end(gone)
        self.start()

    def ddl(self, database: str) -> None:
        """The catalog changed: read it again now."""
        watch = self._watch(database)
        if watch is not None:
            watch.wake.set()

    async def fresh(self, database: str, timeout: float) -> bool:
        """Wait for facts that were read after this call. False: not in time, or no such database."""
        watch = self._watch(database)
        if watch is None:
            return False
        wanted = watch.begun + 1
        watch.wake.set()
        try:
            async with asyncio.timeout(timeout), watch.loaded:
                await watch.loaded.wait_for(lambda: watch.done >= wanted)
        except TimeoutError:
            return False
        return True

    def viewed(self, view: TopologyView) -> None:
        """Roles changed: read from a primary that was not asked yet."""
        for name, watch in self._watches.items():
            database = view.database(name)
            if database is not None and database.primary is not None and database.primary != watch.asked:
                watch.wake.set()

    def known(self, database: str) -> tuple[dict[str, Any], int] | None:
        """Facts and their epoch, as they were told last."""
        watch = self._watches.get(database)
        return None if watch is None or watch.facts is None else (watch.facts, watch.epoch)

    async def need(self, database: str, timeout: float = 5.0) -> tuple[dict[str, Any], int] | None:
        """Watch a database from now on, and wait for its facts. None: not in time, or no such database."""
        watch = self._watch(database)
        if watch is None:
            return None
        try:
            async with asyncio.timeout(timeout):
                await watch.told.wait()
        except TimeoutError:
            return None
        return self.known(database)

    # -- watches

    def _watch(self, name: str) -> _Watch | None:
        if name not in self._watches:
            entry = self._databases.get(name)
            if entry is None and ANY in self._databases and name != ANY:
                entry = self._databases[ANY].named(name)
                self._forget_some()
            if entry is None:
                return None
            watch = _Watch(entry)
            watch.task = asyncio.create_task(self._run(name, watch), name=f"catalog {name}")
            self._watches[name] = watch
        return self._watches[name]

    def _forget_some(self) -> None:
        made = [name for name in self._watches if name not in self._databases]
        for name in made[:max(0, len(made) - WILDCARDS_MAX + 1)]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        watch = self._watches.pop(name)
        watch.ended = True
        if watch.task is not None:
            watch.task.cancel()
        if watch.connection is not None:
            watch.connection.terminate()

    async def _end(self, names: list[str]) -> None:
        tasks = [watch.task for name in names if (watch := self._watches.get(name)) and watch.task is not None]
        for name in names:
            if name in self._watches:
                self._drop(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- loading

    async def _run(self, name: str, watch: _Watch) -> None:
        failures = 0
        while True:
            if await self._monitor.wait_primary(name, EVERY_S) is None:
                continue
            watch.wake.clear()
            started = time.monotonic()
            try:
                async with asyncio.timeout(LOAD_S):
                    await self._load(name, watch)
            except Exception as error:  # whatever a driver raises: the old facts stay
                if watch.ended:         # its connection was closed under it, which hides the cancellation
                    return
                failures += 1
                if not self._failed(name, failures, error):
                    return
                await asyncio.sleep(min(AGAIN_MAX_S, AGAIN_S * 2 ** (failures - 1)))
                continue
            failures = 0
            if not watch.sharded:  # there, a DDL statement is answered only when its facts are known
                await asyncio.sleep(REST_SHARE * (time.monotonic() - started))
            await self._rest(name, watch)

    async def _rest(self, name: str, watch: _Watch) -> None:
        """Until it is time to look again."""
        database = self._monitor.view.database(name)
        if database is not None and self._board.catalog_epoch(database.index) != watch.epoch:
            return
        try:
            async with asyncio.timeout(EVERY_S):
                await watch.wake.wait()
        except TimeoutError:
            pass

    async def _load(self, name: str, watch: _Watch) -> None:
        watch.begun += 1
        number = watch.begun
        database = self._monitor.view.database(name)
        primary = database.primary_server if database is not None else None
        if database is None or primary is None:
            raise LinkError("no primary")
        facts, epoch = await self._facts(database, primary, watch)
        watch.asked = primary.id
        if facts != watch.facts or epoch != watch.epoch:
            watch.facts, watch.epoch = facts, epoch
            self._on_facts(name, facts, epoch)
        watch.told.set()
        async with watch.loaded:
            watch.done = number
            watch.loaded.notify_all()

    async def _facts(self, database: DatabaseView, primary: ServerView, watch: _Watch) -> tuple[dict[str, Any], int]:
        entry = watch.entry
        dialect = self._dialects(entry.dialect)
        epoch = self._board.catalog_epoch(database.index)
        target = target_at(entry, primary.host, primary.port, primary.unix, primary.dbname)
        connection = watch.connection if watch.reached == target else None
        if connection is None:
            await self._close(watch)
            connection = await dialect.replication.open(target, entry.health_timeout)
        watch.connection, watch.reached = connection, target
        try:
            return await dialect.catalog_load(connection, entry.harmless_functions, watch.sharded), epoch
        except BaseException:
            watch.reached = None
            raise
        finally:
            if not watch.sharded or watch.reached is None:
                await self._close(watch)

    @staticmethod
    async def _close(watch: _Watch) -> None:
        connection, watch.connection, watch.reached = watch.connection, None, None
        if connection is not None:
            try:
                async with asyncio.timeout(watch.entry.health_timeout):
                    await connection.close()
            except (TimeoutError, OSError):  # the driver drops it then
                pass

    def _failed(self, name: str, failures: int, error: Exception) -> bool:
        """Whether to try again."""
        tell = self._log.warning if failures in (1, FAILURES_MAX) else self._log.debug
        tell("catalog not read", database=name, error=str(error) or type(error).__name__, failures=failures)
        if failures >= FAILURES_MAX and name not in self._databases:
            self._watches.pop(name, None)
            return False
        return True


class _Watch:
    """One database: what was told last, and what wakes its task. That of a sharded one keeps its ``connection``."""

    def __init__(self, entry: Database) -> None:
        self.entry = entry
        self.sharded = len(entry.keyspace_map) > 1
        self.connection: Any = None
        self.reached: object = None
        self.facts: dict[str, Any] | None = None
        self.epoch = -1
        self.asked: str | None = None
        self.begun = self.done = 0      # numbers of loads; ``loaded``: another one is done
        self.loaded = asyncio.Condition()
        self.ended = False
        self.wake = asyncio.Event()
        self.told = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
