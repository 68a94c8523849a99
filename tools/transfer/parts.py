"""What the runner asks of the two other parts: the data plane (copy, apply, verify) and the switch (fence, cutover).

Invariant: everything here may be called again after a crash at any moment, and goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardproxy.errors import ShardproxyError
from shardproxy.topology.store import Store

from .journal import Journal
from .move import Move
from .servers import Servers

__all__ = ["Blocker", "Context", "Copied", "Data", "Mismatch", "NotNow", "Streams", "Switch", "Switched", "Throttle",
           "Verified", "failpoint"]


class NotNow(ShardproxyError):
    """It cannot be done at the moment, and nothing was changed. ``blockers``: who stands in the way."""

    def __init__(self, message: str, blockers: tuple[Blocker, ...] = ()) -> None:
        super().__init__(message)
        self.blockers = blockers


class Mismatch(ShardproxyError):
    """The two sides differ."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction, a prepared transaction or a process that a fence would have to wait for."""

    what: str
    pid: int | None = None
    since: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Copied:
    """How far the copy is. Bytes are those that went through this process."""

    rows: int = 0
    bytes: int = 0
    rows_estimated: int = 0
    bytes_estimated: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """Both sides were compared at one position of each source."""

    position: str
    mismatches: int
    rows: int
    detail: tuple[str, ...] = ()
    """Which rows differ, and SQL that repairs them."""


@dataclass(frozen=True, slots=True)
class Switched:
    """A cutover that has committed. ``pause_ms``: how long the longest write waited."""

    pause_ms: float


@dataclass
class Throttle:
    """Limits that an operator changes while it runs. Bytes a second for the copy, 0: none; ``lag_bytes``: the copy
    waits while a replica of the target or a stream is further behind, 0: never."""

    bytes_per_s: int = 0
    lag_bytes: int = 0
    parallel: int = 2
    paused: bool = False


@dataclass
class Context:
    """What all parts work with."""

    move: Move
    journal: Journal
    servers: Servers
    store: Store
    throttle: Throttle = field(default_factory=Throttle)
    log: Callable[..., None] = lambda event, **fields: None


class Streams(Protocol):
    """All change streams of one direction, each applied by a task of its own."""

    async def run(self) -> None:
        """Apply until cancelled. Raises what ends a stream for good."""

    async def caught_up(self) -> None:
        """Return as soon as everything committed before this call was applied."""

    def stop(self) -> None:
        """``run`` ends soon, at the end of what is being applied."""

    async def hold(self) -> None:
        """Return when nothing is open at any target; nothing is applied until ``go_on``."""

    def go_on(self) -> None:
        """After ``hold``."""

    def lag_bytes(self) -> int:
        """How far the slowest one is behind."""

    def failure(self) -> str:
        """What cannot be done at the moment, and is tried again; empty: all is well."""


class Data(Protocol):
    """The data plane of one transfer."""

    def refresh(self) -> None:
        """Tables may have been changed: look at them anew."""

    async def prepare(self) -> None:
        """Publications, slots, target tables, progress tables."""

    async def copy(self, progress: Callable[[Copied], None]) -> None:
        """All chunks that are not copied yet."""

    async def finish(self, streams: Streams) -> None:
        """Secondary indexes and foreign keys of the targets, statistics; the streams stand still meanwhile."""

    async def streams(self, backwards: bool = False) -> Streams:
        """The streams from the sources, or, after a switch, back to them."""

    async def arm(self, backwards: bool) -> None:
        """Before a cutover in this direction: from now on the changes of the future sources are kept for the way back.

        Until the cutover only streams write there, and what they write is not sent back.
        """

    async def disarm(self, backwards: bool) -> None:
        """After a cutover in this direction: its slots keep no more changes."""

    async def verify(self, streams: Streams) -> Verified:
        """Compare all rows that moved."""

    async def resync(self, backwards: bool, progress: Callable[[Copied], None]) -> str:
        """A slot is lost or a source has another history: new slots, and only what differs is copied again. Says how
        much that was."""

    async def drop_streams(self) -> None:
        """Slots, publications, origins, progress tables: what only the transfer needs."""

    async def drop_targets(self, keep_references: bool) -> None:
        """The copied rows at the targets; before a switch, or after the way back. ``keep_references``: copies of
        reference tables are in use since the switch, and the layout names them."""

    async def drop_sources(self, keep: bool) -> None:
        """The rows that have left the sources, after a switch; ``keep``: tables are left in schema shardproxy_old."""


class Switch(Protocol):
    """Fence and cutover of one transfer."""

    async def blockers(self) -> list[Blocker]:
        """Who would stand in the way of a fence now."""

    async def free(self, backwards: bool) -> None:
        """NotNow: somebody stands in the way of a fence in this direction, for longer than a moment."""

    async def cutover(self, backwards: bool, streams: Streams, max_hold: float) -> Switched:
        """Move the writes. NotNow: undone within ``max_hold``, nothing has changed. Mismatch: likewise."""

    async def committed(self, backwards: bool) -> bool:
        """Whether the layout that a cutover stores is the stored one: asked after a crash in the middle of one."""

    async def undo(self) -> None:
        """Take back what an unfinished cutover left: fences, holds."""

    async def release(self) -> None:
        """Fences that stay on the old side after a switch are dropped: at the end."""

    def fence_sql(self) -> list[tuple[str, str]]:
        """For ``plan``: (place, SQL)."""


def failpoint(name: str) -> None:
    """Die here, without a word, if a test says so: ``SHARDPROXY_FAILPOINT=name``, or several, with commas between them;
    ``name@FILE``: once, making FILE."""
    for one in os.environ.get("SHARDPROXY_FAILPOINT", "").split(","):
        wanted, _, once = one.partition("@")
        if wanted != name:
            continue
        if once:
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                continue
        os._exit(137)


def plain(blockers: list[Blocker] | tuple[Blocker, ...]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{"what": one.what, "pid": one.pid, "since": one.since, "remedy": one.remedy} for one in blockers]
