"""What operators ask of a running transfer, carried out one after the other in the order they were asked.

Invariant: each verb is answered exactly once, with an exit code and a sentence; one that the state refuses changes
nothing; one whose outcome is there already is done. So two terminals that contradict each other get two clear answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import asyncpg

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ShardproxyError

from .journal import Conflict, Request
from .parts import Mismatch, NotNow, failpoint, plain
from .servers import FAILURES

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["BLOCKED", "DONE", "FAILED", "MISMATCH", "REFUSED", "USAGE", "Verbs", "reached"]

DONE, FAILED, USAGE, REFUSED, BLOCKED, MISMATCH = range(6)
"""Exit codes."""

END_ATTEMPTS, END_PAUSE_S = 40, 0.25
"""Connections that were just closed still have their slots and origins for a moment."""
MAX_AGE_S = 120.0
"""A switch compares again first if the last comparison is older."""

_BEFORE_SWITCH = ("PLANNED", "PREPARED", "COPYING", "CATCHING_UP", "REPLICATING", "VERIFYING", "READY",
                  "READS_SWITCHED", "RESYNC", "REVERSED")
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "switch": ("READY", "READS_SWITCHED", "REVERSED"), "reverse": ("SWITCHED",), "complete": ("SWITCHED",),
    "cancel": _BEFORE_SWITCH, "verify": ("VERIFYING", "READY", "READS_SWITCHED", "REVERSED"),
    "throttle": (*_BEFORE_SWITCH, "SWITCHED"), "pause": (*_BEFORE_SWITCH, "SWITCHED"),
    "resume": (*_BEFORE_SWITCH, "SWITCHED")}
_REACHED: Mapping[str, str] = {"switch": "SWITCHED", "reverse": "REVERSED", "complete": "DONE", "cancel": "CANCELLED"}
_REMEDIES: Mapping[str, str] = {
    "switch": "wait until it is READY (status --watch)", "reverse": "there is nothing to take back before a switch",
    "complete": "switch first", "cancel": "after a switch: `reverse`, then `cancel`; or `complete`",
    "verify": "wait until it replicates"}


class Verbs:
    """Of one runner."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def carry_out(self) -> None:
        """All that was asked for until now."""
        runner = self._runner
        for request in await runner.journal.requests(runner.name):
            if await self._refused(request):
                continue
            try:
                code, text, more = await self._verbs()[request.verb](request.args)
            except Conflict:
                raise
            except NotNow as error:
                code, text, more = BLOCKED, f"{error}", {"blocked_by": plain(error.blockers)}
            except Mismatch as error:
                code, text, more = MISMATCH, f"{error}", {}
                await runner.fail(text, "repair the rows (`status` shows SQL), then `resume`; or `cancel`")
            except (LinkError, OSError) as error:       # the next step of the runner sees to it
                code, text, more = BLOCKED, f"{error or type(error).__name__}", {}
            except (ShardproxyError, *FAILURES) as error:
                code, text, more = FAILED, f"{error or type(error).__name__}", {}
            failpoint(f"answer_{request.verb}")
            await runner.journal.answer(request.id, code, text, **more)
            await runner.journal.log(runner.name, request.verb, args=request.args, code=code, answer=text)

    async def interrupts(self) -> bool:
        """Whether work must stop for what was asked; what is refused, or needs no stop, is answered here."""
        runner = self._runner
        stop = False
        for request in await runner.journal.requests(runner.name):
            if await self._refused(request):
                continue
            if request.verb == "throttle":
                workers = runner.context.throttle.parallel
                code, text, more = await self._throttle(request.args)
                await runner.journal.answer(request.id, code, text, **more)
                stop = stop or runner.context.throttle.parallel != workers      # a copy begins with so many
            else:
                stop = True
        return stop

    def _verbs(self) -> Mapping[str, Callable[[Mapping[str, Any]], Awaitable[tuple[int, str, dict[str, Any]]]]]:
        return {"pause": self._pause, "resume": self._resume, "throttle": self._throttle, "verify": self._verify,
                "switch": self._switch, "reverse": self._reverse, "cancel": self._cancel, "complete": self._complete}

    async def _refused(self, request: Request) -> bool:
        """Answer what the state decides."""
        runner, state = self._runner, self._runner.record.state
        if request.verb not in _ALLOWED:
            await runner.journal.answer(request.id, USAGE, f"there is no verb {request.verb}")
        elif state == _REACHED.get(request.verb):
            await runner.journal.answer(request.id, DONE, f"{runner.name} is {state} already",
                                        pause_ms=runner.record.body.get("pause_ms"))
        elif (runner.record.body.get("ending") or {"verb": request.verb})["verb"] != request.verb and (
                request.verb not in ("resume", "throttle", "pause")):
            await runner.journal.answer(request.id, REFUSED, f"{runner.name} is being ended")
        elif state not in _ALLOWED[request.verb]:
            remedy = _REMEDIES.get(request.verb, "")
            await runner.journal.answer(request.id, REFUSED, f"{request.verb} is refused in state {state}"
                                        + (f": {remedy}" if remedy else ""))
        elif runner.record.body.get("error") and request.verb in ("switch", "reverse", "verify"):
            await runner.journal.answer(request.id, REFUSED, f"{runner.name} has failed: "
                                        f"{runner.record.body['error']} ({runner.record.body.get('remedy')})")
        elif runner.record.body.get("paused") and request.verb in ("switch", "reverse", "verify"):
            await runner.journal.answer(request.id, REFUSED, f"{runner.name} is paused: resume it first")
        else:
            return False
        return True

    async def _pause(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        self._runner.note(paused=True)
        await self._runner.flush(force=True)
        return DONE, "paused: changes pile up in the slots of the sources meanwhile", {}

    async def _resume(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        runner = self._runner
        runner.data.refresh()
        if args.get("accept"):
            runner.note(fingerprint=await runner.fingerprints())
        verified = runner.record.body.get("verified") or {}
        runner.note(paused=False, error=None, remedy=None)
        if verified.get("mismatches") and runner.record.state in ("READY", "READS_SWITCHED"):
            await runner.to("VERIFYING", verified=None)
        else:
            await runner.flush(force=True)
        return DONE, f"goes on in state {runner.record.state}", {}

    async def _throttle(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        throttle = self._runner.context.throttle
        for name in ("bytes_per_s", "lag_bytes", "parallel"):
            if args.get(name) is not None:
                setattr(throttle, name, int(args[name]))
        values = {"bytes_per_s": throttle.bytes_per_s, "lag_bytes": throttle.lag_bytes, "parallel": throttle.parallel}
        self._runner.note(throttle=values)
        await self._runner.flush(force=True)
        rate = f"{values['bytes_per_s']} bytes/s" if values["bytes_per_s"] else "as fast as it goes"
        lag = f", while no replica of a target is more than {values['lag_bytes']} bytes behind" * bool(
            values["lag_bytes"])
        return DONE, f"copies {rate}, {values['parallel']} chunks at a time{lag}", {}

    async def _verify(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        found = await self._runner.watched(self._runner.verify())
        return DONE, f"{found.rows} rows are equal on both sides at {found.position}", {}

    async def _switch(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        runner = self._runner
        if args.get("reads"):
            return REFUSED, ("reads and writes switch together: until the writes do, only the old side has every row "
                             "that a read must see"), {}
        if args.get("dry_run"):
            return await self._dry_run()
        age = time.time() - (runner.record.body.get("verified") or {}).get("at", 0.0)
        if age > MAX_AGE_S:
            await runner.watched(runner.verify())
        return await self._cut_over(False, float(args.get("max_hold") or 1.0))

    async def _reverse(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        way = self._runner.record.body.get("reverse") or {}
        if not way.get("possible", True):
            return REFUSED, f"reverse is not possible: {way.get('why')}", {}
        return await self._cut_over(True, float(args.get("max_hold") or 1.0))

    async def _cut_over(self, backwards: bool, max_hold: float) -> tuple[int, str, dict[str, Any]]:
        """One path for both directions; whatever goes wrong before its commit is undone."""
        runner = self._runner
        streams = await runner.running()
        try:
            await runner.switch.free(backwards)     # no slot would be made before the end of such a transaction
            await runner.data.arm(backwards)
        except NotNow as error:
            await runner.blocked(error.blockers)
            raise
        failpoint("armed")
        before = runner.record.state
        await runner.to("CUTOVER", before_cutover=before, backwards=backwards)
        failpoint("before_cutover")
        try:
            done = await runner.switch.cutover(backwards, streams, max_hold)
        except BaseException as error:
            if await runner.switch.committed(backwards):
                await runner.switched(backwards, None)
                return DONE, f"switched; afterwards: {error}", {}
            await runner.switch.undo()
            await runner.to(before)
            if isinstance(error, NotNow):
                await runner.blocked(error.blockers)
            raise
        failpoint("after_cutover")
        await runner.switched(backwards, done.pause_ms)
        word = "reversed" if backwards else "switched"
        return DONE, f"{word}: writes waited {done.pause_ms:.0f} ms", {"pause_ms": done.pause_ms}

    async def _dry_run(self) -> tuple[int, str, dict[str, Any]]:
        runner = self._runner
        blockers = tuple(await runner.switch.blockers())
        await runner.blocked(blockers)
        if blockers:
            raise NotNow(f"{len(blockers)} in the way now: " + "; ".join(
                f"{one.what} (pid {one.pid})" for one in blockers), blockers)
        lag = (await runner.running()).lag_bytes()
        return DONE, f"a switch would go ahead now; the targets are {lag} bytes behind", {}

    async def _cancel(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        return await self._end("cancel", args)

    async def _complete(self, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        return await self._end("complete", args)

    async def _end(self, verb: str, args: Mapping[str, Any]) -> tuple[int, str, dict[str, Any]]:
        """Noted first: after a crash it is carried on with."""
        runner = self._runner
        runner.note(ending={"verb": verb, "keep": bool(args.get("keep"))}, paused=False, error=None, remedy=None)
        await runner.flush(force=True)
        failpoint(f"before_{verb}")
        for attempt in range(END_ATTEMPTS):
            try:
                await runner.end()
                break
            except (asyncpg.ObjectInUseError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if attempt == END_ATTEMPTS - 1:     # the runner goes on with it
                    raise
                await asyncio.sleep(END_PAUSE_S)
        failpoint(f"after_{verb}")
        return DONE, f"{runner.name} is {runner.record.state}", {}


def reached(verb: str) -> str:
    """The state in which a verb has nothing left to do; empty: there is none."""
    return _REACHED.get(verb, "")
