"""Worker processes: started, watched, replaced.

Invariants: there is one process for each index, or a replacement is on its way; what a worker held is given back
(`gone`) before its replacement starts; a replacement is told everything its predecessor knew (`welcome`) and uses
the same listening sockets. Workers end when the control channel does, so none outlives the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import site
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from shardproxy.errors import ControlError, ShardproxyError
from shardproxy.log import get_logger
from shardproxy.server.control import Endpoint
from shardproxy.server.sockets import HTTP, Listener
from shardproxy.server.worker_api import ParentApi, handlers

__all__ = ["WORKER", "Host", "Worker", "WorkerFailed", "Workers"]

WORKER = (sys.executable, "-P", "-m", "shardproxy.server.worker")
START_TIMEOUT_S = 60.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 5.0
STABLE_S = 10.0
"""A worker that lived this long is replaced at once."""
PING_EVERY_S, PING_TIMEOUT_S = 5.0, 60.0
CLOSED_S = 2.0
"""How long a process may go on after it closed its control channel."""
_STDERR = 2

_log = get_logger(__name__)


class WorkerFailed(ShardproxyError):
    """A worker did not start; the reason is in its own log records."""


class Host(Protocol):
    """What the parent does for its workers."""

    def api(self, index: int) -> ParentApi:
        """The methods that the worker with this index may call."""

    async def welcome(self, index: int, endpoint: Endpoint) -> None:
        """Tell a new worker all it must know (first of all ``start``)."""

    def gone(self, index: int) -> None:
        """A worker died: take back what it held."""


class Worker:
    """One place for a worker process. `endpoint` is None while there is none to talk to."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: Process | None = None
        self.endpoint: Endpoint | None = None
        self.ready = asyncio.Event()
        self.started = 0.0
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Process id; 0 if there is no process."""
        return self.process.pid if self.process is not None and self.process.returncode is None else 0

    def kill(self) -> None:
        """End the process now."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # Process.kill would also reap, and asyncio lose the exit code


class Workers:
    """All workers. ``start``, then ``call`` and ``broadcast``, then ``stop``."""

    def __init__(self, count: int, board_fd: int, host: Host, command: Sequence[str] = WORKER) -> None:
        self._board_fd, self._host, self._command = board_fd, host, command
        self._listeners: Sequence[Listener] = ()
        self.all = [Worker(index) for index in range(count)]
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Start all and wait until they are ready. WorkerFailed if one ends before, or is not ready in time."""
        self._listeners = listeners
        self._watchers = [asyncio.create_task(self._keep(worker)) for worker in self.all]
        ready = [asyncio.create_task(worker.ready.wait()) for worker in self.all]
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while pending := [task for task in ready if not task.done()]:
                    await asyncio.wait([*pending, *self._watchers], return_when=asyncio.FIRST_COMPLETED)
                    self._fail_if_one_did()
        except TimeoutError:
            raise WorkerFailed(f"workers were not ready within {START_TIMEOUT_S:.0f} s") from None
        finally:
            for task in ready:
                task.cancel()

    def _fail_if_one_did(self) -> None:
        for task in self._watchers:
            if task.done():
                task.result()
                raise WorkerFailed("a worker ended while it started")

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Call one worker. ControlError if there is none at the moment."""
        endpoint = self.all[index].endpoint if index < len(self.all) else None
        if endpoint is None:
            raise ControlError(f"worker {index} is not running")
        return await endpoint.call(method, timeout=timeout, **params)

    def notify(self, index: int, method: str, /, **params: Any) -> None:
        """Notify one worker, if there is one."""
        endpoint = self.all[index].endpoint
        if endpoint is not None:
            endpoint.notify(method, **params)

    def notify_all(self, method: str, /, **params: Any) -> None:
        """Notify every worker there is."""
        for worker in self.all:
            self.notify(worker.index, method, **params)

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        """Call all workers at once; the answers of those that answered, and log records about the others."""
        alive = [worker for worker in self.all if worker.endpoint is not None]
        answers = await asyncio.gather(
            *(self.call(worker.index, method, timeout=timeout, **params) for worker in alive),
            return_exceptions=True)
        good = []
        for worker, answer in zip(alive, answers, strict=True):
            if isinstance(answer, ControlError):
                _log.warning("a worker did not answer", worker=worker.index, method=method, error=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                good.append(answer)
        return good

    @property
    def processes(self) -> list[tuple[int, int, float, int]]:
        """(index, pid or 0, seconds alive, restarts) of each worker."""
        now = time.monotonic()
        return [(worker.index, worker.pid, now - worker.started if worker.pid else 0.0, worker.restarts)
                for worker in self.all]

    async def show(self, what: str) -> list[tuple[int, dict[str, Any]]]:
        """Figures of all workers, with the index of the worker."""
        async def ask(worker: Worker) -> list[tuple[int, dict[str, Any]]]:
            try:
                return [(worker.index, row) for row in await self.call(worker.index, "show", what=what)]
            except ControlError as error:
                _log.warning("a worker did not answer", worker=worker.index, method="show", error=str(error))
                return []

        alive = [worker for worker in self.all if worker.endpoint is not None]
        return [row for rows in await asyncio.gather(*map(ask, alive)) for row in rows]

    async def stop(self, grace_s: float | None, mode: str) -> None:
        """Drain all workers and wait until they have ended; those that outlast the time are killed."""
        self._stopping.set()
        for worker in self.all:
            if worker.endpoint is not None:
                worker.endpoint.notify("shutdown", grace_s=grace_s, mode=mode)
        watchers = [task for task in self._watchers if not task.done()]
        if watchers:
            await asyncio.wait(watchers, timeout=None if grace_s is None else grace_s + 5)
        self.kill()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    def kill(self) -> None:
        """End all workers now, for good."""
        self._stopping.set()
        for worker in self.all:
            worker.kill()

    async def _keep(self, worker: Worker) -> None:
        """Run processes in this place, one after the other, until told to stop."""
        delay = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            code = await self._run(worker)
            lived = time.monotonic() - worker.started
            if self._stopping.is_set():
                return
            if not worker.ready.is_set() and not worker.restarts:
                raise WorkerFailed(f"worker {worker.index} ended with {_meaning(code)} while it started")
            delay = BACKOFF_FIRST_S if lived >= STABLE_S else min(delay * 2, BACKOFF_MAX_S)
            worker.ready.clear()
            worker.restarts += 1
            _log.error("worker ended, replacing it", worker=worker.index, ended=_meaning(code),
                       lived_s=round(lived, 3), delay_s=delay)
            await asyncio.sleep(delay)

    async def _run(self, worker: Worker) -> int:
        """One process from start to end; its exit code."""
        ours, theirs = socket.socketpair()
        worker.started = time.monotonic()
        try:
            with theirs:
                worker.process = await self._spawn(worker.index, theirs)
            table = handlers(self._host.api(worker.index), ParentApi)
            table["ready"] = self._ready_handler(worker)
            worker.endpoint = await Endpoint.over(ours, table, f"worker-{worker.index}")
        except BaseException:
            ours.close()
            worker.kill()
            raise
        talk = asyncio.create_task(self._talk(worker, worker.endpoint))
        try:
            return await worker.process.wait()
        finally:
            worker.endpoint.close()
            worker.endpoint = None
            worker.kill()
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            self._host.gone(worker.index)

    async def _spawn(self, index: int, control: socket.socket) -> Process:
        listen, fds = [], [control.fileno(), self._board_fd]
        for listener in self._listeners:
            if listener.kind != HTTP:
                for sock in listener.for_worker(index, len(self.all)):
                    listen.append([sock.fileno(), listener.kind, listener.address])
                    fds.append(sock.fileno())
        return await asyncio.create_subprocess_exec(
            *self._command, "--control", str(control.fileno()), "--board", str(self._board_fd),
            "--index", str(index), "--listen", json.dumps(listen), pass_fds=fds, env=_environment(),
            stdin=DEVNULL, stdout=_STDERR,  # standard output belongs to `serve` alone
            start_new_session=True)  # Ctrl-C on a terminal is for the parent

    def _ready_handler(self, worker: Worker) -> Callable[..., Awaitable[None]]:
        async def ready(listeners: list[str]) -> None:
            worker.ready.set()
            _log.info("worker is ready", worker=worker.index, pid=worker.pid)
        return ready

    async def _talk(self, worker: Worker, endpoint: Endpoint) -> None:
        """Serve the control channel; a worker that breaks it, or closes it and stays, is killed."""
        tending = asyncio.create_task(self._tend(worker, endpoint))
        try:
            await endpoint.run()
            await asyncio.sleep(CLOSED_S)
        except ControlError as error:
            _log.error("worker broke the control channel", worker=worker.index, error=str(error))
        finally:
            tending.cancel()
            worker.kill()
            await asyncio.gather(tending, return_exceptions=True)

    async def _tend(self, worker: Worker, endpoint: Endpoint) -> None:
        try:
            await self._host.welcome(worker.index, endpoint)
            while True:
                await asyncio.sleep(PING_EVERY_S)
                await endpoint.call("ping", timeout=PING_TIMEOUT_S)
        except ControlError as error:
            if not endpoint.closed:
                _log.error("worker does not answer, killing it", worker=worker.index, error=str(error))
                worker.kill()


def _environment() -> dict[str, str]:
    """The environment of a worker: it must import the same package as this process."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    if root not in [*site.getsitepackages(), site.getusersitepackages()]:
        paths = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return environment


def _meaning(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
