"""Runs the corpus outside pytest and prints every difference: what to do while something does not work yet.

    python -m tests.integration.sharding.report --counts 2,3 --modes simple,binary [--only REGEX] [FILE...]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from shardproxy.tools.cluster import Cluster
from tests.fixtures import shop as shop_data
from tests.fixtures.sharded import SETTINGS, Deployment, System, split

from .answers import MODES
from .cases import CORPUS, load
from .contents import Judge
from .differ import Differ, Report


def prepare(shop: Deployment, folder: Path, settle: float) -> None:
    """Like the fixture, but goes on after errors, which are printed."""
    shop.create()
    shop.start(folder)
    time.sleep(settle)
    for system in (shop.plain, *shop.systems.values()):
        _fill(system)


def _fill(system: System) -> None:
    with system.client() as client:
        for statement in [*split(shop_data.SCHEMA.read_text()), *shop_data.statements()]:
            try:
                client.execute(statement)   # type: ignore[call-overload]
            except psycopg.Error as error:
                print(f"SETUP {system.name}: {statement[:150]}\n    {error}")


async def main(arguments: argparse.Namespace) -> int:
    """Print the reports; how many answers were wrong."""
    counts = [int(part) for part in arguments.counts.split(",")]
    total = Report()
    async with Cluster(extra=SETTINGS) as cluster:
        shop = Deployment(cluster.primary, "shop", shop_data.KEYS, counts)
        with tempfile.TemporaryDirectory(prefix="shardproxy-report-") as folder:
            try:
                prepare(shop, Path(folder), arguments.settle)
                await cluster.primary.sql("create database judge")
                differ = Differ(shop, Judge(cluster.primary.dsn("judge")))
                for name in arguments.files or sorted(path.stem for path in CORPUS.glob("*.sql")):
                    cases = [c for c in load(CORPUS / f"{name}.sql") if re.search(arguments.only, c.name + c.text)]
                    for count in counts:
                        for mode in arguments.modes.split(","):
                            report = await differ.run(count, mode, cases)
                            print(f"== {name} N={count} {mode}: {report}", flush=True)
                            total.add(report)
            finally:
                if shop.proxy is not None:
                    shop.proxy.stop()
                    Path(arguments.log).write_text(shop.proxy.log)
    print(f"all: equal {total.equal}, refused {len(total.refused)}, wrong {len(total.wrong)}")
    return len(total.wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="3")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--only", default="")
    parser.add_argument("--settle", type=float, default=0, help="seconds to wait after the proxy is ready")
    parser.add_argument("--log", default="proxy.log")
    parser.add_argument("files", nargs="*")
    sys.exit(min(asyncio.run(main(parser.parse_args())), 1))
