"""What recovery, deadlock detection and restore points ask of a dialect: one connection to one place.

Invariants: whatever fails, fails with ``LinkError``; ``settle`` answers only with what is durable at the place and can
never be answered otherwise later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .replication import Target

__all__ = ["Decision", "Distributed", "Distributes", "Lease", "PlaceLink", "Prepared"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared transaction. ``owner``: the role that can finish it; ``age_s`` since it was prepared."""

    gid: str
    owner: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. ``closed``: no transaction runs at this place that is older."""

    key: str
    committed: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Who coordinates the transactions of a database: its installation, and who has a lease (None: not known)."""

    installation: str
    alive: frozenset[str] | None


class PlaceLink(Protocol):
    """A connection as ``server_user``; one call at a time."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    async def lease(self, incarnation: str, dead: Sequence[str]) -> Lease | None:
        """At the coordinator: renew one's own lease, end those known dead. None: nothing is distributed here."""

    async def prepared(self, prefix: str) -> list[Prepared]:
        """Prepared transactions of this database whose names begin so."""

    async def decisions(self, prefix: str) -> list[Decision]:
        """Decisions that are still kept."""

    async def settle(self, key: str) -> bool:
        """Whether a transaction was committed; if nothing was decided, it is aborted from now on."""

    async def finish(self, gid: str, owner: str, commit: bool) -> None:
        """Commit or roll back a prepared transaction; nothing happens if there is none of that name."""

    async def forget(self, keys: Sequence[str]) -> None:
        """Delete decisions."""

    async def waits(self) -> list[tuple[int, int]]:
        """(process that waits for a lock, process that holds it or stands before it)."""

    async def cancel(self, process: int) -> None:
        """Cancel what a server process runs."""

    async def restore_point(self, name: str) -> str:
        """Make a named restore point; its position as text."""

    def abort(self) -> None:
        """Drop the connection."""


class Distributed(Protocol):
    """The part of a dialect that distributes transactions."""

    async def connect(self, target: Target, timeout: float) -> PlaceLink:
        """A new connection to a primary. LinkError, also if it is none."""


class Distributes(Protocol):
    """A dialect, as far as recovery needs it."""

    @property
    def distributed(self) -> Distributed:
        """How transactions over several of its servers are finished."""
