"""Places on the board for databases and servers.

Invariants: a database keeps its index for the life of the process; an index of a server is given to another one as
late as possible, because a worker may still look at an older view.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence

from shardproxy.topology.board_cy import DATABASES_MAX, SERVERS_MAX, Board
from shardproxy.topology.view import WILDCARD, WILDCARD_INDEX

__all__ = ["Indexes"]


class Indexes:
    """Deals out the indexes of one board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._databases: dict[str, int] = {}
        self._servers = deque(range(SERVERS_MAX))

    def database(self, name: str) -> int:
        """Index of a configured database. With more than 48 of them some share one, which is safe (see the view)."""
        if name == WILDCARD:
            return WILDCARD_INDEX
        if name not in self._databases:
            used = len(self._databases)
            self._databases[name] = used if used < WILDCARD_INDEX else zlib.crc32(name.encode()) % WILDCARD_INDEX
        return self._databases[name]

    def of_databases(self, names: Sequence[str]) -> list[int]:
        """All indexes under which writes to these entries of the topology may be marked."""
        found: set[int] = set()
        for name in names:
            found.update(range(WILDCARD_INDEX, DATABASES_MAX) if name == WILDCARD else (self.database(name),))
        return sorted(found)

    def new_server(self) -> int:
        """An index that no server has, emptied."""
        if not self._servers:
            raise RuntimeError(f"more than {SERVERS_MAX} servers")
        index = self._servers.popleft()
        self._board.clear_server(index)
        return index

    def free_server(self, index: int) -> None:
        """The server is gone; nothing is fresh there."""
        self._board.clear_server(index)
        self._servers.append(index)
