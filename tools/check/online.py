"""Ask every server of every database. What to ask and how to judge it is the matter of the database's dialect.

Invariant: one server that does not answer costs its own timeout, not everyone's, and never hides what others say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from shardproxy.config.model import Config, Database

from .findings import Finding
from .postgres import check_database

__all__ = ["check_online"]


class Checker(Protocol):
    """What a dialect provides."""

    def __call__(self, config: Config, database: Database) -> Awaitable[list[Finding]]: ...


_CHECKERS: dict[str, Checker] = {"postgres": check_database}


async def check_online(config: Config, found: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """All findings; ``found`` is called with each as soon as its database was asked."""
    findings: list[Finding] = []
    for database in config.databases.values():
        for finding in await _CHECKERS[database.dialect](config, database):
            found(finding)
            findings.append(finding)
    return findings
