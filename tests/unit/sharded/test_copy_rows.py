"""COPY data is cut into rows and keys, whatever the pieces it comes in."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from shardproxy.dialects.postgres.sharded.copy_rows_cy import BinaryCutter, RowCutter


def cut(cutter: Any, data: bytes, size: int) -> tuple[list[bytes], list[Any]]:
    rows: list[bytes] = []
    keys: list[Any] = []
    for at in range(0, len(data), size):
        more, found = cutter.feed(data[at:at + size])
        rows += more
        keys += found
    more, found = cutter.feed(b"", True)
    return rows + more, keys + found


def record(*cells: bytes | None) -> bytes:
    return struct.pack("!H", len(cells)) + b"".join(
        b"\xff\xff\xff\xff" if cell is None else struct.pack("!I", len(cell)) + cell for cell in cells)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_text(size: int) -> None:
    data = b"1\ta\tx\n2\tb\\\nc\ty\n\\N\tq\\tz\nshort\n\n\\.\n5\t6\n"
    rows, keys = cut(RowCutter(False, 9, 34, 34, [1]), data, size)
    assert rows == [b"1\ta\tx\n", b"2\tb\\\nc\ty\n", b"\\N\tq\\tz\n", b"short\n", b"\n"]
    assert keys == [b"a", b"b\\\nc", b"q\\tz", None, None]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_csv(size: int, end: bytes) -> None:
    first, second, third = b'1,"a\n,""",x', b'2,b,"y"""', b"9,8,7"
    rows, keys = cut(RowCutter(True, 44, 34, 34, [2, 0]), first + end + second + end + third, size)
    assert rows == [first + end, second + end, third]
    assert keys == [(b"1", b"x"), (b"2", b'"y"""'), (b"9", b"7")]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_csv_with_an_escape_of_its_own(size: int) -> None:
    rows, keys = cut(RowCutter(True, 44, 39, 92, [1]), b"1,'a\\'\n,\\\\',x\n2,b\n", size)
    assert rows == [b"1,'a\\'\n,\\\\',x\n", b"2,b\n"]
    assert keys == [b"'a\\'\n,\\\\'", b"b"]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_binary(size: int) -> None:
    header = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    data = header + record(b"a", None, b"") + record(b"bb", b"c", b"d") + b"\xff\xff"
    cutter = BinaryCutter([1, 0])
    rows, keys = cut(cutter, data, size)
    assert rows == [record(b"a", None, b""), record(b"bb", b"c", b"d")]
    assert keys == [(None, b"a"), (b"c", b"bb")]
    assert cutter.header == header
    assert cutter.ended
