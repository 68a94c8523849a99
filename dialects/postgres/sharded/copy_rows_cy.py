# cython: annotation_typing=False
"""Cut the data of COPY FROM into rows, and find the fields of the sharding key in each, as they were written.

Invariants:
* The rows, one behind the other, are the data; nothing of a row is changed.
* A row ends where PostgreSQL would end it: not within quotes (csv), not behind a backslash (text). What is left at the
  end of a chunk waits for the next.
* What is malformed becomes a row all the same: the server that gets it says what is wrong with it.
"""

import cython

__all__ = ["BinaryCutter", "RowCutter"]

MISSING = None
NEWLINE, RETURN, BACKSLASH, POINT = 10, 13, 92, 46
OPEN, LF, CRLF, CR = range(4)
FIELDS_MAX = 1664
HEADER_BYTES = 19


class RowCutter:
    """Text and csv. ``wanted``: for each field from 0 on, 1 if it is of the key; ``ended``: the end mark was seen.

    ``feed`` gives rows (with their line ends) and keys: the bytes of one field, a tuple of several, None for a row
    that has not all of them.
    """

    def __init__(self, csv, delimiter, quote, escape, positions):
        self.csv = csv
        self.delimiter = delimiter
        self.quote = quote
        self.escape = escape if escape != quote else 0      # a doubled quote ends and begins: no escape is needed
        self.positions = tuple(positions)
        self.ordered = tuple(sorted(set(positions)))
        self.keys = len(self.ordered)
        self.last = max(self.ordered) if self.ordered else -1
        self.wanted = bytearray(self.last + 2)
        for position in self.ordered:
            self.wanted[position] = 1
        self.eol = OPEN
        self.rest = b""
        self.ended = False

    def feed(self, data, final=False):
        """Whole rows of what came so far; ``final``: there is no more, the last row may have no line end."""
        rows = []
        keys = []
        if self.ended:
            return rows, keys
        if self.rest:
            data = self.rest + data
        p = data
        n = len(data)
        at = 0
        while at < n and not self.ended:
            end = self.row(p, data, at, n, final, rows, keys)
            if end < 0:
                break
            at = end
        self.rest = data[at:]
        return rows, keys

    def row(self, p, data, start, n, final, rows, keys):
        """Take the row at ``start``; gives where it ends, or -1 if that has not come yet."""
        at = start
        field = 0
        field_start = start
        fields = []
        quoted = False
        escaped = False
        while at < n:
            c = p[at]
            if self.csv:
                if quoted and c == self.escape:
                    escaped = not escaped
                if c == self.quote and not escaped:
                    quoted = not quoted
                if c != self.escape:
                    escaped = False
                if quoted:
                    at += 1
                    continue
            elif c == BACKSLASH:
                if at + 1 >= n:
                    break
                at += 2
                continue
            if c == self.delimiter:
                if field <= self.last and self.wanted[field] == 1:
                    fields.append(data[field_start:at])
                field += 1
                field_start = at + 1
            elif c == NEWLINE and self.eol != CR:
                if self.eol == OPEN:
                    self.eol = CRLF if at > start and p[at - 1] == RETURN else LF
                break
            elif c == RETURN and (self.eol == CR or self.eol == OPEN):
                if self.eol == OPEN and at + 1 >= n and not final:
                    return -1
                if self.eol == CR or at + 1 >= n or p[at + 1] != NEWLINE:
                    self.eol = CR
                    break
            at += 1
        if at >= n or (not self.csv and p[at] == BACKSLASH):
            if not final:
                return -1
            at = n
        edge = at
        if self.eol == CRLF and edge > start and p[edge - 1] == RETURN:
            edge -= 1
        end = at + 1 if at < n else n
        if edge - start == 2 and p[start] == BACKSLASH and p[start + 1] == POINT:
            self.ended = True
            return end
        if field <= self.last and self.wanted[field] == 1:
            fields.append(data[field_start:edge])
        rows.append(data[start:end])
        if len(fields) < self.keys:
            keys.append(MISSING)
        else:
            keys.append(fields[0] if self.keys == 1 else tuple(fields))
        return end


class BinaryCutter:
    """Binary format. ``feed`` gives tuples and keys (always tuples of fields; None is NULL); ``header`` came first."""

    def __init__(self, positions):
        self.positions = tuple(positions)
        self.last = max(self.positions) if self.positions else -1
        self.header = b""
        self.rest = b""
        self.ended = False

    def feed(self, data, final=False):
        """Whole tuples of what came so far."""
        rows = []
        keys = []
        if self.rest:
            data = self.rest + data
        n = len(data)
        at = 0
        if not self.header:
            if n < HEADER_BYTES:
                self.rest = data
                return rows, keys
            end = HEADER_BYTES + int.from_bytes(data[15:19], "big")
            if n < end:
                self.rest = data
                return rows, keys
            self.header = data[:end]
            at = end
        p = data
        while at < n and not self.ended:
            end = self.row(p, data, at, n, rows, keys)
            if end < 0:
                break
            at = end
        self.rest = data[at:]
        return rows, keys

    def row(self, p, data, start, n, rows, keys):
        """Take the tuple at ``start``; gives where it ends, or -1."""
        if n - start < 2:
            return -1
        count = (p[start] << 8) | p[start + 1]
        if count > 0x7FFF:
            self.ended = True
            return start + 2
        at = start + 2
        fields = []
        for number in range(count):
            if n - at < 4:
                return -1
            size = (p[at] << 24) | (p[at + 1] << 16) | (p[at + 2] << 8) | p[at + 3]
            at += 4
            if size == 0xFFFFFFFF:
                if number <= self.last:
                    fields.append(None)
                continue
            if n - at < size:
                return -1
            if number <= self.last:
                fields.append(data[at:at + size])
            at += size
        rows.append(data[start:at])
        keys.append(tuple([fields[i] for i in self.positions]) if count > self.last else MISSING)
        return at
