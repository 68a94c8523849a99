"""The client's side of COPY FROM STDIN, read by a statement that is being carried out.

Invariant: everything up to CopyDone or CopyFail is taken from the client's inbox, nothing behind it; reading pauses
while nobody takes the data.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from shardproxy.dialects.postgres import wire

from .errors import PgError

__all__ = ["client_copy", "copy_in_response"]

COPY_DATA, COPY_DONE, COPY_FAIL, FLUSH, SYNC, TERMINATE = 0x64, 0x63, 0x66, 0x48, 0x53, 0x58


def copy_in_response(columns: int, binary: bool) -> bytes:
    """CopyInResponse: all columns in one format."""
    form = (1 if binary else 0).to_bytes(2, "big")
    return wire.message(b"G", form[1:] + columns.to_bytes(2, "big") + form * columns)


async def client_copy(session: Any) -> AsyncIterator[bytes]:
    """The payloads of CopyData. PgError 57014 if the client gives up."""
    link = session.link
    while True:
        kind, payload = await _next(link)
        if kind == COPY_DATA:
            yield payload
        elif kind == COPY_DONE:
            return
        elif kind == COPY_FAIL:
            why = payload.rstrip(b"\0").decode("utf-8", "replace")
            raise PgError.of("57014", f"COPY from stdin failed: {why}")
        elif kind == TERMINATE:
            raise ConnectionError("the client has left in the middle of a COPY")
        elif kind not in (FLUSH, SYNC):
            raise PgError.of("08P01", f"unexpected message type 0x{kind:02X} during COPY from stdin")


async def _next(link: Any) -> tuple[int, bytes]:
    """The next message from the inbox, waiting for it."""
    while True:
        inbox = link.inbox
        if len(inbox) >= 5:
            size = int.from_bytes(inbox[1:5], "big") + 1
            if size < 5:
                raise PgError.of("08P01", "invalid message length")
            if len(inbox) >= size:
                kind, payload = inbox[0], bytes(inbox[5:size])
                del inbox[:size]
                return kind, payload
        await _more(link)


async def _more(link: Any) -> None:
    if link.closed:
        raise ConnectionError("the client has left in the middle of a COPY")
    arrived = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not arrived.done():
            arrived.set_result(None)

    link.taker = wake
    link.resume_reading()
    try:
        await arrived
    finally:
        link.taker = None
