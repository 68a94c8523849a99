"""[databases.NAME]: every database has servers, says one thing in one place, and refers to what exists."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..databases import Database
from ..model import ADMIN_DATABASE, ANY, Config
from ..report import Key, Report, closest
from ..servers import Shard
from .files import check_authorities, check_certificate

__all__ = ["DATABASES_MAX", "SERVERS_MAX", "check_databases"]

DATABASES_MAX = 64
"""Entries of [databases]; each has its place in the memory that the workers share."""

SERVERS_MAX = 256
"""Servers of all entries together, for the same reason."""


def check_databases(config: Config, report: Report) -> None:
    """All database entries."""
    if not config.databases:
        report.add(("databases",), "there is no database",
                   'add [databases.NAME] with primary = "host:port/database"')
    if len(config.databases) > DATABASES_MAX:
        report.add(("databases",), f"{len(config.databases)} entries; at most {DATABASES_MAX} are possible",
                   f'use [databases."{ANY}"] for those on the same servers')
    views = sum(1 + sum(len(entry.keyspace_map[name].shards) for name in entry.sharded)
                for entry in config.databases.values())
    if len(config.databases) <= DATABASES_MAX < views:
        report.add(("databases",), f"{views} entries and shards; at most {DATABASES_MAX} are possible",
                   "run several proxies")
    servers = sum(len(database.servers) for database in config.databases.values())
    if servers > SERVERS_MAX:
        report.add(("databases",), f"{servers} servers; at most {SERVERS_MAX} are possible", "run several proxies")
    for name, database in config.databases.items():
        key: Key = ("databases", name)
        if name == ADMIN_DATABASE:
            report.add(key, "is the name of the admin console", "choose another name")
        _check_form(database, key, report)
        _check_keyspaces(database, key, report)
        _check_tls(database, key, report)
        _check_values(database, key, report)
        _check_users(config, database, key, report)


def _check_form(database: Database, key: Key, report: Report) -> None:
    """Servers are written in one of the three forms."""
    if not database.servers and not database.keyspaces:
        if any(report.touches((*key, part)) for part in ("shards", "keyspaces")):
            return
        report.add((*key, "replicas" if database.replicas else "primary"),
                   "replicas need a primary" if database.replicas else "is missing: the database has no server",
                   'add primary = "host:port/database"')
        return
    if database.replicas and database.primary is None:
        report.add((*key, "replicas"), "belong to no primary", "move them into the shard they belong to")
    if database.primary is not None and database.shards:
        report.add((*key, "shards"), "contradicts primary: both say where the tables are", "keep one of them")
    short = "primary" if database.primary is not None else "shards" if database.shards else ""
    name = database.default_keyspace or "main"
    if short and name in database.keyspaces:
        report.add((*key, "keyspaces", name), f"contradicts {short}: both say where the tables are",
                   "keep one of them")


def _check_keyspaces(database: Database, key: Key, report: Report) -> None:
    names = list(database.keyspace_map)
    for setting in ("default_keyspace", "coordinator"):
        value = getattr(database, setting)
        if value is not None and names and value not in names:
            meant = closest(value, names)
            report.add((*key, setting), f'there is no keyspace "{value}"',
                       f'did you mean "{meant}"?' if meant else f"choose one of {', '.join(names)}")
    if len(names) > 1 and database.default_keyspace is None:
        report.add((*key, "default_keyspace"), "is missing: there are several keyspaces",
                   f"choose one of {', '.join(names)}")
    for name, keyspace in database.keyspaces.items():
        if not keyspace.shards:
            report.add((*key, "keyspaces", name, "shards"), "is missing: the keyspace has no server",
                       'add shards.NAME = { primary = "host:port/database" }')
        for shard_name, shard in keyspace.shards.items():
            _check_shard(database, shard, (*key, "keyspaces", name, "shards", shard_name), report)
    for shard_name, shard in database.shards.items():
        _check_shard(database, shard, (*key, "shards", shard_name), report)
    if database.primary is not None:
        _check_shard(database, Shard(primary=database.primary, replicas=database.replicas), key, report)


def _check_shard(database: Database, shard: Shard, key: Key, report: Report) -> None:
    """A replica is another server than the primary, with the same database."""
    primary = shard.primary.address
    seen = {(primary.host, primary.unix, primary.port): "the primary"}
    for number, server in enumerate(shard.replicas):
        address, where = server.address, (*key, "replicas", number)
        place = (address.host, address.unix, address.port)
        if place in seen:
            report.add(where, f"is the same server as {seen[place]}", "remove it, or correct the address")
        seen.setdefault(place, f"replica {number}")
        if address.dbname and primary.dbname and address.dbname != primary.dbname:
            report.add(where, f'names the database "{address.dbname}", the primary "{primary.dbname}"',
                       "a streaming replica has the same databases as its primary")
    if database.balance == "weighted" and shard.replicas and not any(s.weight for s in shard.replicas):
        report.add((*key, "replicas"), 'under balance = "weighted" no replica has a weight above 0',
                   "give one a weight, or choose another balance")


def _check_tls(database: Database, key: Key, report: Report) -> None:
    tls, where = database.server_tls, (*key, "server_tls")
    check_certificate(tls.certificate, tls.key, where, report)
    check_authorities(tls.ca, (*where, "ca"), report)
    sockets = [server for server in database.servers if server.unix is not None]
    if sockets and tls.mode not in ("disable", "prefer"):
        report.add((*where, "mode"), f'"{tls.mode}" is impossible for the unix socket of {sockets[0].id}',
                   'use mode = "prefer", or the server\'s TCP address')


def _check_values(database: Database, key: Key, report: Report) -> None:
    for name in ("health_interval", "health_timeout", "lag_interval"):
        if not getattr(database, name):
            report.add((*key, name), "cannot be 0", "leave it out for the default")
    for number, url in enumerate(database.patroni):
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
        except ValueError:
            good = False
        if not good:
            report.add((*key, "patroni", number), "is not a URL", 'write "http://host:8008"')


def _check_users(config: Config, database: Database, key: Key, report: Report) -> None:
    if config.auth.auth_query is not None or not config.auth.users:
        return
    for number, name in enumerate(database.users or ()):
        if name not in config.auth.users:
            meant = closest(name, config.auth.users)
            report.add((*key, "users", number), f'there is no user "{name}"',
                       f'did you mean "{meant}"?' if meant else "add it to auth.users")
