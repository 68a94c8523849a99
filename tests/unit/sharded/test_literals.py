"""The literal that names a shard, found in a text: a value that PostgreSQL reads otherwise is none."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.points_cy import Point


@pytest.mark.parametrize(("text", "expected"), [
    ("select id from t where k = 'ac'", b"ac"),
    ("select id from t where k = 'ac' and v = 'x'", b"ac"),
    ("select id from t where k = 'ac' \n 'me'", None),
    ("select id from t where k = 'ac' -- more\n'me'", None),
    ("select id from t where k = 'it''s'", None),
    ("select id from t where k = E'ac'", None),
    ("select id from t where k = 12", b"12"),
    ("select id from t where k = 1.5", None),
])
def test_literal(text: str, expected: bytes | None) -> None:
    point = Point(1, 0, -1, b"", 25, (0, 1), ("a", "b"))
    assert point.literal_at(text.encode(), 0) == expected
