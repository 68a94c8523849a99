"""Process ids as clients know them: each client has one of its own, which no server process has.

A client learns its id at login (BackendKeyData), sees it in notifications, and hands it to ``pg_terminate_backend``
and ``pg_cancel_backend``. There it is replaced by the id of the process that serves that client at this moment; for a
client that has no server connection now, one is taken from the pool to stand in for it, and what becomes of the
stand-in becomes of the client. Whether it is allowed is thus decided by the server.

Invariant: an id is replaced only by that of a process on the server where the statement runs.
"""

from __future__ import annotations

import re
import time
from typing import Any

from . import wire
from .stand_in import STAND_IN_S, Elsewhere, StandIn, unaimed

__all__ = ["aimed_at", "in_bind", "in_text", "notification", "own_id", "vacate"]

NUMBER = re.compile(rb"\b\d{3,10}\b")
OWN_ID = re.compile(
    rb"\s*select\s+(?:pg_catalog\s*\.\s*)?pg_backend_pid\s*\(\s*\)\s*(?:(?:as\s+)?(\w+|\"[^\"]+\"))?\s*;?\s*",
    re.IGNORECASE,
)
WORDS, WORDS_MAX = re.compile(rb"[^\s\"';,()=]+"), 50
OF_DATABASE = re.compile(rb"\b(?:drop|alter|create)\s+database\b", re.IGNORECASE)


def in_text(session: Any, sql: bytes) -> bytes | None:
    """A statement that signals processes, with servers' ids in place of clients'. None: the session's link waits."""
    session.database.events.signalled_ns = time.monotonic_ns()
    waits = False

    def replaced(match: re.Match[bytes]) -> bytes:
        nonlocal waits
        pid = _process_of(session, int(match[0])) if not waits else 0
        waits = waits or pid is None
        return match[0] if pid is None else b"%d" % pid

    text = NUMBER.sub(replaced, sql)
    return None if waits else text


def in_bind(session: Any, payload: bytes, name: bytes) -> bytes | None:
    """The same for the parameters of such a statement: a Bind of the statement that the server calls ``name``."""
    session.database.events.signalled_ns = time.monotonic_ns()
    portal, _, rest = payload.split(b"\0", 2)
    parameters = _parameters(session, rest)
    return None if parameters is None else wire.message(b"B", portal + b"\0" + name + b"\0" + parameters)


def _parameters(session: Any, rest: bytes) -> bytes | None:
    count = int.from_bytes(rest[:2], "big")
    formats = [int.from_bytes(rest[i : i + 2], "big") for i in range(2, 2 + 2 * count, 2)]
    position = 2 + 2 * count
    values = int.from_bytes(rest[position : position + 2], "big")
    position += 2
    out = [rest[:position]]
    for index in range(values):
        size = int.from_bytes(rest[position : position + 4], "big", signed=True)
        position += 4
        value = rest[position : position + max(0, size)]
        position += len(value)
        binary = bool(formats[index if count > 1 else 0]) if count else False
        changed = _value(session, value, binary)
        if changed is None:
            return None
        out += [(len(changed) if size >= 0 else -1).to_bytes(4, "big", signed=True), changed]
    return b"".join([*out, rest[position:]])


def _value(session: Any, value: bytes, binary: bool) -> bytes | None:
    if binary and len(value) in (4, 8):
        pid = _process_of(session, int.from_bytes(value, "big", signed=True))
        return None if pid is None else pid.to_bytes(len(value), "big", signed=True)
    if not binary and len(value) <= 10 and value.isdigit():
        pid = _process_of(session, int(value))
        return None if pid is None else b"%d" % pid
    return value


def _process_of(session: Any, number: int) -> int | None:
    """The process that serves the client with this id; the number itself if it is no client's; None: the link waits."""
    if number in session.unreachable:
        session.unreachable.discard(number)
        return number
    if number in session.found:
        return int(session.found.pop(number))
    target = _client(session, number)
    if target is None:
        if not session.database.worker.may_be_elsewhere(number):
            return number
        Elsewhere(session, number)
        return None
    target.session.aimed_ns = time.monotonic_ns()
    server = target.session.stand_in if target.session.carrying_out else target.server or target.session.stand_in
    if server is not None and not server.closed:
        return int(server.backend_pid) if server.address == session.link.server.address else number
    session.link.busy = True
    StandIn(target, lambda one: _stands_in(session, number, one), lambda: unaimed(session.link.server))
    return None


def _stands_in(session: Any, number: int, server: Any) -> None:
    """A connection stands in for the client with this id; None: there is none."""
    if server is None:
        session.unreachable.add(number)
    link = session.link
    if not link.closed:
        link.busy = False
        link.resume()


def _client(session: Any, number: int) -> Any:
    for (pid, _), link in session.database.worker.keys.items():
        if pid == number and link.session is not None and not link.closed:
            return link
    return None


def aimed_at(session: Any) -> bool:
    """Whether someone has just signalled this client's process, by the client's id or maybe by that of the process.

    A server that goes down ends its processes with the same words, but then nobody asked for it through us.
    """
    last = max(int(session.aimed_ns), int(session.database.events.signalled_ns))
    return time.monotonic_ns() - last < int(STAND_IN_S * 1e9)


def _known_as(database: Any, server: Any, pid: int) -> int:
    """The client's id for the process ``pid`` on the server of ``server``: whom it serves, or has served last."""
    for pool in database.pools.values():
        if pool.key[1] == server.pool.key[1]:
            for link in pool.links:
                if link.backend_pid == pid:
                    client = link.owner or database.worker.links.get(link.last_client)
                    return int(client.cancel_key[0]) if client is not None and client.cancel_key else pid
    return pid


def notification(database: Any, server: Any, payload: bytes) -> bytes:
    """A NotificationResponse as the client is to see it."""
    pid = _known_as(database, server, int.from_bytes(payload[:4], "big"))
    return wire.message(b"A", pid.to_bytes(4, "big") + payload[4:])


def own_id(link: Any, sql: bytes) -> bytes:
    """``SELECT pg_backend_pid()`` answers with the id that the client knows; elsewhere the function is the server's."""
    match = OWN_ID.fullmatch(sql)
    if match is None or link.cancel_key is None:
        return sql
    return b"SELECT %d AS %s" % (link.cancel_key[0], match[1] or b"pg_backend_pid")


def vacate(database: Any, sql: bytes) -> None:
    """A database is to be dropped, renamed or copied: none of our idle connections to it may be in the way.

    The server waits a few seconds for their processes to end.
    """
    if OF_DATABASE.search(sql):
        words = [word.decode("utf-8", "replace") for word in WORDS.findall(sql[:1000])]
        database.worker.vacate_everywhere([*words[:WORDS_MAX], "template1"])
