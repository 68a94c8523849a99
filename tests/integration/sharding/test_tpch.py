"""The 22 queries of TPC-H and the 99 of TPC-DS over three shards (with SHARDPROXY_TEST_FULL also over two, and TPC-DS
with other keys): equal to one plain database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.raw import Raw
from tests.fixtures.sharded import Deployment, System, counts, split

from .answers import Answer, Asker, Encoder
from .cases import Case, load
from .differ import REFUSED, compare
from .tpc import tpcds_data, tpch_data

FOLDER = Path(__file__).with_name("tpc")
FULL = bool(os.environ.get("SHARDPROXY_TEST_FULL"))
NUMBERS = [number for number in counts() if number in ((2, 3) if FULL else (3,))] or counts()[-1:]
MODES = ("simple", "binary") if FULL else ("binary",)
H_QUERIES = {case.name.split()[1]: case for case in load(FOLDER / "tpch_queries.sql")}
DS_QUERIES = {case.name.split()[1]: case for case in load(FOLDER / "tpcds_queries.sql")}
MAY_BE_EMPTY = {"q21"}
TIMEOUT_S = 60


def _deployment(node: Node, folder: Path, name: str, data: object, layout: str = "") -> Deployment:
    keys = data.LAYOUTS[layout] if layout else data.KEYS    # type: ignore[attr-defined]
    made = Deployment(node, name + layout, keys, NUMBERS)
    made.create()
    made.start(folder)
    schema = split((FOLDER / f"{name}_schema.sql").read_text())
    for system in (made.plain, *made.systems.values()):
        _fill(system, schema, data)
    return made


def _fill(system: System, schema: list[str], data: object) -> None:
    with system.client() as client:
        for statement in schema:
            client.execute(statement)
        for table, rows in data.tables():   # type: ignore[attr-defined]
            with client.cursor().copy(f"copy {table} from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
            assert client.execute(f"select count(*) from {table}").fetchone() == (len(rows),)
        client.execute("analyze")


@pytest.fixture(scope="module")
def tpch(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """TPC-H, loaded."""
    made = _deployment(sharded_node, tmp_path_factory.mktemp("tpch"), "tpch", tpch_data)
    yield made
    made.close()


@pytest.fixture(scope="module", params=tpcds_data.LAYOUTS if FULL else ("mixed",))
def tpcds(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest,
          ) -> Iterator[Deployment]:
    """TPC-DS, loaded."""
    made = _deployment(sharded_node, tmp_path_factory.mktemp("tpcds"), "tpcds", tpcds_data, request.param)
    yield made
    made.close()


async def _answer(system: System, case: Case, mode: str) -> Answer:
    async with Raw.session(system.port, "postgres", system.name) as client:
        return await Asker(client, mode, Encoder(client)).ask(case.statements[0], TIMEOUT_S)


async def _check(deployment: Deployment, case: Case, *, empty: bool) -> None:
    for mode in MODES:
        right = await _answer(deployment.plain, case, mode)
        assert not right.error, right.message
        assert empty or right.results[0].rows, "the data do not suit the query: there is no row"
        for count, system in deployment.systems.items():
            got = await _answer(system, case, mode)
            assert got.error != REFUSED, f"N={count}: refused: {got.message}"
            assert not compare(case.statements[0], right, got), f"N={count} {compare(case.statements[0], right, got)}"


@pytest.mark.parametrize("name", H_QUERIES)
async def test_tpch(tpch: Deployment, name: str) -> None:
    await _check(tpch, H_QUERIES[name], empty=name in MAY_BE_EMPTY)


@pytest.mark.parametrize("name", DS_QUERIES)
async def test_tpcds(tpcds: Deployment, name: str) -> None:
    await _check(tpcds, DS_QUERIES[name], empty=False)
