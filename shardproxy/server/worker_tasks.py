"""What runs in the background of a worker, and questions to the parent whose answers must not be lost.

Invariant: a task is referred to until it ends, and its failure is logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shardproxy.log import get_logger
from shardproxy.server.control import Endpoint

__all__ = ["BackgroundTasks"]

_log = get_logger(__name__)


class BackgroundTasks:
    """The part of ``Worker`` that has tasks; the fields are the worker's."""

    loop: asyncio.AbstractEventLoop
    control: Endpoint
    _tasks: set[asyncio.Task[Any]]

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run in the background; a failure is logged."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a background task failed", exc_info=task.exception())

    async def asked(self, method: str, undo: Callable[..., None], **params: Any) -> Any:
        """Ask the parent for something that must be given back: if nobody waits for the answer, ``undo`` does that."""
        call = self.loop.create_task(self.control.call(method, timeout=None, **params))  # a late answer counts, too
        self._tasks.add(call)
        call.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            call.add_done_callback(
                lambda done: None if done.cancelled() or done.exception() else undo(done.result(), **params)
            )
            raise
