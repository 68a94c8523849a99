"""Which replica of a shard serves a read, for one session.

Invariant: as for a database without shards, shard by shard: a replica is chosen only if it shows what the session's
consistency demands, and a session's reads of one shard never go back in time.
"""

from __future__ import annotations

from typing import Any

from shardproxy.topology.balance import Sticky

__all__ = ["ReadingSide"]


class Moment:
    """What ``Replicas`` asks of a link: when the session last read and wrote, and whether on a primary."""

    __slots__ = ("read_ns", "read_primary", "wrote_ns")

    def __init__(self) -> None:
        self.read_ns = self.wrote_ns = 0
        self.read_primary = True


class ReadingSide:
    """Stands for the session before one shard's ``Replicas``."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.sticky = Sticky()
        self.link = Moment()
        self.token = None                   # it is a position of the coordinator
        self.server_user, self.client_key = session.server_user, session.client_key

    @property
    def consistency(self) -> str:
        found: str = self._session.consistency
        return found

    def pool(self, runtime: Any, slots: tuple[int, ...]) -> Any:
        """The pool of a replica that may serve a read of these tables now, or None."""
        own = self._session.link
        self.link.wrote_ns = own.wrote_ns
        if own.read_ns > self.link.read_ns:             # it read through the relay since, who knows where
            self.link.read_ns, self.link.read_primary = own.read_ns, True
        return runtime.read_pool(self, slots)

    def read(self, server: Any, since_ns: int) -> None:
        """A read was served by this connection's server."""
        self.link.read_ns = max(self.link.read_ns, since_ns)
        self.link.read_primary = bool(server.on_primary)
