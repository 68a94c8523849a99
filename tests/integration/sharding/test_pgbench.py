"""pgbench's own load over three shards: the tables that ``pgbench -i`` makes, the tpcb-like transaction, and a mix like
sysbench's. No update is lost and none is doubled: the sums of all balances are those of the history.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardproxy.tools.cluster import Node
from shardproxy.tools.postgres_binaries import Binaries
from tests.fixtures.sharded import Deployment, System, counts

KEYS = {
    "pgbench_accounts": (("aid", "int"),),
    "pgbench_branches": (("bid", "int"),),
    "pgbench_tellers": (("tid", "int"),),
    "pgbench_history": (("tid", "int"),),
}
NUMBERS = [number for number in counts() if number in (0, 3)] or [counts()[-1]]
CLIENTS, TRANSACTIONS, SCALE = 4, 25, 1
ACCOUNTS = 100_000 * SCALE

MIX = """
\\set id random(1, 1000)
\\set other random(1, 1000)
\\set first least(:id, :other)
\\set second greatest(:id, :other)
\\set low random(1, 900)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
SELECT sum(abalance) FROM pgbench_accounts WHERE aid BETWEEN :low AND :low + 99;
SELECT aid, filler FROM pgbench_accounts WHERE aid BETWEEN :low AND :low + 9 ORDER BY aid;
SELECT DISTINCT bid FROM pgbench_accounts WHERE aid BETWEEN :low AND :low + 99 ORDER BY bid;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :first;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :second;
COMMIT;
"""


@pytest.fixture(scope="module")
def bench(sharded_node: Node, binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Empty databases."""
    if not binaries.has("pgbench"):
        pytest.skip("there is no pgbench")
    made = Deployment(sharded_node, "bench", KEYS, NUMBERS)
    made.create()
    made.start(tmp_path_factory.mktemp("bench"), pool={"size": 20})
    yield made
    made.close()


def pgbench(binaries: Binaries, system: System, *arguments: str) -> str:
    """Run pgbench as a client of the system; what it wrote."""
    command = [binaries.program("pgbench"), "-h", "127.0.0.1", "-p", str(system.port), "-U", "postgres", *arguments]
    done = subprocess.run([*command, system.name], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded(bench: Deployment, binaries: Binaries) -> Deployment:
    """Tables made and filled by ``pgbench -i`` through the proxy."""
    for system in bench.systems.values():
        pgbench(binaries, system, "-i", "-s", str(SCALE), "-q", "-I", "dtgvp")
    return bench


def _one(system: System, query: str) -> tuple[object, ...]:
    with system.client() as client:
        row = client.execute(query).fetchone()  # type: ignore[call-overload]
        assert row is not None
        return tuple(row)


def test_initialized(loaded: Deployment) -> None:
    for system in loaded.systems.values():
        assert _one(system, "select count(*), min(aid), max(aid) from pgbench_accounts") == (ACCOUNTS, 1, ACCOUNTS)
        assert _one(system, "select count(*) from pgbench_tellers") == (10 * SCALE,)
        for place in system.shards_of("customer"):
            rows = system.direct(place).execute("select count(*) from pgbench_accounts").fetchone()
            assert rows is not None
            assert rows[0] > ACCOUNTS / system.count / 2, "every shard has its part"


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_tpcb(loaded: Deployment, binaries: Binaries, protocol: str) -> None:
    for system in loaded.systems.values():
        before = _one(system, "select count(*) from pgbench_history")
        output = pgbench(binaries, system, "-n", "-c", str(CLIENTS), "-t", str(TRANSACTIONS), "-M", protocol,
                               "--max-tries", "20")
        assert f"{CLIENTS * TRANSACTIONS}/{CLIENTS * TRANSACTIONS}" in output
        after = _one(system, "select count(*) from pgbench_history")
        assert after[0] == int(str(before[0])) + CLIENTS * TRANSACTIONS
        sums = {
            _one(system, f"select coalesce(sum({column}), 0) from pgbench_{table}")
            for table, column in (("accounts", "abalance"), ("tellers", "tbalance"), ("branches", "bbalance"),
                                  ("history", "delta"))
        }
        assert len(sums) == 1, sums


def test_mixed(loaded: Deployment, binaries: Binaries, tmp_path: Path) -> None:
    """Reads of ranges and transfers between shards: the sum stays."""
    script = tmp_path / "mix.sql"
    script.write_text(MIX)
    for system in loaded.systems.values():
        before = _one(system, "select sum(abalance), count(*) from pgbench_accounts")
        pgbench(binaries, system, "-n", "-c", str(CLIENTS), "-t", str(TRANSACTIONS), "-f", str(script),
                      "-M", "prepared", "--max-tries", "20")
        assert _one(system, "select sum(abalance), count(*) from pgbench_accounts") == before
