"""SASLprep as PostgreSQL does it; tests/integration compares it with a real server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth.saslprep import password_bytes, saslprep


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("pencil", b"pencil"),
        ("tab\tand \x01", b"tab\tand \x01"),  # ASCII is left alone
        ("I\u00adX", b"IX"),  # soft hyphen: to nothing
        ("\u00aa", b"a"),  # compatibility form
        ("\u2168", b"IX"),
        ("a\u00a0b", b"a b"),  # no-break space
        ("x\u200by", b"x y"),  # in two tables; PostgreSQL makes it a space
        ("\u0627\u0031", "\u0627\u0031".encode()),  # right-to-left, ends otherwise: used as it is
        ("\u06271\u0628", "\u06271\u0628".encode()),
        ("\u0627x\u0628", "\u0627x\u0628".encode()),
        ("\u0221", "\u0221".encode()),  # not assigned in Unicode 3.2
        ("\u00ad", "\u00ad".encode()),  # would become empty
        ("\u2028", "\u2028".encode()),  # prohibited
        ("p\u00e4ss", "p\u00e4ss".encode()),
        ("pa\u0308ss", "p\u00e4ss".encode()),
        (b"\xff\xfe", b"\xff\xfe"),  # not UTF-8
        ("\udcff", b"\xff"),
    ],
)
def test_examples(password: str | bytes, prepared: bytes) -> None:
    assert saslprep(password) == prepared


@given(st.binary())
def test_any_bytes_are_accepted(password: bytes) -> None:
    assert isinstance(saslprep(password), bytes)


@given(st.binary())
def test_undecodable_text_goes_back_to_its_bytes(password: bytes) -> None:
    assert password_bytes(password.decode("utf-8", "surrogateescape")) == password
