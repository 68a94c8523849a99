"""Which replica serves a read.

Invariants:
* ``database``: every write to the read's tables that any client of this proxy had acknowledged is visible there.
  ``session``: this client's own writes are. ``eventual``: nothing is promised. A token's position has been replayed.
* Monotonic: a session leaves its replica only for one that has everything that was visible at its last read.
"""

from __future__ import annotations

import time
from typing import Any

from shardproxy.topology import balance
from shardproxy.topology.view import ServerView

__all__ = ["Replicas"]


class Replicas:
    """Chooses for one database of one worker."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._state = balance.State() if hasattr(balance, "State") else None

    def choose(self, session: Any, slots: tuple[int, ...]) -> ServerView | None:
        """A replica that may serve a read of tables with these slots; None: the primary has to."""
        database = self._database
        link = session.link
        sticky: ServerView | None = link.sticky and database.view.server(link.sticky)
        if sticky is not None and sticky.role == "replica" and sticky.usable and self._fresh(sticky, session, slots):
            link.read_ns = time.monotonic_ns()
            return sticky
        monotonic = session.consistency != "eventual" and link.sticky is not None
        candidates = [
            server for server in database.view.replicas
            if self._fresh(server, session, slots)
            and (not monotonic or database.board.may_read_after(server.index, link.read_ns))
        ]  # fmt: skip
        chosen = self._pick(candidates, session)
        if chosen is not None:
            link.sticky = chosen.id
            link.read_ns = time.monotonic_ns()
        return chosen

    def _fresh(self, server: ServerView, session: Any, slots: tuple[int, ...]) -> bool:
        board = self._database.board
        if session.token is not None:
            figures = board.figures(server.index)
            if figures["timeline"] < session.token[0] or figures["position"] < session.token[1]:
                return False
        if session.consistency == "eventual":
            return True
        if session.consistency == "session":
            return bool(board.may_read_after(server.index, session.link.wrote_ns))
        return bool(board.may_read(server.index, self._database.index, slots))

    def _pick(self, candidates: list[ServerView], session: Any) -> ServerView | None:
        return candidates[0] if candidates else None
