"""Stops what runs in a cluster's folder and removes the folder, when the process that started it is gone.

Run as ``python -I watchdog.py FOLDER`` with a pipe as standard input that only the starter holds. The pipe's end, or
a new parent, means that the starter has left, also when it was killed -9. Invariant: only processes whose working
directory lies in the folder are touched; PostgreSQL's processes work in their data directory. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 5.0


def inside(folder: Path) -> dict[int, Path]:
    """Processes, but not zombies, whose working directory is in the folder."""
    found: dict[int, Path] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                cwd = Path(os.readlink(f"/proc/{entry}/cwd").removesuffix(" (deleted)"))
                if folder in cwd.parents:
                    found[int(entry)] = cwd
    return found


def send(pids: dict[int, Path], number: signal.Signals) -> None:
    """Signal all of them; those that have ended meanwhile do not matter."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def clear(folder: Path) -> None:
    """Immediate shutdown (it frees shared memory), then SIGKILL for what is left, then the folder."""
    leaders = {pid: cwd for pid, cwd in inside(folder).items() if postmaster(cwd) == pid}
    send(leaders, signal.SIGQUIT)
    deadline = time.monotonic() + GRACE_S
    while inside(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    while left := inside(folder):
        send(left, signal.SIGKILL)
        time.sleep(0.02)
    for data in folder.glob("*/postmaster.pid"):
        free_shared_memory(data)
    shutil.rmtree(folder, ignore_errors=True)


def postmaster(data: Path) -> int:
    """The process id in the lock file of a data directory, 0 if there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((data / "postmaster.pid").read_text().split("\n")[0])
    return 0


def free_shared_memory(lock_file: Path) -> None:
    """Remove the small System V segment that a killed postmaster leaves; its id is in the lock file's last lines."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        segment = int(lock_file.read_text().split("\n")[6].split()[1])
        subprocess.run(["ipcrm", "-m", str(segment)], capture_output=True, check=False)


def main(folder: Path) -> None:
    """Wait for the starter's end, then clear."""
    starter = os.getppid()
    while os.getppid() == starter:
        readable, _, _ = select.select([0], [], [], 1.0)
        if readable and not os.read(0, 64):
            break
    clear(folder)


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)
    main(Path(sys.argv[1]).resolve())
