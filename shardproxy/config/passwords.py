"""Where passwords come from: the file itself, another file, or the environment.

Invariant: after this a password is in the key ``password`` or ``server_password``, whatever the source; a problem names
the source, never the content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .report import Key, Report

__all__ = ["resolve_secrets"]

_FILE_MAX = 64 * 1024


def resolve_secrets(raw: dict[str, Any], base: Path, env: Mapping[str, str], report: Report) -> None:
    """Read every ``*password_file`` and ``*password_env`` into the key beside it."""
    for key, table, name in _places(raw):
        given = [source for source in (name, f"{name}_file", f"{name}_env") if source in table]
        if name == "password" and "verifier" in table:
            given.append("verifier")
        if len(given) > 1:
            report.add((*key, given[-1]), f"contradicts {given[0]}: both say what the password is", "keep one of them")
            continue
        if not given or not isinstance(table[given[0]], str):
            continue  # a wrong type is reported with all other wrong types
        text: str | None = None
        if given[0].endswith("_file"):
            text = _from_file(base / Path(table[given[0]]).expanduser(), (*key, given[0]), report)
        elif given[0].endswith("_env"):
            text = _from_env(table[given[0]], env, (*key, given[0]), report)
        if text is not None:
            table[name] = text


def _places(raw: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any], str]]:
    auth = raw.get("auth")
    for name, user in _tables(auth.get("users") if isinstance(auth, dict) else None):
        yield ("auth", "users", name), user, "password"
        yield ("auth", "users", name), user, "server_password"
    for name, database in _tables(raw.get("databases")):
        yield ("databases", name), database, "server_password"


def _tables(raw: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(raw, dict):
        yield from ((name, table) for name, table in raw.items() if isinstance(table, dict))


def _from_file(path: Path, key: Key, report: Report) -> str | None:
    try:
        if path.exists() and not path.is_file():
            report.add(key, f"{path} is not a file", "name a file whose first line is the password")
            return None
        with path.open("rb") as file:
            first_line = file.read(_FILE_MAX).decode().splitlines()[:1]
    except OSError as error:
        report.add(key, f"{path} cannot be read: {error.strerror}", "create it, or let this user read it")
        return None
    except UnicodeDecodeError:
        report.add(key, f"{path} is not UTF-8 text", "write the password as UTF-8")
        return None
    except ValueError:  # a zero byte in the path
        report.add(key, "is not a path", "name a file whose first line is the password")
        return None
    if not first_line or not first_line[0]:
        report.add(key, f"the first line of {path} is empty", "write the password there")
        return None
    return first_line[0]


def _from_env(variable: str, env: Mapping[str, str], key: Key, report: Report) -> str | None:
    text = env.get(variable, "")
    if not text:
        report.add(key, f"the environment variable {variable} is {'empty' if variable in env else 'not set'}",
                   "set it for the process that runs shardproxy")
        return None
    return text
