"""[listen], [log] and ``topology``: something to listen on, nothing twice, folders that exist."""

from __future__ import annotations

import os
from pathlib import Path

from ..model import Config
from ..report import Key, Report

__all__ = ["check_listen"]


def check_listen(config: Config, report: Report) -> None:
    """Listeners, log file and topology store."""
    listen = config.listen
    if not (listen.postgres or listen.mysql or listen.unix):
        report.add(("listen",), "there is nothing to listen on", 'add postgres = "127.0.0.1:6432"')
    seen: dict[tuple[str, int], str] = {}
    for name, addresses in (("postgres", listen.postgres), ("mysql", listen.mysql), ("http", listen.http)):
        for number, address in enumerate(addresses):
            place = (address.host, address.port)
            key: Key = ("listen", name) if len(addresses) == 1 else ("listen", name, number)
            if place in seen and address.port:
                report.add(key, f'"{address}" is already used by listen.{seen[place]}', "choose another port")
            seen.setdefault(place, name)
    if listen.unix is not None:
        _check_directory(listen.unix.directory, ("listen", "unix"), report)
    if config.log.file is not None:
        _check_directory(config.log.file.parent, ("log", "file"), report)
    _check_topology(config, report)


def _check_directory(path: Path, key: Key, report: Report) -> None:
    if not path.is_dir():
        report.add(key, f"the folder {path} does not exist", "create it")
    elif not os.access(path, os.W_OK | os.X_OK):
        report.add(key, f"this user may not create files in {path}", "change its permissions, or choose another folder")


def _check_topology(config: Config, report: Report) -> None:
    store = config.topology
    if store not in (None, "database") and (not store.startswith("file:") or store == "file:"):
        report.add(("topology",), f'"{store}" is not a topology store', 'write "file:FOLDER" or "database"')
