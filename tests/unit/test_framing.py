"""Messages are found in a stream however it is cut, and the stream passes unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.framing import LOOKED_AT_MAX, Framing
from tests.fixtures.raw import message

MESSAGES = st.lists(st.tuples(st.sampled_from("QdZSDcX"), st.binary(max_size=40)), max_size=12)


@given(MESSAGES, st.lists(st.integers(0, 60), max_size=40))
def test_any_cuts(messages: list[tuple[str, bytes]], sizes: list[int]) -> None:
    stream = b"".join(message(kind, payload) for kind, payload in messages)
    framing, out, seen = Framing(), b"", []
    position = 0
    for size in [*sizes, len(stream)]:
        passed = framing.whole(stream[position : position + size], b"QZ", lambda kind, text: seen.append((kind, text)))
        position += size
        out += passed
        assert stream.startswith(out)
        assert len(stream[:position]) - len(out) < 50, "no more than one message is kept back"
    assert out == stream
    assert framing.between
    assert seen == [(ord(kind), payload) for kind, payload in messages if kind in "QZ"]


def test_a_long_message_is_not_waited_for() -> None:
    framing, seen = Framing(), []
    data = message("Q", b"x" * (LOOKED_AT_MAX + 10))
    out = framing.whole(data[:100], b"Q", lambda kind, text: seen.append((kind, text)))
    assert out == data[:100]
    assert seen == [(ord("Q"), None)]
    assert not framing.between
    assert framing.whole(data[100:] + message("Z", b"I"), b"QZ", lambda kind, text: seen.append((kind, text)))
    assert seen[1:] == [(ord("Z"), b"I")]
    assert framing.between


@pytest.mark.parametrize("data", [b"Q\0\0\0\3", b"d\0\0\0\0", b"Z\xff\xff\xff\xff"])
def test_no_messages(data: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        Framing().whole(data, b"Z", lambda kind, text: None)
