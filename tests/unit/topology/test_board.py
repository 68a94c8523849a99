"""The board: what one process marks, the others see; nothing is lost, whoever writes at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.topology.board_cy import ANY_TABLE, SLOTS, UNKNOWN_TABLE, Board, slot_of

ROOT = Path(__file__).resolve().parents[3]
MARKER = """
import sys, time
from shardproxy.topology.board_cy import Board
board = Board.attach(int(sys.argv[1]))
for number in range(20000):
    board.mark_write(3, (5, 9), time.monotonic_ns())
    board.bump_catalog(3)
mark = time.monotonic_ns()
board.mark_write(3, (5,), mark)
board.begin_write(4, (7,))
print(mark, flush=True)
sys.stdin.readline()
"""


def process(board: Board, script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(board.fd)], pass_fds=[board.fd], cwd=ROOT, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_no_mark_is_lost_between_processes() -> None:
    board = Board.create()
    others = [process(board, MARKER) for _ in range(2)]
    marks = []
    for other in others:
        assert other.stdout is not None
        marks.append(int(other.stdout.readline()))
    assert board.last_write(3, 5) == max(marks)
    assert board.last_write(3, ANY_TABLE) == max(marks)
    assert 0 < board.last_write(3, 9) < max(marks)
    assert board.last_write(3, UNKNOWN_TABLE) == 0
    assert board.catalog_epoch(3) == 40000
    assert not board.settled(4, (7,))
    for other in others:
        other.communicate("\n", timeout=10)
    died = time.monotonic_ns()
    replacement = Board.attach(board.fd)    # takes the place of a dead one, and what that had begun may be committed
    second = Board.attach(board.fd)
    assert board.settled(4, (7,))
    assert board.last_write(4, UNKNOWN_TABLE) > died
    assert board.catalog_epoch(3) > 40000
    replacement.close()
    second.close()
    board.close()


def test_a_read_is_allowed_only_after_all_its_writes() -> None:
    board = Board.create()
    board.mark_write(1, (10, 20), 500)
    board.set_fresh(2, 500)
    assert not board.may_read(2, 1, (10,))
    assert not board.may_read(2, 1, (10, 30))
    assert board.may_read(2, 1, (30,))
    assert not board.may_read(2, 1, ())             # unknown tables: any write counts
    board.set_fresh(2, 501)
    assert board.may_read(2, 1, (10, 20))
    assert board.may_read(2, 1, ())
    board.mark_write(1, (), 600)                    # a write to unknown tables holds up every read
    assert not board.may_read(2, 1, (30,))
    board.set_fresh(2, 601)
    assert board.may_read(2, 1, (30,))
    assert board.may_read(2, 0, (10,))              # of another database
    board.set_fresh(2, 0)
    assert not board.may_read(2, 0, (10,))          # nothing is known of the server
    assert not board.may_read(9, 0, ())


def test_marks_only_rise() -> None:
    board = Board.create()
    board.mark_write(0, (7,), 900)
    board.mark_write(0, (7,), 800)
    assert board.last_write(0, 7) == 900
    before = time.monotonic_ns()
    board.mark_write(0, (7,), 0)
    assert board.last_write(0, 7) >= before


def test_sessions_move_only_forward() -> None:
    board = Board.create()
    assert board.may_read_after(5, 0)
    assert not board.may_read_after(5, 1)
    board.set_fresh(5, 100)
    assert board.may_read_after(5, 99)
    assert not board.may_read_after(5, 100)


def test_writes_in_flight() -> None:
    board, other = Board.create(), None
    other = Board.attach(board.fd)
    assert board.settled(0, (4,))
    assert board.settled(0, ())
    other.begin_write(0, (4, 6))
    assert not board.settled(0, (4,))
    assert not board.settled(0, (1, 6))
    board.set_fresh(3, 50)
    assert board.may_read(3, 0, (4,))
    assert not board.current(3, 0, (4,))
    assert board.current(3, 0, (5,))
    assert not board.settled(0, ())
    assert board.settled(0, (5,))
    other.end_write(0, (4, 6), 77)
    assert board.settled(0, (4,))
    assert board.last_write(0, 6) == 77
    assert not board.current(3, 0, (4,))
    board.set_fresh(3, 78)
    assert board.current(3, 0, (4,))
    other.begin_write(0, ())
    assert not board.settled(0, (5,))
    other.end_write(0, (), 78)
    assert board.settled(0, (5,))


def test_figures() -> None:
    board = Board.create()
    board.set_figures(255, 1 << 62, 3, 4096, -1, 250)
    assert board.figures(255) == {"position": 1 << 62, "timeline": 3, "lag_bytes": 4096, "lag_ms": -1,
                                  "latency_us": 250}
    assert (board.lag_ms(255), board.latency_us(255)) == (-1, 250)
    board.clear_server(255)
    assert board.figures(255)["position"] == 0
    board.set_fresh(255, 5)
    assert board.fresh_as_of(255) == 5


def test_columns_run_out_with_an_error() -> None:
    board = Board.create()
    others = [Board.attach(board.fd) for _ in range(63)]
    with pytest.raises(RuntimeError, match="more than 64"):
        Board.attach(board.fd)
    others[5].close()
    Board.attach(board.fd)


def test_only_a_board_is_attached_to() -> None:
    fd = os.memfd_create("other")
    try:
        with pytest.raises(ValueError, match="not a consistency board"):
            Board.attach(fd)
    finally:
        os.close(fd)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_tables_have_slots_of_their_own_kind(oid: int) -> None:
    assert ANY_TABLE < slot_of(oid) < SLOTS


def test_slots_spread_neighbouring_tables() -> None:
    assert len({slot_of(oid) for oid in range(16384, 16384 + 500)}) > 400
