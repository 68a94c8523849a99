"""What a worker asks of the parent for its databases and sessions; it does not remember any of it.

Invariant: what the parent does not answer in time is not waited for longer than said here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from shardproxy.config.model import Config
from shardproxy.errors import ControlError
from shardproxy.pool.admission import SharedAdmission
from shardproxy.server.control import Endpoint
from shardproxy.server.database import DatabaseRuntime
from shardproxy.server.figures import worker_of
from shardproxy.server.worker_api import TOKEN, PoolKey

__all__ = ["Asks"]

CATALOG_S = 30.0


class Asks:
    """A part of ``Worker``; the fields are the worker's."""

    index: int
    config: Config
    control: Endpoint
    databases: dict[str, DatabaseRuntime]
    keys: dict[tuple[int, bytes], Any]
    _aimed: dict[int, Any]
    _permits: dict[Any, asyncio.Event]
    _admissions: dict[PoolKey, SharedAdmission]

    def suspect(self, database: str, server_id: str, reason: str) -> None:
        """Ask the parent to look at a server."""
        self.control.notify("suspect", database=database, server_id=server_id, reason=reason)

    def ddl(self, database: str) -> None:
        """Ask the parent for new facts."""
        self.control.notify("ddl", database=database)

    async def settle_layout(self, database: str) -> None:
        """Have what committed DDL changed in the layout stored; all workers know it then."""
        await self.control.call("settle_layout", database=database)

    async def hold_layout(self, database: str, client: int, tables: list[list[str]], quiet: bool) -> tuple[str, bool]:
        """Before DDL on these tables is committed; ``release_layout`` must follow. Also: does nothing run on them?"""
        name, is_quiet = await self.control.call("hold_layout", database=database, client=client, tables=tables,
                                                 quiet=quiet)
        return str(name), bool(is_quiet)

    def release_layout(self, name: str) -> None:
        """After ``hold_layout``."""
        self.control.notify("release_layout", name=name)

    async def catalog_known(self, database: str) -> None:
        """After DDL: until all workers know the catalog as it is now."""
        await self.control.call("catalog_known", timeout=CATALOG_S, database=database)

    def may_be_elsewhere(self, pid: int) -> bool:
        """Whether another worker may have a client with this id."""
        return worker_of(pid) != self.index and worker_of(pid) < self.config.listen.workers

    async def aim_elsewhere(self, pid: int) -> Sequence[Any] | None:
        """Another worker's client is about to be signalled: [process id, address of its server], or None."""
        answer: Sequence[Any] | None = await self.control.call("aim", pid=pid)
        return answer

    def signal_sent(self, pid: int) -> None:
        """After ``aim_elsewhere``."""
        self.control.notify("signal_sent", pid=pid)

    def vacate_everywhere(self, names: Sequence[str]) -> None:
        """Close idle connections to databases of these names, in all workers."""
        self.vacate_here(names)
        self.control.notify("vacate", names=list(names))

    def vacate_here(self, names: Sequence[str]) -> None:
        """The same, in this worker."""
        for name in set(names) & self.databases.keys():
            for pool in self.databases[name].pools.values():
                for server in list(pool.idle):
                    pool.retire(server)

    def shared_admission(self, database: str, user: str) -> SharedAdmission:
        """Who of a user's sessions may hold connections of several pools, by tokens of the parent."""
        key: PoolKey = (database, TOKEN, user)
        if key not in self._admissions:
            async def ask() -> bool:
                try:
                    return bool(await self.control.call("acquire", pool=list(key)))
                except ControlError:
                    return False

            self._admissions[key] = SharedAdmission(ask, lambda: self.control.notify("release", pool=list(key)))
            self._permits[key] = self._admissions[key].freed
        return self._admissions[key]

    # -- what others ask through the parent

    async def aim(self, pid: int) -> list[Any] | None:
        link = next((link for (known, _), link in self.keys.items() if known == pid), None)
        if link is None or link.session is None or link.closed:
            return None
        found = await link.session.database.dialect.aim_at(link)
        if found is None:
            return None
        server, self._aimed[pid] = found
        return [server.backend_pid, [str(one) for one in server.address]]

    async def signal_sent_to(self, pid: int) -> None:
        aimed = self._aimed.pop(pid, None)
        if aimed is not None:
            aimed.sent = True

    async def vacate(self, names: Sequence[str]) -> None:
        self.vacate_here(names)
