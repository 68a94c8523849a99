"""How one client's transaction over several places is committed.

    writers   0: COMMIT everywhere    1: COMMIT there, then where it only read
              more: PREPARE all but the decider | decision row and COMMIT at the decider | COMMIT PREPARED

Invariants:
* Before the decision every failure rolls everything back, and the client is told the error that caused it.
* Nothing is guessed: when the answer to the decider's COMMIT is lost, the decision is read from the decider's present
  primary; if that cannot be done now, the client is told that the outcome is unknown (08007).
* After the decision the transaction is committed, whatever happens; what cannot be finished here is finished by
  recovery, and until then the places it concerns are in doubt.
* Once something may be prepared the work is carried through, even if whoever asked for it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shardproxy.errors import ServerError
from shardproxy.log import get_logger
from shardproxy.transactions.coordination import Resolution
from shardproxy.transactions.gid import Gid

from .decisions import decide_sql
from .errors import PgError

__all__ = ["Coordinates", "Participant", "check_temporary", "commit", "commit_legs"]

FINISH_S = 10.0
"""How long one COMMIT PREPARED may take before recovery is asked to do it."""
NO_SUCH_TRANSACTION, DUPLICATE = "42704", "23505"

_log = get_logger(__name__)


class Participant(Protocol):
    """The part of ``Leg`` that is needed to commit."""

    place: str
    wrote: bool
    temporary: bool

    async def command(self, sql: str) -> str:
        """Run SQL; the last command tag. Raises PgError."""


class Coordinates(Protocol):
    """``transactions.Coordination``."""

    async def begin(self, decider: str) -> tuple[Gid, str]:
        """Name a transaction."""

    def end(self, gid: Gid) -> None:
        """No more is done for it here."""

    async def resolve(self, gid: Gid, places: Sequence[str]) -> Resolution:
        """Find out what was decided, and finish it at these places."""

    def forget(self, gid: Gid) -> None:
        """Its decision is not needed any more."""


async def commit(transaction: Any, legs: Sequence[Any]) -> None:
    """Commit a ``Transaction`` of a session over its legs; warnings become notices. Raises PgError: it is not."""
    database = transaction.database
    if database.entry.transactions == "refuse" and sum(leg.wrote for leg in legs) > 1:    # see policy.py
        await _quietly(legs, "ROLLBACK")
        raise PgError.of("0A000", "transactions that write to several servers are refused",
                         hint=f'It is so set: transactions = "refuse" of database {database.name}.')
    warnings = await commit_legs(legs, database.worker.transactions.of(database.name))
    for text in warnings:
        fields = {"S": "WARNING", "V": "WARNING", "C": "01000", "M": text}
        body = b"".join(code.encode() + value.encode() + b"\0" for code, value in fields.items())
        legs[0].notices.append(body + b"\0")


async def commit_legs(legs: Sequence[Participant], coordination: Coordinates) -> tuple[str, ...]:
    """Commit; gives warnings. Raises PgError if it is not committed, or nobody can know now (08007)."""
    writers = [leg for leg in legs if leg.wrote]
    readers = [leg for leg in legs if not leg.wrote]
    if len(writers) > 1:
        return await _unbroken(_Commit(writers, readers, coordination).run())
    try:
        if writers:
            await _committed(writers[0])
    except BaseException:
        await _quietly(readers, "ROLLBACK")
        raise
    if writers:  # what only read has nothing to lose any more
        await _quietly(readers, "COMMIT")
    else:
        _raise_first(await asyncio.gather(*map(_committed, readers), return_exceptions=True))
    return ()


def check_temporary(legs: Sequence[Participant]) -> None:
    """Refuse what could not be committed: two places that cannot prepare. For the statement that makes the second."""
    places = [leg.place or "the coordinator" for leg in legs if leg.temporary and leg.wrote]
    if len(places) > 1:
        raise PgError.of("0A000", "a transaction cannot use temporary objects or LISTEN/NOTIFY on several servers",
                         detail=f"It has done so on {' and '.join(places)}.")


async def _committed(leg: Participant) -> None:
    """COMMIT, and no other ending."""
    try:
        tag = await leg.command("COMMIT")
    except Exception as error:
        if leg.wrote and _unknown(error):
            raise _unresolved(leg.place, error) from error
        raise
    if tag != "COMMIT":
        raise PgError.of("25P02", "the transaction was rolled back because a statement in it had failed")


def _unresolved(place: str, error: Exception) -> PgError:
    return PgError.of("08007", "the connection was lost while the transaction was being committed",
                      detail=f"Whether it was committed is not known. {place or 'coordinator'}: {error}")


def _unknown(error: Exception) -> bool:
    """Whether an error at COMMIT leaves open what happened: only an ERROR of the server says that it was undone."""
    if not isinstance(error, PgError):
        return True
    severity = error.fields.get("V", error.fields.get("S", "ERROR"))
    return error.lost or severity != "ERROR" or error.sqlstate.startswith("08")


async def _quietly(legs: Sequence[Participant], sql: str) -> None:
    """What becomes of these does not matter: a leg that fails is closed by its owner."""
    await asyncio.gather(*(leg.command(sql) for leg in legs), return_exceptions=True)


def _raise_first(results: Sequence[BaseException | Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _unbroken(work: Coroutine[Any, Any, tuple[str, ...]]) -> tuple[str, ...]:
    """Carry through what was begun, also if the caller is cancelled; then the caller's cancellation counts."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:
            break
    if cancelled is not None:
        if task.exception() is not None:
            _log.info("a transaction failed to commit after its client had left", error=str(task.exception()))
        raise cancelled
    return task.result()


@dataclass(slots=True)
class _Commit:
    """One commit in two phases."""

    writers: Sequence[Participant]
    readers: Sequence[Participant]
    coordination: Coordinates
    prepared: list[Participant] = field(default_factory=list)
    doubtful: list[Participant] = field(default_factory=list)
    """Asked to prepare, and not heard of again."""

    async def run(self) -> tuple[str, ...]:
        try:
            check_temporary(self.writers)
            decider = self._decider()
            gid, proof = await self.coordination.begin(decider.place)
        except ServerError as error:
            await self._roll_back()
            raise PgError.of(error.sqlstate, error.message, detail=error.detail, hint=error.hint) from error
        except BaseException:
            await self._roll_back()
            raise
        try:
            return await self._two_phases(decider, gid, proof)
        finally:
            self.coordination.end(gid)

    def _decider(self) -> Participant:
        """What cannot be prepared decides; else the coordinator, where the client's connection is; else the first."""
        return min(self.writers, key=lambda leg: (not leg.temporary, leg.place != ""))

    async def _two_phases(self, decider: Participant, gid: Gid, proof: str) -> tuple[str, ...]:
        others = [leg for leg in self.writers if leg is not decider]
        try:
            _raise_first(await asyncio.gather(*(self._prepare(leg, gid) for leg in others), return_exceptions=True))
            await decider.command(decide_sql(gid.key, proof))
        except Exception as error:
            await self._undo(gid)
            raise _told(error, gid) from error
        try:
            await _committed(decider)
        except PgError as error:
            if error.sqlstate != "08007":
                await self._undo(gid)
                raise
            resolution = await self.coordination.resolve(gid, [leg.place for leg in others])
            return await self._resolved(error, gid, resolution)
        return await self._finish(others, gid)

    async def _prepare(self, leg: Participant, gid: Gid) -> None:
        try:
            tag = await leg.command(f"PREPARE TRANSACTION '{gid.at(leg.place)}'")
        except Exception as error:
            if _unknown(error):
                self.doubtful.append(leg)
            raise
        if tag != "PREPARE TRANSACTION":
            raise PgError.of("25P02", "the transaction was rolled back because a statement in it had failed")
        self.prepared.append(leg)

    # -- it failed before the decision

    async def _roll_back(self) -> None:
        await _quietly([*self.writers, *self.readers], "ROLLBACK")

    async def _undo(self, gid: Gid) -> None:
        """Nothing was decided, and nothing will be: the decider's transaction ends here."""
        open_legs = [leg for leg in (*self.writers, *self.readers)
                     if leg not in self.prepared and leg not in self.doubtful]
        results = await asyncio.gather(
            *(self._finished(leg, f"ROLLBACK PREPARED '{gid.at(leg.place)}'") for leg in self.prepared),
            _quietly(open_legs, "ROLLBACK"))
        left = [leg.place for leg, done in zip(self.prepared, results, strict=False) if not done]
        left += [leg.place for leg in self.doubtful]
        if left:
            await self.coordination.resolve(gid, left)

    # -- it is decided

    async def _resolved(self, error: PgError, gid: Gid, resolution: Resolution) -> tuple[str, ...]:
        """The answer to the decider's COMMIT was lost, and the decision has been looked up."""
        if resolution.committed is None:
            await _quietly(self.readers, "ROLLBACK")
            raise error
        await _quietly(self.readers, "COMMIT" if resolution.committed else "ROLLBACK")
        if not resolution.committed:
            raise PgError.of("40001", "the transaction was rolled back because a connection was lost",
                             detail=error.fields.get("D", "")) from error
        return self._warnings(gid, resolution.left)

    async def _finish(self, others: Sequence[Participant], gid: Gid) -> tuple[str, ...]:
        """COMMIT PREPARED everywhere, through recovery where that does not work from here."""
        results = await asyncio.gather(
            *(self._finished(leg, f"COMMIT PREPARED '{gid.at(leg.place)}'") for leg in others),
            _quietly(self.readers, "COMMIT"))
        left = tuple(leg.place for leg, done in zip(others, results, strict=False) if not done)
        if left:
            left = (await self.coordination.resolve(gid, left)).left
        return self._warnings(gid, left)

    def _warnings(self, gid: Gid, left: Sequence[str]) -> tuple[str, ...]:
        if not left:
            self.coordination.forget(gid)
            return ()
        names = " and ".join(sorted(place or "the coordinator" for place in left))
        return (f"the transaction is committed, but {names} cannot be reached: its changes there are not visible "
                "yet, and statements that need it are refused until they are",)

    async def _finished(self, leg: Participant, sql: str) -> bool:
        """Whether a prepared transaction has ended. It is known how it must, so "no such transaction" is an end."""
        try:
            async with asyncio.timeout(FINISH_S):
                await leg.command(sql)
        except PgError as error:
            if error.sqlstate == NO_SUCH_TRANSACTION:
                return True
            _log.warning("a prepared transaction is left to recovery", place=leg.place, sql=sql, error=str(error))
            return False
        except (TimeoutError, OSError):
            return False
        return True


def _told(error: Exception, gid: Gid) -> Exception:
    """The original error, except that a decision made by recovery meanwhile is an abort."""
    if isinstance(error, PgError) and error.sqlstate == DUPLICATE and "decisions_pkey" in error.fields.get("n", ""):
        return PgError.of("40001", "the transaction was rolled back by recovery", detail=f"It was named {gid.key}.")
    return error
