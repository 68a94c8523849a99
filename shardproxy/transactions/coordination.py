"""What a worker knows of its distributed transactions, and what it asks of the parent about them.

Invariants:
* A transaction is ``active`` from before its first participant is asked to prepare until nothing more is done for it
  here; recovery leaves active ones alone and finishes all others.
* While distributed commits are held none becomes active; ``hold`` returns when none is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardproxy.errors import ControlError, ServerError
from shardproxy.log import get_logger

from .gid import Gid, new_gid

__all__ = ["Coordination", "Legs", "Resolution", "Transactions"]

RESOLVE_S = 30.0
FORGET_EVERY_S = 0.25
"""Decisions that are not needed any more are deleted this late, many at once."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of a transaction. ``committed`` None: not known yet; ``left``: places where it is unfinished."""

    committed: bool | None
    left: tuple[str, ...] = ()


class Asks(Protocol):
    """The worker's end of the control channel."""

    async def call(self, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Run a method of the parent."""

    def notify(self, method: str, /, **params: Any) -> None:
        """The same, without an answer."""


class Legs(Protocol):
    """A client's transaction, as far as deadlocks between places need it."""

    def backends(self) -> Sequence[tuple[str, int]]:
        """(place, process id of the server) of each connection that takes part."""

    def deadlocked(self, detail: str) -> None:
        """Its running statement is being cancelled because of a deadlock: to be reported as that."""


class Transactions:
    """All distributed transactions of one worker. ``parent`` gives the control channel, which is made later."""

    def __init__(self, parent: Callable[[], Asks]) -> None:
        self.parent = parent
        self.incarnation = ""
        self.databases: dict[str, Coordination] = {}
        self.live: dict[int, tuple[str, Legs]] = {}
        self._held = False
        self._open = asyncio.Event()
        self._open.set()
        self._numbers = 0
        self._ids = 0

    def of(self, database: str) -> Coordination:
        """The transactions of one database."""
        found = self.databases.get(database)
        if found is None:
            found = self.databases[database] = Coordination(self, database)
        return found

    # -- who has connections to several places

    def enter(self, database: str, legs: Legs) -> int:
        """A client's transaction got legs; the id is for ``leave``."""
        self._ids += 1
        self.live[self._ids] = (database, legs)
        return self._ids

    def leave(self, number: int) -> None:
        """It has ended."""
        self.live.pop(number, None)

    # -- for the parent

    def told(self, database: str, installation: str, incarnation: str, in_doubt: Iterable[str]) -> None:
        """The parent tells what holds for a database."""
        self.incarnation = incarnation
        one = self.of(database)
        one.installation = installation
        one.in_doubt.clear()
        one.in_doubt.update(in_doubt)

    def snapshot(self) -> list[dict[str, Any]]:
        """Every transaction with connections, and (``gid``) every one that is being committed."""
        rows: list[dict[str, Any]] = [
            {"database": name, "transaction": number, "legs": [list(leg) for leg in legs.backends()], "gid": ""}
            for number, (name, legs) in self.live.items()]
        rows += [{"database": one.database, "transaction": 0, "legs": [], "gid": key}
                 for one in self.databases.values() for key in one.active]
        return rows

    def deadlocked(self, transaction: int, detail: str) -> bool:
        """Mark the victim of a deadlock. False: it has ended meanwhile."""
        found = self.live.get(transaction)
        if found is None:
            return False
        found[1].deadlocked(detail)
        return True

    async def hold(self, timeout: float) -> bool:
        """Let no distributed commit begin, and wait for those under way. False: not in time, nothing is held."""
        self._open.clear()
        try:
            async with asyncio.timeout(timeout):
                while any(one.active for one in self.databases.values()):
                    await asyncio.sleep(0.005)
        except TimeoutError:
            self._open.set()
            return False
        return True

    def release(self) -> None:
        """End ``hold``."""
        self._open.set()

    async def number(self) -> int:
        """A number for the next transaction, as soon as one may begin."""
        while not self._open.is_set():
            await self._open.wait()
        self._numbers += 1
        return self._numbers


@dataclass(slots=True)
class Coordination:
    """Distributed transactions of one database in one worker. ``in_doubt``: places that must not be used now."""

    owner: Transactions
    database: str
    installation: str = ""
    in_doubt: set[str] = field(default_factory=set)
    active: dict[str, Gid] = field(default_factory=dict)
    _forgotten: list[str] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None

    async def begin(self, decider: str) -> tuple[Gid, str]:
        """Name a transaction that is about to be prepared; ``end`` must follow. Raises ServerError."""
        if not self.installation or not self.owner.incarnation:
            raise ServerError("57P03", "transactions over several servers cannot be committed yet",
                              detail=f"The coordinator of {self.database} was not reached since the proxy started.")
        number = await self.owner.number()
        gid, proof = new_gid(self.installation, decider, self.owner.incarnation, number)
        self.active[gid.key] = gid
        return gid, proof

    def end(self, gid: Gid) -> None:
        """Nothing more is done for it here: what is left of it is recovery's."""
        self.active.pop(gid.key, None)

    async def resolve(self, gid: Gid, places: Sequence[str]) -> Resolution:
        """Have the parent find out what was decided (an abort, if nothing was), and finish it at these places."""
        try:
            answer: Mapping[str, Any] = await self.owner.parent().call(
                "resolve", timeout=RESOLVE_S, database=self.database, gid=str(gid), places=list(places))
        except ControlError as error:
            _log.warning("a transaction is left to recovery", gid=str(gid), error=str(error))
            return Resolution(None, tuple(places))
        return Resolution(answer["committed"], tuple(answer["left"]))

    def forget(self, gid: Gid) -> None:
        """Every participant has committed: the decision can be deleted."""
        self._forgotten.append(gid.key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FORGET_EVERY_S, self._tell)

    def _tell(self) -> None:
        keys, self._forgotten, self._timer = self._forgotten, [], None
        self.owner.parent().notify("forget", database=self.database, keys=keys)
