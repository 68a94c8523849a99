"""A layout in a file of this host, shared by its processes through a lock.

Invariant: after a crash at any moment the file is the old one or the new one, complete; ``compare_and_swap`` has
returned only after the new one would survive a loss of power.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from .layout import Layout
from .store import StoreError, decode, encode

__all__ = ["FileStore"]


class FileStore:
    """See ``store.Store``. ``folder`` is made when something is to be written."""

    def __init__(self, folder: Path, database: str) -> None:
        name = quote(database, safe="")
        self.path = folder / f"layout-{name}.json"
        self._lock = folder / f"layout-{name}.lock"

    async def load(self) -> tuple[int, Layout | None]:
        """The epoch and the layout of now. A rename is atomic: no lock is needed to read."""
        return await asyncio.to_thread(self._load)

    async def compare_and_swap(self, epoch: int, new: Layout) -> Layout | None:
        """Replace the layout with this epoch; None: it has another one."""
        return await asyncio.to_thread(self._compare_and_swap, epoch, new)

    def _load(self) -> tuple[int, Layout | None]:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return 0, None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: {error}") from error
        layout = decode(text, str(self.path))
        return layout.epoch, layout

    def _compare_and_swap(self, epoch: int, new: Layout) -> Layout | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                if self._load()[0] != epoch:
                    return None
                made, text = encode(new, epoch + 1)
                self._write(text)
                return made
        except OSError as error:
            raise StoreError(f"{self.path}: {error}") from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock is a file of its own, because the other one is replaced."""
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, text: str) -> None:
        beside = self.path.with_suffix(".new")
        with beside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
