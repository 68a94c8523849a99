"""The runner's process: ``python -m shardproxy.tools.transfer.run NAME --config FILE --database NAME``.

Invariant: it ends by itself when there is nothing to do, and when another process has the lease; what it was about to
do stands in the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.errors import ShardproxyError

from .engine import parts
from .finding import database_of, journal_of, store_of
from .journal import FINAL, Record
from .parts import Context, Throttle
from .runner import LEASE_S, Lost, Runner
from .servers import Servers

__all__ = ["is_dead", "main", "run"]

ATTEMPTS = 120
"""Of a statement on the journal, half a second apart: as long as a failover may take."""


async def run(config: Config, database: str, name: str, log: Callable[..., None]) -> None:
    """Run a transfer as long as there is something to do. Lost: another process does."""
    entry = database_of(config, database)
    servers = Servers(entry)
    journal = journal_of(servers, ATTEMPTS)
    try:
        record = await _record(journal.load, name)
        if record.state in FINAL:
            return
        log("begins", pid=os.getpid(), state=record.state, after=record.runner)
        if record.runner is not None and is_dead(record.runner):
            await journal.take_lease(name, f"{socket.gethostname()}:{os.getpid()}", LEASE_S, dead=record.runner)
        throttle = Throttle(**(record.body.get("throttle") or {}))
        context = Context(record.move, journal, servers, store_of(config, servers), throttle, log)
        deadline = time.monotonic() + LEASE_S + 2
        while True:
            began = time.monotonic()
            try:
                await Runner(context, record, parts).run()
                return
            except Lost:
                if time.monotonic() - began > LEASE_S:      # out of sight of the coordinator: perhaps nobody has it
                    deadline = time.monotonic() + LEASE_S + 2
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
                record = await _record(journal.load, name)
                if record.alive and record.runner is not None and not is_dead(record.runner):
                    raise
    finally:
        await journal.close()


async def _record(load_record: Callable[[str], Any], name: str) -> Record:
    record: Record | None = await load_record(name)
    if record is None:
        raise ShardproxyError(f'there is no transfer "{name}"')
    return record


def is_dead(runner: str) -> bool:
    """Whether a runner was a process of this host that is gone; in doubt not: its lease ends."""
    host, _, pid = runner.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: str) -> bool:
    """Killed, but still in the table: in a container nobody may be there to wait for it."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return text.rpartition(b")")[2].split()[:1] == [b"Z"]


def main(argv: list[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="shardproxy transfer runner")
    parser.add_argument("name")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args(argv)
    try:
        asyncio.run(_with_signals(run(load(options.config), options.database, options.name, _log)))
    except Lost as error:
        _log("ended", reason=str(error))
    except asyncio.CancelledError:
        _log("ended", reason="signal")
    except ShardproxyError as error:
        _log("failed", reason=str(error))
        return 1
    return 0


async def _with_signals(work: Any) -> None:
    """SIGTERM lets go of the lease."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def _log(event: str, **fields: Any) -> None:
    """A line of the log file."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
    print(f"{stamp} {event}", *(f"{key}={value!r}" for key, value in fields.items()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
