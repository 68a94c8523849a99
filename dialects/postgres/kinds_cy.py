"""The messages that a client may send after its login, by their first byte.

Source: PostgreSQL documentation, "Message Formats". A byte that is not ``known`` ends the connection.
"""

import cython

QUERY = ord("Q")
PARSE = ord("P")
BIND = ord("B")
EXECUTE = ord("E")
DESCRIBE = ord("D")
CLOSE = ord("C")
SYNC = ord("S")
FLUSH = ord("H")
FUNCTION = ord("F")
TERMINATE = ord("X")
COPY_DATA = ord("d")
COPY_DONE = ord("c")
COPY_FAIL = ord("f")

if not cython.compiled:
    KNOWN = bytearray(256)
for _kind in (
    QUERY, PARSE, BIND, EXECUTE, DESCRIBE, CLOSE, SYNC, FLUSH, FUNCTION, TERMINATE, COPY_DATA, COPY_DONE, COPY_FAIL,
):  # fmt: skip
    KNOWN[_kind] = 1


def known(kind):
    """Whether a client may send a message of this type."""
    return KNOWN[kind] != 0
