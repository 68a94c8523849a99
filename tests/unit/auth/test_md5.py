"""md5: against values that PostgreSQL made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth import md5

STORED = "md53175bce1d3201d16594cebf9d7eb3f9d"  # CREATE ROLE postgres PASSWORD 'postgres'


def test_stored_form() -> None:
    assert md5.hash_password("postgres", "postgres") == STORED
    assert md5.is_hash(STORED)
    assert not md5.is_hash(STORED[:-1])
    assert not md5.is_hash(STORED.upper())
    assert not md5.is_hash("md5" + "g" * 32)
    assert not md5.is_hash(STORED + "\n")


@given(st.text(), st.text(), st.binary(min_size=4, max_size=4))
def test_answer_is_accepted_for_its_salt_only(password: str, user: str, salt: bytes) -> None:
    try:
        stored = md5.hash_password(password, user)
    except UnicodeEncodeError:  # a lone surrogate that no bytes decode to
        return
    assert md5.matches(stored, salt, md5.answer(stored, salt))
    assert not md5.matches(stored, bytes(byte ^ 1 for byte in salt), md5.answer(stored, salt))


@given(st.binary())
def test_any_response_is_only_wrong(response: bytes) -> None:
    assert not md5.matches(STORED, b"salt", response)
