"""From the configuration to what is watched: shards, their servers, and the settings of their group."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from shardproxy.config.model import ANY, Database, ServerRef, ServerTls
from shardproxy.dialects.replication import Target
from shardproxy.tls import load_server_tls

from .groups import GroupSettings

__all__ = ["Shard", "shards_of", "target_at"]

MAINTENANCE = "postgres"


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of a database. ``view``: the entry of the topology that its servers are in: its database's, or, in a
    sharded keyspace, its own."""

    name: str
    database: str
    view: str
    servers: tuple[ServerRef, ...]
    settings: GroupSettings


def shards_of(databases: Mapping[str, Database]) -> dict[str, Shard]:
    """All shards, by ``database/keyspace/shard``."""
    found: dict[str, list[ServerRef]] = {}
    for database in databases.values():
        for server in database.servers:
            found.setdefault(f"{server.database}/{server.keyspace}/{server.shard}", []).append(server)
    return {name: _shard(name, databases[servers[0].database], servers) for name, servers in found.items()}


def _shard(name: str, database: Database, servers: list[ServerRef]) -> Shard:
    settings = GroupSettings(
        dialect=database.dialect,
        targets=tuple(target_at(database, server.host, server.port, server.unix, MAINTENANCE, server.dbname)
                      for server in servers),
        health_interval=database.health_interval, health_timeout=database.health_timeout,
        lag_interval=database.lag_interval, patroni=database.patroni)
    view = name if servers[0].keyspace in database.sharded and database.main_keyspace else database.name
    return Shard(name, database.name, view, tuple(servers), settings)


def target_at(database: Database, host: str, port: int, unix: str | None, *dbnames: str) -> Target:
    """How the proxy's own user reaches a server. The first of ``dbnames`` that exists is connected to."""
    password = database.server_password.reveal() if database.server_password is not None else None
    names = tuple(dict.fromkeys(name for name in dbnames if name and name != ANY))
    return Target(host, port, unix, names, database.server_user, password,
                  False if unix is not None else _ssl(database.server_tls))


def _ssl(settings: ServerTls) -> ssl.SSLContext | str | bool:
    if settings.mode == "disable":
        return False
    if settings.mode == "prefer":
        return "prefer"
    paths = [path for path in (settings.ca, settings.certificate, settings.key) if path is not None]
    return _context(settings, tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths))


@lru_cache(maxsize=64)
def _context(settings: ServerTls, changed: tuple[int, ...]) -> ssl.SSLContext:
    """One context for one state of the files, so that equal settings compare equal."""
    context = load_server_tls(settings).context
    assert context is not None  # only mode disable has none
    return context
