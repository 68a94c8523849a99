"""Run a driver's own test suite directly against a PostgreSQL and through shardproxy, and print what is lost.

    python tests/drivers/run.py SUITE FOLDER --server HOST:PORT [--python PYTHON] [--work FOLDER] [ARGUMENT ...]

``SUITE``: see README.md beside this file. ``FOLDER``: where the suite is checked out. ``PYTHON``: the interpreter of
the environment that has the driver. The rest goes to the suite's own runner (for pytest: which tests).

Invariant: a test counts as lost only if it passed directly in both of two runs and did not pass through the proxy.
Exit codes: 0 nothing lost, 1 something lost, 2 usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG = """[listen]
postgres = "127.0.0.1:{port}"
[auth]
method = "trust"
[pool]
mode = "transaction"
size = {size}
[databases."*"]
shards.any = {{ primary = "{server}" }}
"""


@dataclass(frozen=True)
class Job:
    """One run of a suite against one port."""

    folder: Path
    python: str
    host: str
    port: int
    user: str
    database: str
    outcomes: Path
    arguments: list[str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user,
                "PGDATABASE": self.database, "OUTCOMES": str(self.outcomes), "PYTHONPATH": str(HERE),
                "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip

    def write(self, outcome: str, name: str) -> None:
        """Add a line to the outcomes."""
        with self.outcomes.open("a", encoding="utf-8") as out:
            out.write(f"{outcome}\t{name}\n")

    def pytest(self, *options: str, **environment: str) -> None:
        """Run pytest with the plugin that writes the outcomes."""
        command = [
            self.python,
            "-m",
            "pytest",
            "-p",
            "outcomes",
            "-q",
            "--color=no",
            *options,
            *self.arguments,
        ]
        with self.outcomes.with_suffix(".log").open("w") as log:
            subprocess.run(command, cwd=self.folder, env=self.environment | environment, stdout=log, stderr=log,
                           check=False)  # fmt: skip


def psycopg(job: Job) -> None:
    dsn = f"host={job.host} port={job.port} user={job.user} dbname={job.database}"
    tests = [] if job.arguments else ["tests"]
    job.pytest("-m", "not slow and not timing and not mypy", *tests, PSYCOPG_TEST_DSN=dsn)


def asyncpg(job: Job) -> None:
    job.pytest("-W", "ignore", *([] if job.arguments else ["tests"]))


def sqlalchemy(job: Job, driver: str) -> None:
    uri = f"postgresql+{driver}://{job.user}@{job.host}:{job.port}/{job.database}"
    tests = [] if job.arguments else ["test/dialect/test_suite.py", "test/dialect/postgresql"]
    job.pytest("-W", "ignore", "--backend-only", "--dburi", uri, *tests)


def node(job: Job) -> None:
    """One file, one test; ``FOLDER`` is packages/pg."""
    with job.outcomes.with_suffix(".log").open("w") as log:
        for path in sorted((job.folder / "test/integration").rglob("*-tests.js")):
            name = str(path.relative_to(job.folder))
            try:
                code = subprocess.run(["node", name], cwd=job.folder, env=job.environment | {"PGTESTNOSSL": "true"},
                                      stdout=log, stderr=log, timeout=60, check=False).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = -1
            job.write("fail" if code else "pass", name)


def regress(job: Job) -> None:
    """PostgreSQL's regression SQL; ``FOLDER`` is src/test/regress, with its libraries in ``lib``.

    The output is kept beside the outcomes; ``same_output`` decides. ``--before`` must make a fresh server for each run.
    """
    results = job.outcomes.with_suffix(".out")
    (results / "results").mkdir(parents=True, exist_ok=True)
    environment = job.environment | {
        "PGTZ": "PST8PDT", "PGDATESTYLE": "Postgres, MDY", "PGOPTIONS": "-c intervalstyle=postgres_verbose",
        "PG_ABS_SRCDIR": str(job.folder), "PG_ABS_BUILDDIR": str(results), "PG_LIBDIR": str(job.folder / "lib"),
        "PG_DLSUFFIX": ".so", "LC_MESSAGES": "C"}  # fmt: skip
    command = ["psql", "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"]
    for line in (job.folder / "parallel_schedule").read_text().splitlines():
        for name in line.removeprefix("test:").split() if line.startswith("test:") else ():
            source, output = job.folder / f"sql/{name}.sql", results / f"{name}.txt"
            with (
                source.open() as sql,
                output.open("w") as out,
                contextlib.suppress(subprocess.TimeoutExpired),
            ):
                subprocess.run(command, env=environment | {"PGAPPNAME": f"pg_regress/{name}"}, stdin=sql,
                               stdout=out, stderr=out, timeout=300, check=False)  # fmt: skip
            job.write("pass", name)


SUITES: dict[str, Callable[[Job], None]] = {
    "psycopg": psycopg,
    "asyncpg": asyncpg,
    "sqlalchemy-psycopg": lambda job: sqlalchemy(job, "psycopg"),
    "sqlalchemy-asyncpg": lambda job: sqlalchemy(job, "asyncpg"),
    "node": node,
    "regress": regress,
}


def passed(outcomes: Path) -> set[str]:
    """Names of the tests that passed, each time that they ran."""
    found: dict[str, bool] = {}
    for line in outcomes.read_text(encoding="utf-8").splitlines():
        outcome, name = line.split("\t", 1)
        found[name] = found.get(name, True) and outcome == "pass"
    return {name for name, well in found.items() if well}


def same_output(names: set[str], runs: list[Path]) -> set[str]:
    """Of a suite that is judged by its output: those with the same output in all runs."""
    folders = [run.with_suffix(".out") for run in runs]
    return {name for name in names if len({(folder / f"{name}.txt").read_bytes() for folder in folders}) == 1}


@contextlib.contextmanager
def proxy(work: Path, server: str, size: int) -> Iterator[int]:
    """``shardproxy serve`` before ``server``; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config, ready = work / "proxy.toml", work / "ready"
    config.write_text(CONFIG.format(port=port, size=size, server=server))
    command = [sys.executable, "-m", "shardproxy.tools.cli", "serve", "--config", str(config)]
    with ready.open("wb") as out, (work / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not ready.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the proxy did not start: see {work / 'proxy.log'}")
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", default="127.0.0.1:5432")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--user", default="postgres")
    parser.add_argument("--database", default="postgres")
    parser.add_argument("--before", help="a shell command to run before each run")
    parser.add_argument("--pool-size", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("driver-tests"))
    options, arguments = parser.parse_known_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    runs = {label: work / f"{options.suite}.{label}.txt" for label in ("direct1", "direct2", "proxied")}
    for label, outcomes in runs.items():
        outcomes.write_text("")
        if options.before:
            subprocess.run(options.before, shell=True, check=True)
        with (
            proxy(work, options.server, options.pool_size)
            if label == "proxied"
            else contextlib.nullcontext() as port
        ):
            host, _, own = options.server.rpartition(":")
            job = Job(options.folder.resolve(), options.python, "127.0.0.1" if port else host, port or int(own),
                      options.user, options.database, outcomes, arguments)  # fmt: skip
            SUITES[options.suite](job)
        print(f"{label}: {len(passed(outcomes))} passed")
    direct = passed(runs["direct1"]) & passed(runs["direct2"])
    through = passed(runs["proxied"])
    if options.suite == "regress":
        direct = same_output(direct, [runs["direct1"], runs["direct2"]])
        through = same_output(direct & through, [runs["direct1"], runs["proxied"]])
    lost = sorted(direct - through)
    print(f"lost: {len(lost)} of {len(direct)}", *lost, sep="\n  ")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
