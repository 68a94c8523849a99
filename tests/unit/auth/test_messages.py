"""Authentication messages: what is encoded is decoded, and no other bytes are."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth import messages


def payload(message: bytes) -> bytes:
    kind, size = struct.unpack_from("!ci", message)
    assert kind in b"Rp"
    assert size == len(message) - 1
    return message[5:]


@given(st.integers(0, 12), st.binary())
def test_authentication(code: int, body: bytes) -> None:
    encoded = messages.encode_authentication(code, body)
    assert messages.decode_authentication(payload(encoded)) == (code, body)


def test_mechanisms() -> None:
    _, body = messages.decode_authentication(payload(messages.encode_mechanisms(["SCRAM-SHA-256-PLUS", "X"])))
    assert body == b"SCRAM-SHA-256-PLUS\0X\0\0"
    assert messages.decode_mechanisms(body) == ["SCRAM-SHA-256-PLUS", "X"]


@given(st.binary().filter(lambda text: b"\0" not in text))
def test_password(text: bytes) -> None:
    assert messages.decode_password(payload(messages.encode_password(text))) == text


@given(st.binary())
def test_sasl_initial(response: bytes) -> None:
    encoded = messages.encode_sasl_initial("SCRAM-SHA-256", response)
    assert messages.decode_sasl_initial(payload(encoded)) == ("SCRAM-SHA-256", response)
    assert payload(messages.encode_response(response)) == response


def test_sasl_initial_without_a_response() -> None:
    assert messages.decode_sasl_initial(b"X\0\xff\xff\xff\xff") == ("X", None)


MALFORMED = [
    b"", b"X", b"X\0", b"X\0\0\0\0", b"X\0\0\0\0\2a", b"X\0\xff\xff\xff\xffa", b"X\0\xff\xff\xff\xfe",
    b"\xff\0\0\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_sasl_initial(data: bytes) -> None:
    with pytest.raises(ValueError, match="invalid message format"):
        messages.decode_sasl_initial(data)


@pytest.mark.parametrize("data", [b"", b"x", b"x\0y", b"x\0\0"])
def test_malformed_password(data: bytes) -> None:
    with pytest.raises(ValueError, match="invalid password packet size"):
        messages.decode_password(data)


@given(st.binary(max_size=30))
def test_any_bytes_are_decoded_or_a_value_error(data: bytes) -> None:
    for decode in (
        messages.decode_authentication,
        messages.decode_mechanisms,
        messages.decode_password,
        messages.decode_sasl_initial,
    ):
        try:
            decode(data)
        except ValueError:
            pass
