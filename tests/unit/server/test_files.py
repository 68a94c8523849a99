"""The limit of open files."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator

import pytest

from shardproxy import log
from shardproxy.config.model import Config
from shardproxy.server.files import files_needed, raise_file_limit, warn_about_files


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


def test_the_limit_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_limit_that_is_too_low_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    many = Config.model_validate({"pool": {"max_client_conn": 2_000_000_000}})
    assert files_needed(many) > 2_000_000_000
    warn_about_files(many)
    assert "max_client_conn" in capsys.readouterr().err
    warn_about_files(Config.model_validate({"pool": {"max_client_conn": 10}}))
    assert capsys.readouterr().err == ""
