"""From a name on the command line to a transfer: which database it belongs to, its journal, its log file.

Invariant: names are looked up in the journals of all databases of the configuration; one that is found in two is an
error, not a guess.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shardproxy.config.model import Config, Database
from shardproxy.errors import ShardproxyError
from shardproxy.server.layouts import store_in
from shardproxy.topology.store import Store
from shardproxy.topology.store_database import DatabaseStore

from .journal import Journal, Record
from .move import COORDINATOR
from .servers import Servers

__all__ = ["Found", "NotFound", "database_of", "find", "journal_of", "log_path", "store_of"]


class NotFound(ShardproxyError):
    """No such transfer, or no such database."""


@dataclass
class Found:
    """A transfer, and what is needed to work with it."""

    config: Config
    entry: Database
    servers: Servers
    journal: Journal
    record: Record


def database_of(config: Config, name: str) -> Database:
    """The database of that name; without one, the only one that has several keyspaces. NotFound."""
    sharded = [entry for entry in config.databases.values() if entry.sharded]
    if name:
        found = config.databases.get(name)
        if found is None or not found.sharded:
            known = ", ".join(entry.name for entry in sharded) or "none"
            raise NotFound(f'--database: no database "{name}" with several keyspaces (known: {known})')
        return found
    if len(sharded) != 1:
        raise NotFound("--database: " + ("which of " + ", ".join(entry.name for entry in sharded) if sharded else
                                         "no database of the configuration has several keyspaces"))
    return sharded[0]


def journal_of(servers: Servers, attempts: int = 4) -> Journal:
    """The journal of a database; a verb gives up after two seconds."""
    return Journal(lambda: servers.open(COORDINATOR, name="shardproxy journal"), attempts=attempts)


def store_of(config: Config, servers: Servers) -> Store:
    """Where the layout of a database is kept."""
    if config.topology != "database":
        return store_in(config.state_dir, servers.entry.name)
    return DatabaseStore(lambda: servers.open(COORDINATOR, name="shardproxy topology"), servers.entry.name)


def log_path(config: Config, name: str) -> Path:
    """Where the runner of a transfer writes what it does."""
    return config.state_dir / "transfers" / f"{name}.log"


@asynccontextmanager
async def find(config: Config, tool: str, name: str, database: str = "") -> AsyncIterator[Found]:
    """The transfer of that name. NotFound."""
    entries = [database_of(config, database)] if database else \
        [entry for entry in config.databases.values() if entry.sharded]
    found: list[Found] = []
    others: list[Journal] = []
    failures: list[str] = []
    try:
        for entry in entries:
            servers = Servers(entry)
            journal = journal_of(servers)
            others.append(journal)
            try:
                record = await journal.load(name)
            except ShardproxyError as error:
                failures.append(f"{entry.name}: {error}")
                continue
            if record is not None and record.body["move"]["tool"] == tool:
                found.append(Found(config, entry, servers, journal, record))
        if len(found) > 1:
            raise NotFound(f'"{name}" is a transfer of several databases: '
                           f'{", ".join(one.entry.name for one in found)}; say --database')
        if not found:
            raise NotFound(f'there is no {tool} "{name}"' + (f" ({'; '.join(failures)})" if failures else ""))
        yield found[0]
    finally:
        for journal in others:
            await journal.close()
