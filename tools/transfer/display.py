"""Progress of a transfer: bars on a terminal, otherwise a line whenever something has changed.

Invariant: only the journal is read, so any number of terminals can watch, on any machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TextIO

from .finding import Found
from .journal import FINAL, Record
from .launching import ensure_runner
from .report import bytes_text, lines, next_step, status

__all__ = ["follow"]

EVERY_S = 0.5
LINE_EVERY_S = 5.0
RESTING = frozenset({"READY", "SWITCHED", "REVERSED", *FINAL})
"""States in which there is nothing to wait for."""


async def follow(found: Found, out: TextIO, *, as_json: bool = False) -> int:
    """Until it is ready, has ended, is paused or has failed; 1 if it has failed."""
    shown = _Lines(out, as_json) if as_json or not out.isatty() else _Bars()
    try:
        while True:
            record = await found.journal.load(found.record.name)
            if record is None:
                return 1
            found.record = record
            ensure_runner(found)
            shown.show(record)
            if record.body.get("error"):
                return 1
            if record.state in RESTING or record.body.get("paused") or not record.body.get("started"):
                return 0
            await asyncio.sleep(EVERY_S)
    finally:
        shown.close()
        if not as_json:
            for line in lines(found.record):
                print(line, file=out)


class _Lines:
    """Not a terminal."""

    def __init__(self, out: TextIO, as_json: bool) -> None:
        self._out, self._as_json = out, as_json
        self._state, self._at = "", 0.0
        self._rate = _Rate()

    def show(self, record: Record) -> None:
        self._rate.see(record)
        now = time.monotonic()
        if record.state == self._state and now - self._at < LINE_EVERY_S and not self._as_json:
            return
        self._state, self._at = record.state, now
        text = json.dumps(status(record)) if self._as_json else f"{record.state:12} {_summary(record, self._rate)}"
        print(text.rstrip(), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing to put back."""


class _Rate:
    """Rows and bytes a second, over the time that was watched."""

    def __init__(self) -> None:
        self._first: tuple[float, int, int] | None = None
        self.rows = self.bytes = 0.0

    def see(self, record: Record) -> None:
        copied = record.body.get("copied")
        if not copied or record.state not in ("COPYING", "RESYNC"):
            return
        if self._first is None:
            self._first = (copied["at"], copied["rows"], copied["bytes"])
        seconds = copied["at"] - self._first[0]
        if seconds > 0:
            self.rows = (copied["rows"] - self._first[1]) / seconds
            self.bytes = (copied["bytes"] - self._first[2]) / seconds


def _summary(record: Record, rate: _Rate) -> str:
    found = status(record)
    if record.state in ("COPYING", "RESYNC"):
        left = found["rows_estimated"] - found["rows_copied"]
        eta = f", {left / rate.rows:.0f} s left" if rate.rows > 0 and left > 0 else ""
        return (f"{found['rows_copied']}/{found['rows_estimated']} rows, {rate.rows:.0f} rows/s, "
                f"{bytes_text(rate.bytes)}/s{eta}")
    return f"lag {bytes_text(found['lag_bytes'])}" if record.state not in ("PLANNED", "PREPARED") else ""


class _Bars:
    """A terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._progress = Progress(TextColumn("{task.description:12}"), BarColumn(), TaskProgressColumn(),
                                  TextColumn("{task.fields[detail]}"), console=Console())
        self._copy = self._progress.add_task("copied", total=None, detail="")
        self._checked = self._progress.add_task("verified", total=1, detail="")
        self._rate = _Rate()
        self._progress.start()

    def show(self, record: Record) -> None:
        """The bars of now."""
        self._rate.see(record)
        found = status(record)
        behind = record.state in ("PLANNED", "PREPARED", "COPYING", "RESYNC")
        total = max(found["rows_estimated"], found["rows_copied"]) or None
        self._progress.update(self._copy, total=total, completed=found["rows_copied"] if behind else total or 0,
                              detail=f"{record.state}  {_summary(record, self._rate)}")
        verified = found["verified"]
        self._progress.update(self._checked, completed=1 if verified and not verified["mismatches"] else 0,
                              detail=f"{verified['age_s']:.0f} s ago" if verified else next_step(record))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()
