"""What can be said without asking a server: suspicious settings, and a summary."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from shardproxy.config.addresses import ListenAddress
from shardproxy.config.model import ANY, Config

from .findings import Finding, count, warn

__all__ = ["summary", "warnings"]


def summary(config: Config) -> list[str]:
    """What the configuration amounts to, a few lines."""
    listen = config.listen
    places = [str(address) for address in (*listen.postgres, *listen.mysql)]
    places += [str(listen.unix.directory)] if listen.unix else []
    users = count(len(config.auth.users), "user") + (", others by auth_query" if config.auth.auth_query else "")
    lines = [f"listens on {', '.join(places)}; {count(listen.workers, 'worker')}",
             f"{users}; method {config.auth.method}; TLS {config.auth.tls.mode}",
             f"pool: {config.pool.mode}, {config.pool.size} connections per server and user"]
    for name, database in config.databases.items():
        servers = [f"{server.unix or server.host}:{server.port}" for server in database.servers]
        shown = "any other database" if name == ANY else f"database {name}"
        lines.append(f"{shown}: {', '.join(servers)}; {database.consistency} consistency")
    return lines


def warnings(config: Config) -> list[Finding]:
    """What is allowed, but seldom meant."""
    return [*_reachable(config), *_unencrypted(config), *_files(config), *_waiting(config)]


def _reachable(config: Config) -> Iterator[Finding]:
    if any(not _is_local(address) for address in config.listen.http):
        yield warn("listen.http", "can be reached from other machines, without authentication", "use 127.0.0.1")
    if not any(not _is_local(address) for address in config.listen.postgres):
        return
    if not config.auth.hosts and config.auth.method == "trust":
        yield warn("auth.method", "trust: whoever reaches the port is let in as any user", "add rules to auth.hosts")
    for number, rule in enumerate(config.auth.hosts):
        if rule.method == "trust" and (rule.source == "all" or not _is_loopback(rule.source)):
            yield warn(f"auth.hosts[{number}]", f"trust: whoever connects from {rule.source} is let in without proof")


def _unencrypted(config: Config) -> Iterator[Finding]:
    if config.auth.tls.mode == "disable" and any(not _is_local(address) for address in config.listen.postgres):
        yield warn("auth.tls", "clients on other machines talk to the proxy unencrypted", "add a certificate and a key")
    for name, database in config.databases.items():
        remote = [server for server in database.servers if server.unix is None and not _is_loopback(server.host)]
        if remote and database.server_tls.mode in ("disable", "prefer", "require"):
            yield warn(f"databases.{name}.server_tls",
                       f"{database.server_tls.mode}: nothing proves that the server is the right one",
                       'use mode = "verify-full"')


def _files(config: Config) -> Iterator[Finding]:
    users, databases = config.auth.users.values(), config.databases.values()
    for path in {path for item in (*users, *databases) for path in _secret_files(item)}:
        if _others_may_read(path):
            yield warn(str(path), "every user of this machine may read this password", f"chmod 600 {path}")
    key = config.auth.tls.key
    if key is not None and _others_may_read(key):
        yield warn(str(key), "every user of this machine may read this key", f"chmod 600 {key}")
    in_file = any(user.password and not (user.password_file or user.password_env) for user in users)
    if in_file and _others_may_read(config.source):
        yield warn(str(config.source), "holds passwords, and every user of this machine may read it", "chmod 600")
    folder = config.state_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        yield warn("topology", f"this user cannot create {folder}", 'name another folder: topology = "file:FOLDER"')


def _waiting(config: Config) -> Iterator[Finding]:
    """Statements that are held for a failover must not be thrown out by another limit first."""
    for name, database in config.databases.items():
        wait = config.pool.query_wait_timeout if database.query_wait_timeout is None else database.query_wait_timeout
        if 0 < wait < database.failover_hold and len(database.servers) > 1:
            yield warn(f"databases.{name}.failover_hold", f"{database.failover_hold:g} s is more than "
                       f"query_wait_timeout, {wait:g} s, which ends the wait", "make query_wait_timeout longer")


def _secret_files(item: object) -> list[Path]:
    paths = (getattr(item, name, None) for name in ("password_file", "server_password_file"))
    return [path for path in paths if path is not None]


def _others_may_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _is_local(address: ListenAddress) -> bool:
    return _is_loopback(address.host)


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "unix", ""):
        return True
    try:
        network = ipaddress.ip_network(host)
    except ValueError:
        return False
    return network.is_loopback
