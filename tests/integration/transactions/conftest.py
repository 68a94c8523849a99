"""A bank of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shardproxy.server import recovery
from shardproxy.tools.cluster import Node

from .bank import Bank


@pytest_asyncio.fixture
async def bank(pg: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bank]:
    """Three databases with an account each; places that are down are given up soon."""
    monkeypatch.setattr(recovery, "DECIDER_S", 0.3)
    monkeypatch.setattr(recovery, "PARTICIPANT_S", 0.3)
    made = Bank(pg, tmp_path / "incarnations")
    await made.build()
    yield made
    await made.remove()
