"""Deadlocks over several places: no server sees the whole circle, so the parent looks at all of them.

    who waits for whom at each place + whose connections these are -> circles -> one victim's statement is cancelled

Invariants:
* A victim is a transaction that was seen waiting in the same circle in two looks, one after the other: what servers
  told at different moments may look like a circle that never was; a real one stays.
* A circle within one place is left to its server, which finds it by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ControlError
from shardproxy.log import Log

from .place_links import PlaceLinks

__all__ = ["Deadlocks", "Edge", "circles"]

EVERY_S = 1.0


Node = tuple[Any, ...]
"""("t", worker, transaction), or ("p", place, process) for a server process that is nobody's leg."""


@dataclass(frozen=True, slots=True)
class Edge:
    """At a place, `waiter` cannot go on before `blocker` does. Nodes are transactions, or processes not known."""

    waiter: Node
    blocker: Node
    place: str
    process: int
    """The server process that waits."""


class Calls(Protocol):
    """The part of ``Workers`` that is needed."""

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Call one worker."""


class Deadlocks:
    """``run`` until cancelled. ``workers``: indexes of those that live."""

    def __init__(self, links: PlaceLinks, calls: Calls, workers: Mapping[int, Any], log: Log) -> None:
        self._links, self._calls, self._workers, self._log = links, calls, workers, log
        self._seen: dict[str, set[frozenset[Edge]]] = {}
        self.broken: dict[str, int] = {}

    async def run(self) -> None:
        """Look every second, at the places where transactions over several of them have connections."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                if self._links.sharded():
                    await self.look()
        finally:
            self._links.close()

    async def look(self) -> int:
        """One look; how many circles were broken."""
        owners: dict[str, dict[tuple[str, int], Node]] = {}
        spread: dict[str, set[Node]] = {}
        for index in list(self._workers):
            try:
                rows: list[Mapping[str, Any]] = await self._calls.call(index, "distributed")
            except ControlError:
                continue
            for row in rows:
                node = ("t", index, row["transaction"])
                for place, process in row["legs"]:
                    owners.setdefault(row["database"], {})[(place, process)] = node
                if len(row["legs"]) > 1:
                    spread.setdefault(row["database"], set()).add(node)
        found = [await self._database(name, owners[name]) for name, nodes in spread.items() if len(nodes) > 1]
        self._seen = {name: seen for name, seen in self._seen.items() if len(spread.get(name, ())) > 1}
        return sum(found)

    async def _database(self, database: str, owners: Mapping[tuple[str, int], Node]) -> int:
        places = sorted({place for place, _ in owners})
        edges = [edge for found in await asyncio.gather(*(self._edges(database, place, owners) for place in places))
                 for edge in found]
        now = {circle for circle in circles(edges) if len({edge.place for edge in circle}) > 1}
        again, self._seen[database] = now & self._seen.get(database, set()), now
        done: set[Node] = set()
        for circle in again:
            nodes = {edge.waiter for edge in circle}
            if not nodes & done:  # else another circle's victim frees this one, too
                done |= nodes
                await self._break(database, circle)
        return len(again)

    async def _edges(self, database: str, place: str, owners: Mapping[tuple[str, int], Node]) -> list[Edge]:
        try:
            async with self._links.use(database, place) as link:
                waits = await link.waits()
        except LinkError as error:
            self._log.debug("a place was not asked for deadlocks", database=database, place=place, error=str(error))
            return []
        return [Edge(owners.get((place, waiter), ("p", place, waiter)),
                     owners.get((place, blocker), ("p", place, blocker)), place, waiter)
                for waiter, blocker in waits if blocker]

    async def _break(self, database: str, circle: frozenset[Edge]) -> None:
        """Cancel a transaction of the circle: the one with the highest number of those that wait at a shard."""
        victim = max((edge for edge in circle if edge.waiter[0] == "t"),
                     key=lambda edge: (edge.place != "", edge.waiter[2], edge.waiter))
        places = sorted({edge.place or "the coordinator" for edge in circle})
        detail = (f"{len(circle)} transactions wait for each other on {' and '.join(places)}; "
                  f"this one was waiting on {victim.place or 'the coordinator'}.")
        _, worker, transaction = victim.waiter
        try:
            if not await self._calls.call(worker, "deadlocked", transaction=transaction, detail=detail):
                return
            async with self._links.use(database, victim.place) as link:
                await link.cancel(victim.process)
        except (ControlError, LinkError) as error:
            self._log.warning("a deadlock could not be broken", database=database, error=str(error))
            return
        self.broken[database] = self.broken.get(database, 0) + 1
        self._log.info("a deadlock over several servers was broken", database=database, places=places)


def circles(edges: Sequence[Edge]) -> list[frozenset[Edge]]:
    """Circles of waiting, at least one through every node that lies on one; each as the set of its edges."""
    graph: dict[Node, list[Edge]] = {}
    for edge in edges:
        if edge.waiter != edge.blocker:
            graph.setdefault(edge.waiter, []).append(edge)
    found: list[frozenset[Edge]] = []
    covered: set[Node] = set()
    for start in graph:
        if start in covered:
            continue
        path = _back_to(start, graph)
        if path:
            found.append(frozenset(path))
            covered |= {edge.waiter for edge in path}
    return found


def _back_to(start: Node, graph: Mapping[Node, Sequence[Edge]]) -> list[Edge]:
    """The shortest way from a node to itself; empty if there is none."""
    came: dict[Node, Edge] = {}
    queue = [start]
    for node in queue:
        for edge in graph.get(node, ()):
            if edge.blocker == start:
                path = [edge]
                while path[-1].waiter != start:
                    path.append(came[path[-1].waiter])
                return path
            if edge.blocker not in came:
                came[edge.blocker] = edge
                queue.append(edge.blocker)
    return []
