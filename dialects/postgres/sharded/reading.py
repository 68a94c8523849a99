"""Reading from several legs at once: start together, stop together, and tell the error that came first.

Invariant: when a function here returns or raises, no task that it started is left, and legs that were given up are
quiet: another exchange may begin on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from .legs import Leg, Rows

__all__ = ["AnyOrder", "stop", "together", "watched"]

LOOK_S = 0.05
T = TypeVar("T")


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order. The first error in time ends all the others, and is raised."""
    if len(work) < 2:
        return [await one for one in work]
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [one for one in tasks if one in done and one.exception() is not None]
        if failed:
            raise _cause(failed)
        return [one.result() for one in tasks]
    finally:
        await _end(tasks)


async def watched(work: Coroutine[Any, Any, T], replies: Sequence[Rows]) -> T:
    """The result of ``work``, which reads ``replies``. An error of any of them ends it, though it awaits another."""
    if len(replies) < 2:
        return await work
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_S)
            errors = [error for one in replies if (error := one._reply.error) is not None]   # it may not be read yet
            if errors and not task.done():
                raise errors[0]
        return task.result()
    finally:
        await _end([task])


def _cause(failed: Sequence[asyncio.Future[Any]]) -> BaseException:
    """Of errors that were seen at the same moment, one that is no cancellation."""
    errors = [error for one in failed if (error := one.exception()) is not None]
    return next((error for error in errors if getattr(error, "sqlstate", "") != "57014"), errors[0])


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    left = [one for one in tasks if not one.done()]
    for one in left:
        one.cancel()
    if left:
        await asyncio.wait(left)
    for one in tasks:
        if not one.cancelled():
            one.exception()         # an error that came too late is no one's


async def stop(legs: Sequence[Leg], replies: Sequence[Rows], gently: bool = False) -> None:
    """Nothing more is wanted. ``gently``: a leg in a transaction reads to the end, for a cancel would abort it."""
    work = []
    for leg, rows in zip(legs, replies, strict=True):
        if leg.busy:
            work.append(_drained(rows) if gently and leg.in_block else rows.close())
    await asyncio.gather(*work, return_exceptions=True)
    for leg in legs:
        while leg.server.cancels and not leg.server.closed:     # a cancel that is late must not hit what comes next
            await asyncio.sleep(0.001)


async def _drained(rows: Rows) -> None:
    await rows.done()


class AnyOrder:
    """Chunks of several replies, as they come."""

    def __init__(self, replies: Sequence[Rows]) -> None:
        self._chunks = [one.chunks() for one in replies]
        self._tasks: dict[asyncio.Future[bytes], int] = {}

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Close it (``contextlib.aclosing``) if it is not read to the end."""
        if len(self._chunks) == 1:
            async for chunk in self._chunks[0]:
                yield chunk
            return
        for index in range(len(self._chunks)):
            self._ask(index)
        try:
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                failed = [one for one in done if one.exception() is not None]
                if failed:
                    raise _cause(failed)
                for one in sorted(done, key=self._tasks.__getitem__):
                    index = self._tasks.pop(one)
                    if one.result():
                        yield one.result()
                        self._ask(index)
        finally:
            await _end(list(self._tasks))

    def _ask(self, index: int) -> None:
        self._tasks[asyncio.ensure_future(_next(self._chunks[index]))] = index


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    """The next chunk; empty at the end."""
    return await anext(chunks, b"")
