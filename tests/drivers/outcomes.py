"""A pytest plugin that writes one line per test to the file named by OUTCOMES, as the tests end.

Invariant: a line is written at once and flushed, so a suite that is killed or crashes loses only what had not ended.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Set-up and tear-down count as well: a test passes when none of its three phases failed."""
    if report.failed:
        _failed.add(report.nodeid)
    if report.when == "call" and hasattr(report, "wasxfail"):
        _write("xfail", report.nodeid)
    elif report.skipped:
        _write("skip", report.nodeid)
    elif report.when == "teardown":
        _write("fail" if report.nodeid in _failed else "pass", report.nodeid)


def _write(outcome: str, nodeid: str) -> None:
    with Path(os.environ["OUTCOMES"]).open("a", encoding="utf-8") as out:
        out.write(f"{outcome}\t{nodeid}\n")
