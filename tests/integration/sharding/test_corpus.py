"""The hand-written statements of ``corpus/``: equal to one plain database, or refused.

Every mode on three shards; the other numbers of shards take one mode each, unless SHARDPROXY_TEST_FULL is set.
"""

from __future__ import annotations

import os

import pytest

from tests.fixtures.sharded import counts

from .answers import MODES
from .cases import CORPUS, load
from .differ import Differ

FILES = sorted(path.stem for path in CORPUS.glob("*.sql"))
ONE_MODE = {0: MODES, 1: ("binary",), 2: ("prepared",), 4: ("simple",)}
FULL = bool(os.environ.get("SHARDPROXY_TEST_FULL"))
PAIRS = [(count, mode) for count in counts() for mode in (MODES if FULL else ONE_MODE.get(count, MODES))]


@pytest.mark.parametrize(("count", "mode"), PAIRS)
@pytest.mark.parametrize("name", FILES)
async def test_corpus(differ: Differ, name: str, count: int, mode: str) -> None:
    report = await differ.run(count, mode, load(CORPUS / f"{name}.sql"))
    print(report)
    assert not report.wrong, str(report)
