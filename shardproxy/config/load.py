"""Text -> TOML -> models -> checks.

Invariant: ``load`` either returns a ``Config`` without any known mistake, or raises ``ConfigError`` with all of them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardproxy.errors import ConfigError, Mistake

from .addresses import parse_address
from .checks import check_all
from .model import ANY, Config
from .passwords import resolve_secrets
from .report import Report
from .shapes import to_config
from .unbuilt import check_unbuilt
from .values import SettingError

__all__ = ["load", "recheck"]

_LOGIN = ("server_user", "server_password", "server_password_file", "server_password_env")


def load(path: Path, env: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file. Raises ``ConfigError`` with every mistake in it."""
    path = Path(path).absolute()
    raw = _parse(path)
    report = Report(path)
    _share_login(raw)
    resolve_secrets(raw, path.parent, env, report)
    report.settle()
    config = to_config(raw, path.parent, report)
    if config is not None:
        check_all(config, report)
        check_unbuilt(config, report)
    report.raise_if_any()
    assert config is not None  # only a file with mistakes gives none
    return config.from_file(path)


def recheck(config: Config) -> list[Mistake]:
    """Mistakes in a configuration that was made by changing another one (a setting SET on the console)."""
    report = Report(config.source)
    check_all(config, report)
    check_unbuilt(config, report)
    return report.mistakes


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError([Mistake(str(path), "", f"cannot be read: {error.strerror}",
                                   "name a file that exists and that this user may read")]) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[:error.start].count(b"\n") + 1
        raise ConfigError([Mistake(str(path), "", f"line {line}: not UTF-8 text",
                                   "save the file as UTF-8")]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Mistake(str(path), "", f"not valid TOML: {error}", "correct the syntax there")]) from None


def _share_login(raw: dict[str, Any]) -> None:
    """Roles belong to a server, not to a database: ``"*"`` uses the login of the entry with the same primary."""
    databases = raw.get("databases")
    wildcard = databases.get(ANY) if isinstance(databases, dict) else None
    if not isinstance(databases, dict) or not isinstance(wildcard, dict) or any(key in wildcard for key in _LOGIN):
        return
    place = _primary_place(wildcard)
    for other in databases.values():
        if other is not wildcard and place is not None and isinstance(other, dict) and _primary_place(other) == place:
            shared = {key: other[key] for key in (*_LOGIN, "server_tls") if key in other and key not in wildcard}
            wildcard.update(shared)
            return


def _primary_place(raw: Mapping[str, Any]) -> tuple[str, int] | None:
    """Host (or socket folder) and port of the first primary in a database's table."""
    primary = raw.get("primary")
    if isinstance(primary, dict):
        primary = primary.get("address")
    if primary is not None:
        try:
            address = parse_address(primary)
        except SettingError:
            return None
        return address.unix or address.host, address.port
    for key in ("shards", "keyspaces"):
        inner = raw.get(key)
        for table in inner.values() if isinstance(inner, dict) else ():
            found = _primary_place(table) if isinstance(table, dict) else None
            if found is not None:
                return found
    return None
