#!/usr/bin/env python3
"""What a statement over four shards costs, against what one server needs for its part.

    .venv/bin/python benchmarks/sharded.py [--rows 1000000] [--rounds 5]

It makes a throw-away PostgreSQL with five databases, a proxy before it, and measures, medians of the rounds:

* aggregates over four shards, a short one and one that reads all rows, against the same four parts asked directly by
  one client, side by side (until the last has answered), and against the slowest part asked alone;
* a sorted read of all rows over four shards, against one database that has them all (rows a second; the aim is 0.6);
* COPY FROM of all rows through the proxy, against COPY into one database.

All databases are on one machine: what is measured is what the proxy adds, not what sharding gains.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from shardproxy._compiled import summary
from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.cluster.place import free_port

SHARDS = 4
TABLE = "create table points (id bigint primary key, name text, value double precision, at timestamp)"
CONFIG = """
[listen]
postgres = "127.0.0.1:{port}"
[auth]
method = "trust"
[databases.main]
server_user = "postgres"
default_keyspace = "main"
[databases.main.keyspaces.main]
shards.main = {{ primary = "{server}/main" }}
[databases.main.keyspaces.split]
tables.points = {{ key = "id" }}
"""


def rows_of(count: int) -> Iterator[str]:
    """Data for COPY, in blocks."""
    block = 10_000
    for start in range(0, count, block):
        yield "".join(f"{i}\tname of row {i}\t{i * 0.5}\t2024-01-01 00:00:{i % 60:02}\n"
                      for i in range(start, min(start + block, count)))


def copy_in(connection: psycopg.Connection[Any], count: int) -> float:
    """Rows a second."""
    blocks = list(rows_of(count))
    begun = time.perf_counter()
    with connection.cursor().copy("copy points from stdin") as copy:
        for block in blocks:
            copy.write(block)
    return count / (time.perf_counter() - begun)


def read_all(connection: psycopg.Connection[Any]) -> float:
    """Rows a second, read as they come: psycopg's own row objects are left out."""
    begun = time.perf_counter()
    result = connection.pgconn.exec_(b"select * from points order by id")
    return result.ntuples / (time.perf_counter() - begun)


AGGREGATES = {"short": b"select count(*), min(id), max(id) from points where id < 1000",
              "of all rows": b"select count(*), sum(id), max(value) from points where value >= 0"}


def milliseconds(connections: Sequence[psycopg.Connection[Any]], text: bytes) -> float:
    """Until the last of the connections has answered; all are asked first."""
    begun = time.perf_counter()
    for one in connections:
        one.pgconn.send_query(text)
    for one in connections:
        while one.pgconn.get_result() is not None:
            pass
    return (time.perf_counter() - begun) * 1000


def aggregates(through: psycopg.Connection[Any], direct: Sequence[psycopg.Connection[Any]], rounds: int) -> None:
    for name, text in AGGREGATES.items():
        alone = max(median(rounds, lambda one=one, text=text: milliseconds([one], text)) for one in direct)    # type: ignore[misc]
        beside, point = (median(rounds, lambda ones=ones, text=text: milliseconds(ones, text))     # type: ignore[misc]
                         for ones in (direct, [through]))
        print(f"| aggregate {name}, ms, side by side | {beside:.2f} | {point:.2f} | {point / beside:.2f} |")
        print(f"| aggregate {name}, ms, slowest alone | {alone:.2f} | {point:.2f} | {point / alone:.2f} |")


def median(rounds: int, measure: Callable[[], float]) -> float:
    measure()
    return statistics.median(measure() for _ in range(rounds))


@contextlib.contextmanager
def proxy(folder: Path, node: Node) -> Iterator[int]:
    """A proxy before the databases; gives its port."""
    port = free_port()
    config = folder / "shardproxy.toml"
    server = f"{node.host}:{node.port}"
    shards = "".join(f'shards.s{n} = {{ primary = "{server}/s{n}" }}\n' for n in range(SHARDS))
    config.write_text(CONFIG.format(port=port, server=server) + shards)
    command = [sys.executable, "-m", "shardproxy.tools.cli", "serve", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("ready"):
            sys.exit("the proxy did not start")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def measure(node: Node, folder: Path, count: int, rounds: int) -> None:
    with psycopg.connect(node.dsn(), autocommit=True) as control:
        for name in ("main", "whole", *(f"s{n}" for n in range(SHARDS))):
            control.execute(f"create database {name}")      # type: ignore[call-overload]
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(proxy(folder, node))
        through = stack.enter_context(psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/main", autocommit=True))
        whole = stack.enter_context(psycopg.connect(node.dsn("whole"), autocommit=True))
        direct = [stack.enter_context(psycopg.connect(node.dsn(f"s{n}"), autocommit=True)) for n in range(SHARDS)]
        whole.execute(TABLE)
        through.execute(TABLE)
        print(f"{count} rows, {SHARDS} shards, {summary()}\n")
        print("| work | one server | proxy | ratio |\n|---|---|---|---|")
        loads = copy_in(whole, count), copy_in(through, count)
        print(f"| COPY FROM, rows/s | {loads[0]:,.0f} | {loads[1]:,.0f} | {loads[1] / loads[0]:.2f} |")
        for connection in (whole, *direct):
            connection.execute("vacuum analyze points")
        aggregates(through, direct, max(rounds, 21))
        reads = median(rounds, lambda: read_all(whole)), median(rounds, lambda: read_all(through))
        print(f"| sorted read, rows/s | {reads[0]:,.0f} | {reads[1]:,.0f} | {reads[1] / reads[0]:.2f} |")


async def run(count: int, rounds: int) -> None:
    async with Cluster(extra={"max_prepared_transactions": "20", "max_connections": "200"}) as cluster:
        with tempfile.TemporaryDirectory() as folder:
            await asyncio.to_thread(measure, cluster.primary, Path(folder), count, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(run(options.rows, options.rounds))
