"""A READ ONLY transaction that was begun on a replica: whether its next batch may run there too.

What a replica may answer is looked at for each batch, as outside transactions: in READ COMMITTED every statement sees
what was committed before it. A batch that the replica may not serve takes the transaction to the primary first.

Invariants:
* Only proven reads have run on the replica, so nothing but a snapshot can be lost by leaving it.
* A transaction that keeps one snapshot (REPEATABLE READ) does not move once it has one; nor does one with a cursor or
  portal of its own. Such a transaction stays where it began, and what needs the primary is refused in it.
"""

from __future__ import annotations

from typing import Any

from shardproxy.router import flags as f

from . import internal, wire
from .sql_error import raising

__all__ = ["ReadOnlyBlock"]

PRIMARY_ONLY = f.PRIMARY | f.PROBE
OWN_CURSOR = frozenset({"FETCH", "MOVE", "CLOSE"})
REFUSED = ("0A000", "this statement needs the primary, and the transaction has its snapshot or a cursor on a replica",
           "begin the transaction with the comment /* shardproxy: primary */")  # fmt: skip


class ReadOnlyBlock:
    """``modes``: what stood behind BEGIN, in lower case."""

    def __init__(self, session: Any, modes: str) -> None:
        self.session, self.modes = session, modes
        self.has_read = False
        self.has_cursor = False
        self.isolation = "read committed" if "isolation" in modes else ""
        if "repeatable" in modes:
            self.isolation = "repeatable read"

    def may_stay(self) -> bool:
        """Whether the link's batch may go to the replica that it has. False: under way, the link is busy."""
        link = self.session.link
        flags = link.batch_flags
        if link.noted is None and not link.batch_other:  # an Execute or Describe of what has been looked at
            return True
        if link.batch_read:
            if self._fresh() or self.has_cursor or (self.has_read and self.isolation == "repeatable read"):
                return self._reads()
        elif flags & (f.COMMIT | f.ROLLBACK) and not flags & f.MULTI:
            return True
        if self.has_cursor or (self.has_read and self.isolation == "repeatable read"):
            if link.noted is not None and (link.noted.kind in OWN_CURSOR or not flags & PRIMARY_ONLY):
                return True
            return self._refuse()
        if self.has_read and not self.isolation:
            return self._ask()
        return self._move()

    def _fresh(self) -> bool:
        session = self.session
        database = session.database
        server = database.view.server(session.link.server.pool.key[1])
        slots = tuple(session.link.batch_slots) or (0,)
        return server is not None and database.replicas.fresh(server, session, slots)

    def _reads(self) -> bool:
        link = self.session.link
        self.has_read = True
        kinds = {route.kind for route in (*link.routes, link.noted)}
        self.has_cursor = self.has_cursor or link.batch_portal or "DECLARE" in kinds
        return True

    def _ask(self) -> bool:
        """How much the transaction sees: the server's default may come from the role or its configuration."""
        link = self.session.link
        link.busy = True
        internal.run(link.server, wire.query(b"SHOW transaction_isolation"), self._asked)
        return False

    def _asked(self, server: Any, result: internal.Result) -> None:
        found = result.rows[0][0] if result.rows and result.error is None else None
        self.isolation = "read committed" if found in (b"read committed", b"read uncommitted") else "repeatable read"
        self.session.go_on(server)

    def _move(self) -> bool:
        """Leave the replica; the primary is asked to begin the same transaction before it gets the batch."""
        link, database = self.session.link, self.session.database
        server = link.server
        link.reopen = f"BEGIN {self.modes}".encode()
        link.force_primary = link.busy = True
        link.server = None
        link.write_pool = None
        server.events.drained_cycle(server)
        database.soon(server.events.go_on, link)
        return False

    def _refuse(self) -> bool:
        link = self.session.link
        link.busy = True
        internal.run(link.server, wire.query(raising(*REFUSED)), self._aborted)
        return False

    def _aborted(self, server: Any, result: internal.Result) -> None:
        if not self.session.link.closed and self.session.link.server is server:
            self.session.fail(REFUSED[0], REFUSED[1], hint=REFUSED[2])
        else:
            server.events.drained_cycle(server)
