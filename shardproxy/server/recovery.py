"""Finishes transactions over several places that nobody finishes any more; runs in the parent.

    prepared at some place -> is its coordinator dead, or does its worker no longer work on it?
        -> what the decider has decided (an abort is decided now, if nothing was) -> finished in the owner's role

Invariants:
* What is prepared is looked at before workers are asked what they are working on; so nothing is taken from a worker.
* Only names of this installation are touched, and each only after its decision was read at its decider's primary.
* A decision is deleted only after a look at every place, later than the decision, found nothing prepared by its name;
  an abort only if, besides, its coordinator is dead and no transaction at the decider is older.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardproxy.dialects.distributed import Decision, Lease, Prepared
from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ControlError
from shardproxy.log import Log
from shardproxy.transactions.gid import Gid, parse, place_of, prefix

from .incarnations import Incarnations
from .place_links import COORDINATOR, PlaceLinks

__all__ = ["InDoubt", "Recovery"]

EVERY_S, TIDY_EVERY = 2.0, 10
AGAIN_S = 0.1
DECIDER_S, PARTICIPANT_S = 10.0, 3.0
"""How long a worker waits while the decider, or a participant, cannot be reached."""


class Calls(Protocol):
    """The part of ``Workers`` that is needed."""

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Call one worker."""

    def notify(self, index: int, method: str, /, **params: Any) -> None:
        """Notify one worker."""


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A participant that waits for the end of its transaction."""

    database: str
    place: str
    gid: str
    owner: str
    age_s: float
    state: str


@dataclass(slots=True)
class _Known:
    """What is known of one database. ``doubts``: by key of a committed transaction, places where it is unfinished."""

    installation: str = ""
    doubts: dict[str, set[str]] = field(default_factory=dict)
    decisions: dict[str, list[Decision]] = field(default_factory=dict)
    shown: list[InDoubt] = field(default_factory=list)
    recovered: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    problem: str = ""


Found = dict[str, list[tuple[str, Prepared, Gid]]]
"""By key: (place, what is prepared there, its name)."""


class Recovery:
    """``run`` until cancelled; the other methods serve workers and the console."""

    def __init__(self, links: PlaceLinks, incarnations: Incarnations, workers: Calls, log: Log) -> None:
        self._links, self._incarnations, self._workers, self._log = links, incarnations, workers, log
        self._known: dict[str, _Known] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look at all databases, every few seconds and when something happened."""
        try:
            while True:
                self._wake.clear()
                await self.round()
                try:
                    async with asyncio.timeout(EVERY_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self._incarnations.close()
            self._links.close()

    async def round(self) -> None:
        """Look at all databases once."""
        names = self._links.sharded()
        self._known = {name: self._known.get(name, _Known()) for name in names}
        if not names:
            return
        self._incarnations.open()
        ended = self._incarnations.ended()
        done = await asyncio.gather(*(self._database(name, ended) for name in names))
        if all(done):
            self._incarnations.forget(ended)

    # -- workers

    def introduce(self, index: int) -> None:
        """A new process serves as this worker: tell it who it is and what holds."""
        self._incarnations.worker(index)
        for database in self._known:
            self._tell(database, index)

    def gone(self, index: int) -> None:
        """A worker ended: finish what it left."""
        self._incarnations.gone(index)
        self._wake.set()

    def _tell(self, database: str, index: int) -> None:
        known = self._known[database]
        if known.installation and index in self._incarnations.workers:
            self._workers.notify(index, "transactions_told", database=database, installation=known.installation,
                                 incarnation=self._incarnations.workers[index],
                                 in_doubt=sorted(set().union(*known.doubts.values())))

    def _tell_all(self, database: str) -> None:
        for index in self._incarnations.workers:
            self._tell(database, index)

    async def resolve(self, database: str, gid: str, places: Sequence[str]) -> dict[str, Any]:
        """For a worker: what became of a transaction; it is finished at these places as far as they are reached."""
        known = self._known.get(database)
        name = parse(gid, known.installation) if known is not None else None
        if known is None or name is None:
            raise ControlError(f"{gid} is not the name of a transaction of {database}")
        committed = await self._persist(DECIDER_S, lambda: self._decision(database, name))
        if committed is None:
            return {"committed": None, "left": list(places)}
        done = await asyncio.gather(*(
            self._persist(PARTICIPANT_S, lambda place=place: self._finish_at(database, place, name, committed))
            for place in places))
        left = [place for place, ok in zip(places, done, strict=True) if not ok]
        if left and committed:
            known.doubts[name.key] = set(left)
            self._tell_all(database)
        return {"committed": committed, "left": left}

    async def forget(self, database: str, keys: Sequence[str]) -> None:
        """For a worker: these are committed everywhere. What cannot be deleted now is deleted later."""
        known = self._known.get(database)
        places = self._links.places(database)
        by_decider: dict[str, list[str]] = {}
        for key in keys:
            name = parse(key, known.installation) if known is not None else None
            decider = place_of(name.decider, places) if name is not None else None
            if decider is not None:
                by_decider.setdefault(decider, []).append(key)
        for decider, own in by_decider.items():
            try:
                async with self._links.use(database, decider) as link:
                    await link.forget(own)
            except LinkError as error:
                self._log.debug("decisions are deleted later", database=database, place=decider, error=str(error))

    async def _persist(self, seconds: float, work: Any) -> Any:
        """Try until it works; None if it does not in time."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await work()
            except LinkError as error:
                if time.monotonic() > deadline:
                    self._log.warning("a transaction cannot be finished now", error=str(error))
                    return None
            await asyncio.sleep(AGAIN_S)

    # -- one transaction

    async def _decision(self, database: str, name: Gid) -> bool:
        decider = place_of(name.decider, self._links.places(database))
        if decider is None:
            raise LinkError(f"{name.key}: {name.decider} is not a place of {database}")
        async with self._links.use(database, decider) as link:
            return await link.settle(name.key)

    async def _finish_at(self, database: str, place: str, name: Gid, committed: bool) -> bool:
        async with self._links.use(database, place) as link:
            own = str(name.at(place))
            for prepared in await link.prepared(own):
                if prepared.gid == own:
                    await link.finish(own, prepared.owner, committed)
        return True

    # -- one database

    async def _database(self, database: str, ended: Sequence[str]) -> bool:
        """One round. False: it was not complete."""
        known = self._known[database]
        try:
            lease = await self._lease(database, known, ended)
            if lease is None:
                return True
            if lease.installation != known.installation:
                known.installation = lease.installation
                self._tell_all(database)
            doubted = set(known.doubts)
            found, unseen = await self._look(database, prefix(lease.installation), known)
            active, silent = await self._active()
            finished = await self._finish_all(database, found, lease, list(ended), active, silent)
            self._clear(database, doubted, found, unseen, finished)
            complete = not known.shown
            if not unseen:
                await self._tidy(database, found, lease, list(ended), active, silent)
            self._problem(database, known, "" if complete and not unseen else f"not reached: {', '.join(unseen)}")
            return complete and not unseen
        except LinkError as error:
            self._problem(database, known, str(error))
            return False

    async def _lease(self, database: str, known: _Known, ended: Sequence[str]) -> Lease | None:
        """Without the coordinator, what this process and its workers left can be finished all the same."""
        try:
            async with self._links.use(database, COORDINATOR) as link:
                return await link.lease(self._incarnations.own, ended)
        except LinkError:
            if not known.installation:
                raise
            return Lease(known.installation, None)

    def _problem(self, database: str, known: _Known, problem: str) -> None:
        if problem and problem != known.problem:
            self._log.warning("recovery of transactions is not complete", database=database, problem=problem)
        known.problem = problem

    async def _look(self, database: str, names: str, known: _Known) -> tuple[Found, list[str]]:
        """What is prepared anywhere, and the places that could not be asked."""
        places = self._links.places(database)

        async def ask(place: str) -> list[Prepared] | LinkError:
            try:
                async with self._links.use(database, place) as link:
                    return await link.prepared(names)
            except LinkError as error:
                return error

        found: Found = {}
        unseen = []
        for place, answer in zip(places, await asyncio.gather(*map(ask, places)), strict=True):
            if isinstance(answer, LinkError):
                unseen.append(place or "coordinator")
                continue
            for prepared in answer:
                name = parse(prepared.gid, known.installation)
                if name is not None:
                    found.setdefault(name.key, []).append((place, prepared, name))
        return found, unseen

    async def _active(self) -> tuple[set[str], set[str]]:
        """Keys that workers are working on; incarnations of workers that do not say."""
        async def ask(index: int, incarnation: str) -> list[str] | None:
            try:
                rows: list[Mapping[str, Any]] = await self._workers.call(index, "distributed")
            except ControlError:
                return None
            return [row["gid"] for row in rows if row["gid"]]

        workers = list(self._incarnations.workers.items())
        answers = await asyncio.gather(*(ask(*worker) for worker in workers))
        silent = {worker[1] for worker, answer in zip(workers, answers, strict=True) if answer is None}
        return {key for answer in answers if answer for key in answer}, silent

    def _busy(self, name: Gid, lease: Lease, ended: list[str], active: set[str], silent: set[str]) -> bool:
        """Whether somebody may still be working on it."""
        if name.key in active or name.incarnation in silent:
            return True
        own = name.incarnation.startswith(self._incarnations.own)
        return not own and self._incarnations.alive(name.incarnation, lease.alive, ended)

    async def _finish_all(self, database: str, found: Found, lease: Lease, ended: list[str], active: set[str],
                          silent: set[str]) -> set[str]:
        """Finish what nobody works on; keys of what is finished now."""
        known = self._known[database]
        finished: set[str] = set()
        shown: list[InDoubt] = []
        for key, participants in found.items():
            if self._busy(participants[0][2], lease, ended, active, silent):
                continue
            try:
                await self._finish_one(database, key, participants)
                finished.add(key)
            except LinkError as error:
                shown += [InDoubt(database, place, prepared.gid, prepared.owner, prepared.age_s, str(error))
                          for place, prepared, _ in participants]
        known.shown = shown
        return finished

    async def _finish_one(self, database: str, key: str, participants: Sequence[tuple[str, Prepared, Gid]]) -> None:
        committed = await self._decision(database, participants[0][2])
        for place, prepared, _ in participants:
            async with self._links.use(database, place) as link:
                await link.finish(prepared.gid, prepared.owner, committed)
        outcome = "commit" if committed else "abort"
        self._known[database].recovered[outcome] += 1
        self._log.info("a transaction was finished by recovery", database=database, gid=key, outcome=outcome,
                       places=[place or "coordinator" for place, _, _ in participants])

    def _clear(self, database: str, doubted: set[str], found: Found, unseen: Sequence[str], finished: set[str]) -> None:
        """End doubts that are older than this round, at places that were seen and where nothing is left."""
        known = self._known[database]
        changed = False
        for key in doubted & known.doubts.keys():
            places = known.doubts[key]
            left = set() if key in finished else {place for place, _, _ in found.get(key, ())}
            left |= {place for place in places if (place or "coordinator") in unseen}
            if not places <= left:
                changed = True
                places &= left
            if not places:
                del known.doubts[key]
        if changed:
            self._tell_all(database)

    # -- decisions that are not needed any more

    async def _tidy(self, database: str, found: Found, lease: Lease, ended: list[str], active: set[str],
                    silent: set[str]) -> None:
        """Delete what an earlier round read and this one, at all places, found no use for; then read anew."""
        known = self._known[database]
        known.rounds += 1
        for place, decisions in known.decisions.items():
            keys = [one.key for one in decisions if one.key not in found
                    and self._needless(one, known.installation, lease, ended, active, silent)]
            if keys:
                async with self._links.use(database, place) as link:
                    await link.forget(keys)
        known.decisions = {}
        if known.rounds % TIDY_EVERY == 1:
            for place in self._links.places(database):
                async with self._links.use(database, place) as link:
                    known.decisions[place] = await link.decisions(prefix(known.installation))

    def _needless(self, decision: Decision, installation: str, lease: Lease, ended: list[str], active: set[str],
                  silent: set[str]) -> bool:
        name = parse(decision.key, installation)
        if name is None or self._busy(name, lease, ended, active, silent):
            return False
        dead = not self._incarnations.alive(name.incarnation, lease.alive, ended)
        return decision.committed or (decision.closed and dead)

    # -- the console

    def databases(self) -> list[str]:
        """Databases that are sharded."""
        return list(self._known)

    def in_doubt(self) -> list[InDoubt]:
        """Participants whose transaction could not be finished yet."""
        return [one for known in self._known.values() for one in known.shown]

    def figures(self) -> list[tuple[str, int, int, Mapping[str, int]]]:
        """(database, participants in doubt, committed transactions that are unfinished, recovered by outcome)."""
        return [(name, len(known.shown), len(known.doubts), known.recovered) for name, known in self._known.items()]

    async def restore_point(self, database: str, name: str) -> list[tuple[str, str]]:
        """A named restore point at every place: (place, position). Distributed commits are held meanwhile.

        LinkError, ControlError.
        """
        held: list[int] = []
        try:
            for index in list(self._incarnations.workers):
                if not await self._workers.call(index, "hold_commits", timeout=DECIDER_S + 5, seconds=DECIDER_S):
                    raise LinkError(f"distributed commits of worker {index} did not end in time")
                held.append(index)
            return await asyncio.gather(*(self._restore_point_at(database, place, name)
                                          for place in self._links.places(database)))
        finally:
            for index in held:
                self._workers.notify(index, "release_commits")

    async def _restore_point_at(self, database: str, place: str, name: str) -> tuple[str, str]:
        async with self._links.use(database, place) as link:
            return place, await link.restore_point(name)
