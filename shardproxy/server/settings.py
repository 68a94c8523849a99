"""SHOW CONFIG and SET: the settings by name, with PgBouncer's names where it has them.

Invariant: SET goes the way of RELOAD: the changed configuration is validated as a whole and only then used; what
was SET lasts until the next RELOAD. Secrets are shown as asterisks and cannot be SET.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from shardproxy.config.model import Config
from shardproxy.config.reload import needs_restart
from shardproxy.config.secret import HIDDEN, Secret
from shardproxy.errors import ClientError
from shardproxy.server.command import suggest

__all__ = ["Setting", "changed", "settings"]

_PGBOUNCER = {"pool.mode": "pool_mode", "pool.size": "default_pool_size", "pool.min_size": "min_pool_size",
              "pool.reserve_size": "reserve_pool_size", "pool.reserve_timeout": "reserve_pool_timeout",
              "auth.method": "auth_type", "auth.admin_users": "admin_users", "auth.stats_users": "stats_users",
              "auth.auth_query": "auth_query", "auth.auth_user": "auth_user",
              "auth.auth_dbname": "auth_dbname", "listen.backlog": "listen_backlog",
              "log.stats_period": "stats_period", "log.connections": "log_connections",
              "log.disconnections": "log_disconnections"}

Setting = tuple[str, str | None, str | None, bool]
"""(name, value, default, changeable)"""


def settings(config: Config) -> list[Setting]:
    """All settings of the file's fixed tables and of each database and user."""
    found = [(_shown(key), _text(value), _text(default), not restart)
             for key, value, default, restart in _walk((), config, False)]
    return sorted(found)


def changed(config: Config, name: str, value: str) -> Config:
    """The configuration with one setting replaced. ClientError says what is wrong with the name or the value."""
    known = {_shown(key): key for key, _, _, _ in _walk((), config, False)}
    known |= {".".join(key): key for key in known.values()}
    lower = {shown.lower(): key for shown, key in known.items()}
    key = known.get(name) or lower.get(name.lower())
    if key is None:
        raise ClientError("42704", f"unknown setting {name!r}", hint=suggest(name, known, "see SHOW CONFIG"))
    for path, old, _, restart in _walk((), config, False):
        if path == key and isinstance(old, Secret):
            raise ClientError("42501", f"{name} is a secret: it is changed in the configuration file")
        if path == key and restart:
            raise ClientError("55P02", f"{name} cannot be changed while the proxy runs",
                              hint="change the configuration file and restart, or take over with a new process")
    tree = config.model_dump()
    table: Any = tree
    for part in key[:-1]:
        table = table[part]
    error: ValidationError | None = None
    for candidate in _readings(value):
        table[key[-1]] = candidate
        try:
            return Config.model_validate(tree, context={"base": config.source.parent}).from_file(config.source)
        except ValidationError as failed:
            error = error or failed
    assert error is not None
    raise ClientError("22023", f"invalid value for {name}: {error.errors()[0]['msg']}")


def _readings(value: str) -> Iterator[object]:
    """A value as TOML would read it without and with quotes: ``30``, ``true``, ``"5min"``."""
    lower = {"on": "true", "yes": "true", "off": "false", "no": "false"}.get(value.lower(), value)
    try:
        yield tomllib.loads(f"value = {lower}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    yield value
    if value.strip() in ("0", "1"):  # as PgBouncer writes true and false
        yield value.strip() == "1"


def _walk(key: tuple[str, ...], value: object, restart: bool) -> Iterator[tuple[tuple[str, ...], Any, Any, bool]]:
    """Every single setting: (key, value, default, needs a restart)."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            below = getattr(value, name)
            fixed = restart or needs_restart(info)
            if isinstance(below, (BaseModel, Mapping)):
                yield from _walk((*key, name), below, fixed)
            else:
                default = None if info.is_required() else info.get_default(
                    call_default_factory=True, validated_data={})
                yield (*key, name), below, default, fixed
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield from _walk((*key, str(name)), below, restart)


def _shown(key: tuple[str, ...]) -> str:
    name = ".".join(key)
    if name in _PGBOUNCER:
        return _PGBOUNCER[name]
    return key[1] if key[0] == "pool" else name


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(_text(item) or "" for item in value)
    if isinstance(value, BaseModel):
        return ", ".join(f"{name}={_text(item)}" for name, item in value if item is not None)
    return str(value)
