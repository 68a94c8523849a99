"""The state machine of a transfer, run by one process that holds its lease.

    PLANNED -> PREPARED -> COPYING -> CATCHING_UP -> REPLICATING -> VERIFYING -> READY
    READY --switch--> CUTOVER -> SWITCHED --complete--> DONE        SWITCHED --reverse--> CUTOVER -> REVERSED
    READY, REVERSED --cancel--> CANCELLED                           a lost slot: RESYNC -> CATCHING_UP

Invariants: the state is stored before the work of that state begins, and each state's work may be begun again, so
any process goes on after a kill; who has lost the lease stops at once; a failure keeps state and reason, and what to
do about it, and is tried again only when somebody asks (``resume``) or it was a lost connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from shardproxy.dialects.changes import SlotLost
from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ShardproxyError

from .catalog import difference, fingerprints
from .journal import FINAL, Conflict, Journal, JournalError, Record, State
from .parts import Blocker, Context, Copied, Data, Mismatch, Streams, Switch, Verified, failpoint, plain
from .tables import TableChanged
from .verbs import Verbs

__all__ = ["LEASE_S", "Lost", "Runner"]

LEASE_S, BEAT_S = 10.0, 2.0
TICK_S = 0.2
SAVE_S = 1.0
VERIFY_EVERY_S = 60.0
LOOK_EVERY_S = 5.0
RETRY_S, RETRY_MAX_S = 1.0, 30.0
GRACE_S, STOPS, STOP_S = 2.0, 20, 0.5
RETRIES = 20
"""Lost connections in a row, after which a person must look at it."""

_LOST = (OSError, TimeoutError, LinkError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError,
         asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
         asyncpg.ReadOnlySQLTransactionError, asyncpg.InternalClientError, asyncpg.DeadlockDetectedError,
         asyncpg.LockNotAvailableError, asyncpg.ObjectInUseError, asyncpg.TooManyConnectionsError,
         asyncpg.SerializationError)
"""What may go well the next time."""


class Lost(ShardproxyError):
    """Another process runs this transfer now."""


class Runner:
    """Runs one transfer until it is done, cancelled, paused or failed. ``parts`` makes the two other parts."""

    def __init__(self, context: Context, record: Record,
                 parts: Callable[[Context], tuple[Data, Switch]]) -> None:
        self.context, self.record = context, record
        self.data, self.switch = parts(context)
        self.id = f"{socket.gethostname()}:{os.getpid()}"
        self.verbs = Verbs(self)
        self.streams: Streams | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._dirty: dict[str, Any] = {}
        self._saved = 0.0
        self._failures = 0

    @property
    def journal(self) -> Journal:
        """The journal."""
        return self.context.journal

    @property
    def name(self) -> str:
        """Of the transfer."""
        return self.record.name

    @property
    def _started(self) -> bool:
        """A plan that nobody has started yet can only be cancelled."""
        return bool(self.record.body.get("started"))

    # -- life

    async def run(self) -> None:
        """Until there is nothing more to do. Lost: another process has the lease."""
        if not await self.journal.take_lease(self.name, self.id, LEASE_S):
            raise Lost(f"another process runs {self.name}")
        await self.reload()
        beat = asyncio.create_task(self._beat())
        work = asyncio.create_task(self._work())
        try:
            done, _ = await asyncio.wait((beat, work), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, beat):
                task.cancel()
            await asyncio.gather(work, beat, return_exceptions=True)
            await self.stop_streams()
            with contextlib.suppress(ShardproxyError):
                await self.journal.release_lease(self.name, self.id)

    async def _beat(self) -> None:
        """Keep the lease. One who cannot must stop before it ends: another one begins then."""
        held = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                async with asyncio.timeout(LEASE_S - BEAT_S):
                    if not await self.journal.take_lease(self.name, self.id, LEASE_S):
                        raise Lost(f"another process runs {self.name}")
                held = time.monotonic()
            except (TimeoutError, JournalError) as error:
                if time.monotonic() - held > LEASE_S - BEAT_S:
                    raise Lost(f"the lease of {self.name} could not be kept: {error or 'no answer'}") from error

    async def _work(self) -> None:
        """One step after the other."""
        await self._recover()
        while self.record.state not in FINAL:
            try:
                await self.verbs.carry_out()
                if self.record.state in FINAL:
                    return
                if self.record.body.get("paused") or self.record.body.get("error") or not self._started:
                    if await self._idle():
                        return
                    continue
                await self._step()
                self._failures = 0
            except Conflict:
                await self.reload()
            except SlotLost as error:
                await self._resync(f"{error}")
            except Mismatch as error:
                await self.fail(f"{error}", "look at the rows with `verify`, repair them, then `resume`")
            except TableChanged as error:       # a stream saw it first; what has changed is told in the same way
                if not await self._catalog_changed():
                    await self.fail(f"{error}", self._remedy(error))
            except _LOST as error:
                await self._again(error)
            except (ShardproxyError, asyncpg.PostgresError, KeyError, TypeError, ValueError, AttributeError,
                    AssertionError) as error:       # the last ones are bugs: status must say so
                if not isinstance(error, ShardproxyError | asyncpg.PostgresError):
                    self.context.log("internal error", trace=traceback.format_exc())
                await self.fail(f"{error or type(error).__name__}", self._remedy(error))

    async def _idle(self) -> bool:
        """Paused, failed or not started: wait a little for a verb. True: nothing came, this process is not needed."""
        await self.stop_streams()
        await self.flush(force=True)
        for _ in range(10):
            await asyncio.sleep(TICK_S)
            started = self._started
            await self.reload()
            if self._started != started or await self.journal.requests(self.name):
                return False
        return True

    def _remedy(self, error: BaseException) -> str:
        """What to do; the way out of a transfer depends on where it is."""
        first = "put that right"
        if isinstance(error, asyncpg.DiskFullError):
            first = "make room on the disk of the server that says so"
        elif isinstance(error, _LOST):
            first = "make the server reachable"
        return f"{first}, then `resume`; or `{'complete' if self.record.state == 'SWITCHED' else 'cancel'}`"

    async def _again(self, error: BaseException) -> None:
        """A server cannot be reached: go on as soon as it can, as long as that may last."""
        await self.stop_streams()
        self._failures += 1
        text = f"{error}" or type(error).__name__
        self.context.log("lost", error=text, attempt=self._failures)
        if self._failures >= RETRIES:
            await self.fail(text, self._remedy(error))
            return
        self.note(waiting=text)
        await self.flush()
        await asyncio.sleep(min(RETRY_S * 2 ** min(self._failures, 5), RETRY_MAX_S))

    async def _recover(self) -> None:
        """After a kill in the middle of a cutover: it has committed, or it is undone."""
        if self.record.state != "CUTOVER":
            return
        backwards = bool(self.record.body.get("backwards"))
        if await self.switch.committed(backwards):
            await self.switched(backwards, self.record.body.get("pause_ms"))
        else:
            await self.switch.undo()
            await self.to(self.record.body.get("before_cutover", "READY"))
            await self.journal.log(self.name, "cutover undone after a crash")

    async def _resync(self, reason: str) -> None:
        await self.stop_streams()
        await self.journal.log(self.name, "resync", reason=reason, state=self.record.state)
        if self.record.state == "SWITCHED":     # clients go on at the new side; the old one is made whole again
            self.note(resync_back=True, reverse={"possible": False, "why": f"it is being compared again: {reason}"})
            await self.flush(force=True)
            return
        changes = {"fingerprint": await self.fingerprints()} if self.record.state == "REVERSED" else {}
        await self.to("RESYNC", verified=None, **changes)

    # -- steps

    async def _step(self) -> None:
        steps: Mapping[State, Callable[[], Awaitable[None]]] = {
            "PLANNED": self._prepare, "PREPARED": self._begin, "COPYING": self._copy, "RESYNC": self._copy_again,
            "CATCHING_UP": self._catch_up, "REPLICATING": self._replicate, "VERIFYING": self._verify,
            "READY": self._stay, "READS_SWITCHED": self._stay, "SWITCHED": self._stay, "REVERSED": self._stay,
        }
        state = self.record.state
        if self.record.body.get("ending"):
            await self.end()
            return
        failpoint(f"before_{state.lower()}")
        if await self._catalog_changed():
            return
        await steps[state]()
        failpoint(f"after_{state.lower()}")

    async def _prepare(self) -> None:
        await self.data.prepare()
        await self.to("PREPARED", fingerprint=await self.fingerprints())

    async def _begin(self) -> None:
        await self.to("COPYING")

    async def _copy(self) -> None:
        await self._interruptible(self.data.copy(self._progress))
        await self.to("CATCHING_UP")

    async def _copy_again(self) -> None:
        found = await self._interruptible(self.data.resync(False, self._progress))
        await self.journal.log(self.name, "compared again", result=found)
        failpoint("resync_done")
        await self.to("CATCHING_UP")

    async def _way_back_again(self) -> None:
        """After a switch: a slot of the new side was lost."""
        found = await self._interruptible(self.data.resync(True, self._progress))
        await self.journal.log(self.name, "compared again", result=found)
        failpoint("resync_done")
        self.note(resync_back=None, reverse={"possible": True, "why": ""})
        await self.flush(force=True)

    async def _catch_up(self) -> None:
        """Indexes and foreign keys hold only when every stream is beyond the last chunk."""
        await self._interruptible((await self.running()).caught_up())
        await self._interruptible(self.data.finish(await self.running()))
        known, now = self.record.body["fingerprint"], await self.fingerprints()
        await self.to("REPLICATING", fingerprint=now | {place: known[place] for place in self._sources()})

    async def _replicate(self) -> None:
        await self._interruptible((await self.running()).caught_up())
        await self.to("VERIFYING")

    async def _verify(self) -> None:
        await self._interruptible(self.verify())
        await self.to("READY")

    async def verify(self) -> Verified:
        """Compare both sides. Mismatch: they differ."""
        streams = await self.running()
        found = await self.data.verify(streams)
        self.note(verified={"position": found.position, "at": time.time(), "mismatches": found.mismatches,
                            "rows": found.rows, "detail": list(found.detail)[:50]})
        await self.flush(force=True)
        if found.mismatches:
            raise Mismatch(f"{found.mismatches} rows differ: {'; '.join(found.detail[:3])}")
        return found

    async def _stay(self) -> None:
        """Replicate; verify and look around from time to time, until a verb comes."""
        if self.record.state == "SWITCHED" and self.record.body.get("resync_back"):
            await self._way_back_again()
        await self.running()
        looked, age = 0.0, time.time() - (self.record.body.get("verified") or {}).get("at", 0.0)
        due = time.monotonic() + VERIFY_EVERY_S - min(age, VERIFY_EVERY_S)
        while not await self.journal.requests(self.name):
            self._check_streams()
            now = time.monotonic()
            if now - looked > LOOK_EVERY_S:
                looked = now
                if await self._catalog_changed():
                    return
                if self.record.state != "SWITCHED":
                    self.note(blocked_by=plain(await self.switch.blockers()))
            if self.record.state in ("READY", "READS_SWITCHED") and now > due:
                await self._interruptible(self.verify())
                due = time.monotonic() + VERIFY_EVERY_S
            await self.flush()
            await asyncio.sleep(TICK_S)

    async def _interruptible(self, work: Any) -> Any:
        """Do work, and stop it when a verb comes: it is begun again afterwards."""
        return await self.watched(work, interruptible=True)

    async def watched(self, work: Any, *, interruptible: bool = False) -> Any:
        """Do work that waits for the streams, and raise what ends one of them meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait((task,), timeout=TICK_S))[0]:
                self._check_streams()
                await self.flush()
                if interruptible and await self.journal.requests(self.name) and await self.verbs.interrupts():
                    raise Conflict("a verb came")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def end(self) -> None:
        """Finish what ``cancel`` or ``complete`` began."""
        ending = self.record.body["ending"]
        self.context.log("ending", verb=ending["verb"], step="streams")
        await self.stop_streams()
        self.context.log("ending", step="slots")
        await self.data.drop_streams()
        failpoint("ending_tables")
        self.context.log("ending", step="tables")
        if ending["verb"] == "cancel":
            await self.data.drop_targets(keep_references=bool(self.record.body.get("was_switched")))
        else:
            await self.data.drop_sources(ending["keep"])
        failpoint("ending_fences")
        self.context.log("ending", step="fences")
        await self.switch.release()
        await self.to("CANCELLED" if ending["verb"] == "cancel" else "DONE", ending=None, lag_bytes=0, blocked_by=[])

    # -- streams

    async def running(self) -> Streams:
        """The streams of the direction of now, running."""
        if self.streams is None or self._streaming is None:
            self.streams = await self.data.streams(self.record.state == "SWITCHED")
            self._streaming = asyncio.create_task(self.streams.run())
        return self.streams

    def _check_streams(self) -> None:
        """Raise what ended a stream."""
        if self.streams is not None and self._streaming is not None:
            self._dirty["lag_bytes"] = self.streams.lag_bytes()
            failure = self.streams.failure()
            if failure != (self.record.body.get("waiting") or ""):
                self._dirty["waiting"] = failure
            if self._streaming.done():
                streaming, self._streaming, self.streams = self._streaming, None, None
                streaming.result()

    async def stop_streams(self) -> None:
        """Until they are needed again."""
        streams, streaming = self.streams, self._streaming
        self._streaming = self.streams = None
        if streams is not None and streaming is not None:
            streams.stop()
            await asyncio.wait((streaming,), timeout=GRACE_S)
            for _ in range(STOPS):      # a driver may make another error of a cancellation, which is tried again
                streaming.cancel()
                if (await asyncio.wait((streaming,), timeout=STOP_S))[0]:
                    break

    # -- the record

    def _progress(self, copied: Copied) -> None:
        self._dirty["copied"] = {"rows": copied.rows, "rows_estimated": copied.rows_estimated, "bytes": copied.bytes,
                                 "bytes_estimated": copied.bytes_estimated, "at": time.time()}

    def note(self, **changes: Any) -> None:
        """Values for the body of the record, saved soon."""
        self._dirty |= changes

    async def flush(self, force: bool = False) -> None:
        """Save what was noted, once a second."""
        if self._dirty and (force or time.monotonic() - self._saved > SAVE_S):
            dirty, self._dirty = self._dirty, {}
            self._saved = time.monotonic()
            self.record = await self.journal.save(self.record.with_body(**dirty))

    async def to(self, state: State, **changes: Any) -> None:
        """The next state."""
        dirty, self._dirty = self._dirty, {}
        made = self.record.with_body(**dirty | {"waiting": None} | changes)
        self.record = await self.journal.save(Record(made.name, made.version, state, made.body))
        await self.journal.log(self.name, "state", state=state)
        self.context.log("state", state=state)

    async def fail(self, reason: str, remedy: str) -> None:
        """Keep state and reason; somebody has to do something."""
        await self.stop_streams()
        self.context.log("failed", reason=reason, remedy=remedy)
        await self.journal.log(self.name, "failed", reason=reason, remedy=remedy)
        self.note(error=reason, remedy=remedy)
        await self.flush(force=True)

    async def reload(self) -> None:
        """Read the record again. Lost: it is gone, or another process has the lease."""
        found = await self.journal.load(self.name)
        if found is None or found.runner not in (None, self.id):
            raise Lost(f"another process runs {self.name}")
        self.record = found

    async def switched(self, backwards: bool, pause_ms: float | None) -> None:
        """The cutover has committed; rows go the other way now."""
        await self.stop_streams()
        with contextlib.suppress(*_LOST):
            failpoint("before_disarm")
            await self.data.disarm(backwards)           # else the end of the transfer does it
        await self.to("REVERSED" if backwards else "SWITCHED", pause_ms=pause_ms, blocked_by=[], was_switched=True,
                      verified=None, resync_back=None, reverse={"possible": True, "why": ""})

    async def blocked(self, blockers: tuple[Blocker, ...]) -> None:
        """Show who stands in the way."""
        self.note(blocked_by=plain(blockers))
        await self.flush(force=True)

    # -- DDL

    async def fingerprints(self) -> dict[str, list[str]]:
        """Of the moved tables, at all places."""
        move = self.record.move
        places = sorted({place.name for place in move.streams()} | {place.name for place in move.targets})
        return await fingerprints(self.context.servers, places, (*move.tables, *move.references))

    async def _catalog_changed(self) -> bool:
        """DDL on a moved table pauses the transfer, with a diff and what can be done."""
        known = self.record.body.get("fingerprint")
        if not known or self.record.state in ("SWITCHED", "REVERSED"):
            return False
        if self.record.state in ("PREPARED", "COPYING", "CATCHING_UP", "RESYNC"):
            known = {place: lines for place, lines in known.items() if place in self._sources()}
        now = await self.fingerprints()
        changed = difference(known, {place: now[place] for place in known})
        if not changed:
            return False
        await self.fail(f"tables were changed by DDL during the transfer:\n{changed}",
                        "undo the change and `resume`; or make the same change on the targets and `resume --accept`; "
                        "or `cancel`")
        return True

    def _sources(self) -> set[str]:
        return {place.name for place in self.record.move.streams()}
