"""How many clients each database and each user has, over all workers, where the configuration limits them.

Invariant: a client that is counted was admitted below the limits of that moment, or was there before they were set;
what a worker had is forgotten when it dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Guests"]

Limits = Callable[[str, str], tuple[int, int]]
"""(database, user) -> most clients of the database, most of the user; 0: no limit."""


class Guests:
    """Used by the parent's event loop only."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[tuple[int, str, str]] = Counter()
        self._databases: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

    def admit(self, worker: int, database: str, user: str) -> str:
        """Count one more client; or the name of the limit that is reached."""
        of_database, of_user = self._limits(database, user)
        if of_database and self._databases[database] >= of_database:
            return "max_db_client_connections"
        if of_user and self._users[user] >= of_user:
            return "max_user_client_connections"
        self.count(worker, database, user)
        return ""

    def count(self, worker: int, database: str, user: str) -> None:
        """A client that is there already."""
        self._change(worker, database, user, 1)

    def left(self, worker: int, database: str, user: str) -> None:
        """A client is gone. One that was not counted is ignored."""
        if self._held[(worker, database, user)] > 0:
            self._change(worker, database, user, -1)

    def worker_died(self, worker: int) -> None:
        """And with it its clients."""
        for (index, database, user), count in list(self._held.items()):
            if index == worker:
                self._change(worker, database, user, -count)

    def _change(self, worker: int, database: str, user: str, by: int) -> None:
        self._held[(worker, database, user)] += by
        self._databases[database] += by
        self._users[user] += by
        if not self._held[(worker, database, user)]:
            del self._held[(worker, database, user)]
        for counter, name in ((self._databases, database), (self._users, user)):
            if not counter[name]:
                del counter[name]
