"""Times, sizes and lag limits with and without units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.config.servers import MaxLag, parse_lag
from shardproxy.config.values import SettingError, parse_bytes, parse_cidr, parse_seconds


@pytest.mark.parametrize(("value", "seconds"), [
    (0, 0.0), (1.5, 1.5), ("500ms", 0.5), ("30s", 30.0), ("5min", 300.0), ("2 h", 7200.0),
    ("1d", 86400.0), ("250us", 0.00025),
])
def test_seconds(value: object, seconds: float) -> None:
    assert parse_seconds(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [-1, True, None, "5", "x", "5 parsecs", "", "-1s", float("inf"), float("nan"), [1]])
def test_wrong_seconds(value: object) -> None:
    with pytest.raises(SettingError):
        parse_seconds(value)


@pytest.mark.parametrize(("value", "size"), [
    (8192, 8192), ("10MB", 10 << 20), ("1.5 kB", 1536), ("1GiB", 1 << 30), ("7", 7),
])
def test_bytes(value: object, size: int) -> None:
    assert parse_bytes(value) == size


@pytest.mark.parametrize("value", [-1, 1.5, True, None, "10 apples", "MB", ""])
def test_wrong_bytes(value: object) -> None:
    with pytest.raises(SettingError):
        parse_bytes(value)


@pytest.mark.parametrize(("text", "lag"), [
    ("10MB", MaxLag(bytes=10 << 20)), ("5s", MaxLag(seconds=5.0)), ("64 kB, 200ms", MaxLag(bytes=65536, seconds=0.2)),
    ("5min,1GB", MaxLag(bytes=1 << 30, seconds=300.0)), ("100B", MaxLag(bytes=100)),
])
def test_lag(text: str, lag: MaxLag) -> None:
    assert parse_lag(text) == lag
    assert parse_lag(str(lag)) == lag


@pytest.mark.parametrize("value", ["10", "", "5s, 6s", "1MB, 2MB", 5, "fast", "5s,"])
def test_wrong_lag(value: object) -> None:
    with pytest.raises(SettingError):
        parse_lag(value)


@given(st.one_of(st.none(), st.integers(0, 1 << 50)), st.one_of(st.none(), st.floats(0, 1e6)))
def test_lag_round_trip(size: int | None, seconds: float | None) -> None:
    lag = MaxLag(size, seconds)
    if size is not None or seconds is not None:
        assert parse_lag(str(lag)) == lag


def test_host_bits_of_a_network_are_cleared() -> None:
    assert parse_cidr("10.1.2.3/8") == "10.0.0.0/8"
    assert parse_cidr("fd00::1") == "fd00::1/128"
