"""What a worker may ask of the parent: implements ParentApi for the worker with one index.

Invariant: a handler trusts nothing but the index it was made for; a worker can only give back what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from shardproxy.log import get_logger
from shardproxy.server.admin import Admin
from shardproxy.server.figures import worker_of
from shardproxy.server.guests import Guests
from shardproxy.server.permits import Permits
from shardproxy.server.reclaim import Reclaimer
from shardproxy.server.recovery import Recovery
from shardproxy.server.schema_changes import SchemaChanges
from shardproxy.server.worker_api import TOKEN, PoolKey
from shardproxy.server.workers import Workers

__all__ = ["FromWorker", "Services"]

_log = get_logger(__name__)


class Services(Protocol):
    """What the handlers pass on to the supervisor."""

    workers: Workers
    permits: Permits
    admissions: Permits
    guests: Guests
    reclaimer: Reclaimer
    admin: Admin
    recovery: Recovery
    schema_changes: SchemaChanges

    def suspect(self, database: str, server_id: str, reason: str) -> None:
        """Check a server now."""

    async def need(self, database: str) -> None:
        """Watch a database of the wildcard entry."""

    async def ddl(self, database: str) -> None:
        """Read the catalog of a database again."""

    async def settle_layout(self, database: str) -> None:
        """Store what DDL changed in the layout."""

    async def cancel_elsewhere(self, asking: int, pid: int, secret_hex: str) -> bool:
        """Pass a cancel request to all other workers."""


class FromWorker:
    """See ParentApi for what each method means."""

    def __init__(self, index: int, services: Services) -> None:
        self._index, self._services = index, services

    def _of(self, pool: PoolKey) -> Permits:
        return self._services.admissions if pool[1] == TOKEN else self._services.permits

    async def ready(self, listeners: list[str]) -> None:
        """Replaced for each process by ``Workers``, which waits for it."""

    async def acquire(self, pool: PoolKey, priority: int = 0) -> bool:
        granted = self._of(pool).acquire(self._index, _key(pool), priority)
        if not granted and pool[1] != TOKEN:
            self._services.reclaimer.poke()
        return granted

    async def release(self, pool: PoolKey) -> None:
        self._of(pool).release(self._index, _key(pool))

    async def admit(self, database: str, user: str) -> str:
        return self._services.guests.admit(self._index, database, user)

    async def count(self, database: str, user: str) -> None:
        self._services.guests.count(self._index, database, user)

    async def left(self, database: str, user: str) -> None:
        self._services.guests.left(self._index, database, user)

    async def suspect(self, database: str, server_id: str, reason: str) -> None:
        self._services.suspect(database, server_id, reason)

    async def need(self, database: str) -> None:
        await self._services.need(database)

    async def ddl(self, database: str) -> None:
        await self._services.ddl(database)

    async def settle_layout(self, database: str) -> None:
        await self._services.settle_layout(database)

    async def hold_layout(self, database: str, client: int, tables: Sequence[Sequence[str]],
                          quiet: bool) -> Sequence[Any]:
        return await self._services.schema_changes.hold(self._index, database, client, tables, quiet)

    async def release_layout(self, name: str) -> None:
        self._services.schema_changes.release(name)

    async def catalog_known(self, database: str) -> None:
        await self._services.schema_changes.known(database)

    async def admin(self, sql: str, user: str, database: str) -> dict[str, Any]:
        return await self._services.admin.run(sql, user)

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        return await self._services.cancel_elsewhere(self._index, pid, secret_hex)

    async def aim(self, pid: int) -> Sequence[Any] | None:
        answer: Sequence[Any] | None = await self._services.workers.call(worker_of(pid), "aim", pid=pid)
        return answer

    async def signal_sent(self, pid: int) -> None:
        self._services.workers.notify(worker_of(pid), "signal_sent_to", pid=pid)

    async def vacate(self, names: Sequence[str]) -> None:
        self._services.workers.notify_all("vacate", names=list(names))

    async def resolve(self, database: str, gid: str, places: list[str]) -> dict[str, Any]:
        return await self._services.recovery.resolve(database, gid, places)

    async def forget(self, database: str, keys: list[str]) -> None:
        await self._services.recovery.forget(database, keys)

    async def log_event(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        write: dict[str, Callable[..., None]] = {
            "debug": _log.debug, "info": _log.info, "warning": _log.warning, "error": _log.error}
        known = {name: value for name, value in fields.items() if name not in ("worker", "exc_info")}
        write.get(level, write["info"])(event, worker=self._index, **known)


def _key(pool: PoolKey) -> PoolKey:
    """JSON has lists, the accounting needs tuples."""
    database, server, user = pool
    return database, server, user


