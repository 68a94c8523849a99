"""One finding of a check, and how it is printed: ``warn  shop/main/main/1: ... (what to do)``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TextIO

__all__ = ["Finding", "Level", "count", "error", "ok", "show", "warn"]

Level = Literal["ok", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a subject (a key of the file, a server), and what to do about it."""

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<5} {self.subject}: {self.text}"
        return f"{line} ({self.remedy})" if self.remedy else line


def count(number: int, noun: str) -> str:
    """``1 user``, ``2 users``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ok(subject: str, text: str) -> Finding:
    """A fact that is as it should be."""
    return Finding("ok", subject, text)


def warn(subject: str, text: str, remedy: str = "") -> Finding:
    """It works, but the operator should know."""
    return Finding("warn", subject, text, remedy)


def error(subject: str, text: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding("error", subject, text, remedy)


def show(findings: Iterable[Finding], out: TextIO) -> None:
    """Print findings, one a line."""
    for finding in findings:
        print(finding, file=out, flush=True)
