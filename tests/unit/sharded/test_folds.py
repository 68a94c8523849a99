"""Folding of partial aggregates: exact, in both formats, with NULLs and what is not a number."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.sharded.errors import PgError
from shardproxy.dialects.postgres.sharded.folds import (
    _read_binary,
    _read_text,
    _write_binary,
    _write_text,
    fold,
)
from shardproxy.planner.plan import Fold

NUMERICS = st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-10**30, max_value=10**30)
SUM = Fold("sum", 1700)


@given(st.lists(NUMERICS, min_size=1, max_size=6))
def test_sums_are_exact(values: list[Decimal]) -> None:
    cells = [format(value, "f").encode() for value in values]
    scaled = sum(int(cell.replace(b".", b"")) for cell in cells)
    found = fold(SUM, 0, cells)
    assert found is not None
    assert int(found.replace(b".", b"")) == scaled
    assert len(found.partition(b".")[2]) == 5


@given(st.integers(-10**40, 10**40), st.integers(0, 30))
def test_numeric_in_binary_is_the_same_number(number: int, scale: int) -> None:
    assert _read_binary(_write_binary(0, number, scale)) == (0, number, scale)
    assert _read_text(_write_text(0, number, scale)) == (0, number, scale)


def test_what_postgresql_sends_is_read() -> None:
    assert _write_text(*_read_binary(struct.pack("!HhHH3H", 3, 1, 0x4000, 3, 1, 2345, 6780))) == b"-12345.678"


@pytest.mark.parametrize(("cells", "wanted"), [
    ([b"1", None, b"2.50"], b"3.50"), ([None, None], None), ([b"NaN", b"1"], b"NaN"),
    ([b"Infinity", b"1"], b"Infinity"), ([b"Infinity", b"-Infinity"], b"NaN"), ([b"-0.5", b"0.5"], b"0.0"),
    ([b"-0.05"], b"-0.05")])
def test_sums_of_numeric(cells: list[bytes | None], wanted: bytes | None) -> None:
    assert fold(SUM, 0, cells) == wanted


def test_sums_of_bigint() -> None:
    assert fold(Fold("sum", 20), 0, [b"5", None, b"-7"]) == b"-2"
    assert fold(Fold("sum", 20), 1, [struct.pack("!q", 5), struct.pack("!q", 6)]) == struct.pack("!q", 11)
    with pytest.raises(PgError) as caught:
        fold(Fold("sum", 20), 0, [b"9223372036854775807", b"1"])
    assert caught.value.sqlstate == "22003"


def test_least_and_greatest() -> None:
    assert fold(Fold("min", 23), 0, [b"10", b"9", None]) == b"9"
    assert fold(Fold("max", 701), 0, [b"Infinity", b"NaN", b"1"]) == b"NaN"
    assert fold(Fold("max", 25), 0, [b"a", b"ab", b"B"]) == b"ab"


@pytest.mark.parametrize(("how", "cells", "wanted"), [
    ("and", [b"t", None], b"t"), ("and", [b"t", b"f"], b"f"), ("or", [b"f", b"t"], b"t"), ("or", [None, b"f"], b"f"),
    ("or", [None], None)])
def test_and_or(how: str, cells: list[bytes | None], wanted: bytes | None) -> None:
    assert fold(Fold(how, 16), 0, cells) == wanted
    as_binary = {b"t": b"\1", b"f": b"\0", None: None}
    assert fold(Fold(how, 16), 1, [as_binary[cell] for cell in cells]) == as_binary[wanted]
