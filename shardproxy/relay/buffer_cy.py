"""Byte helpers shared by the hot modules; ``data`` is a C pointer when compiled, a ``bytearray`` when not.

These are the interpreted forms; the compiled ones stand in the ``.pxd``, inline, so that each hot module has its own.
Invariant: nobody reads past the length that came with ``data``; callers check lengths before they call.
"""

import struct
import time

import cython

__all__ = [
    "append",
    "append_bytes",
    "append_header",
    "be16",
    "be32",
    "cut",
    "find_zero",
    "now_ns",
    "pointer",
    "resize",
    "same",
]


if not cython.compiled:
    _UNPACK32 = struct.Struct("!I").unpack_from
    _HEADER = struct.Struct("!BI").pack

    def append(out, data, start, end):
        """Append ``data[start:end]`` to the bytearray ``out``."""
        out += data[start:end]
        return 0

    def append_bytes(out, data):
        """Append bytes."""
        out += data
        return 0

    def append_header(out, kind, length):
        """Append the header of a message: its type and its length, which counts itself."""
        out += _HEADER(kind, length)
        return 0

    def be32(data, pos):
        """Unsigned 32-bit big-endian integer at ``pos``."""
        return _UNPACK32(data, pos)[0]

    def be16(data, pos):
        """Unsigned 16-bit big-endian integer at ``pos``."""
        return int.from_bytes(data[pos : pos + 2], "big")

    def cut(data, start, end):
        """``data[start:end]`` as bytes; empty if ``end`` is not behind ``start``."""
        return bytes(data[start:end])

    def find_zero(data, start, end):
        """Index of the first zero byte in ``data[start:end]``, or -1."""
        return data.find(0, start, end)

    def same(data, pos, text):
        """Whether ``text`` stands at ``pos``; ``data`` has so many bytes there."""
        return data.startswith(text, pos)

    def pointer(buffer):
        """What ``data`` arguments take: the address of the bytes when compiled, else the bytearray itself."""
        return buffer

    def resize(out, size):
        """Shorten a bytearray; compiled, what it has allocated stays."""
        del out[size:]
        return 0

    now_ns = time.monotonic_ns
