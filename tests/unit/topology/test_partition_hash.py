"""PostgreSQL's partition hash: vectors known from a server; forms of one value; what must not be guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy import dialects
from shardproxy.topology.functions import Key

BOOL, BYTEA, INT8, INT2, INT4, TEXT, BPCHAR, DATE, TIMESTAMP, TIMESTAMPTZ, NUMERIC, UUID = (
    16, 17, 20, 21, 23, 25, 1042, 1082, 1114, 1184, 1700, 2950)
POSTGRES = dialects.get("postgres")


def hash_of(oid: int, value: Key) -> int | None:
    return POSTGRES.partition_hash((oid,), (value,))


@pytest.mark.parametrize(("oid", "value", "expected"), [
    (INT8, b"0", 901916981443598768), (INT8, b"1", 11274504255086170040), (INT8, b"-1", 288437243775528869),
    (INT8, b"2147483648", 10244051894435199606), (INT8, b"9223372036854775807", 10244051894435199606),
    (INT8, b"-9223372036854775808", 17701988066039669119), (INT4, b"-1", 288437243775528869),
    (INT2, b" +1 ", 11274504255086170040), (TEXT, b"", 18051608080690800806), (TEXT, b"a", 17047028206024085342),
    (TEXT, b"hello", 2670230039693765524), (TEXT, b"exactly12byt", 13277053196456704450),
    (TEXT, "tenant-0001-éü".encode(), 1904694085988689478), (BPCHAR, b"hello   ", 2670230039693765524),
    (UUID, b"018f4b8e-37f0-7cc4-b5f2-0f62d09ca662", 17516846039476342819)])
def test_vectors(oid: int, value: bytes, expected: int) -> None:
    assert hash_of(oid, value) == expected


@pytest.mark.parametrize(("oid", "forms"), [
    (INT8, (b"300", (b"300", 0), (b"\0\0\1\x2c", 1), (b"\1\x2c", 1))),
    (BOOL, (b"t", b"TRUE", b" y ", b"on", b"1", (b"\1", 1))), (BOOL, (b"f", b"no", b"of", (b"\0", 1))),
    (BYTEA, (b"\\x610a5c", b"a\\012\\\\", (b"a\n\\", 1))),
    (UUID, (b"{018F4B8E37F07CC4B5F20F62D09CA662}", b"018f4b8e-37f0-7cc4-b5f2-0f62d09ca662")),
    (NUMERIC, (b"12000.5", b"+012000.500", b"1.20005e4", b"120005E-1",
               (b"\0\3\0\1\0\0\0\3" + b"\0\1" + (2000).to_bytes(2, "big") + (5000).to_bytes(2, "big"), 1))),
    (NUMERIC, (b"0", b"-0.00", b".0", (b"\0\0\0\0\0\0\0\2", 1))),
    (DATE, (b"2000-03-01", (b"\0\0\0\x3c", 1))), (DATE, (b"infinity", (b"\x7f\xff\xff\xff", 1))),
    (TIMESTAMP, (b"2000-01-01 00:00:01", b"2000-01-01T00:00:01.000000", ((1_000_000).to_bytes(8, "big"), 1))),
    (TIMESTAMPTZ, (b"2000-01-01 05:30:01+05:30", b"2000-01-01 00:00:01Z", b"1999-12-31 23:00:01-01"))])
def test_forms_of_one_value(oid: int, forms: tuple[Key, ...]) -> None:
    found = {hash_of(oid, form) for form in forms}
    assert len(found) == 1 and None not in found


@pytest.mark.parametrize(("oid", "value"), [
    (INT4, b"2147483648"), (INT2, (b"\0\0\1\0\0\0\0\0", 1)), (INT8, b"0x10"), (INT8, b"1_000"), (INT8, b""),
    (INT8, (b"\1", 1)), (BOOL, b"o"), (BOOL, b""), (BOOL, (b"\2", 1)), (TEXT, b"a\0b"), (BYTEA, b"\\x6"),
    (BYTEA, b"\\9"), (UUID, b"018f4b8e"), (UUID, (b"short", 1)), (NUMERIC, b"1e9999"), (NUMERIC, b"1.2.3"),
    (NUMERIC, b"0x1"), (NUMERIC, (b"\0\1\0\0\0\0\0\0\xff\xff", 1)), (DATE, b"01/02/2020"), (DATE, b"20-01-01"),
    (DATE, b"2021-02-29"), (DATE, b"today"), (DATE, b"5874898-01-01"), (TIMESTAMP, b"2020-01-01 00:00:00+01"),
    (TIMESTAMP, b"now"), (TIMESTAMP, b"2020-01-01 24:00:00"), (TIMESTAMPTZ, b"2020-01-01 00:00:00"),
    (TIMESTAMPTZ, b"2020-01-01 00:00:00 Europe/Berlin"), (114, b"{}"), (701, b"1.5")])
def test_what_is_not_certain_has_no_hash(oid: int, value: Key) -> None:
    assert hash_of(oid, value) is None


def test_nulls_do_not_count() -> None:
    one = POSTGRES.partition_hash((INT8,), (b"7",))
    assert POSTGRES.partition_hash((TEXT, INT8, UUID), (None, b"7", None)) == one
    assert POSTGRES.partition_hash((TEXT, INT8), (None, None)) == 0
    assert POSTGRES.partition_hash((INT8, TEXT), (b"7", b"")) not in (one, None)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-10**12, max_value=10**12),
       st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-10**6, max_value=10**6))
def test_numerics_compare_as_numbers(one: object, other: object) -> None:
    first, second = (POSTGRES.key_value(NUMERIC, str(value).encode()) for value in (one, other))
    assert (first < second) == (one < other) and (first == second) == (one == other)  # type: ignore[operator]
    assert POSTGRES.key_value(NUMERIC, b"-infinity") < first < POSTGRES.key_value(NUMERIC, b"infinity")
    assert POSTGRES.key_value(NUMERIC, b"infinity") < POSTGRES.key_value(NUMERIC, b"NaN")
