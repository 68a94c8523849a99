"""What a client is told when its server connection is lost, by what had been sent and what had been answered.

    nothing sent in a transaction block, or no COMMIT sent      40001: certainly rolled back, may be tried again
    COMMIT, an autocommit write, a COPY's end or a Sync sent    08007: unknown, must not be tried again blindly
    a read of which something was delivered                     08006
    the session's own state was on that connection              FATAL: the session is over

Invariant: a retryable code is given only when nothing can have been committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shardproxy.router import flags as f

from . import process_ids, wire

__all__ = ["tell"]

SHUTDOWN = frozenset({"57P01", "57P02", "57P03"})
IDLE_STATUS = 0x49


def tell(server: Any, link: Any, fields: Mapping[str, str] | None, why: str) -> None:
    """Tell the client of ``link`` and leave it without a server connection (or closed)."""
    in_flight = server.awaiting > 0 or server.open_cycle or server.copying_in
    in_block = server.status != IDLE_STATUS
    owed, open_cycle = server.awaiting, server.open_cycle or (server.copying_in and server.extended)
    if server.quiet:  # a Sync of ours: the client's own is still to come
        server.quiet, owed, open_cycle = False, owed - 1, True
    pinned = server.pins is not None or link.session_mode
    link.server = None
    link.write_pool = None
    server.client = server.owner = None
    code = fields.get("C", "") if fields else ""
    if server.mid_message():
        link.session.leave()  # half a message was passed on: nothing sensible can follow
        link.close()
        return
    meant = bool(server.flags & f.TERMINATE) or process_ids.aimed_at(link.session)
    if (fields and code not in SHUTDOWN) or meant or (not in_flight and not in_block):
        link.session.verbatim(fields or {"C": "57P01", "M": f"terminating connection: {why}"})
        return
    sqlstate, text, hint = _verdict(server, in_block, in_flight, owed)
    answer = wire.error(sqlstate, f"{text} ({why})", hint=hint)
    if not in_flight and not pinned:  # nothing is asked now: the next batch gets the answer
        link.pending_error = answer
        link.busy = link.session.carrying_out   # what is being carried out elsewhere ends first
        return
    link.write(answer)
    if pinned:
        link.session.fatal("57P01", "the server connection that held this session's state was lost")
        return
    _resynchronise(link, owed, open_cycle, answer)


def _verdict(server: Any, in_block: bool, in_flight: bool, owed: int) -> tuple[str, str, str]:
    if server.flags & f.COMMIT and in_flight:
        return ("08007", "the connection to the server was lost while COMMIT was in progress: its outcome is unknown",
                "find out whether the transaction was committed before you repeat it")  # fmt: skip
    if in_block:
        return (
            "40001",
            "the connection to the server was lost: the transaction was rolled back",
            "repeat the transaction",
        )
    if not server.wrote and server.flags & f.BEGIN:
        return "40001", "the connection to the server was lost before the transaction began", "repeat the transaction"
    if not server.wrote:
        return "08006", "the connection to the server was lost while a read was in progress", "repeat the statement"
    if owed == 0:
        return (
            "40001",
            "the connection to the server was lost before the commit: nothing was changed",
            "repeat the statements",
        )
    return ("08007", "the connection to the server was lost while a statement was in progress: its outcome is unknown",
            "find out whether it took effect before you repeat it")  # fmt: skip


def _resynchronise(link: Any, owed: int, open_cycle: bool, answer: bytes) -> None:
    """Give the client every ReadyForQuery that it still expects."""
    for number in range(owed):
        if number > 0:
            link.write(answer)
        link.write(wire.ready())
    link.busy = False
    if open_cycle or owed == 0:
        link.skip_batch(True)
    else:
        link.session.database.soon(link.resume)
