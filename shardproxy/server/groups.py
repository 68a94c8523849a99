"""A group: one primary and its replicas, observed, decided upon and measured together.

Invariants: a primary is recorded on disk before anyone is told of it; when the primary or its timeline changes,
nothing is fresh until a position sampled on the new timeline was replayed, and that too holds before anyone is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardproxy.dialects.replication import Observation, Replication, Target
from shardproxy.log import Log
from shardproxy.topology.board_cy import Board
from shardproxy.topology.view import DOWN, REPLICA

from .patroni import Patroni
from .primaries import Primaries
from .probe import Probe
from .roles import Decision, decide
from .sampler import Replica, Sampler

__all__ = ["Group", "GroupSettings", "Member"]

SEARCH_S, SEARCH_SLOW_S = 0.1, 0.5
SEARCH_FAST_FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How a group is watched. Two databases with equal settings share one group."""

    dialect: str
    targets: tuple[Target, ...]
    health_interval: float
    health_timeout: float
    lag_interval: float
    patroni: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Member:
    """A server of a group."""

    probe: Probe
    index: int
    task: asyncio.Task[None] | None = None

    @property
    def target(self) -> Target:
        return self.probe.target


@dataclass(frozen=True, slots=True)
class Former:
    """The primary that was decided on last: which, on which timeline, and in which of its runs."""

    member: Member
    timeline: int
    instance: str


class Group:
    """See the module. ``names`` are those of the shards that it serves."""

    def __init__(self, names: Sequence[str], settings: GroupSettings, replication: Replication, board: Board,
                 primaries: Primaries, log: Log, *, new_index: Callable[[], int], free_index: Callable[[int], None],
                 databases: Callable[[], Sequence[int]], changed: Callable[[], None]) -> None:
        self.names, self.settings = tuple(names), settings
        self.members: list[Member] = []
        self.decision = Decision(None, (), why="not asked yet")
        self._replication, self._board, self._primaries = replication, board, primaries
        self._log = log.bind(group=self.names[0])
        self._new_index, self._free_index, self._changed = new_index, free_index, changed
        self._lost_since = time.monotonic()
        self._former: Former | None = None
        self._unrecorded = ""
        self._round = asyncio.Event()
        self._told: set[Target] = set()
        self.sampler = Sampler(board, lambda: self.settings.lag_interval, self._primary_probe, self._replicas,
                               databases, self._log)
        self.patroni = Patroni(settings.patroni, lambda: self.settings.targets, settings.health_interval,
                               settings.health_timeout, self._hinted) if settings.patroni else None
        self._tasks: list[asyncio.Task[None]] = []

    # -- life

    def start(self) -> None:
        """Begin to watch."""
        self.update(self.names, self.settings)
        self._tasks.append(asyncio.create_task(self.sampler.run(), name=f"sampler {self.names[0]}"))
        if self.patroni is not None:
            self._tasks.append(asyncio.create_task(self.patroni.run(), name=f"patroni {self.names[0]}"))

    async def first_round(self) -> None:
        """Return when every server was asked once."""
        await self._round.wait()

    async def stop(self) -> None:
        """End all tasks and connections."""
        tasks = [*self._tasks, *(member.task for member in self.members if member.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in self.members:
            self._free_index(member.index)
        self.members = []

    def update(self, names: Sequence[str], settings: GroupSettings) -> list[asyncio.Task[None]]:
        """Servers added, removed, or reached in another way; those that stay are not disturbed. Gives ended tasks."""
        slower = settings.health_timeout != self.settings.health_timeout
        self.names, self.settings = tuple(names), settings
        old = {(member.target.host, member.target.port, member.target.unix): member for member in self.members}
        members: list[Member] = []
        ended: list[Member] = []
        for target in settings.targets:
            known = old.pop((target.host, target.port, target.unix), None)
            if known is not None and (slower or known.target != target):
                ended.append(known)
                known = self._member(target, known.index, known.probe.observation)
            members.append(known or self._member(target, self._new_index()))
        for gone in old.values():
            ended.append(gone)
            self._free_index(gone.index)
        self.members = members
        self.decision = Decision(None, (DOWN,) * len(members), why=self.decision.why)
        self.decide()
        return [member.task for member in ended if member.task is not None and member.task.cancel()]

    def _member(self, target: Target, index: int, observation: Observation | None = None) -> Member:
        probe = Probe(self._replication, target, self.settings.health_timeout, interval=self._interval,
                      changed=self._checked, lost=self._lost)
        probe.observation = probe.last = observation
        return Member(probe, index, asyncio.create_task(probe.run(), name=f"probe {target}"))

    # -- what is asked of it

    def member(self, host: str, port: int, unix: str | None) -> Member | None:
        """The server at this address."""
        return next((member for member in self.members if (member.target.host, member.target.port,
                                                           member.target.unix) == (host, port, unix)), None)

    def role(self, member: Member) -> str:
        """Its role now."""
        return self.decision.roles[self.members.index(member)]

    @property
    def primary(self) -> Member | None:
        """The server that takes writes."""
        return None if self.decision.primary is None else self.members[self.decision.primary]

    def sync(self, member: Member) -> str:
        """How the primary waits for this replica (``sync``, ``quorum``, ``potential``, ``async``); '' if not known."""
        primary, own = self.primary, member.probe.last
        if primary is None or own is None or primary.probe.last is None or member is primary:
            return ""
        name, slot = own.follows
        standbys = primary.probe.last.standbys
        found = {standby.sync for standby in standbys if slot and standby.slot == slot}
        found = found or {standby.sync for standby in standbys if standby.name == name}
        return found.pop() if len(found) == 1 else ""

    def wake(self) -> None:
        """Check all servers now."""
        for member in self.members:
            member.probe.wake()

    # -- deciding

    def decide(self) -> None:
        """Roles from what is known now; tells everyone if they changed. Not before every server was asked once."""
        if not self._round.is_set():
            return
        seen = [member.probe.observation for member in self.members]
        preferred = self.patroni.leader if self.patroni is not None else None
        decision = decide(seen, self._primaries.memory(self.names), preferred)
        old, self.decision = self.decision, decision
        for member, role in zip(self.members, decision.roles, strict=True):
            if role != REPLICA:
                self.sampler.forget(member.index)
        if decision.primary is not None:
            self._take(self.members[decision.primary], decision)
        elif old.primary is not None or old.why != decision.why:
            self._lose(old, decision)
        self._changed()

    def _take(self, primary: Member, decision: Decision) -> None:
        seen = primary.probe.observation
        assert seen is not None  # it was decided on
        self._board.set_figures(primary.index, seen.position.value, decision.timeline, 0, 0, primary.probe.latency_us)
        try:
            self._primaries.record(self.names, decision.system, decision.timeline)
            self._unrecorded = ""
        except OSError as error:  # a promotion must not be missed for that; tried again at the next check
            if str(error) != self._unrecorded:
                self._log.error("the primary could not be recorded: a restarted proxy may trust an older one",
                                error=str(error), remedy="let topology name a folder that can be written")
            self._unrecorded = str(error)
        former, self._former = self._former, Former(primary, decision.timeline, seen.instance)
        if former == self._former:
            return
        if former is not None and former.timeline < decision.timeline:
            self._log.warning(self._report(primary, seen, former))
        self.sampler.reset(decision.timeline, [member.index for member in self.members])
        self._log.info("primary found", server=str(primary.target), timeline=decision.timeline)

    def _lose(self, old: Decision, decision: Decision) -> None:
        if old.primary is not None:
            self._lost_since = time.monotonic()
        tell = self._log.error if decision.conflict else self._log.warning
        tell("no primary", why=decision.why)
        self.wake()

    def _report(self, primary: Member, seen: Observation, former: Former) -> str:
        """What a promotion may have lost, as far as it can be known."""
        text = self._replication.position_text
        newest, last = self.sampler.floors.newest, former.member.probe.last
        known = max(newest.position if newest else 0, last.position.value if last and last.writable else 0)
        told = (f"failover from {former.member.target} (timeline {former.timeline}, highest known position "
                f"{text(known)}) to {primary.target}: timeline {seen.position.timeline} ")
        if not seen.forked_at:
            return told + "began at a position that is not known any more"
        told += f"began at {text(seen.forked_at)}"
        if seen.forked_at >= known:
            return told + "; nothing that was known of is lost"
        return told + (f"; {known - seen.forked_at} bytes of the old timeline are not part of the new one (with "
                       "asynchronous replication, acknowledged writes among them are lost)")

    def _tell_hidden(self, probe: Probe) -> None:
        """Once: reads never go to a replica that cannot be measured."""
        hidden = probe.observation.hidden if probe.observation is not None else ""
        if hidden and probe.target not in self._told:
            self._told.add(probe.target)
            self._log.warning("a replica cannot be measured and gets no reads (but with consistency = \"eventual\")",
                              server=str(probe.target), remedy=f"grant {hidden} to {probe.target.user}")

    # -- called by the parts

    def _checked(self, probe: Probe) -> None:
        self._tell_hidden(probe)
        if not self._round.is_set() and all(member.probe.checked_ns for member in self.members):
            self._round.set()
        try:
            self.decide()
        except Exception:  # the probe goes on: the next check decides again
            self._log.exception("no decision")

    def _lost(self, probe: Probe) -> None:
        """A connection ended by itself. A server that restarts may show less than it did."""
        for member in self.members:
            if member.probe is probe:
                self.sampler.forget(member.index)

    def _hinted(self) -> None:
        self.decide()
        self.wake()

    def _interval(self) -> float:
        if self.decision.primary is not None or self.decision.conflict:
            return self.settings.health_interval
        searching = time.monotonic() - self._lost_since
        quick = SEARCH_S if searching < SEARCH_FAST_FOR_S else SEARCH_SLOW_S
        return min(quick, self.settings.health_interval)

    def _primary_probe(self) -> Probe | None:
        primary = self.primary
        return None if primary is None else primary.probe

    def _replicas(self) -> list[Replica]:
        return [Replica(member.probe, member.index)
                for member, role in zip(self.members, self.decision.roles, strict=True) if role == REPLICA]
