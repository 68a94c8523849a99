"""Merging of rows: order, ties, limits, hidden columns, whatever the chunks; and rows for COPY."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.dialects.postgres.sharded.merge_cy import Merger, count_rows, lines, tuples
from shardproxy.dialects.postgres.wire import parse_data_row, split

Row = tuple[int | None, str, int]
ROWS = st.lists(st.tuples(st.none() | st.integers(-5, 5), st.text("ab", max_size=3),
                          st.integers(-2**31, 2**31 - 1)), max_size=30)


def message(cells: Sequence[bytes | None]) -> bytes:
    body = struct.pack("!H", len(cells)) + b"".join(
        b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell for cell in cells)
    return b"D" + struct.pack("!I", len(body) + 4) + body


def cells_of(row: Row) -> list[bytes | None]:
    number, text, serial = row
    return [None if number is None else str(number).encode(), text.encode(), struct.pack("!i", serial)]


def key(row: Row) -> tuple[bool, int, list[int]]:
    """NULLs first, then falling, then by text falling."""
    number, text, _ = row
    return number is not None, -(number or 0), [-ord(char) for char in text] + [1]


def merged(runs: Sequence[Sequence[Row]], size: int, chunk: int, hidden: int = 0, skip: int = 0, left: int = -1,
           ) -> list[list[bytes | None]]:
    merger = Merger(len(runs), [(0, 23, 0, True, True), (1, 25, 0, True, False)], hidden, skip, left)
    at = [0] * len(runs)
    found = b""
    while not merger.done:
        for index in merger.waiting():
            part = runs[index][at[index]:at[index] + chunk]
            at[index] += chunk
            merger.feed(index, b"".join(message(cells_of(row)) for row in part))
        found += merger.take(size)
    rows = [parse_data_row(payload) for _, payload in split(found)[0]]
    assert merger.rows == len(rows)
    return rows


@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 500), st.integers(1, 7), st.integers(0, 1),
       st.integers(0, 5), st.integers(-1, 40))
def test_merging_is_sorting(runs: list[list[Row]], size: int, chunk: int, hidden: int, skip: int, left: int) -> None:
    ordered = [sorted(run, key=key) for run in runs]
    wanted = sorted((row for run in ordered for row in run), key=key)[skip:]
    if left >= 0:
        wanted = wanted[:left]
    assert merged(ordered, size, chunk, hidden, skip, left) == [cells_of(row)[:3 - hidden] for row in wanted]


def test_a_limit_of_rows_at_a_time() -> None:
    merger = Merger(1)
    merger.feed(0, b"".join(message([str(i).encode()]) for i in range(10)))
    parts = [count_rows(merger.take(1 << 20, 4)) for _ in range(3)]
    assert parts == [4, 4, 2]
    assert merger.waiting() == [0]
    merger.feed(0, b"")
    assert merger.done


@pytest.mark.parametrize("data", [
    b"D\0\0\0\4", b"C\0\0\0\6\0\0", message([b"1"])[:-1], b"D\0\0\0\x0a\0\1\0\0\0\5", message([]),
    b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe", message([b"1"]) + b"D\0\0"])
def test_what_is_no_row_is_an_error(data: bytes) -> None:
    merger = Merger(1, [(0, 23, 0, False, False)])
    with pytest.raises(ValueError):
        merger.feed(0, data)
        merger.take(1 << 20)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        Merger(2, [(0, 114, 0, False, False)])


def test_rows_for_copy() -> None:
    rows = message([b"a\tb\\c\nd\re", None, b""]) + message([b"x", b"y", b"z"])
    assert lines(rows) == b"a\\tb\\\\c\\nd\\re\t\\N\t\nx\ty\tz\n"
    assert tuples(rows) == b"".join(payload for _, payload in split(rows)[0])
    assert count_rows(rows) == 2
