"""Logs: one line per event in both forms, fields kept, secrets masked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shardproxy import log


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Other tests find logging as it was."""
    yield
    root = logging.getLogger(log.ROOT)
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.propagate = True
    logging.captureWarnings(False)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    yield lambda: capsys.readouterr().err
    logging.getLogger(log.ROOT).handlers.clear()
    logging.getLogger(log.ROOT).propagate = True


def test_text_lines_carry_the_connection_id(written: Callable[[], str]) -> None:
    log.setup(process="worker-3")
    log.get_logger("session").bind(client=1027).info("logged in", user="app", application="my app")
    line = written()
    assert line.endswith(' INFO    worker-3 session: logged in client=1027 user=app application="my app"\n')


def test_json_lines_parse(written: Callable[[], str]) -> None:
    log.setup(log.Plain(format="json", level="debug"), "parent")
    log.get_logger("shardproxy.server.x").debug("slow", ms=12.5, event="an attempt to override")
    entry = json.loads(written())
    assert entry["event"] == "slow" and entry["ms"] == 12.5 and entry["logger"] == "server.x"
    assert entry["process"] == "parent" and entry["time"].endswith("Z")


def test_levels(written: Callable[[], str]) -> None:
    log.setup(log.Plain(level="warning"))
    log.get_logger("x").info("not this")
    assert written() == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_client_cannot_forge_lines(written: Callable[[], str], form: str) -> None:
    log.setup(log.Plain(format=form))
    log.get_logger("x").info("bad\nname", user="eve\n2026 INFO forged\u2028x\x1b[2J")
    text = written()
    assert text.count("\n") == 1 and "\x1b" not in text


def test_an_exception_comes_with_its_traceback(written: Callable[[], str]) -> None:
    log.setup()
    try:
        raise ValueError("postgres://app:" + "hunter2" + "@db/shop does not parse")
    except ValueError:
        log.get_logger("x").exception("failed")
    text = written()
    assert "Traceback" in text and "app:***@db/shop does not parse" in text


@pytest.mark.parametrize("text", [
    "ALTER ROLE app PASSWORD 'hunter2'",
    "alter role app with password E'hunter2\\'x'",
    "CREATE ROLE app PASSWORD 'SCRAM-SHA-256$4096:hunter2'",
    "host=db password=hunter2 user=app",
    'users.app = { password = "hunter2" }',
    "postgres://app:hunter2@db/shop",
    "SCRAM-SHA-256$4096:hunter2==$x:y",
])
def test_secrets_in_texts_are_masked(text: str) -> None:
    assert "hunter2" not in log.mask(text) and "***" in log.mask(text)


@pytest.mark.parametrize("text", ["password authentication failed for user app", "SELECT 1",
                                  "no password needed"])
def test_prose_is_left_alone(text: str) -> None:
    assert log.mask(text) == text


def test_secret_fields_are_masked(written: Callable[[], str]) -> None:
    log.setup()
    log.get_logger("x").info("connecting", server_password="hunter2", verifier="hunter2",
                             cancel_key="hunter2", tls_key="", keyspace="main")
    text = written()
    assert "hunter2" not in text and "keyspace=main" in text


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "proxy.log"
    log.setup(log.Plain(file=file))
    log.get_logger("x").info("one")
    file.rename(tmp_path / "old.log")
    log.get_logger("x").info("two")
    assert "two" in file.read_text()
    assert "one" not in file.read_text()
