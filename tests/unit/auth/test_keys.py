"""SCRAM verifiers, keys and the cache of derivations."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth.keys import (
    KeyCache,
    ScramKeys,
    Verifier,
    b64decode,
    derived_salt,
    digest,
)

# CREATE ROLE ... PASSWORD 'pencil' with the salt of RFC 7677
KNOWN = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_verifier_of_the_rfc() -> None:
    verifier = Verifier.from_password("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert verifier.format() == KNOWN
    assert Verifier.parse(KNOWN) == verifier
    assert verifier.matches("pencil")
    assert not verifier.matches("Pencil")


@given(st.binary(min_size=1, max_size=64), st.integers(1, 2**31 - 1), st.binary(min_size=64, max_size=64))
def test_format_and_parse_are_inverse(salt: bytes, iterations: int, keys: bytes) -> None:
    verifier = Verifier(iterations, salt, keys[:32], keys[32:])
    assert Verifier.parse(verifier.format()) == verifier


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text.replace("4096", "0"),
        lambda text: text.replace("4096", "-1"),
        lambda text: text.replace("4096", "4096x"),
        lambda text: text.replace("4096", "9" * 5000),
        lambda text: text.replace("4096", "\u0664"),
        lambda text: text.replace("256$", "1$"),
        lambda text: text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        lambda text: text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "!"),
        lambda text: text + ":x",
        lambda text: text.replace("$WG5d", "$WG5"),
        lambda text: "",
        lambda text: "md5" + "0" * 32,
    ],
)
def test_damaged_verifiers(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(ValueError, match="^not a SCRAM-SHA-256 verifier$"):
        Verifier.parse(damage(KNOWN))


@given(st.text())
def test_any_text_parses_or_is_a_value_error(text: str) -> None:
    for candidate in (text, "SCRAM-SHA-256$" + text, "SCRAM-SHA-256$1:AA==$" + text):
        try:
            Verifier.parse(candidate)
        except ValueError:
            pass


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(value: bytes) -> None:
    text = base64.b64encode(value)
    assert b64decode(text) == value
    assert b64decode(text + b"=") is None
    assert b64decode(text, size=len(value) + 1) is None
    if text.endswith(b"="):
        loose = text.rstrip(b"=")
        changed = loose[:-1] + bytes([loose[-1] + 1])  # only bits that are not used
        assert b64decode(changed + b"=" * (len(text) - len(loose))) in (None, value[:-1] + b"\xff")


def test_secrets_are_not_shown() -> None:
    verifier = Verifier.parse(KNOWN)
    shown = (
        repr(verifier) + repr(verifier.keys(b"client-key")) + repr(ScramKeys(b"client-key", b"server-key"))
    )
    assert "key" not in shown.replace("ScramKeys", "")
    assert base64.b64decode("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=")[:4] not in shown.encode()


def test_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    cache = KeyCache(entries_max=2)
    first = cache.derive("a", b"salt", 1)
    cache.derive("b", b"salt", 1)
    assert cache.derive("a", b"salt", 1) == first
    cache.derive("c", b"salt", 1)
    assert len(cache) == 2
    assert cache._name(b"a", b"salt", 1) in cache._entries
    assert cache._name(b"b", b"salt", 1) not in cache._entries
    cache.clear()
    assert len(cache) == 0


def test_cache_knows_no_password() -> None:
    cache = KeyCache()
    cache.derive("correct horse", b"salt", 1)
    assert b"correct horse" not in repr(cache._entries).encode()
    assert KeyCache()._name(b"x", b"s", 1) != cache._name(b"x", b"s", 1)  # each process has its own


@given(st.binary(max_size=4), st.binary(max_size=4), st.binary(max_size=4), st.binary(max_size=4))
def test_cache_entries_are_told_apart(salt: bytes, password: bytes, salt2: bytes, password2: bytes) -> None:
    cache = KeyCache()
    same = (salt, password) == (salt2, password2)
    assert (cache._name(password, salt, 1) == cache._name(password2, salt2, 1)) is same


def test_mock_verifiers_are_stable_and_depend_on_user_and_key() -> None:
    mock = Verifier.mock("nobody", b"key")
    assert mock == Verifier.mock("nobody", b"key")
    assert mock.salt == derived_salt(b"key", "nobody")
    assert len({derived_salt(key, user) for key in (b"a", b"b") for user in ("x", "y", "\udcff")}) == 6


def test_keys_know_for_which_verifier_they_were_made() -> None:
    verifier = Verifier.parse(KNOWN)
    client_key = KeyCache().derive("pencil", verifier.salt, 4096).client_key
    assert digest(client_key) == verifier.stored_key
    keys = verifier.keys(client_key)
    assert keys.made_for(verifier.salt, 4096)
    assert not keys.made_for(b"other", 4096)
    assert not keys.made_for(verifier.salt, 4097)
    assert ScramKeys(client_key, b"").made_for(b"anything", 1)
