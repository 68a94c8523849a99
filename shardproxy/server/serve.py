"""The command ``serve``: configuration, log, signals, and the exit code.

Invariant: standard output has nothing but the lines ``ready ...``; what went wrong is on standard error, in full.
Exit codes: 0 ended as asked, 1 could not start, 2 mistakes in the configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from shardproxy import log
from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.errors import ConfigError, ShardproxyError
from shardproxy.server.supervisor import Supervisor
from shardproxy.server.worker_api import DRAIN_NOW
from shardproxy.server.workers import WORKER

__all__ = ["serve"]

_log = log.get_logger(__name__)
LAST_S = 2.0


def serve(config_path: Path | str, takeover: bool = False, command: Sequence[str] = WORKER) -> int:
    """Run a proxy until it is told to end; the exit code."""
    try:
        config = load(Path(config_path))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    _set_up_log(config)
    try:
        return asyncio.run(_run(config, takeover, command))
    except ShardproxyError as error:
        _log.error("cannot start", error=str(error))
        print(f"shardproxy: {error}", file=sys.stderr)
        return 1


async def _run(config: Config, takeover: bool, command: Sequence[str]) -> int:
    supervisor = Supervisor(config, _announce, command, _set_up_log)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(_reload(supervisor))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, supervisor.terminate)
    loop.add_signal_handler(signal.SIGINT, supervisor.terminate)
    loop.add_signal_handler(signal.SIGQUIT, supervisor.shut_down, DRAIN_NOW, 0.0)
    loop.add_signal_handler(signal.SIGHUP, reload)
    _notify(f"MAINPID={os.getpid()}")
    await supervisor.run(takeover)
    await _leave_nothing()
    return 0


async def _leave_nothing() -> None:
    """Connections that are given up in the middle of a statement end in tasks of their own, which start others."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_S):
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


async def _reload(supervisor: Supervisor) -> None:
    _notify("RELOADING=1")
    try:
        await supervisor.reload()
    except ConfigError as error:
        for mistake in error.mistakes:
            _log.error("reload: nothing was changed", mistake=str(mistake))
    _notify("READY=1")


def _set_up_log(config: Config) -> None:
    log.setup(config.log, "parent")


def _announce(line: str) -> None:
    print(line, flush=True)
    _notify("READY=1")


def _notify(message: str) -> None:
    """Tell systemd, if it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            _log.debug("cannot notify the service manager", error=str(error))
