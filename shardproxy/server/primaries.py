"""The file that remembers which timelines were written to, so that a restarted proxy does not trust an old primary.

Invariant: ``record`` returns after the fact is on disk (write, fsync, rename, fsync of the folder), and a view that
names a primary is published after that. Timelines in the file only rise.

To make the proxy accept an older timeline on purpose (after restoring a backup), stop it and remove the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shardproxy.errors import ConfigError, Mistake

from .roles import Memory

__all__ = ["Primaries"]


class Primaries:
    """Memory of all groups of servers. Without a path nothing outlives the process."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file if there is one; ``ConfigError`` if it is damaged (guessing could lose data)."""
        self._path = path
        self._systems: dict[str, str] = {}
        self._timelines: dict[str, int] = {}
        self._unwritten = False
        if path is not None and path.exists():
            self._read(path)

    def memory(self, names: Sequence[str]) -> Memory:
        """What is known of a group of servers, which is known by all its ``names``."""
        system = next((self._systems[name] for name in names if name in self._systems), "")
        return Memory(system, self._timelines)

    def record(self, names: Sequence[str], system: str, timeline: int) -> None:
        """From now on the group is written to on this timeline. Nothing happens if that is known.

        OSError: known to this process, but not on disk; call again.
        """
        known = all(self._systems.get(name) == system for name in names)
        if known and self._timelines.get(system, 0) >= timeline and not self._unwritten:
            return
        self._systems.update(dict.fromkeys(names, system))
        self._timelines[system] = max(timeline, self._timelines.get(system, 0))
        if self._path is not None:
            self._unwritten = True
            self._write(self._path, {"systems": self._systems, "timelines": self._timelines})
            self._unwritten = False

    def _read(self, path: Path) -> None:
        try:
            data = json.loads(path.read_text())
            self._systems = {str(group): str(system) for group, system in data["systems"].items()}
            self._timelines = {str(system): int(timeline) for system, timeline in data["timelines"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError([Mistake(str(path), "", f"cannot be read: {error}",
                                       "make sure that the right server is the primary, then remove it")]) from None

    @staticmethod
    def _write(path: Path, data: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
