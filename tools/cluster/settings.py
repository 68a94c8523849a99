"""What is asked of a cluster, and the texts of the configuration files that follow from it.

Everything that a server reads is generated: after a copy or a rewind of a data directory the files of the other
server are simply written over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Settings", "connection_string", "hba_text", "settings_text"]

FAST = {
    "shared_buffers": "32MB",
    "max_connections": "200",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_prepared_transactions": "50",
    "hot_standby": "on",
    "wal_log_hints": "on",                      # pg_rewind needs it
    "wal_keep_size": "256MB",
    "wal_retrieve_retry_interval": "200ms",     # a replica finds its new primary at once
    "wal_receiver_status_interval": "1s",
    "dynamic_shared_memory_type": "mmap",       # files in the data directory: nothing stays in /dev/shm after a kill
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    "lc_messages": "'C'",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the servers of one cluster are set up."""

    auth: Literal["trust", "scram-sha-256", "md5"] = "trust"
    """What clients on TCP must do; the unix socket is always open to us."""
    user: str = "postgres"
    password: str = "not-a-secret"
    """Of the superuser, also set with ``trust``."""
    hba: tuple[str, ...] = ()
    """Lines put before the generated ones in pg_hba.conf."""
    tls: bool = False
    """Self-signed authority and server certificate in the cluster's folder: ``ca.crt``, ``server.crt``."""
    fsync: bool = False
    """Off is safe against kill -9 of the servers, not against a crash of the machine."""
    synchronous: str = ""
    """``synchronous_standby_names``; the replicas' names are ``node1``, ``node2``, ..."""
    listen: str = "127.0.0.1"
    extra: Mapping[str, str] = field(default_factory=dict)
    """Lines of postgresql.conf that come last and win."""


def quoted(value: str) -> str:
    """A value as postgresql.conf and connection strings take it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def connection_string(parts: Mapping[str, str | int]) -> str:
    """A libpq connection string."""
    return " ".join(f"{key}={quoted(str(value))}" for key, value in parts.items())


def settings_text(settings: Settings, *, port: int, sockets: Path | None, folder: Path, upstream: str = "",
                  slot: str = "") -> str:
    """The whole postgresql.conf. ``upstream`` is the primary's connection string for a replica."""
    lines: dict[str, str] = {
        "listen_addresses": quoted(settings.listen),
        "port": str(port),
        "unix_socket_directories": quoted(str(sockets or "")),
        **FAST,
        "fsync": "on" if settings.fsync else "off",
        "synchronous_standby_names": quoted(settings.synchronous),
    }
    if settings.auth == "md5":
        lines["password_encryption"] = "md5"
    if settings.tls:
        lines |= {"ssl": "on", "ssl_ca_file": quoted(str(folder / "ca.crt")),
                  "ssl_cert_file": quoted(str(folder / "server.crt")),
                  "ssl_key_file": quoted(str(folder / "server.key"))}
    if upstream:
        lines |= {"primary_conninfo": quoted(upstream), "primary_slot_name": quoted(slot)}
    lines |= {key: quoted(value) for key, value in settings.extra.items()}
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def hba_text(settings: Settings) -> str:
    """The whole pg_hba.conf."""
    lines = [*settings.hba, "local all all trust", "local replication all trust"]
    for address in ("127.0.0.1/32", "::1/128"):
        for what in ("all", "replication"):
            lines.append(f"host {what} all {address} {settings.auth}")
    return "\n".join(lines) + "\n"
