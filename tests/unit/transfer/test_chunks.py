"""Which change comes after which snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardproxy import dialects
from shardproxy.tools.transfer.chunks import (
    NEVER,
    Chunk,
    ChunkMap,
    Snapshot,
    lsn_text,
    position_of,
    range_sql,
)
from shardproxy.tools.transfer.tables import MovedTable

READ = dialects.get("postgres").key_value
SEES = Snapshot.parse("100:110:100,105")


def table(types: tuple[str, ...] = ("integer",), oids: tuple[int, ...] = (23,)) -> MovedTable:
    names = tuple(f"k{number}" for number in range(len(types)))
    return MovedTable(("public", "t"), ("public", "t"), (*names, "v"), (*types, "text"), (*oids, 25), names, (),
                      "r", "d", True)


def test_snapshots() -> None:
    assert [xid for xid in range(98, 113) if SEES.sees(xid)] == [98, 99, 101, 102, 103, 104, 106, 107, 108, 109]
    assert Snapshot.parse("5:5:").running == frozenset()


def test_ids_of_32_bits_near_a_turn() -> None:
    later = Snapshot.parse(f"{(3 << 32) - 5}:{(3 << 32) + 2}:{(3 << 32) - 2}")
    assert later.sees((1 << 32) - 10)
    assert not later.sees((1 << 32) - 2)
    assert later.sees(1)
    assert not later.sees(2)


def test_a_transaction_in_the_log_that_a_snapshot_does_not_see() -> None:
    """Its commit lies before the position of the chunk, and yet it comes after it."""
    found = ChunkMap(table(), [Chunk(None, None, 1000, SEES)], READ)
    assert found.applies((b"1",), 105, 900) is True
    assert found.applies((b"1",), 104, 900) is False
    assert found.applies((b"1",), 104, 1001) is True
    assert found.complete_above == 1000


def test_chunks_that_are_not_copied() -> None:
    found = ChunkMap(table(), [Chunk(None, ("10",), 1000, SEES), Chunk(("10",), None)], READ)
    assert found.complete_above == NEVER
    assert found.applies((b"9",), 200, 1001) is True
    assert found.applies((b"10",), 200, 1001) is None
    assert found.applies((b"-3",), 101, 1000) is False
    assert ChunkMap(table(), [], READ).applies((b"9",), 1, 1) is None


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), unique=True, max_size=8), st.integers(-60, 60),
       st.integers(-60, 60))
def test_every_key_is_in_one_chunk(bounds: list[tuple[int, int]], one: int, two: int) -> None:
    lows = [tuple(map(str, bound)) for bound in sorted(bounds)]
    chunks = [Chunk(low, high) for low, high in zip([None, *lows], [*lows, None], strict=True)]
    found = ChunkMap(table(("integer", "bigint"), (23, 20)), sorted(chunks, key=lambda chunk: chunk.low_text), READ)
    chunk = found.chunk_of((str(one).encode(), str(two).encode()))
    assert chunk.low is None or tuple(map(int, chunk.low)) <= (one, two)
    assert chunk.high is None or (one, two) < tuple(map(int, chunk.high))


@given(st.integers(0, (1 << 64) - 1))
def test_positions(lsn: int) -> None:
    assert position_of(lsn_text(lsn)) == lsn


def test_conditions() -> None:
    assert range_sql(table(), Chunk(None, None)) == "true"
    assert range_sql(table(("text", "int"), (25, 23)), Chunk(("it's \\", "1"), ("z", "2"))) == (
        "(\"k0\", \"k1\") >= (E'it''s \\\\'::text, E'1'::int) and (\"k0\", \"k1\") < (E'z'::text, E'2'::int)")
