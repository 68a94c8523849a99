"""Byte helpers shared by the hot modules; ``data`` is a C pointer when compiled, a ``bytearray`` when not.

Invariant: nobody reads past the length that came with ``data``; callers check lengths before they call.
"""

import struct
import time

import cython

if cython.compiled:
    from cython.cimports.cpython.bytearray import (
        PyByteArray_AS_STRING,
        PyByteArray_GET_SIZE,
        PyByteArray_Resize,
    )
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memchr, memcpy

__all__ = ["append", "be16", "be32", "cut", "find_zero", "now_ns", "pointer"]


_UNPACK32 = struct.Struct("!I").unpack_from


def append(out, data, start, end):
    """Append ``data[start:end]`` to the bytearray ``out``."""
    if cython.compiled:
        size: cython.Py_ssize_t = PyByteArray_GET_SIZE(out)
        if end <= start:
            return 0
        PyByteArray_Resize(out, size + end - start)
        memcpy(PyByteArray_AS_STRING(out) + size, data + start, end - start)
    else:
        out += data[start:end]
    return 0


def be32(data, pos):
    """Unsigned 32-bit big-endian integer at ``pos``."""
    if cython.compiled:
        return (
            (cython.cast(cython.uint, data[pos]) << 24)
            | (cython.cast(cython.uint, data[pos + 1]) << 16)
            | (cython.cast(cython.uint, data[pos + 2]) << 8)
            | cython.cast(cython.uint, data[pos + 3])
        )
    return _UNPACK32(data, pos)[0]


def be16(data, pos):
    """Unsigned 16-bit big-endian integer at ``pos``."""
    if cython.compiled:
        return (cython.cast(cython.uint, data[pos]) << 8) | cython.cast(cython.uint, data[pos + 1])
    return int.from_bytes(data[pos : pos + 2], "big")


def cut(data, start, end):
    """``data[start:end]`` as bytes; empty if ``end`` is not behind ``start``."""
    if end <= start:
        return b""
    if cython.compiled:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_const_char, data + start), end - start)
    return bytes(data[start:end])


def find_zero(data, start, end):
    """Index of the first zero byte in ``data[start:end]``, or -1."""
    if cython.compiled:
        if end <= start:
            return -1
        found: cython.p_const_uchar = cython.cast(cython.p_const_uchar, memchr(data + start, 0, end - start))
        if found == cython.NULL:
            return -1
        return found - data
    return data.find(0, start, end)


def pointer(buffer):
    """What ``data`` arguments take: the address of the bytes when compiled, else the bytearray itself."""
    if cython.compiled:
        return cython.cast(cython.p_const_uchar, PyByteArray_AS_STRING(buffer))
    return buffer


def now_ns():
    """``time.monotonic_ns()``: one clock for all processes of a host."""
    if cython.compiled:
        moment: timespec
        clock_gettime(CLOCK_MONOTONIC, cython.address(moment))
        return cython.cast(cython.longlong, moment.tv_sec) * 1000000000 + moment.tv_nsec
    return time.monotonic_ns()
