# cython: annotation_typing=False
"""Rows of several servers become one stream: k-way merge, offset, limit, hidden columns; and rows for COPY.

Rows are whole DataRow messages, many in one ``bytes``; nothing of a row is decoded but what is compared.

Invariants:
* Memory is one chunk a run and what ``take`` gives: whoever feeds decides how much that is.
* Rows that compare equal come in the order of the runs, those of one run in the order in which they came.
* Nothing is read past a chunk, whatever it holds; a row that is not one is a ``ValueError``.
"""

import cython

from shardproxy.dialects.postgres.sharded.keys_cy import kind_of

if cython.compiled:
    from cython.cimports.libc.stdlib import free, malloc
    from cython.cimports.shardproxy.dialects.postgres.sharded.keys_cy import Key
    from cython.cimports.shardproxy.relay.buffer_cy import append, be16, be32
else:
    from shardproxy.dialects.postgres.sharded.keys_cy import Key
    from shardproxy.relay.buffer_cy import append, be16, be32

__all__ = ["Merger", "count_rows", "lines", "tuples"]

DATA_ROW = 0x44
SORTS_MAX = 64
_SORTS_MAX = SORTS_MAX


class Run:
    """One server's rows: the chunk ``data``, the next row at ``at`` and its ``key``; ``cut``: its visible end."""

    def __init__(self, index):
        self.index = index
        self.data = b""
        self.n = self.at = self.row_end = self.cut = 0
        self.columns = 0
        self.ended = False
        self.key = Key()


class Merger:
    """Merge ``runs`` streams.

    ``sort``: (column, type OID, format, descending, nulls first) of each key; none: one run after the other.
    ``hidden``: columns at the end that are cut off. ``skip``, ``left``: rows of OFFSET and LIMIT to go (-1: no limit).
    ``rows``: how many were given. Feed every run in ``waiting()``, or say that it has ended, and ``take``.
    """

    def __init__(self, runs, sort=(), hidden=0, skip=0, left=-1):
        if len(sort) > _SORTS_MAX:
            raise ValueError(f"more than {_SORTS_MAX} sort columns")
        self.runs = [Run(index) for index in range(runs)]
        self.order = []
        self.starved = runs
        self.sorts = len(sort)
        self.deepest = max([column for column, _, _, _, _ in sort], default=-1)
        if cython.compiled:
            self.starts = cython.cast("Py_ssize_t*", malloc(16 * (self.deepest + 1) + 16))
            if self.starts == cython.NULL:
                raise MemoryError
            self.ends = self.starts + self.deepest + 1
        else:
            self.starts, self.ends = [0] * (self.deepest + 1), [0] * (self.deepest + 1)
            self.columns, self.kinds = [0] * self.sorts, [0] * self.sorts
            self.descending, self.nulls_first = [False] * self.sorts, [False] * self.sorts
        for i, (column, type_oid, form, descending, nulls_first) in enumerate(sort):
            kind = kind_of(type_oid, form)
            if kind == 0:
                raise ValueError(f"values of type {type_oid} cannot be compared here")
            self.columns[i], self.kinds[i] = column, kind
            self.descending[i], self.nulls_first[i] = descending, nulls_first
        self.hidden, self.skip, self.left, self.rows = hidden, skip, left, 0
        self.out = bytearray()

    def __dealloc__(self):
        if cython.compiled:
            free(self.starts)

    @property
    def done(self) -> bool:
        """Whether no more rows can come."""
        return self.left == 0 or (not self.order and self.starved == 0)

    def waiting(self):
        """The runs whose next chunk is needed before another row is certain."""
        found = []
        for run in self.runs:
            if run.at >= run.n and not run.ended:
                found.append(run.index)     # no comprehension: fields of a Run are C's
        return found

    def feed(self, index, data):
        """The next chunk of a run that is waiting; empty: the run has ended."""
        run = self.runs[index]
        if run.at < run.n or run.ended:
            raise ValueError("this run is not waiting")
        run.data = data
        run.at = 0
        run.n = len(data)
        run.ended = run.n == 0
        run.p = run.data
        self.starved -= 1
        if not run.ended:
            self.load(run)
            self.place(run, 0)

    def load(self, run):
        """Look at the row at ``run.at``."""
        if run.n - run.at < 7 or run.p[run.at] != DATA_ROW:
            raise ValueError("not a row")
        size = be32(run.p, run.at + 1)
        if size < 6 or size > run.n - run.at - 1:
            raise ValueError("not a row")
        run.row_end = run.at + 1 + size
        run.columns = be16(run.p, run.at + 5)
        run.cut = run.row_end
        if self.sorts == 0 and self.hidden == 0:
            return 0
        if run.columns <= self.deepest or run.columns < self.hidden:
            raise ValueError("a row with too few columns")
        pos = run.at + 7
        for i in range(run.columns):
            if i == run.columns - self.hidden:
                run.cut = pos
            if pos + 4 > run.row_end:
                raise ValueError("not a row")
            length = be32(run.p, pos)
            pos += 4
            if length == 0xFFFFFFFF:
                length = -1
            elif length > run.row_end - pos:
                raise ValueError("not a row")
            if i <= self.deepest:
                self.starts[i] = pos
                self.ends[i] = pos + length
            elif self.hidden == 0:
                break
            if length > 0:
                pos += length
        return self.make_key(run)

    def make_key(self, run):
        key = run.key
        key.size = 0
        for i in range(self.sorts):
            if self.ends[self.columns[i]] < self.starts[self.columns[i]]:
                key.null(self.nulls_first[i])
            else:
                key.add(self.kinds[i], run.p, self.starts[self.columns[i]], self.ends[self.columns[i]],
                        self.descending[i])
        return 0

    def place(self, run, low):
        """Put a run where its next row belongs; it is behind all before ``low``."""
        high = len(self.order)
        while low < high:
            middle = (low + high) // 2
            other = self.order[middle]
            order = other.key.compare(run.key)
            if order < 0 or (order == 0 and other.index < run.index):
                low = middle + 1
            else:
                high = middle
        self.order.insert(low, run)
        return 0

    def take(self, size, rows=-1):
        """Rows that are certain: at most ``rows`` (-1: any number), no more when ``size`` bytes have been passed.

        Empty: feed what is ``waiting()``, or it is ``done``.
        """
        self.out = bytearray()
        taken = self.rows
        while self.left != 0 and len(self.out) < size and (rows < 0 or self.rows - taken < rows):
            if not self.order or self.starved > 0:
                break
            run = self.order[0]
            # As long as this run's row is the least, nothing moves.
            while True:
                if self.skip > 0:
                    self.skip -= 1
                else:
                    self.emit(run)
                run.at = run.row_end
                if run.at >= run.n:
                    self.order.pop(0)
                    self.starved += 1
                    break
                self.load(run)
                if len(self.order) > 1:
                    other = self.order[1]
                    order = other.key.compare(run.key)
                    if order < 0 or (order == 0 and other.index < run.index):
                        self.order.pop(0)
                        self.place(run, 1)
                        break
                if self.left == 0 or len(self.out) >= size or (rows >= 0 and self.rows - taken >= rows):
                    break
        return bytes(self.out)

    def emit(self, run):
        self.rows += 1
        if self.left > 0:
            self.left -= 1
        if self.hidden == 0:
            return append(self.out, run.p, run.at, run.row_end)
        size = run.cut - run.at - 1
        if cython.compiled:
            head[0] = 0x44
            for i in range(4):
                head[1 + i] = (size >> (24 - 8 * i)) & 0xFF
            head[5] = (run.columns - self.hidden) >> 8
            head[6] = (run.columns - self.hidden) & 0xFF
            append(self.out, head, 0, 7)
        else:
            self.out += b"D" + size.to_bytes(4, "big") + (run.columns - self.hidden).to_bytes(2, "big")
        return append(self.out, run.p, run.at + 7, run.cut)


def count_rows(data):
    """How many messages these bytes are."""
    p = data
    n = len(data)
    pos = count = 0
    while pos < n:
        if n - pos < 5:
            raise ValueError("not a row")
        pos += 1 + be32(p, pos + 1)
        count += 1
    return count


def tuples(data):
    """The rows of a chunk in binary format as tuples of a binary COPY: they are the same bytes, without headers."""
    p = data
    n = len(data)
    pos = 0
    out = bytearray()
    while pos < n:
        if n - pos < 7:
            raise ValueError("not a row")
        size = be32(p, pos + 1)
        if size < 6 or size > n - pos - 1:
            raise ValueError("not a row")
        append(out, p, pos + 5, pos + 1 + size)
        pos += 1 + size
    return bytes(out)


def lines(data):
    """The rows of a chunk in text format as lines of a COPY in text format."""
    p = data
    n = len(data)
    pos = 0
    out = bytearray()
    while pos < n:
        if n - pos < 7:
            raise ValueError("not a row")
        row_end = pos + 1 + be32(p, pos + 1)
        if row_end > n:
            raise ValueError("not a row")
        columns = be16(p, pos + 5)
        pos += 7
        for i in range(columns):
            if i > 0:
                out.append(0x09)
            if pos + 4 > row_end:
                raise ValueError("not a row")
            size = be32(p, pos)
            pos += 4
            if size == 0xFFFFFFFF:
                out += b"\\N"
                continue
            if size > row_end - pos:
                raise ValueError("not a row")
            escape(out, p, pos, pos + size)
            pos += size
        out.append(0x0A)
        pos = row_end
    return bytes(out)


_ESCAPED = {0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"}


def escape(out, p, start, end):
    """One value of a COPY in text format."""
    begin = start
    for i in range(start, end):
        c = p[i]
        if c == 0x5C or c == 0x0A or c == 0x0D or c == 0x09:
            append(out, p, begin, i)
            out += _ESCAPED[c]
            begin = i + 1
    return append(out, p, begin, end)
