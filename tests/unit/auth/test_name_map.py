"""Names in certificates and the users they stand for."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.auth.name_map import NameMap


@pytest.mark.parametrize(
    ("entries", "name", "user", "allowed"),
    [
        ((), "app", "app", True),
        ((), "app", "App", False),
        ([("ops", "app")], "ops", "app", True),
        ([("ops", "app")], "ops", "ops", False),
        ([("ops", "all")], "ops", "anyone", True),
        ([("ops", "a"), ("ops", "b")], "ops", "b", True),
        ([(r"/(.*)@example\.com", r"\1")], "app@example.com", "app", True),
        ([(r"/(.*)@example\.com", r"\1")], "app@example.com", "root", False),
        ([(r"/(.*)@example\.com", r"\1")], "app@example.com.evil", "app", False),
        ([(r"/(.*)@example\.com", r"x_\1")], "app@example.com", "x_app", True),
        ([(r"/(a)?b", r"\1")], "b", "a", False),
        ([(r"/.*", r"\1")], "b", "b", False),
        ([(r"/.*", "app")], "anything", "app", True),
    ],
)
def test_allows(entries: list[tuple[str, str]], name: str, user: str, allowed: bool) -> None:
    assert NameMap(entries).allows(name, user) is allowed


def test_mistakes() -> None:
    found = NameMap([("/(", "x"), ("/.*", r"\1"), ("plain(", "x"), ("/(.*)", r"\1")]).mistakes()
    assert len(found) == 2
    assert "not a regular expression" in found[0]
    assert "refers to a group" in found[1]
