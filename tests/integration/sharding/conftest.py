"""What the differential tests share: the differ of the shop, made once."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.sharded import Deployment

from .contents import Judge
from .differ import Differ


@pytest.fixture(scope="session")
def judge(sharded_node: object) -> Iterator[Judge]:
    """A database that judges hash partitions."""
    dsn = sharded_node.dsn()    # type: ignore[attr-defined]
    with psycopg.connect(dsn, autocommit=True) as control:
        control.execute("create database judge")
    made = Judge(sharded_node.dsn("judge"))     # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture(scope="session")
def differ(shop: Deployment, judge: Judge) -> Differ:
    """Compares the shop with the plain database."""
    return Differ(shop, judge)
