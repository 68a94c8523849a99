"""Tables that are about to move, in one worker: statements that touch them wait until they have.

Invariants:
* Nobody hears an error because of a hold: who is stopped waits, and runs when it is released, under the layout of then.
* A transaction that has touched a held table already goes on to its end; ``drained`` is true when there is none left.
* A hold ends by itself some seconds after its deadline, whatever became of those who asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

__all__ = ["GRACE_S", "Holds"]

GRACE_S = 10.0
"""The proxy's parent ends a hold at its deadline; if it does not, the worker does, so much later."""
LOOK_S = 0.002

Table = tuple[str, str]


class Holds:
    """Of one database. ``held``: what the dialect made of the tables, None while nothing is held. ``moving``: tool and
    tables of each transfer that is ready to switch, or has."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._tables: dict[str, tuple[frozenset[Table], asyncio.TimerHandle]] = {}
        self.held: Any = None
        self.moving: dict[str, tuple[str, frozenset[Table]]] = {}
        self.waiting: set[Any] = set()

    @property
    def transfers(self) -> list[str]:
        """Names of the transfers that hold something."""
        return list(self._tables)

    async def hold(self, transfer: str, tables: Sequence[Sequence[str]], seconds: float, asking: int = 0) -> bool:
        """Stop what touches these tables, for at most ``seconds``. True: nothing is under way on them any more, but for
        what the client ``asking`` does."""
        loop = asyncio.get_running_loop()
        self._forget(transfer)
        timer = loop.call_later(seconds + GRACE_S, self.release, transfer)
        self._tables[transfer] = (frozenset((schema, name) for schema, name in tables), timer)
        self._changed()
        deadline = loop.time() + seconds
        while transfer in self._tables and loop.time() < deadline:
            if self.drained(asking):
                return True
            await asyncio.sleep(LOOK_S)
        return transfer in self._tables and self.drained(asking)

    def drained(self, asking: int = 0) -> bool:
        """Whether no statement and no transaction is under way that touches what is held."""
        return self.held is None or all(session.quiet(self.held) for session in list(self._database.sessions)
                                        if session.link.id != asking)

    def release(self, transfer: str) -> None:
        """Let those go on who waited."""
        if not self._forget(transfer):
            return
        self._changed()
        waiting, self.waiting = self.waiting, set()
        for session in waiting:
            session.released()

    def _forget(self, transfer: str) -> bool:
        known = self._tables.pop(transfer, None)
        if known is not None:
            known[1].cancel()
        return known is not None

    def _changed(self) -> None:
        tables = frozenset[Table]().union(*(one for one, _ in self._tables.values()))
        self._database.gate.close()
        self.held = self._database.dialect.held(self._database, tables) if tables else None
