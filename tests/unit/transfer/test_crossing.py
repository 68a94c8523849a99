"""Rows that change their shard under the same primary key: told before a move begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shardproxy.tools.transfer.move import Move
from shardproxy.tools.transfer.preflight_tables import _table

from .test_changes import MOVE, SHARDS

ROW: dict[str, Any] = {"schema": "public", "name": "t", "persistence": "p", "kind": "r", "inherits": False,
                       "owned": True, "policies": False, "always_triggers": [], "kept": False, "rules": [],
                       "matviews": [], "loose": [], "uniques": [], "types": []}
BETWEEN = replace(MOVE, sources=SHARDS)


@pytest.mark.parametrize(("move", "primary", "errors", "findings"), [
    (MOVE, ["id", "owner"], 0, 0), (MOVE, ["id"], 0, 1), (MOVE, [], 0, 0),
    (BETWEEN, ["owner"], 0, 0), (BETWEEN, ["id"], 1, 1)])
def test_primary_key(move: Move, primary: list[str], errors: int, findings: int) -> None:
    found = [one for one in _table(move, {**ROW, "primary": primary}) if "primary key" in one.text]
    assert len(found) == findings
    assert sum(one.level == "error" for one in found) == errors
