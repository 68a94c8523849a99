"""What makes a client's transaction known beyond its session: to deadlock detection, and to doubts about places.

Invariants:
* While it has legs, it is among the worker's live transactions with every connection it uses, the client's own too.
* A place where a committed transaction is unfinished is not used: what is there is not what was acknowledged.
"""

from __future__ import annotations

from typing import Any

from .errors import PgError, undone, unknown

__all__ = ["Tracked"]

CANCELLED, DEADLOCK = "57014", "40P01"


class Tracked:
    """A part of ``Transaction``."""

    database: Any
    home: Any
    begin: str
    atomic: bool
    legs: dict[str, Any]
    _number = 0
    _deadlock = ""

    def track(self) -> None:
        """It has legs."""
        if not self._number:
            self._number = self.database.worker.transactions.enter(self.database.name, self)

    def untrack(self) -> None:
        """It has ended."""
        if self._number:
            self.database.worker.transactions.leave(self._number)
            self._number = 0
        self._deadlock = ""

    def check_place(self, place: str) -> None:
        """Raises 08006 if a place must not be used now."""
        if place in self.database.worker.transactions.of(self.database.name).in_doubt:
            raise PgError.of("08006", f"{place or 'the coordinator'} cannot be used now",
                             detail="A transaction that is committed is not finished there yet.",
                             hint="It will be as soon as the proxy reaches the server.")

    def backends(self) -> list[tuple[str, int]]:
        """(place, process id) of every connection."""
        found = {place: leg.server for place, leg in self.legs.items()}
        if self.home is not None:
            found.setdefault("", self.home)
        return [(place, server.backend_pid) for place, server in found.items() if not server.closed]

    def deadlocked(self, detail: str) -> None:
        """What runs is being cancelled because of a deadlock."""
        self._deadlock = detail

    def explained(self, error: PgError) -> PgError:
        """An error as the client is told it: a cancellation because of a deadlock is that deadlock."""
        if self._deadlock and error.sqlstate == CANCELLED:
            return PgError.of(DEADLOCK, "deadlock detected", detail=self._deadlock)
        if self.begin or self.atomic:
            return undone(error)
        return unknown(error) if any(leg.wrote for leg in self.legs.values()) else error
