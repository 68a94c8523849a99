"""The memory of what was written to: survives a restart, only rises, and is never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardproxy.errors import ConfigError
from shardproxy.server.primaries import Primaries


def test_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "primaries.json"
    first = Primaries(path)
    assert first.memory(["shop/main/main"]).system == ""
    first.record(["shop/main/main", "crm/main/main"], "7000", 2)
    first.record(["shop/main/main"], "7000", 1)
    again = Primaries(path)
    for names in (["shop/main/main"], ["unknown", "crm/main/main"]):
        memory = again.memory(names)
        assert (memory.system, memory.highest("7000"), memory.highest("7001")) == ("7000", 2, 0)
    assert again.memory(["unknown"]).highest("7000") == 2      # renamed in the configuration: still known
    assert [file.name for file in path.parent.iterdir()] == ["primaries.json"]


def test_nothing_is_written_when_nothing_is_new(tmp_path: Path) -> None:
    path = tmp_path / "primaries.json"
    primaries = Primaries(path)
    primaries.record(["a"], "7000", 2)
    before = path.stat().st_ino
    primaries.record(["a"], "7000", 2)
    assert path.stat().st_ino == before
    primaries.record(["a"], "7000", 3)
    assert Primaries(path).memory(["a"]).highest("7000") == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"systems": {}}', '{"systems": {}, "timelines": {"a": "x"}}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "primaries.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"primaries\.json"):
        Primaries(path)


def test_a_full_disk_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.write_text("in the way")
    primaries = Primaries(folder / "primaries.json")
    with pytest.raises(OSError, match="state"):
        primaries.record(["a"], "7000", 2)
    assert primaries.memory(["a"]).highest("7000") == 2
    folder.unlink()
    primaries.record(["a"], "7000", 2)
    assert Primaries(folder / "primaries.json").memory(["a"]).highest("7000") == 2


def test_without_a_file() -> None:
    primaries = Primaries(None)
    primaries.record(["a"], "7000", 2)
    assert primaries.memory(["a"]).highest("7000") == 2
