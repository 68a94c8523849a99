# cython: annotation_typing=False
"""The literal of a statement text that holds its key, found without parsing.

Invariant: literals are counted as the digest counts its slots, or None is given: a text with comments, dollar quotes,
escape strings or anything else that makes counting uncertain is not answered here.
"""

import cython

__all__ = ["nth_literal", "nth_parameter"]


def name_char(c):
    return (97 <= c <= 122) or (65 <= c <= 90) or (48 <= c <= 57) or c == 95 or c == 36 or c >= 128


def goes_on(p, i, n):
    """Whether a literal may go on behind its end: PostgreSQL joins what only lines and comments part."""
    while i < n and (p[i] == 32 or 9 <= p[i] <= 13):
        i += 1
    return i < n and (p[i] == 39 or (p[i] == 45 and i + 1 < n and p[i + 1] == 45))


def nth_literal(sql, wanted):
    """The value of the literal of that number (from 0) in text format; None: not a plain integer or string."""
    i: cython.Py_ssize_t = 0
    n: cython.Py_ssize_t = len(sql)
    start: cython.Py_ssize_t
    found: cython.int = -1
    c: cython.uchar
    p: cython.p_const_uchar = sql
    while i < n:
        c = p[i]
        if c == 39:  # '
            found += 1
            start = i + 1
            i = start
            while i < n and p[i] != 39:
                if p[i] == 92 or p[i] < 32:
                    return None
                i += 1
            if i >= n or (i + 1 < n and p[i + 1] == 39):
                return None
            if goes_on(p, i + 1, n):
                return None
            if found == wanted:
                return sql[start:i]
            i += 1
        elif 48 <= c <= 57:
            start = i
            while i < n and 48 <= p[i] <= 57:
                i += 1
            if i < n and (p[i] == 46 or name_char(p[i])):
                return None
            found += 1
            if found == wanted:
                return sql[start:i]
        elif c == 34:  # "
            i += 1
            while i < n and p[i] != 34:
                i += 1
            i += 1
        elif name_char(c):
            start = i
            while i < n and name_char(p[i]):
                i += 1
            if i < n and (p[i] == 39 or (p[i] == 38 and i - start == 1)):  # E'..', U&'..'
                return None
        elif c == 36 or c == 46 or (c == 45 and i + 1 < n and p[i + 1] == 45) or (
            c == 47 and i + 1 < n and p[i + 1] == 42
        ):
            if c == 46 and i + 1 < n and not 48 <= p[i + 1] <= 57:
                i += 1
                continue
            return None
        else:
            i += 1
    return None


def be16(p, i):
    return (p[i] << 8) | p[i + 1]


def be32(p, i):
    return (p[i] << 24) | (p[i + 1] << 16) | (p[i + 2] << 8) | p[i + 3]


def nth_parameter(batch, wanted):
    """(declared type, name, value, format) of a parameter (from 0) of a batch's only Bind; else None.

    The type is -1 if the batch has no Parse, 0 if it declares none; the value is None for NULL.
    """
    i: cython.Py_ssize_t = 0
    n: cython.Py_ssize_t = len(batch)
    end: cython.Py_ssize_t
    at: cython.Py_ssize_t
    name: cython.Py_ssize_t
    declared: cython.long = -1
    count: cython.long
    formats: cython.long
    form: cython.long
    size: cython.long
    k: cython.long
    found = None
    p: cython.p_const_uchar = batch
    while i + 5 <= n:
        end = i + 1 + be32(batch, i + 1)
        if end > n:
            return None
        at = i + 5
        if p[i] == 81:  # Q
            return None
        if p[i] == 80:  # P
            if declared != -1 or found is not None:
                return None
            k = 0
            while k < 2 and at < end:
                if p[at] == 0:
                    k += 1
                at += 1
            if at + 2 > end:
                return None
            count = be16(batch, at)
            at += 2 + 4 * wanted
            declared = 0
            if wanted < count:
                if at + 4 > end:
                    return None
                declared = be32(batch, at)
        elif p[i] == 66:  # B
            if found is not None or p[at] != 0:
                return None
            at += 1
            name = at
            while at < end and p[at] != 0:
                at += 1
            statement = batch[name:at]
            at += 1
            if at + 2 > end:
                return None
            formats = be16(batch, at)
            at += 2
            form = 0
            if formats == 1:
                form = be16(batch, at)
            elif formats > wanted:
                form = be16(batch, at + 2 * wanted)
            at += 2 * formats
            if at + 2 > end:
                return None
            count = be16(batch, at)
            at += 2
            if wanted >= count:
                return None
            for _ in range(wanted + 1):
                if at + 4 > end:
                    return None
                size = be32(batch, at)
                if size >= 0x80000000:
                    size = -1
                at += 4
                if size > 0:
                    at += size
            if at > end:
                return None
            found = (statement, None if size < 0 else batch[at - size : at], form)
        i = end
    if found is None:
        return None
    return (declared, found[0], found[1], found[2])
