# cython: annotation_typing=False
"""The shard of a batch of which one value names it, without a plan and without an object for each message.

Invariants:
* Literals are counted as the digest counts its slots, or -1 is given: a text with comments, dollar quotes, escape
  strings or anything else that makes counting uncertain is not answered here.
* -1 is given for whatever is not read exactly: the batch is then looked at in full.
"""

import cython

if cython.compiled:
    from cython.cimports.shardproxy.dialects.postgres.partition_hash_cy import combine, hash_bytes, hash_int
else:
    from shardproxy.dialects.postgres.partition_hash_cy import combine, hash_bytes, hash_int

__all__ = ["Point"]

QUERY, PARSE, BIND = 0x51, 0x50, 0x42
INTEGERS = frozenset({20, 21, 23})
TEXTS = frozenset({25, 1043})
TEXT_LIKE = frozenset({25, 1043, 19, 18, 705})


def name_char(c):
    return (97 <= c <= 122) or (65 <= c <= 90) or (48 <= c <= 57) or c == 95 or c == 36 or c >= 128


def goes_on(p, i, n):
    """Whether a literal may go on behind its end: PostgreSQL joins what only lines and comments part."""
    while i < n and (p[i] == 32 or 9 <= p[i] <= 13):
        i += 1
    return i < n and (p[i] == 39 or (p[i] == 45 and i + 1 < n and p[i + 1] == 45))


def be16(p, i):
    return (p[i] << 8) | p[i + 1]


def be32(p, i):
    return (p[i] << 24) | (p[i + 1] << 16) | (p[i + 2] << 8) | p[i + 3]


class Point:
    """The literal of number ``ordinal``, or the parameter of number ``param`` (both from 0), is a key of type ``oid``.

    ``owners``: for each slot the index of its shard, ``places``: their names. ``proved``: the rule can be used.
    ``sample``: of the text that it
    was learned from.
    """

    def __init__(self, generation, ordinal, param, sample, oid, owners, places):
        self.generation = generation
        self.ordinal = ordinal
        self.param = param
        self.sample = sample
        self.oid = oid
        self.owners = owners
        self.places = places
        self.proved = param >= 0
        self.start = self.end = self.name_start = self.name_end = 0
        self.declared = -1
        self.form = 0

    def index_of(self, batch, link):
        """Index of the shard of a batch with one statement; -1: look at it in full."""
        n: cython.Py_ssize_t = len(batch)
        if n < 6:
            return -1
        if self.param < 0:
            if batch[0] != QUERY or not self.literal(batch, 5, n - 1):
                return -1
            self.form = 0
            return self.slot_owner(batch, batch)
        if not self.parameter(batch, n):
            return -1
        if self.declared < 0:
            self.declared = _declared(link, batch[self.name_start : self.name_end], self.param)
        if self.declared != 0 and self.declared != self.oid:
            if self.oid in INTEGERS:
                if self.declared not in INTEGERS:
                    return -1
            elif self.oid not in TEXTS or self.declared not in TEXT_LIKE:
                return -1
        return self.slot_owner(batch, batch)

    def literal_at(self, text, wanted):
        """The value of the literal of that number in a text; None: not a plain integer or string."""
        saved = self.ordinal
        self.ordinal = wanted
        found = self.literal(text, 0, len(text))
        self.ordinal = saved
        return text[self.start : self.end] if found else None

    def literal(self, p, i, n):
        """Find the literal between ``i`` and ``n``."""
        found: cython.int = -1
        start: cython.Py_ssize_t
        c: cython.uchar
        while i < n:
            c = p[i]
            if c == 39:  # '
                found += 1
                start = i + 1
                i = start
                while i < n and p[i] != 39:
                    if p[i] == 92 or p[i] < 32:
                        return False
                    i += 1
                if i >= n or (i + 1 < n and p[i + 1] == 39) or goes_on(p, i + 1, n):
                    return False
                if found == self.ordinal:
                    self.start = start
                    self.end = i
                    return True
                i += 1
            elif 48 <= c <= 57:
                start = i
                while i < n and 48 <= p[i] <= 57:
                    i += 1
                if i < n and (p[i] == 46 or name_char(p[i])):
                    return False
                found += 1
                if found == self.ordinal:
                    self.start = start
                    self.end = i
                    return True
            elif c == 34:  # "
                i += 1
                while i < n and p[i] != 34:
                    i += 1
                i += 1
            elif c == 36:
                return False
            elif name_char(c):
                start = i
                while i < n and name_char(p[i]):
                    i += 1
                if i < n and (p[i] == 39 or (p[i] == 38 and i - start == 1)):  # E'..', U&'..'
                    return False
            elif c == 46 and i + 1 < n and 48 <= p[i + 1] <= 57:
                return False
            elif (c == 45 and i + 1 < n and p[i + 1] == 45) or (c == 47 and i + 1 < n and p[i + 1] == 42):
                return False
            else:
                i += 1
        return False

    def parameter(self, p, n):
        """Find the parameter in the only Bind of a batch, and what its Parse declares it to be."""
        i: cython.Py_ssize_t = 0
        end: cython.Py_ssize_t
        at: cython.Py_ssize_t
        parsed: cython.Py_ssize_t = 0
        count: cython.long
        zeros: cython.int
        bound: cython.bint = False
        self.declared = -1
        while i + 5 <= n:
            end = i + 1 + be32(p, i + 1)
            if end > n or end < i + 5 or p[i] == QUERY:
                return False
            at = i + 5
            if p[i] == PARSE:
                if self.declared != -1 or bound:
                    return False
                parsed = at
                zeros = 0
                while zeros < 2 and at < end:
                    if p[at] == 0:
                        zeros += 1
                    at += 1
                if at + 2 > end:
                    return False
                count = be16(p, at)
                at += 2 + 4 * self.param
                self.declared = 0
                if self.param < count:
                    if at + 4 > end:
                        return False
                    self.declared = be32(p, at)
            elif p[i] == BIND:
                if bound or not self.bound(p, at, end):
                    return False
                if self.declared >= 0 and not self.same_name(p, parsed):
                    return False  # another statement than the one that was parsed
                bound = True
            i = end
        return bound

    def same_name(self, p, at):
        """Whether the Parse with its name at ``at`` is of the statement that the Bind names."""
        k: cython.Py_ssize_t = self.name_start
        while k < self.name_end:
            if p[at] != p[k]:
                return False
            at += 1
            k += 1
        return p[at] == 0

    def bound(self, p, at, end):
        """Find the parameter in a Bind of the unnamed portal."""
        formats: cython.long
        size: cython.long = 0
        if at >= end or p[at] != 0:
            return False
        at += 1
        self.name_start = at
        while at < end and p[at] != 0:
            at += 1
        self.name_end = at
        at += 1
        if at + 2 > end:
            return False
        formats = be16(p, at)
        at += 2
        if at + 2 * formats + 2 > end:
            return False
        self.form = 0
        if formats == 1:
            self.form = be16(p, at)
        elif formats > self.param:
            self.form = be16(p, at + 2 * self.param)
        at += 2 * formats
        if self.param >= be16(p, at):
            return False
        at += 2
        for _ in range(self.param + 1):
            if at + 4 > end:
                return False
            size = be32(p, at)
            if size >= 0x80000000:
                size = -1
            at += 4
            self.start = at
            if size > 0:
                at += size
        self.end = at if size >= 0 else -1
        return at <= end

    def slot_owner(self, batch, p):
        """The shard of the value that was found."""
        slot: cython.Py_ssize_t
        hashed: cython.ulonglong
        if self.end < 0:
            return self.owners[0]
        if self.oid in INTEGERS:
            return self.number(p, self.end - self.start)
        if self.oid in TEXTS:
            hashed = combine(0, hash_bytes(batch[self.start : self.end]))
            slot = hashed % len(self.owners)
            return self.owners[slot]
        return -1

    def number(self, p, n):
        """The shard of an integer, in text or binary."""
        value: cython.longlong = 0
        i: cython.Py_ssize_t = self.start
        end: cython.Py_ssize_t = self.end
        negative: cython.bint = False
        slot: cython.Py_ssize_t
        hashed: cython.ulonglong
        if self.form:
            if n != 2 and n != 4 and n != 8:
                return -1
            negative = p[i] >= 128
            while i < end:
                value = (value << 8) | p[i]
                i += 1
            if n < 8 and negative:
                value -= 1 << (8 * n)
            elif not cython.compiled and negative:
                value -= 1 << 64
        else:
            if i < end and p[i] == 45:
                negative = True
                i += 1
            if i >= end or end - i > 18:
                return -1
            while i < end:
                if p[i] < 48 or p[i] > 57:
                    return -1
                value = value * 10 + (p[i] - 48)
                i += 1
            if negative:
                value = -value
        hashed = combine(0, hash_int(value))
        slot = hashed % len(self.owners)
        return self.owners[slot]


def _declared(link, name, number):
    """The type that the client declared for a parameter of a statement that it prepared before; 0: none."""
    if name:
        prepared = (link.statements or {}).get(name)
        body = prepared.statement.body if prepared is not None else b"\0\0\0"
    else:
        body = link.unnamed or b"\0\0\0"
    start = body.index(b"\0") + 3 + 4 * number
    return int.from_bytes(body[start : start + 4], "big")
