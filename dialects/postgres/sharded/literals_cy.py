# cython: annotation_typing=False
"""The literal of a statement text that holds its key, found without parsing.

Invariant: literals are counted as the digest counts its slots, or None is given: a text with comments, dollar quotes,
escape strings or anything else that makes counting uncertain is not answered here.
"""

import cython

__all__ = ["nth_literal"]


def name_char(c):
    return (97 <= c <= 122) or (65 <= c <= 90) or (48 <= c <= 57) or c == 95 or c == 36 or c >= 128


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
