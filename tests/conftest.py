"""Header of a run and the fixtures that all tests share."""

from __future__ import annotations

from shardproxy import _compiled
from shardproxy.tools.postgres_binaries import BinariesNotFound, find_binaries
from tests.fixtures.postgres import binaries, cluster, database, fresh_cluster, module_cluster, pg
from tests.fixtures.proxy import proxy, start_proxy
from tests.fixtures.sharded import sharded_node, shop

__all__ = ["binaries", "cluster", "database", "fresh_cluster", "module_cluster", "pg", "proxy", "sharded_node", "shop",
           "start_proxy"]


def pytest_report_header() -> list[str]:
    """What is tested: hot modules compiled or not, and against which PostgreSQL."""
    try:
        server = str(find_binaries())
    except BinariesNotFound as error:
        server = str(error)
    return [f"shardproxy: {_compiled.summary()}", f"server: {server}"]
