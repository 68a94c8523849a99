"""Making sure that a transfer is being run: by a detached process of this host, if nobody does.

Invariant: starting one too many is harmless: the lease lets one of them work, the others end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import shardproxy

from .finding import Found, log_path
from .journal import FINAL, Record
from .run import is_dead

__all__ = ["ensure_runner", "needs_runner"]


def needs_runner(record: Record) -> bool:
    """Whether there is something to do, and nobody who does it."""
    if record.state in FINAL:
        return False
    return not record.alive or record.runner is None or is_dead(record.runner)


def ensure_runner(found: Found, *, always: bool = False) -> None:
    """Start a runner if one is needed. ``always``: also for a transfer that is paused or has failed: a verb waits."""
    record = found.record
    body = record.body
    stopped = bool(body.get("paused") or body.get("error") or not body.get("started"))
    if not needs_runner(record) or (stopped and not always):
        return
    path = log_path(found.config, record.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    root = str(Path(shardproxy.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
        part for part in (root, os.environ.get("PYTHONPATH", "")) if part)}
    command = [sys.executable, "-m", "shardproxy.tools.transfer.run", record.name,
               "--config", str(found.config.source.resolve()), "--database", found.entry.name]
    with path.open("ab") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                         start_new_session=True)
