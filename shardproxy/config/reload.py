"""What a RELOAD can apply, and what needs a restart.

Invariant: a setting is in exactly one of the two lists if it changed, and in none if it did not; no list shows a
secret. Which settings need a restart is said where they are defined (``restart=True``), nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .databases import Database
from .model import Config
from .report import Key, dotted
from .secret import Secret

__all__ = ["Reload", "diff", "effective", "needs_restart"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reload:
    """Changed settings as ``key: old -> new``."""

    applied: list[str] = field(default_factory=list)
    needs_restart: list[str] = field(default_factory=list)


def diff(old: Config, new: Config) -> Reload:
    """Compare the running configuration with another one."""
    result = Reload()
    for key, restart, text in _changes((), old, new, False):
        (result.needs_restart if restart else result.applied).append(f"{dotted(key)}: {text}")
    return result


def effective(old: Config, new: Config) -> Config:
    """``new``, with the running values of what only a restart can change."""
    databases = {name: _keep(old.databases[name], database) if name in old.databases else database
                 for name, database in new.databases.items()}
    kept = _keep(old, new).model_copy(update={"listen": _keep(old.listen, new.listen), "databases": databases})
    return kept.from_file(old.source)


def needs_restart(info: FieldInfo) -> bool:
    """Is this a setting that RELOAD cannot apply?"""
    extra = info.json_schema_extra
    return isinstance(extra, dict) and extra.get("restart") is True


def _keep(old: M, new: M) -> M:
    fixed = {name for name, info in type(new).model_fields.items() if needs_restart(info)}
    changed = {name: getattr(old, name) for name in fixed if getattr(old, name) != getattr(new, name)}
    if not changed:
        return new
    if isinstance(new, Database):
        return old  # another dialect: nothing of the new entry makes sense without it
    return new.model_copy(update=changed)


def _changes(key: Key, old: object, new: object, restart: bool) -> Iterator[tuple[Key, bool, str]]:
    if old == new:
        return
    if isinstance(old, BaseModel) and isinstance(new, BaseModel) and type(old) is type(new):
        for name, info in type(new).model_fields.items():
            yield from _changes((*key, name), getattr(old, name), getattr(new, name), restart or needs_restart(info))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            if name not in old or name not in new:
                yield (*key, name), restart, "added" if name in new else "removed"
            else:
                yield from _changes((*key, name), old[name], new[name], restart)
    elif isinstance(old, Secret) or isinstance(new, Secret):
        yield key, restart, "changed"
    else:
        yield key, restart, f"{_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, BaseModel):
        shown = {name: item for name, item in value if item not in (None, (), "")}
        return "{" + ", ".join(f"{name} = {_show(item)}" for name, item in shown.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_show, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
