"""Which server is the primary: a pure function of what was seen and what is remembered.

Invariants:
* Only a server that was seen to be writable becomes the primary; a hint (Patroni) only decides between two of them.
* A server below the highest timeline ever written to, or of another installation, never becomes the primary.
* Two writable servers on one timeline: none is the primary until someone decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shardproxy.dialects.replication import Observation
from shardproxy.topology.view import DOWN, FENCED, PRIMARY, REPLICA

__all__ = ["Decision", "Memory", "decide"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What must outlive a restart: the installation of a group, and the highest timeline written to on each."""

    system: str = ""
    timelines: Mapping[str, int] = field(default_factory=dict)

    def highest(self, system: str) -> int:
        """Highest timeline of that installation that was written to; 0 if none."""
        return self.timelines.get(system, 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """Roles in the order of the servers. ``why`` says why there is no primary; ``conflict``: writes are refused."""

    primary: int | None
    roles: tuple[str, ...]
    system: str = ""
    timeline: int = 0
    conflict: bool = False
    why: str = ""


def decide(seen: Sequence[Observation | None], memory: Memory, preferred: int | None = None) -> Decision:
    """Roles from the present observations (``None``: cannot be reached). ``preferred`` is the hint's primary."""
    roles = [DOWN if one is None else FENCED if one.writable else REPLICA for one in seen]
    system = _installation(seen, memory)
    for number, one in enumerate(seen):
        if one is not None and system and one.system != system:
            roles[number] = FENCED
    candidates = [(number, one) for number, one in enumerate(seen)
                  if one is not None and one.writable and (one.system == system or not system)]
    if not candidates:
        return _none(roles, "no writable server can be reached")
    if len({one.system for _, one in candidates}) > 1:
        return _none(roles, "writable servers of two installations", conflict=True)
    return _highest(candidates, roles, memory, preferred)


def _installation(seen: Sequence[Observation | None], memory: Memory) -> str:
    """The one that counts. Another is accepted only if all servers were asked and none is of the old one."""
    systems = {one.system for one in seen if one is not None}
    if memory.system in systems or (memory.system and None in seen):
        return memory.system
    return systems.pop() if len(systems) == 1 else ""


def _highest(candidates: list[tuple[int, Observation]], roles: list[str], memory: Memory,
             preferred: int | None) -> Decision:
    system = candidates[0][1].system
    timeline = max(one.position.timeline for _, one in candidates)
    if timeline < memory.highest(system):
        return _none(roles, f"timeline {timeline} is older than {memory.highest(system)}, which was written to")
    best = {number: one for number, one in candidates if one.position.timeline == timeline}
    chosen = min(best)
    if len({one.instance for one in best.values()}) > 1:
        if preferred is None or preferred not in best:
            return _none(roles, f"{len(best)} writable servers on timeline {timeline}", conflict=True)
        chosen = preferred
    for number, one in best.items():  # one server under two addresses is no conflict: one of them is not used
        if one.instance == best[chosen].instance:
            roles[number] = DOWN
    roles[chosen] = PRIMARY
    return Decision(chosen, tuple(roles), system, timeline)


def _none(roles: list[str], why: str, *, conflict: bool = False) -> Decision:
    return Decision(None, tuple(roles), conflict=conflict, why=why)
