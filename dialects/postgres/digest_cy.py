# cython: annotation_typing=False
"""The digest of a statement text: the key under which its route is cached.

``digest`` replaces literals by one-byte slots, folds blanks and comments to one space and unquoted names to lower
case. Statements with one digest are routed alike, and the analysis sees nothing but the digest, so:

Invariant: whatever a route may depend on is in the digest. Kept are therefore keywords, names, operators, quoted
names exactly, parameters, hints (``/* shardproxy: ... */``), the setting that ``set_config`` and ``current_setting``
name, and all literals of a text that has a SET or DO statement. A list of like literals becomes one (``1, 2, 3``),
rows of like shape too (``(1, now()), (2, now())``), so that a batch of any size is one shape.

A text that cannot be scanned (unterminated, control characters, a number that runs into a name) is its own digest,
behind a NUL. Slots are control characters, so no text can forge them.

The scanner follows PostgreSQL's own (15 to 18) with ``standard_conforming_strings = on`` and an encoding in which no
byte of a character above ASCII is itself ASCII; callers keep other texts away. ``Scanner`` is written for C (types
are in the ``.pxd``); where it is not compiled, ``digest_re`` does the same work with regular expressions.
"""

import cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.stdlib import free, realloc
else:
    from shardproxy.dialects.postgres.digest_re import interpret

__all__ = ["Scanner", "digest"]

OTHER, NAME, DIGIT, DOLLAR, BLANK, CONTROL = range(6)           # kinds of characters; names consist of 1 to 3
INTEGER, NUMBER, STRING, ESCAPE, UNICODE, BIT, HEX = range(1, 8)    # slots, as in sql/slots.py
ITEMS, ROWS = 14, 15
DEPTH = 16                  # deeper parentheses are not folded


def _class_of(char: str) -> int:
    if ord(char) >= 0x80 or char == "_" or char.isalpha():
        return 1
    if char.isdigit():
        return 2
    if char == "$":
        return 3
    if char in " \t\n\v\f\r":
        return 4
    return 5 if ord(char) < 0x20 else 0


_CLASSES = bytes(_class_of(chr(c)) for c in range(256))
_LOWERED = bytes(range(256)).lower()
_IN_NAMES = bytes(_LOWERED[c] if OTHER < _CLASSES[c] < BLANK else 0 for c in range(256))
_SET_CONFIG = b"set_config"
_CURRENT_SETTING = b"current_setting"
_HINT = b"shardproxy:"
CLASS = _CLASSES
LOWER = _LOWERED
IN_NAME = _IN_NAMES
SET_CONFIG = _SET_CONFIG
CURRENT_SETTING = _CURRENT_SETTING
HINT = _HINT


class Scanner:
    """Reads ``p[:n]`` at ``i``, writes the digest to ``out`` at ``j``. Methods say 0, -1: no SQL, -2: keep literals."""

    def __init__(self) -> None:
        self.capacity = 0
        if cython.compiled:
            self.out = cython.NULL
        else:
            self.groups = [0] * DEPTH

    def __dealloc__(self) -> None:
        if cython.compiled:
            free(self.out)

    def run(self, sql: bytes) -> bytes:
        """The digest of ``sql``."""
        self.n = len(sql)
        self.p = sql if cython.compiled else sql + b"\0"
        self.reserve(2 * self.n + 1)                        # a hint may gain a blank
        self.keep = False
        code = self.normalise()
        if code == -2:
            self.keep = True
            code = self.normalise()
        if code < 0:
            return b"\0" + sql
        if cython.compiled:
            return PyBytes_FromStringAndSize(cython.cast("const char*", self.out), self.j)
        return bytes(self.out[:self.j])

    def reserve(self, size: int) -> int:
        """Room for ``size`` bytes of digest; what a rare huge text needed is given back by the next text."""
        if not cython.compiled:
            self.out = bytearray(size)
        elif size > self.capacity or self.capacity > 1 << 20:
            size = max(size, 1 << 16)
            room = cython.cast("unsigned char*", realloc(self.out, size))
            if room == cython.NULL:
                raise MemoryError
            self.out = room
            self.capacity = size
        return 0

    def normalise(self) -> int:
        p = self.p
        self.i = self.j = 0
        self.depth = 0
        self.name_at = -1
        self.blank = False
        self.start = True
        while self.i < self.n:
            if CLASS[p[self.i]] == BLANK:
                self.i += 1
                self.blank = True
                continue
            code = self.comment()
            if code == 0:
                code = self.token()
            if code < 0:
                return code
        return 0

    def comment(self) -> int:
        """Skip a comment, or copy a hint: 1 if there was one. Block comments nest, hints do not."""
        p = self.p
        e = self.i + 2
        if p[self.i] == 45 and p[self.i + 1] == 45:         # --
            while e < self.n and p[e] != 10 and p[e] != 13:
                e += 1
        elif p[self.i] == 47 and p[self.i + 1] == 42:       # /*
            depth = deepest = 1
            while depth > 0:
                if e + 1 >= self.n:
                    return -1
                if p[e] == 42 and p[e + 1] == 47:
                    depth -= 1
                    e += 2
                elif p[e] == 47 and p[e + 1] == 42:
                    depth += 1
                    deepest = 2
                    e += 2
                else:
                    e += 1
            if deepest == 1 and self.is_hint():
                self.space()
                if self.verbatim(e) < 0:
                    return -1
        else:
            return 0
        self.i = e
        self.blank = True
        return 1

    def is_hint(self) -> bool:
        """Whether the comment at ``i`` (known to end) begins with ``shardproxy:``."""
        p = self.p
        e = self.i + 2
        while CLASS[p[e]] == BLANK:
            e += 1
        for k in range(11):
            if p[e + k] != HINT[k]:                         # a comment that is shorter ends in a difference
                return False
        return True

    def space(self) -> None:
        """Write the blank that was read, unless it is the first of the text."""
        if self.blank and self.j > 0:
            self.out[self.j] = 32
            self.j += 1
        self.blank = False

    def token(self) -> int:
        """Copy or replace the token at ``i``."""
        p = self.p
        c = p[self.i]
        kind = CLASS[c]
        if kind == CONTROL:
            return -1
        self.space()
        if kind == NAME:
            return self.prefixed()
        if kind == DIGIT or (c == 46 and CLASS[p[self.i + 1]] == DIGIT):
            return self.number()
        if c == 39:                                         # '
            return self.string(self.i, STRING)
        if c == 34:                                         # "
            return self.quoted_name(self.i)
        if kind == DOLLAR:
            return self.dollar()
        self.out[self.j] = c
        if c == 40:                                         # (
            if self.depth < DEPTH:
                self.groups[self.depth] = self.j
            self.depth += 1
        self.j += 1
        self.i += 1
        self.start = c == 59                                # ;
        if c == 41:                                         # )
            self.close_group()
        return 0

    def prefixed(self) -> int:
        """A word, or a literal or quoted name that begins with a letter: E'', B'', X'', U&'', U&""."""
        p = self.p
        c = LOWER[p[self.i]]
        nxt = p[self.i + 1]
        if nxt == 39:
            if c == 101:
                return self.string(self.i + 1, ESCAPE)
            if c == 98:
                return self.string(self.i + 1, BIT)
            if c == 120:
                return self.string(self.i + 1, HEX)
        elif nxt == 38 and c == 117:
            if p[self.i + 2] == 39:
                return self.string(self.i + 2, UNICODE)
            if p[self.i + 2] == 34:
                return self.quoted_name(self.i + 2)
        return self.word()

    def word(self) -> int:
        """A keyword or unquoted name, in lower case."""
        p, out, i, j = self.p, self.out, self.i, self.j
        w = j
        c = IN_NAME[p[i]]
        while c:                                            # the NUL behind the text ends a name too
            out[j] = c
            i += 1
            j += 1
            c = IN_NAME[p[i]]
        self.i, self.j = i, j
        if self.start and not self.keep:
            if j - w == 3 and out[w] == 115 and out[w + 1] == 101 and out[w + 2] == 116:        # set
                return -2
            if j - w == 2 and out[w] == 100 and out[w + 1] == 111:                              # do
                return -2
        self.start = False
        if self.takes_setting(w, j - w):
            self.setting_follows()
        return 0

    def quoted_name(self, quote: int) -> int:
        """A name in double quotes, exactly."""
        p = self.p
        e = quote + 1
        while e < self.n and (p[e] != 34 or p[e + 1] == 34):
            e += 1 if p[e] != 34 else 2
        if e >= self.n:
            return -1
        w = self.j
        if self.verbatim(e + 1) < 0:
            return -1
        self.start = False
        if self.takes_setting(w + 1, self.j - w - 2):
            self.setting_follows()
        return 0

    def dollar(self) -> int:
        """A parameter, or a string in dollar quotes."""
        p = self.p
        e = self.i + 1
        self.start = False
        if CLASS[p[e]] == DIGIT:
            while CLASS[p[e]] == DIGIT:
                e += 1
            return -1 if OTHER < CLASS[p[e]] < BLANK else self.verbatim(e)
        while CLASS[p[e]] == NAME or (CLASS[p[e]] == DIGIT and e > self.i + 1):
            e += 1
        if p[e] != 36:
            return -1
        size = e + 1 - self.i
        e += 1
        k = 0
        while e + size <= self.n:                           # p[i:i + size] is the delimiter
            k = 0
            while k < size and p[e + k] == p[self.i + k]:
                k += 1
            if k == size:
                break
            e += 1
        if k < size or OTHER < CLASS[p[e + size]] < BLANK:
            return -1
        return self.slot(STRING, e + size)

    def number(self) -> int:
        """An integer or another number; one that runs into a name is no SQL since PostgreSQL 15."""
        p = self.p
        e = self.i
        self.start = False
        marker = INTEGER
        c = LOWER[p[e + 1]]
        if p[e] == 48 and (c == 120 or c == 111 or c == 98):        # 0x 0o 0b
            e += 2
            while OTHER < CLASS[p[e]] < DOLLAR:
                e += 1
            return self.slot(INTEGER, e) if p[e] != 36 else -1
        if p[e] != 46:
            e = self.digits(e)
        if p[e] == 46 and p[e + 1] != 46:
            marker = NUMBER
            e = self.digits(e + 1)
        if LOWER[p[e]] == 101:
            c = p[e + 1]
            if CLASS[c] == DIGIT or ((c == 43 or c == 45) and CLASS[p[e + 2]] == DIGIT):
                marker = NUMBER
                e = self.digits(e + 2)
        return -1 if OTHER < CLASS[p[e]] < BLANK else self.slot(marker, e)

    def digits(self, e: int) -> int:
        p = self.p
        while CLASS[p[e]] == DIGIT or p[e] == 95:           # _
            e += 1
        return e

    def string(self, quote: int, marker: int) -> int:
        """A string; parts on lines of their own are one string, with the escapes of its first part."""
        self.start = False
        more = quote
        e = 0
        while more >= 0:
            e = self.closing_quote(more + 1, marker == ESCAPE)
            if e < 0:
                return -1
            more = self.continued(e)
        if marker == STRING and self.i == self.name_at:
            return self.verbatim(e)
        return self.slot(marker, e)

    def closing_quote(self, e: int, escapes: bool) -> int:
        """Where the string whose text begins at ``e`` has ended."""
        p = self.p
        while e < self.n:
            c = p[e]
            e += 1
            if c == 39:
                if p[e] != 39:
                    return e
                e += 1
            elif c == 92 and escapes:
                e += 1
        return -1

    def continued(self, e: int) -> int:
        """The opening quote of the next part of a string that ended at ``e``: behind a line end, or -1."""
        p = self.p
        lines = False
        while e < self.n:
            c = p[e]
            if c == 39:
                return e if lines else -1
            if c == 45 and p[e + 1] == 45:
                while e < self.n and p[e] != 10 and p[e] != 13:
                    e += 1
            elif CLASS[c] == BLANK:
                lines = lines or c == 10 or c == 13
                e += 1
            else:
                return -1
        return -1

    def verbatim(self, e: int) -> int:
        """Copy up to ``e``; what holds a control character could be taken for a slot, and is refused."""
        p = self.p
        while self.i < e:
            c = p[self.i]
            if CLASS[c] == CONTROL:
                return -1
            self.out[self.j] = c
            self.i += 1
            self.j += 1
        return 0

    def slot(self, marker: int, e: int) -> int:
        """A slot for the literal that ends at ``e``, or its text; a list of like slots is folded."""
        if self.keep:
            return self.verbatim(e)
        out = self.out
        q = self.j - 1
        self.i = e
        if q > 1 and out[q] == 32:
            q -= 1
        if q > 0 and out[q] == 44:                          # slot, slot
            if out[q - 1] == marker:
                out[q] = ITEMS
                self.j = q + 1
                return 0
            if out[q - 1] == ITEMS and out[q - 2] == marker:
                self.j = q
                return 0
        out[self.j] = marker
        self.j += 1
        return 0

    def close_group(self) -> None:
        """Drop a row that has a slot and is shaped as the one before it: (1, now()), (2, now())."""
        out = self.out
        if self.depth == 0:
            return
        self.depth -= 1
        if self.depth >= DEPTH or self.keep:
            return
        group = self.groups[self.depth]
        if group < 3:
            return
        r = group - 1
        size = self.j - group
        if out[r] == 32:
            r -= 1
        if out[r] != 44:
            return
        r -= 1                                              # at the end of what may be the same
        more = out[r] == ROWS
        if more:
            r -= 1
        if r + 1 >= size and self.foldable(group, r + 1 - size, size):
            if not more:
                out[r + 1] = ROWS
            self.j = r + 2

    def foldable(self, group: int, first: int, size: int) -> bool:
        """Whether ``size`` bytes at ``first`` and at ``group`` are the same row, with a slot, flat but for calls."""
        out = self.out
        slots = False
        level = 0
        for k in range(size):
            c = out[group + k]
            if c != out[first + k]:
                return False
            if c < 32:
                slots = True
            elif c == 40:
                level += 1
                if level > 2:
                    return False
            elif c == 41:
                level -= 1
                if level == 0 and k < size - 1:
                    return False
            elif not (CLASS[c] or c == 32 or c == 44 or c == 45 or c == 46):
                return False
        return slots

    def takes_setting(self, w: int, size: int) -> bool:
        """Whether the name of ``size`` bytes at ``w`` is set_config or current_setting."""
        name = SET_CONFIG
        if size == 15:
            name = CURRENT_SETTING
        elif size != 10:
            return False
        for k in range(size):
            if self.out[w + k] != name[k]:
                return False
        return True

    def setting_follows(self) -> None:
        """Remember where the name of the setting stands, if it is a plain string."""
        p = self.p
        e = self.i
        while CLASS[p[e]] == BLANK:
            e += 1
        if p[e] != 40:
            return
        e += 1
        while CLASS[p[e]] == BLANK:
            e += 1
        if p[e] == 39:
            self.name_at = e


SCANNER = Scanner()


def digest(sql: bytes) -> bytes:
    """The key of ``sql``; see the module."""
    if cython.compiled:
        return SCANNER.run(sql)
    return interpret(sql)
