"""Which replica serves a read.

Invariants:
* ``database``: every write to the read's tables that any client of this proxy had acknowledged is visible there.
  ``session``: this client's own writes are. ``eventual``: nothing is promised. A token's position has been replayed.
* Monotonic (but for ``eventual``): a session leaves the server where it last read, the primary too, only for one that
  shows everything that could be seen there then: see ``balance.Sticky``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardproxy.topology import balance
from shardproxy.topology.view import ServerView

__all__ = ["Replicas"]


class Replicas:
    """Chooses for one database of one worker."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._state = balance.State()

    def choose(self, session: Any, slots: tuple[int, ...]) -> ServerView | None:
        """A replica that may serve a read of tables with these slots; None: the primary has to."""
        database, sticky = self._database, session.sticky
        catalog = database.parent or database  # a shard's tables are known by its database
        if database.board.catalog_epoch(catalog.index) != catalog.router.epoch:
            return None  # DDL since the facts were read: what was proven to be a read may not be one any more
        # asked before the freshness: a write that ends in between is then seen by one of the two
        settled = session.consistency == "database" and database.board.settled(database.index, slots)
        candidates = [server for server in self._within_lag()
                      if self.fresh(server, session, slots) and not database.failing(server.id, session.server_user)]
        if not candidates:
            return None
        if session.consistency == "eventual":
            sticky.last_read_ns = 0
        else:
            sticky.note(None if session.link.read_primary else sticky.server_id, session.link.read_ns)
        chosen: ServerView | None = sticky.choose(
            candidates, database.board, lambda servers: self._pick(servers, session), settled=settled
        )
        if chosen is not None:
            sticky.server_id = chosen.id
        return chosen

    def _within_lag(self) -> Sequence[ServerView]:
        database = self._database
        limit = database.entry.max_lag
        if limit is None:
            return tuple(database.view.replicas)
        lag_ms = None if limit.seconds is None else int(limit.seconds * 1000)
        return balance.within_lag(database.view.replicas, database.board, lag_ms, limit.bytes)

    def fresh(self, server: ServerView, session: Any, slots: tuple[int, ...]) -> bool:
        """Whether this replica shows what the session's consistency and token demand of these tables."""
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

    def _pick(self, candidates: Sequence[ServerView], session: Any) -> ServerView | None:
        database = self._database
        in_use = {server.id: database.in_use(server.id) for server in candidates} if len(candidates) > 1 else {}
        return balance.pick(candidates, database.entry.balance, session.client_key, in_use, self._state,
                            database.board, database.entry.zone)  # fmt: skip
