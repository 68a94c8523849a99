# cython: annotation_typing=False
"""Comparison keys: values of columns as byte strings whose order under ``memcmp`` is PostgreSQL's order of the values.

Invariants:
* Keys of one ``kind`` are prefix-free, so that keys of several columns may be joined, and inverted for DESC.
* Equal values have equal keys, however they are written: ``1.0`` and ``1.00``, ``-0`` and ``0``, one moment in two
  time zones.
* A value that is not exactly what a server sends for that type, under DateStyle ISO, has no key: ``ValueError``.

Text types are compared by their bytes: right only under collations that compare bytes (C, POSIX, C.UTF-8).
Sources: PostgreSQL documentation, "Data Types"; numeric's binary form is that of ``numeric_send``.
"""

import struct

import cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.stdlib import free, realloc, strtod
    from cython.cimports.libc.string import memcmp, memcpy

__all__ = ["Key", "key_of", "kind_of"]

BAD = 0
(INTEGER, INTEGER_BINARY, UNSIGNED_BINARY, BOOLEAN, BOOLEAN_BINARY, NUMERIC, NUMERIC_BINARY, FLOAT, FLOAT_BINARY, DATE,
 TIMESTAMP, TIME, BYTE, BYTEA, BYTEA_BINARY, TEXT, PADDED, UUID, UUID_BINARY) = range(1, 20)
NULL_FIRST, PRESENT, NULL_LAST = range(3)
SMALL_EXPONENT = 1 << 30        # more than any numeric's exponent, so that the sum is never negative

_KINDS = {                      # type OID: kinds in text and in binary format
    16: (BOOLEAN, BOOLEAN_BINARY), 17: (BYTEA, BYTEA_BINARY), 18: (BYTE, BYTE), 19: (TEXT, TEXT),
    20: (INTEGER, INTEGER_BINARY), 21: (INTEGER, INTEGER_BINARY), 23: (INTEGER, INTEGER_BINARY), 25: (TEXT, TEXT),
    26: (INTEGER, UNSIGNED_BINARY), 700: (FLOAT, FLOAT_BINARY), 701: (FLOAT, FLOAT_BINARY), 1042: (PADDED, PADDED),
    1043: (TEXT, TEXT), 1082: (DATE, INTEGER_BINARY), 1083: (TIME, INTEGER_BINARY), 1114: (TIMESTAMP, INTEGER_BINARY),
    1184: (TIMESTAMP, INTEGER_BINARY), 1700: (NUMERIC, NUMERIC_BINARY), 2950: (UUID, UUID_BINARY),
}  # fmt: skip
_WORDS = b"NaN", b"Infinity", b"infinity"


def kind_of(type_oid, form):
    """How values of a type in text (0) or binary (1) format are made keys; 0: there is no way."""
    kinds = _KINDS.get(type_oid)
    return 0 if kinds is None or form not in (0, 1) else kinds[form]


def key_of(type_oid: int, form: int, cell: bytes) -> bytes:
    """The key of one value that is not NULL."""
    kind = kind_of(type_oid, form)
    if kind == BAD:
        raise ValueError(f"values of type {type_oid} cannot be compared here")
    key = Key()
    key.add(kind, cell, 0, len(cell), False)
    return key.take()


def nibble(c):
    """Value of a hexadecimal digit, -1 if it is none."""
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    return -1


def days_of(year, month, day):
    """Days since 2000-01-01, so that the microseconds of all timestamps fit; from the year -4800 on."""
    year += 4800
    if month < 3:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 2483590


class Key:
    """A key under construction: ``data[:size]``. ``at``, ``end``: what is left of the value that is being read."""

    def __init__(self) -> None:
        self.size = self.room = self.at = self.end = 0
        self.bad = False
        if not cython.compiled:
            self.data = bytearray()
        else:
            self.data = cython.NULL

    def __dealloc__(self) -> None:
        if cython.compiled:
            free(self.data)

    def take(self):
        """The bytes."""
        if cython.compiled:
            return PyBytes_FromStringAndSize(cython.cast(cython.p_const_char, self.data), self.size)
        return bytes(self.data[:self.size])

    def need(self, more):
        """Room for ``more`` bytes."""
        if self.size + more <= self.room:
            return 0
        self.room = 2 * (self.size + more) + 64
        if cython.compiled:
            room = cython.cast("unsigned char*", realloc(self.data, self.room))
            if room == cython.NULL:
                self.room = 0
                raise MemoryError
            self.data = room
        else:
            self.data.extend(bytes(self.room - len(self.data)))
        return 0

    def compare(self, other):
        """Below 0, 0 or above 0, as this key is less, equal or greater."""
        if cython.compiled:
            least = self.size if self.size < other.size else other.size
            order = memcmp(self.data, other.data, least)
            if order != 0:
                return order
            return -1 if self.size < other.size else 1 if self.size > other.size else 0
        mine, others = self.data[:self.size], other.data[:other.size]
        return -1 if mine < others else 1 if mine > others else 0

    def invert(self, start):
        """Turn the order of what was added since ``start``."""
        for i in range(start, self.size):
            self.data[i] = self.data[i] ^ 0xFF

    def null(self, first):
        """Add a NULL."""
        self.need(1)
        self.data[self.size] = NULL_FIRST if first else NULL_LAST
        self.size += 1
        return 0

    def add(self, kind, p, start, end, descending):
        """Add the value in ``p[start:end]``."""
        self.need(32)
        self.data[self.size] = PRESENT
        self.size += 1
        begin = self.size
        self.at = start
        self.end = end
        self.bad = False
        self.value(kind, p)
        if self.bad or self.at != self.end:
            raise ValueError("a value that this session writes in a form that cannot be compared here")
        if descending:
            self.invert(begin)
        return 0

    def value(self, kind, p):
        """Read the value by its kind."""
        if kind == TEXT or kind == PADDED:
            return self.text(p, kind == PADDED)
        if kind == INTEGER:
            return self.decimal_integer(p)
        if kind == INTEGER_BINARY or kind == UNSIGNED_BINARY:
            return self.integer(self.big_endian(p, kind == INTEGER_BINARY))
        if kind == NUMERIC:
            return self.numeric_text(p)
        if kind == NUMERIC_BINARY:
            return self.numeric_binary(p)
        if kind == FLOAT:
            return self.float_text(p)
        if kind == FLOAT_BINARY:
            return self.float_binary(p)
        if kind == BYTEA:
            return self.bytea_text(p)
        if kind == BYTEA_BINARY:
            return self.bytea_binary(p)
        return self.moment(kind, p)

    def moment(self, kind, p):
        """The rest of the kinds."""
        if kind == TIMESTAMP or kind == DATE:
            return self.date_text(p, kind == TIMESTAMP)
        if kind == TIME:
            return self.integer(self.clock(p))
        if kind == UUID:
            return self.uuid_text(p)
        if kind == BYTE:
            return self.byte(p)
        size = 16 if kind == UUID_BINARY else 1
        if self.end - self.at != size or (kind == BOOLEAN and p[self.at] != 0x74 and p[self.at] != 0x66):
            self.bad = True
            return 0
        while self.at < self.end:                   # false is before true: 0, 1 and "f", "t"
            self.data[self.size] = p[self.at]
            self.size += 1
            self.at += 1
        return 0

    # Integers

    def integer(self, number):
        """Eight bytes, the sign turned."""
        self.need(8)
        if cython.compiled:
            for shift in range(7, -1, -1):
                self.data[self.size] = (cython.cast("uint64_t", number) >> (8 * shift)) & 0xFF
                self.size += 1
            self.data[self.size - 8] = self.data[self.size - 8] ^ 0x80
        else:
            self.data[self.size:self.size + 8] = struct.pack("!Q", number + (1 << 63))
            self.size += 8
        return 0

    def big_endian(self, p, signed):
        if self.end - self.at not in (2, 4, 8):
            self.bad = True
            return 0
        number = p[self.at]
        if signed and number > 127:
            number -= 256
        for i in range(self.at + 1, self.end):
            number = number * 256 + p[i]
        # The ends of date and timestamp mean infinity in binary format, and are at the ends here too.
        self.at = self.end
        return number

    def decimal_integer(self, p):
        negative = self.at < self.end and p[self.at] == 0x2D
        if negative:
            self.at += 1
        number = 0
        if self.end - self.at > 19 or self.at == self.end:
            self.bad = True
            return 0
        while self.at < self.end and 48 <= p[self.at] <= 57:
            number = number * 10 - (p[self.at] - 48)      # below zero: there is one more negative number
            self.at += 1
        return self.integer(number if negative else -number)

    # numeric: a byte for the class, the decimal exponent, the digits

    def is_word(self, p, word, size):
        if self.end - self.at != size:
            return False
        for i in range(size):
            if p[self.at + i] != word[i]:
                return False
        self.at = self.end
        return True

    def numeric_text(self, p):
        negative = self.at < self.end and p[self.at] == 0x2D
        if negative:
            self.at += 1
        if self.is_word(p, _WORDS[0], 3) or self.is_word(p, _WORDS[1], 8):
            self.data[self.size] = 1 if negative else 6 if p[self.end - 1] == 0x4E else 5
            self.size += 1
            return 0
        point = self.at
        while point < self.end and p[point] != 0x2E:
            point += 1
        i = self.at
        while i < self.end and (p[i] == 48 or p[i] == 0x2E):
            i += 1
        exponent = point - i if i < point else point + 1 - i
        first = self.size
        self.need(self.end - i + 16)
        self.begin_number(exponent)
        while i < self.end:
            c = p[i]
            if i != point:
                if not 48 <= c <= 57:
                    self.bad = True
                    return 0
                self.data[self.size] = c - 47
                self.size += 1
            i += 1
        self.bad = self.at == self.end
        self.at = self.end
        return self.end_number(first, negative)

    def numeric_binary(self, p):
        if self.end - self.at < 8:
            self.bad = True
            return 0
        groups = p[self.at] * 256 + p[self.at + 1]
        weight = p[self.at + 2] * 256 + p[self.at + 3]
        sign = p[self.at + 4]
        if self.end - self.at != 8 + 2 * groups or sign not in (0, 0x40, 0xC0, 0xD0, 0xF0):
            self.bad = True
            return 0
        self.at += 8
        if sign > 0x40:
            self.data[self.size] = 6 if sign == 0xC0 else 5 if sign == 0xD0 else 1
            self.size += 1
            self.at = self.end
            return 0
        if weight > 32767:
            weight -= 65536
        first = self.size
        self.need(4 * groups + 16)
        exponent = 4 * (weight + 1)
        self.begin_number(exponent)
        for _ in range(groups):
            group = p[self.at] * 256 + p[self.at + 1]
            self.at += 2
            if self.size == first + 5 and group < 1000:         # zeros before the first digit
                exponent -= 4 if group == 0 else 3 if group < 10 else 2 if group < 100 else 1
                self.size = first
                self.begin_number(exponent)
                if group >= 100:
                    self.put_digit(group // 100)
                if group >= 10:
                    self.put_digit(group // 10 % 10)
                if group > 0:
                    self.put_digit(group % 10)
            else:
                self.put_digit(group // 1000)
                self.put_digit(group // 100 % 10)
                self.put_digit(group // 10 % 10)
                self.put_digit(group % 10)
        return self.end_number(first, sign == 0x40)

    def put_digit(self, digit):
        self.data[self.size] = digit + 1
        self.size += 1
        return 0

    def begin_number(self, exponent):
        self.data[self.size] = 4
        self.size += 1
        exponent += SMALL_EXPONENT
        for i in range(3, -1, -1):
            self.data[self.size] = (exponent >> (8 * i)) & 0xFF
            self.size += 1
        return 0

    def end_number(self, first, negative):
        """Without zeros at the end; ``first``: where the number began."""
        while self.size > first + 5 and self.data[self.size - 1] == 1:
            self.size -= 1
        if self.size == first + 5:
            self.data[first] = 3
            self.size = first + 1
            return 0
        self.data[self.size] = 0
        self.size += 1
        if negative:
            self.data[first] = 2
            self.invert(first + 1)
        return 0

    # Floating point: the bits of a double

    def float_text(self, p):
        if self.end - self.at > 63 or self.at == self.end:
            self.bad = True
            return 0
        if self.is_word(p, _WORDS[0], 3):
            return self.double_key(float("nan"))
        for i in range(self.at, self.end):
            if not (48 <= p[i] <= 57 or p[i] in b"+-.eInfity"):
                self.bad = True
                return 0
        if cython.compiled:
            memcpy(room, p + self.at, self.end - self.at)
            room[self.end - self.at] = 0
            self.at = self.end
            return self.double_key(strtod(room, cython.NULL))
        number = float(p[self.at:self.end])
        self.at = self.end
        return self.double_key(number)

    def float_binary(self, p):
        if self.end - self.at not in (4, 8):
            self.bad = True
            return 0
        number = 0.0
        if cython.compiled:
            bits = 0
            for i in range(self.end - self.at):
                bits = (bits << 8) | p[self.at + i]
            if self.end - self.at == 4:
                half = bits
                memcpy(cython.address(single), cython.address(half), 4)
                number = single
            else:
                memcpy(cython.address(number), cython.address(bits), 8)
        else:
            number = struct.unpack("!f" if self.end - self.at == 4 else "!d", p[self.at:self.end])[0]
        self.at = self.end
        return self.double_key(number)

    def double_key(self, number):
        self.need(8)
        if number == 0:
            number = 0.0                            # minus zero is zero
        bits = 0
        if cython.compiled:
            memcpy(cython.address(bits), cython.address(number), 8)
        else:
            bits = struct.unpack("!Q", struct.pack("!d", number))[0]
        if number != number:
            bits = 0xFFFFFFFFFFFFFFFF               # greater than all others
        elif bits >> 63:
            bits = bits ^ 0xFFFFFFFFFFFFFFFF
        else:
            bits = bits | 0x8000000000000000
        for i in range(7, -1, -1):
            self.data[self.size] = (bits >> (8 * i)) & 0xFF
            self.size += 1
        return 0

    # Dates and times in ISO style

    def digits(self, p, least, most):
        """A number of that many digits."""
        number = 0
        while most > 0 and self.at < self.end and 48 <= p[self.at] <= 57:
            number = number * 10 + (p[self.at] - 48)
            self.at += 1
            most -= 1
            least -= 1
        if least > 0:
            self.bad = True
        return number

    def literal(self, p, c):
        if self.at < self.end and p[self.at] == c:
            self.at += 1
            return 1
        return 0

    def date_text(self, p, with_time):
        """Days, or microseconds in UTC (in the session's own zone where there is none)."""
        if self.is_word(p, _WORDS[2], 8):
            return self.integer(0x7FFFFFFFFFFFFFFF)
        if self.end - self.at == 9 and self.literal(p, 0x2D):
            if not self.is_word(p, _WORDS[2], 8):
                self.bad = True
            return self.integer(-0x7FFFFFFFFFFFFFFF)
        year = self.digits(p, 4, 7)
        self.bad = self.literal(p, 0x2D) == 0 or self.bad
        month = self.digits(p, 2, 2)
        self.bad = self.literal(p, 0x2D) == 0 or self.bad
        day = self.digits(p, 2, 2)
        time = 0
        if with_time:
            self.bad = self.literal(p, 0x20) == 0 or self.bad
            time = self.clock(p) - self.zone(p)
        if self.end - self.at == 3 and p[self.at] == 0x20 and p[self.at + 1] == 0x42 and p[self.at + 2] == 0x43:
            year = 1 - year
            self.at = self.end
        if self.bad or year < -4800 or not (1 <= month <= 12 and 1 <= day <= 31):
            self.bad = True
            return 0
        days = days_of(year, month, day)
        return self.integer(days * 86400000000 + time if with_time else days)

    def clock(self, p):
        """Microseconds since midnight."""
        hours = self.digits(p, 2, 2)
        self.bad = self.literal(p, 0x3A) == 0 or self.bad
        minutes = self.digits(p, 2, 2)
        self.bad = self.literal(p, 0x3A) == 0 or self.bad
        seconds = self.digits(p, 2, 2)
        micros = 0
        if self.literal(p, 0x2E):
            scale = self.at
            micros = self.digits(p, 1, 6)
            scale = 6 - (self.at - scale)
            while scale > 0:
                micros *= 10
                scale -= 1
        return ((hours * 60 + minutes) * 60 + seconds) * 1000000 + micros

    def zone(self, p):
        """Microseconds east of UTC."""
        if self.literal(p, 0x2B):
            sign = 1
        elif self.literal(p, 0x2D):
            sign = -1
        else:
            return 0
        offset = self.digits(p, 2, 2) * 3600
        if self.literal(p, 0x3A):
            offset += self.digits(p, 2, 2) * 60
            if self.literal(p, 0x3A):
                offset += self.digits(p, 2, 2)
        return sign * offset * 1000000

    # Bytes

    def byte(self, p):
        """The type "char": one byte, unsigned; nothing for zero; from PostgreSQL 16 on octal above ASCII."""
        if self.end - self.at == 4 and self.literal(p, 0x5C):
            self.data[self.size] = (p[self.at] - 48) * 64 + (p[self.at + 1] - 48) * 8 + (p[self.at + 2] - 48)
            self.at = self.end
        elif self.end == self.at:
            self.data[self.size] = 0
        else:
            self.data[self.size] = p[self.at]
            self.at += 1
        self.size += 1
        return 0

    def put_escaped(self, c):
        """A byte of a string that may have zeros: 0 becomes 0 255, the end is 0 0."""
        self.data[self.size] = c
        self.size += 1
        if c == 0:
            self.data[self.size] = 255
            self.size += 1
        return 0

    def bytea_text(self, p):
        self.need(2 * (self.end - self.at) + 2)
        if self.end - self.at >= 2 and p[self.at] == 0x5C and p[self.at + 1] == 0x78:
            self.at += 2
            while self.end - self.at >= 2:
                high = nibble(p[self.at])
                low = nibble(p[self.at + 1])
                if high < 0 or low < 0:
                    self.bad = True
                    return 0
                self.put_escaped(high * 16 + low)
                self.at += 2
        else:
            while self.at < self.end:
                c = p[self.at]
                self.at += 1
                if c == 0x5C and self.literal(p, 0x5C) == 0:
                    if self.end - self.at < 3:
                        self.bad = True
                        return 0
                    c = ((p[self.at] - 48) * 64 + (p[self.at + 1] - 48) * 8 + (p[self.at + 2] - 48)) & 0xFF
                    self.at += 3
                self.put_escaped(c)
        return self.put_end()

    def bytea_binary(self, p):
        self.need(2 * (self.end - self.at) + 2)
        while self.at < self.end:
            self.put_escaped(p[self.at])
            self.at += 1
        return self.put_end()

    def put_end(self):
        self.data[self.size] = 0
        self.data[self.size + 1] = 0
        self.size += 2
        return 0

    def text(self, p, padded):
        """The bytes and a zero, which no text has; ``padded``: blanks at the end do not count."""
        end = self.end
        if padded:
            while end > self.at and p[end - 1] == 0x20:
                end -= 1
        self.need(end - self.at + 1)
        if cython.compiled:
            memcpy(cython.address(self.data[self.size]), p + self.at, end - self.at)
        else:
            self.data[self.size:self.size + end - self.at] = p[self.at:end]
        self.size += end - self.at
        self.data[self.size] = 0
        self.size += 1
        self.at = self.end
        return 0

    def uuid_text(self, p):
        while self.at < self.end:
            if self.literal(p, 0x2D):
                continue
            high = nibble(p[self.at])
            low = nibble(p[self.at + 1]) if self.end - self.at >= 2 else -1
            if high < 0 or low < 0 or self.size >= self.room:
                self.bad = True
                return 0
            self.data[self.size] = high * 16 + low
            self.size += 1
            self.at += 2
        return 0
