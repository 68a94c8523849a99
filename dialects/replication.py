"""What the monitor asks of a dialect: one connection to one server that tells role, timeline and position.

Invariants: positions are integers that only grow on one timeline; a ``Position`` names its timeline, because the
same number on another timeline is another history. Whatever fails, fails with ``LinkError``.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Link", "LinkError", "Observation", "Position", "Replicates", "Replication", "Standby", "Target"]


class LinkError(Exception):
    """A server could not be asked. ``busy``: it lives, but takes no more connections."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom to connect. ``dbnames`` are tried in turn until one exists; they do not make a difference."""

    host: str
    port: int
    unix: str | None
    dbnames: tuple[str, ...] = field(compare=False)
    user: str
    password: str | None = field(default=None, repr=False)
    ssl: ssl.SSLContext | str | bool = False
    """A context: TLS is a must. ``prefer`` or ``allow``: as libpq. False: none."""

    def __str__(self) -> str:
        return f"{self.unix or self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the history of ``timeline``. Timeline 0: not known, so nothing can be concluded."""

    value: int
    timeline: int


@dataclass(frozen=True, slots=True)
class Standby:
    """A replica as the primary sees it; ``name`` and ``slot`` tell which (see ``Observation.follows``)."""

    name: str
    slot: str
    sync: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What a server said about itself.

    ``system`` names the installation that replicas share, ``instance`` this run of this server. ``forked_at`` is where
    a promoted server left recovery, if it still knows (0: no). ``follows`` is the name and slot by which a replica
    appears among its primary's ``standbys``.
    """

    writable: bool
    system: str
    instance: str
    position: Position
    forked_at: int = 0
    follows: tuple[str, str] = ("", "")
    standbys: tuple[Standby, ...] = ()
    hidden: str = ""
    """A privilege without which the timeline of this replica cannot be seen, so that it is never fresh."""


class Link(Protocol):
    """A connection for monitoring. One call at a time; each takes at most the timeout of ``connect``."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    async def observe(self) -> Observation:
        """Everything."""

    async def written(self) -> Position:
        """On a primary: a position that covers every write acknowledged before this call. LinkError on a replica."""

    async def replayed(self) -> Position:
        """On a replica: what is visible to a statement that starts after this call. LinkError on a primary."""

    def abort(self) -> None:
        """Drop the connection without a word."""


class Replication(Protocol):
    """The part of a dialect that knows how servers copy from each other."""

    async def connect(self, target: Target, timeout: float, on_lost: Callable[[], None]) -> Link:
        """A new link. ``on_lost`` is called once when the connection ends by itself."""

    async def open(self, target: Target, timeout: float) -> Any:
        """A connection of the dialect's driver, for ``catalog_load``; its ``close()`` is awaited."""

    def position_text(self, position: int) -> str:
        """A position as the database's own tools write it."""


class Replicates(Protocol):
    """A dialect, as far as the monitor needs it."""

    @property
    def replication(self) -> Replication:
        """How its servers are observed."""
