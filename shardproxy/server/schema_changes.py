"""DDL of one worker, as far as all others have to know of it before its client does.

    hold      no worker begins anything on the tables that the DDL is about to change for everybody
    known     the layout is stored, every worker routes by it and by a catalog that was read after the commit
    release   what waited goes on, by the new catalog

Invariant: a worker that does not answer, or an end of the one that asked, delays this for some seconds and no more.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from shardproxy.errors import ControlError
from shardproxy.log import get_logger

__all__ = ["SchemaChanges"]

KNOWN_S, ANSWER_S = 10.0, 5.0
QUIET_S = 2.0
"""How long statements that are under way may take before a change that would send their rows elsewhere is refused."""

_log = get_logger(__name__)


class Calls(Protocol):
    """The part of ``Workers`` that is needed."""

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        """Call all workers."""

    def notify_all(self, method: str, /, **params: Any) -> None:
        """Notify all workers."""


class Reads(Protocol):
    """The part of ``Catalogs`` that is needed."""

    async def fresh(self, database: str, timeout: float) -> bool:
        """Wait for facts that were read after this call."""

    def ddl(self, database: str) -> None:
        """Read the catalog again."""


class SchemaChanges:
    """For all workers. ``elsewhere``: other proxies of a database know the catalog, too, when it returns."""

    def __init__(self, workers: Calls, catalogs: Reads, elsewhere: Callable[[str], Awaitable[None]],
                 sharded: Callable[[], Sequence[str]]) -> None:
        self._workers, self._catalogs, self._elsewhere, self._sharded = workers, catalogs, elsewhere, sharded
        self._numbers = itertools.count(1)
        self._held: dict[str, tuple[int, str]] = {}

    async def hold(self, worker: int, database: str, client: int, tables: Sequence[Sequence[str]],
                   quiet: bool) -> tuple[str, bool]:
        """Hold these tables for a client's DDL. Gives the hold's name, for ``release``, and whether nothing is under
        way on them; ``quiet``: wait for that."""
        name = f"ddl {worker} {next(self._numbers)}"
        self._held[name] = (worker, database)
        seconds = QUIET_S if quiet else 0.0
        try:
            answers = await self._workers.broadcast(
                "hold_tables", timeout=ANSWER_S, database=database, transfer=name, tables=[list(one) for one in tables],
                seconds=seconds, asking=client)
        except ControlError:
            answers = [False]
        return name, all(answers)

    def release(self, name: str) -> None:
        """End a hold."""
        known = self._held.pop(name, None)
        if known is not None:
            self._workers.notify_all("release_tables", database=known[1], transfer=name)

    async def known(self, database: str) -> None:
        """When it returns, every worker knows the catalog as it is now; other proxies, too."""
        if not await self._catalogs.fresh(database, KNOWN_S):
            _log.warning("the catalog was not read in time after DDL", database=database)
        await self._workers.broadcast("ping", timeout=ANSWER_S)
        await self._elsewhere(database)

    def gone(self, worker: int) -> None:
        """A worker ended, perhaps right after a commit of which nobody has heard."""
        for name in [name for name, (owner, _) in self._held.items() if owner == worker]:
            self.release(name)
        for database in self._sharded():
            self._catalogs.ddl(database)
