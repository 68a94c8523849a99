"""``check`` without servers: what it prints, its exit codes, and what it calls suspicious."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.tools.check import EXIT_CONFIG, EXIT_OK, check, warnings

GOOD = """
[listen]
postgres = "127.0.0.1:6432"
[auth.users]
app = { password = "hush" }
[databases.shop]
primary = "127.0.0.1:5432/shop"
"""

Check = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Check:
    """Check a text: exit code, standard output, standard error."""

    def run_it(text: str) -> tuple[int, str, str]:
        path = tmp_path / "shardproxy.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        out, err = io.StringIO(), io.StringIO()
        return check(path, env={}, out=out, err=err), out.getvalue(), err.getvalue()

    return run_it


def test_good(run: Check) -> None:
    code, out, err = run(GOOD)
    assert (code, err) == (EXIT_OK, "")
    assert out.splitlines() == [
        "ok",
        "  listens on 127.0.0.1:6432; 1 worker",
        "  1 user; method scram-sha-256; TLS disable",
        "  pool: transaction, 20 connections per server and user",
        "  database shop: 127.0.0.1:5432; database consistency"]


def test_every_mistake_on_standard_error(run: Check, tmp_path: Path) -> None:
    code, out, err = run(GOOD.replace("[auth", "worker = 2\n[auth") + 'balance = "random"\n')
    assert (code, out) == (EXIT_CONFIG, "")
    path = tmp_path / "shardproxy.toml"
    assert err.splitlines() == [
        f'{path}: listen.worker: is not a setting (did you mean "workers"?)',
        f"{path}: databases.shop.balance: \"random\" is not possible here (choose 'round_robin', 'least_connections', "
        "'fastest', 'weighted' or 'client_hash')"]


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    err = io.StringIO()
    assert check(tmp_path / "none.toml", env={}, err=err) == EXIT_CONFIG
    assert "No such file" in err.getvalue()


@pytest.mark.parametrize(("text", "subject", "said"), [
    (GOOD.replace("127.0.0.1:6432", "*:6432"), "auth.tls", "unencrypted"),
    (GOOD.replace("[auth", 'http = "0.0.0.0:9632"\n[auth'), "listen.http", "without authentication"),
    (GOOD.replace("127.0.0.1:6432", "*:6432") + '[auth]\nmethod = "trust"\n', "auth.method", "as any user"),
    (GOOD.replace("127.0.0.1:6432", "*:6432") + '[[auth.hosts]]\nsource = "10.0.0.0/8"\nmethod = "trust"\n',
     "auth.hosts[0]", "without proof"),
    (GOOD.replace("127.0.0.1:5432", "db1:5432"), "databases.shop.server_tls", "nothing proves"),
    (GOOD + 'replicas = ["127.0.0.1:5433/shop"]\nquery_wait_timeout = 10\n', "databases.shop.failover_hold", "30 s"),
    ('topology = "file:/dev/null/x"' + GOOD, "topology", "cannot create"),
])
def test_suspicious(text: str, subject: str, said: str, run: Check) -> None:
    code, out, _ = run(text)
    assert code == EXIT_OK
    line = next(line for line in out.splitlines() if line.startswith(f"warn  {subject}: "))
    assert said in line


def test_secrets_that_others_may_read(tmp_path: Path) -> None:
    path, password = tmp_path / "shardproxy.toml", tmp_path / "p"
    path.write_text(GOOD + '[auth.users.x]\npassword_file = "p"\n')
    password.write_text("hush")
    path.chmod(0o644)
    password.chmod(0o644)
    assert {finding.subject for finding in warnings(load(path, {}))} == {str(path), str(password)}
    path.chmod(0o640)
    password.chmod(0o600)
    assert warnings(load(path, {})) == []
