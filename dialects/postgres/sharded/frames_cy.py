# cython: annotation_typing=False
"""Find runs of equal messages in bytes that a server sent, without an object for each.

Invariant: what is told is whole messages; nothing behind ``len(data)`` is looked at.
"""

import cython

__all__ = ["run_end"]


def run_end(data, start, kind):
    """Where the run of whole messages of type ``kind`` that begins at ``start`` ends; ``start`` if there is none.

    ValueError: a message's length is impossible.
    """
    pos: cython.Py_ssize_t = start
    n: cython.Py_ssize_t = len(data)
    size: cython.Py_ssize_t
    p: cython.p_const_uchar = data
    while n - pos >= 5 and p[pos] == kind:
        size = (p[pos + 1] << 24) | (p[pos + 2] << 16) | (p[pos + 3] << 8) | p[pos + 4]
        if size < 4 or size > 0x40000000:
            raise ValueError("malformed message from the server")
        if n - pos < size + 1:
            break
        pos += size + 1
    return pos
