"""Where messages begin in a stream of which most is only passed on.

Invariant: what is kept back is less than one message, of a type that was asked for, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from shardproxy.limits import MESSAGE_MAX

from .sharded.frames_cy import run_end

__all__ = ["Framing"]

COPY_DATA = 0x64
LOOKED_AT_MAX = 64 * 1024
"""A longer message of the wanted type is not waited for: it is told of, without its payload."""


class Framing:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._held = b""
        self._skip = 0

    @property
    def between(self) -> bool:
        """Whether what was passed on so far ends with a whole message."""
        return not self._skip

    def whole(self, data: bytes, kinds: bytes, look: Callable[[int, bytes | None], None]) -> bytes:
        """What may be passed on now. ``look(kind, payload)`` is called for each whole message of these kinds.

        ValueError: these are no messages.
        """
        data = self._held + data
        self._held = b""
        pos, size = min(self._skip, len(data)), len(data)
        self._skip -= pos
        while pos < size:
            if data[pos] == COPY_DATA:
                pos = run_end(data, pos, COPY_DATA)
                if pos == size:
                    break
            if size - pos < 5:
                self._held = data[pos:]
                break
            end = pos + 1 + int.from_bytes(data[pos + 1 : pos + 5], "big")
            if end < pos + 5 or end - pos - 1 > MESSAGE_MAX:
                raise ValueError("malformed message")
            if data[pos] in kinds:
                if end > size and end - pos <= LOOKED_AT_MAX:
                    self._held = data[pos:]
                    break
                look(data[pos], data[pos + 5 : end] if end <= size else None)
            if end > size:
                self._skip = end - size
            pos = end
        return data[: size - len(self._held)]
