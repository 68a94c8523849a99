"""The limit of open files: raised as far as the system allows, and compared with what the configuration needs."""

from __future__ import annotations

import resource

from shardproxy.config.model import Config
from shardproxy.log import get_logger

__all__ = ["files_needed", "raise_file_limit", "warn_about_files"]

_OWN = 64
"""Descriptors of a process that are no client's and no server's: log, listeners, control, health checks."""

_log = get_logger(__name__)


def raise_file_limit() -> int:
    """Raise the soft limit to the hard one (workers inherit it); the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # a hard limit above what the kernel allows
            return soft
    return hard


def files_needed(config: Config) -> int:
    """What one worker may need, if all clients come to it: the kernel deals them out as it likes."""
    servers = sum(len(database.servers) for database in config.databases.values())
    return config.pool.max_client_conn + (config.pool.size + config.pool.reserve_size) * servers + _OWN


def warn_about_files(config: Config) -> None:
    """Log a warning if max_client_conn clients do not fit."""
    limit, needed = raise_file_limit(), files_needed(config)
    if 0 <= limit < needed:
        _log.warning("not all clients may be able to connect: the limit of open files is too low", limit=limit,
                     needed=needed, remedy="raise it (LimitNOFILE= of systemd, ulimit -n), or lower max_client_conn")
