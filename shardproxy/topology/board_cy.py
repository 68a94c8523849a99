# cython: annotation_typing=False
"""The consistency board: 64-bit words in memory shared by the parent and all workers.

What it answers, without a system call: "may this read go to that replica?"

Times are ``time.monotonic_ns()``, one clock for all processes of a host. For each database, slot 0 holds the
last write to unknown tables, slot 1 the last write of any kind, slots 2..1023 the last write to the tables
that hash to them. For each server, ``fresh_as_of`` is a moment: what was acknowledged before it is visible
there.

Why plain loads and stores are enough. Aligned 64-bit words do not tear. Every word has one writer: a process
that attaches claims a *column* for as long as it lives (a lock on the file, which the kernel drops with the
process) and stores only into cells of its column; a reader takes the maximum over the columns. So there is no
read-modify-write between processes, and no update can be lost. (With one cell for all, a writer stopped
between its load and its store would put an older time over a newer one, and a stale replica would pass for
fresh.) A mark in one's own cell only rises, so two marks in any order leave the later. Words of servers are
written by the monitor alone.

Why a stale value is safe. A mark is stored before the client gets its ReadyForQuery, and what a client does
next reaches any worker through the kernel, which orders memory: every read that could know of the write sees
its mark. A reader that sees an older ``fresh_as_of`` keeps a read on the primary, no more.

Rule for callers: take ``now_ns`` after the bytes with the server's answer were received, not at the start of
a loop turn: a position sampled between the two could miss the commit. 0 means "read the clock now".

Types of the compiled form are in ``board_cy.pxd``.
"""

import fcntl
import mmap
import os
import struct
import time

import cython

__all__ = ["ANY_TABLE", "DATABASES_MAX", "SERVERS_MAX", "SLOTS", "UNKNOWN_TABLE", "Board", "slot_of"]

SLOTS = 1024
DATABASES_MAX = 64
SERVERS_MAX = 256
UNKNOWN_TABLE = 0
ANY_TABLE = 1

_COLUMNS = 64
_MAGIC = 0x5348415244425244
_HEADER_WORDS = 512
_SERVER_WORDS = 16
_DATABASE_ROWS = 2 * SLOTS + 8
_DATABASE_WORDS = _DATABASE_ROWS * _COLUMNS
_FIRST_DATABASE = _HEADER_WORDS + SERVERS_MAX * _SERVER_WORDS
_WORDS = _FIRST_DATABASE + DATABASES_MAX * _DATABASE_WORDS

_CLIENTS = 64  # in the header: one word for each column

_CATALOG = 2 * SLOTS * _COLUMNS
_BUSY = SLOTS * _COLUMNS

_FRESH, _LSN, _TIMELINE, _LAG_BYTES, _LAG_MS, _LATENCY_US = range(6)


def slot_of(table: int) -> int:
    """The slot of a table, by the identifier (oid) of its root."""
    return 2 + (table * 0x9E3779B1 & 0xFFFFFFFF) % (SLOTS - 2)


def _lock(fd: int, column: int, wait: bool) -> bool:
    """Lock byte ``column`` for this open file; False when another holds it (and ``wait`` is not set)."""
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, column, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(fd: int, column: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, column, 1, 0))


class Board:
    """One process's view of the board. ``create`` in the parent, ``attach(fd)`` in a worker."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._map = mmap.mmap(fd, _WORDS * 8)
        self._view = memoryview(self._map).cast("q")
        self._point()
        # A new open file description: its locks are this process's own, whoever else inherited ``fd``.
        self._lock_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        self._column = self._claim()

    @classmethod
    def create(cls) -> "Board":
        """A new, empty board. Hand ``fd`` to the workers."""
        fd = os.memfd_create("shardproxy-board")
        os.ftruncate(fd, _WORDS * 8)
        os.pwrite(fd, struct.pack("q", _MAGIC), 0)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> "Board":
        """The board behind an inherited descriptor."""
        if os.fstat(fd).st_size != _WORDS * 8 or os.pread(fd, 8, 0) != struct.pack("q", _MAGIC):
            raise ValueError(f"descriptor {fd} is not a consistency board of this version")
        return cls(fd)

    @property
    def fd(self) -> int:
        """The descriptor to be inherited by a worker (``pass_fds``)."""
        return self._fd

    def close(self) -> None:
        """Give back the column (a process that ends does so by itself); mark nothing afterwards."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _point(self) -> None:
        """The words are a C pointer when compiled and a memoryview when not; both are indexed alike."""
        if cython.compiled:
            typed = self._view
            self._words = cython.address(typed[0])
        else:
            self._words = self._view

    def _claim(self) -> int:
        """Take the first free column. The count of columns ever used (word 1) is raised under a lock."""
        guard = _COLUMNS
        _lock(self._lock_fd, guard, True)
        try:
            for column in range(_COLUMNS):
                if _lock(self._lock_fd, column, False):
                    self._adopt(column)
                    return column
        finally:
            _unlock(self._lock_fd, guard)
        raise RuntimeError(f"more than {_COLUMNS} processes share one consistency board")

    def _adopt(self, column: int) -> None:
        """Make a column ours. What its dead owner had in flight may be committed: as if written now."""
        words = self._words
        used = words[1]
        now = time.monotonic_ns()
        words[_CLIENTS + column] = 0
        if column >= used:
            words[1] = column + 1
            return
        for database in range(DATABASES_MAX):
            base = _FIRST_DATABASE + database * _DATABASE_WORDS + column
            if words[base + ANY_TABLE * _COLUMNS] == 0 and words[base + _BUSY + ANY_TABLE * _COLUMNS] == 0:
                continue
            words[base + UNKNOWN_TABLE * _COLUMNS] = now
            words[base + ANY_TABLE * _COLUMNS] = now
            words[base + _CATALOG] += 1
            for slot in range(SLOTS):
                words[base + _BUSY + slot * _COLUMNS] = 0

    # ------------------------------------------------------------------------------------------ writes

    def mark_write(self, database: int, slots: tuple[int, ...], now_ns: int) -> None:
        """Something was, or may have been, committed to these tables. Before the client is told."""
        words = self._words
        if now_ns == 0:
            now_ns = time.monotonic_ns()
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + self._column
        for slot in slots or (UNKNOWN_TABLE,):
            cell = base + slot * _COLUMNS
            if words[cell] < now_ns:
                words[cell] = now_ns
        cell = base + ANY_TABLE * _COLUMNS
        if words[cell] < now_ns:
            words[cell] = now_ns

    def begin_write(self, database: int, slots: tuple[int, ...]) -> None:
        """A write to these tables is about to be sent. Pairs with ``end_write``; see ``settled``."""
        words = self._words
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + _BUSY + self._column
        words[base + ANY_TABLE * _COLUMNS] += 1
        for slot in slots or (UNKNOWN_TABLE,):
            if slot != ANY_TABLE:
                words[base + slot * _COLUMNS] += 1

    def end_write(self, database: int, slots: tuple[int, ...], now_ns: int) -> None:
        """The write begun with the same slots has ended, well or not or unknown: mark, then count it off."""
        self.mark_write(database, slots, now_ns)
        words = self._words
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + _BUSY + self._column
        for slot in slots or (UNKNOWN_TABLE,):
            if slot != ANY_TABLE:
                words[base + slot * _COLUMNS] -= 1
        words[base + ANY_TABLE * _COLUMNS] -= 1

    # ------------------------------------------------------------------------------------------ questions

    def last_write(self, database: int, slot: int) -> int:
        """When something was last written to ``slot``, by any process. 0: never."""
        words = self._words
        newest: int = 0
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + slot * _COLUMNS
        for column in range(words[1]):
            if words[base + column] > newest:
                newest = words[base + column]
        return newest

    def may_read(self, server: int, database: int, slots: tuple[int, ...]) -> bool:
        """Whether all acknowledged writes to these tables are visible there. No slots: unknown tables."""
        fresh: int = self._words[_HEADER_WORDS + server * _SERVER_WORDS + _FRESH]
        if fresh == 0:
            return False
        if not slots:
            return fresh > self.last_write(database, ANY_TABLE)
        if fresh <= self.last_write(database, UNKNOWN_TABLE):
            return False
        for slot in slots:
            if fresh <= self.last_write(database, slot):
                return False
        return True

    def may_read_after(self, server: int, after_ns: int) -> bool:
        """Whether all that was visible on the primary at ``after_ns`` is visible there (0: always)."""
        fresh: int = self._words[_HEADER_WORDS + server * _SERVER_WORDS + _FRESH]
        return after_ns == 0 or fresh > after_ns

    def settled(self, database: int, slots: tuple[int, ...]) -> bool:
        """Whether no write to these (or unknown) tables is in flight, among those told by ``begin_write``.

        A commit becomes visible a moment before it is acknowledged. When nothing is in flight, ``may_read``
        alone proves that no session can have seen more elsewhere. Ask this *before* ``may_read``: a write that
        ends between the two is then seen as in flight or as marked. ``current`` does.
        """
        words = self._words
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + _BUSY
        for column in range(words[1]):
            if words[base + ANY_TABLE * _COLUMNS + column] == 0:
                continue
            if not slots or words[base + UNKNOWN_TABLE * _COLUMNS + column] != 0:
                return False
            for slot in slots:
                if words[base + slot * _COLUMNS + column] != 0:
                    return False
        return True

    def current(self, server: int, database: int, slots: tuple[int, ...]) -> bool:
        """Whether the server shows all of these tables that anyone can have seen: any session may move there."""
        return self.settled(database, slots) and self.may_read(server, database, slots)

    # ------------------------------------------------------------------------------------------ catalog

    def catalog_epoch(self, database: int) -> int:
        """Changes of the catalog so far. Facts read *after* taking it are current while it stays the same."""
        base = _FIRST_DATABASE + database * _DATABASE_WORDS + _CATALOG
        return sum(self._view[base:base + self._words[1]])

    def bump_catalog(self, database: int) -> None:
        """The catalog changed (DDL): before the client is told."""
        self._words[_FIRST_DATABASE + database * _DATABASE_WORDS + _CATALOG + self._column] += 1

    # ------------------------------------------------------------------------------------------ clients

    def set_clients(self, count: int) -> None:
        """How many clients this process has. Told before it is asked whether they are too many."""
        self._words[_CLIENTS + self._column] = count

    def clients(self) -> int:
        """How many clients all processes have together. Two that come at once at a limit both see themselves."""
        return sum(self._view[_CLIENTS:_CLIENTS + self._words[1]])

    def forget_dead(self) -> None:
        """The parent, when a worker has died: its clients are gone, too."""
        guard = _COLUMNS
        _lock(self._lock_fd, guard, True)
        try:
            for column in range(self._words[1]):
                if column != self._column and _lock(self._lock_fd, column, False):
                    self._words[_CLIENTS + column] = 0
                    _unlock(self._lock_fd, column)
        finally:
            _unlock(self._lock_fd, guard)

    # ------------------------------------------------------------------------------------------ servers

    def set_fresh(self, server: int, fresh_as_of_ns: int) -> None:
        """Monitor only: all acknowledged before this moment is visible there. 0: nothing is known."""
        self._words[_HEADER_WORDS + server * _SERVER_WORDS + _FRESH] = fresh_as_of_ns

    def fresh_as_of(self, server: int) -> int:
        """See ``set_fresh``."""
        return int(self._words[_HEADER_WORDS + server * _SERVER_WORDS + _FRESH])

    def set_figures(self, server: int, position: int, timeline: int, lag_bytes: int, lag_ms: int,
                    latency_us: int) -> None:
        """Monitor only: what is known about a server."""
        base = _HEADER_WORDS + server * _SERVER_WORDS
        self._words[base + _LSN] = position
        self._words[base + _TIMELINE] = timeline
        self._words[base + _LAG_BYTES] = lag_bytes
        self._words[base + _LAG_MS] = lag_ms
        self._words[base + _LATENCY_US] = latency_us

    def figures(self, server: int) -> dict[str, int]:
        """What ``set_figures`` told, by name."""
        base = _HEADER_WORDS + server * _SERVER_WORDS
        names = ("position", "timeline", "lag_bytes", "lag_ms", "latency_us")
        return dict(zip(names, self._view[base + _LSN:base + _LATENCY_US + 1], strict=True))

    def lag_ms(self, server: int) -> int:
        """How far behind the primary a replica is, in time. -1: not known."""
        return int(self._words[_HEADER_WORDS + server * _SERVER_WORDS + _LAG_MS])

    def latency_us(self, server: int) -> int:
        """Moving average of a round trip to the server."""
        return int(self._words[_HEADER_WORDS + server * _SERVER_WORDS + _LATENCY_US])

    def clear_server(self, server: int) -> None:
        """Monitor only: forget a server, so that its index can be given to another."""
        for word in range(_SERVER_WORDS):
            self._words[_HEADER_WORDS + server * _SERVER_WORDS + word] = 0
