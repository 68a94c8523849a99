"""Who lives: this process, its workers, and other proxies on this host.

Invariant: a transaction's coordinator is called dead only if its process has ended, or its lease has run out. Being
wrong about a lease does no harm: who is called dead can then no longer decide.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

__all__ = ["Incarnations"]

LENGTH = 16
"""Digits of a process; those of a worker follow."""


class Incarnations:
    """``folder``: where processes of one host hold locks on files named after them; None: no such folder."""

    def __init__(self, folder: Path | None) -> None:
        self.own = secrets.token_hex(LENGTH // 2)
        self.workers: dict[int, str] = {}
        self._folder, self._lock = folder, -1
        self._spawned = 0

    def open(self) -> None:
        """Hold the lock of this process from now on."""
        if self._folder is None or self._lock >= 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder / self.own, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """This process coordinates nothing any more. Its file stays, and tells the next process so."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def worker(self, index: int) -> str:
        """A new process serves as this worker."""
        self._spawned += 1
        self.workers[index] = f"{self.own}{self._spawned:04x}"
        return self.workers[index]

    def gone(self, index: int) -> None:
        """It has ended."""
        self.workers.pop(index, None)

    def ended(self) -> list[str]:
        """Processes of this host that have ended."""
        found = []
        for file in self._folder.iterdir() if self._folder is not None and self._folder.is_dir() else ():
            if file.name != self.own and len(file.name) == LENGTH and _free(file):
                found.append(file.name)
        return found

    def forget(self, ended: list[str]) -> None:
        """What these left behind has been dealt with."""
        for name in ended:
            if self._folder is not None:
                (self._folder / name).unlink(missing_ok=True)

    def alive(self, incarnation: str, leases: frozenset[str] | None, ended: list[str]) -> bool:
        """May this one still coordinate? Where leases are not known, others may."""
        process = incarnation[:LENGTH]
        if process == self.own:
            return incarnation in self.workers.values()
        return process not in ended and (leases is None or process in leases)


def _free(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
