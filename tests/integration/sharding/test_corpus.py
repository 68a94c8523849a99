"""The hand-written statements of ``corpus/``: equal to one plain database, or refused.

Each number of shards takes one or two of the modes; with SHARDPROXY_TEST_FULL it takes all.
"""

from __future__ import annotations

import os

import pytest

from tests.fixtures.sharded import counts

from .answers import MODES
from .cases import CORPUS, load, names
from .differ import Differ

FILES = names()
ONE_MODE = {1: ("text",), 2: ("prepared",), 3: ("simple", "binary"), 4: ("portal",)}
FULL = bool(os.environ.get("SHARDPROXY_TEST_FULL"))
PAIRS = [(count, mode) for count in counts() for mode in (MODES if FULL else ONE_MODE.get(count, MODES))]


@pytest.mark.parametrize(("count", "mode"), PAIRS)
@pytest.mark.parametrize("name", FILES)
async def test_corpus(differ: Differ, name: str, count: int, mode: str) -> None:
    report = await differ.run(count, mode, load(CORPUS / f"{name}.sql"))
    print(report)
    assert not report.wrong, str(report)
