"""From parsed TOML to models, and from what pydantic says to mistakes that a person can act on.

Invariant: all keys with a wrong name or type are reported at once. What is wrong is then cut out, so that
the rest still becomes a ``Config`` on which the later checks run; that ``Config`` is never used for
anything else.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .model import Config
from .report import Key, Report, closest
from .values import SettingError

__all__ = ["fields_at", "to_config"]

_ROUNDS_MAX = 64
_LIST, _TABLE = ("a list is expected", "write [...]"), ("a table is expected", "write { key = value } or a [section]")
_EXPECTED = {
    "bool_type": ("true or false is expected", "write true or false, without quotes"),
    "int_type": ("a whole number is expected", "write digits, without quotes"),
    "float_type": ("a number is expected", "write digits, without quotes"),
    "string_type": ("a text is expected", "put it in quotes"),
    "tuple_type": _LIST, "list_type": _LIST, "model_type": _TABLE, "mapping_type": _TABLE, "dict_type": _TABLE,
}
_PGBOUNCER = {
    "default_pool_size": "size in [pool]", "min_pool_size": "min_size in [pool]", "pool_mode": "mode in [pool]",
    "reserve_pool_size": "reserve_size in [pool]", "reserve_pool_timeout": "reserve_timeout in [pool]",
    "auth_type": "method in [auth]", "auth_file": "users.NAME in [auth]", "auth_hba_file": "hosts in [auth]",
    "listen_addr": "postgres in [listen]", "listen_port": "postgres in [listen]", "unix_socket_dir": "unix in [listen]",
    "listen_backlog": "backlog in [listen]", "so_reuseport": "workers in [listen]", "logfile": "file in [log]",
    "log_connections": "connections in [log]", "log_disconnections": "disconnections in [log]",
    "client_tls_sslmode": "tls.mode in [auth]", "client_tls_cert_file": "tls.certificate in [auth]",
    "client_tls_key_file": "tls.key in [auth]", "client_tls_ca_file": "tls.ca in [auth]",
    "server_tls_sslmode": "server_tls.mode in [databases.NAME]",
    "server_tls_ca_file": "server_tls.ca in [databases.NAME]",
}
"""PgBouncer's names of what is called otherwise here, because a table says half of the name."""
_TOML_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list",
               dict: "a table"}


def to_config(raw: dict[str, Any], base: Path, report: Report) -> Config | None:
    """The configuration; with mistakes: what is left of it, for further checks; ``None`` if nothing is."""
    remaining = copy.deepcopy(raw)
    for _ in range(_ROUNDS_MAX):
        try:
            return Config.model_validate(remaining, context={"base": base})
        except ValidationError as error:
            details = error.errors(include_url=False)
        wrong: set[Key] = set()
        for detail in details:
            loc = _as_written(remaining, detail["loc"])
            report.add(loc, *_explain(detail))
            wrong.add(_to_cut(loc[:-1] if detail["type"] == "missing" else loc))
        report.settle()
        for loc in sorted(wrong, key=_order, reverse=True):  # from the back: the items of a list keep their numbers
            _cut(remaining, loc, report)
    return None


def _as_written(raw: Any, loc: Key) -> Key:
    """The key as it is in the file, where ``"host:port"`` may stand for ``{ address = "host:port" }``."""
    for depth, part in enumerate(loc):
        if not isinstance(raw, (dict, list)):
            return loc[:depth]
        raw = raw.get(part) if isinstance(raw, dict) else raw[part] if isinstance(part, int) else None
    return loc


def _to_cut(loc: Key) -> Key:
    """What to remove for a mistake at ``loc``: of a list the whole item, since an item without a part means another."""
    return next((loc[:depth + 1] for depth, part in enumerate(loc) if isinstance(part, int)), loc)


def _order(loc: Key) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in loc]


def _cut(raw: dict[str, Any], loc: Key, report: Report) -> None:
    """Remove what is at ``loc``; something around it may be gone already."""
    inner: Any = raw
    for part in loc[:-1]:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not loc:
        raw.clear()
    elif isinstance(inner, dict):
        inner.pop(loc[-1], None)
    elif isinstance(inner, list) and isinstance(loc[-1], int):
        report.removed(loc)
        del inner[loc[-1]]


def _explain(detail: ErrorDetails) -> tuple[str, str]:
    """What is wrong, and what would be right."""
    kind, context, loc = detail["type"], detail.get("ctx", {}), detail["loc"]
    cause = context.get("error")
    if isinstance(cause, SettingError):
        return cause.problem, cause.remedy
    if kind == "extra_forbidden":
        return _unknown_key(loc)
    if kind == "missing":
        return "is missing", f'add "{loc[-1]}"'
    if kind == "literal_error":
        return _wrong_choice(loc, detail["input"], str(context.get("expected", "")))
    if kind in _EXPECTED:
        problem, remedy = _EXPECTED[kind]
        found = _TOML_TYPES.get(type(detail["input"]), type(detail["input"]).__name__)
        return f"{problem}, not {found}", remedy
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']:g}" if "ge" in context else f"at most {context['le']:g}"
        return "is out of range", f"choose {bound}"
    if kind == "string_pattern_mismatch":
        return "does not have the right form", f"it must match {context['pattern']}"
    return detail["msg"].removeprefix("Value error, "), "see docs/configuration.md"


def _wrong_choice(loc: Key, value: object, expected: str) -> tuple[str, str]:
    remedy = f"choose {expected}"
    if loc[-1] == "method" and value in ("plain", "password", "pam", "ldap", "any"):
        return f'"{value}" is refused: it would send passwords in plain text or check none', remedy
    meant = closest(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return f"{shown} is not possible here", f'did you mean "{meant}"? {remedy}' if meant else remedy


def _unknown_key(loc: Key) -> tuple[str, str]:
    key, known = loc[-1], fields_at(loc[:-1])
    if key in _PGBOUNCER and key not in known:
        return "is not a setting here", f"it is called {_PGBOUNCER[str(key)]}"
    meant = closest(key, known)
    if meant:
        return "is not a setting", f'did you mean "{meant}"?'
    for section, field in Config.model_fields.items():
        if field.annotation is not None and key in _fields_of(field.annotation):
            return "is not a setting here", f"it belongs in [{section}]"
    return "is not a setting", f"possible here: {', '.join(sorted(known))}" if known else ""


def fields_at(loc: Key) -> list[str]:
    """Names of the settings that a table may contain; empty where any name is allowed."""
    kind: Any = Config
    for part in loc:
        kind = _inside(kind, part)
    return _fields_of(kind)


def _fields_of(kind: Any) -> list[str]:
    kind = _plain(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _inside(kind: Any, part: str | int) -> Any:
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field is not None else None
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (Mapping, dict):
        return arguments[1]
    return arguments[0] if typing.get_origin(kind) is tuple else None


def _plain(kind: Any) -> Any:
    """The type without ``Annotated`` and ``| None``."""
    while typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        kind = next(argument for argument in typing.get_args(kind) if argument is not type(None))
    return kind
