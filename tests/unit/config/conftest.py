"""Files of a configuration in ``tmp_path``, and the mistakes found in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shardproxy.config.load import load
from shardproxy.config.model import Config
from shardproxy.errors import ConfigError

MINIMAL = """
[listen]
postgres = "127.0.0.1:6432"
[auth.users]
app = { password = "secret" }
[databases.shop]
primary = "127.0.0.1:5432/shop"
"""

Load = Callable[..., Config]
Mistakes = Callable[..., dict[str, str]]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Load a configuration from its text."""

    def load_it(text: str = MINIMAL, env: Mapping[str, str] | None = None) -> Config:
        path = tmp_path / "shardproxy.toml"
        path.write_text(text)
        return load(path, env or {})

    return load_it


@pytest.fixture
def mistakes_in(load_text: Load, tmp_path: Path) -> Mistakes:
    """All mistakes in a text: key -> "problem (remedy)". No mistake may contain the text ``hush``, used as a secret."""

    def find(text: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
        try:
            load_text(text, env)
        except ConfigError as error:
            assert "hush" not in str(error)
            found = {mistake.key: f"{mistake.problem} ({mistake.remedy})" for mistake in error.mistakes}
            assert len(found) == len(error.mistakes), f"a key is reported twice: {error}"
            assert {mistake.file for mistake in error.mistakes} == {str(tmp_path / "shardproxy.toml")}
            assert all(mistake.remedy for mistake in error.mistakes), f"what is to be done? {error}"
            return found
        return {}

    return find
