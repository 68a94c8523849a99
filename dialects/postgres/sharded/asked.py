"""A batch that asks for one statement and nothing else: what it runs, and what is said before its rows.

Invariant: None is given for every batch of another shape, and where the coordinator has not yet said what the
statement's parameters and columns are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from shardproxy.dialects.postgres import wire

from .legs import NO_BIND, Bind
from .messages import read_bind, read_execute, read_named, read_parse, with_formats

__all__ = ["Asked", "read_batch"]

QUERY, PARSE, BIND, DESCRIBE, EXECUTE, SYNC = 0x51, 0x50, 0x42, 0x44, 0x45, 0x53
PORTAL = 0x50
SHAPES = frozenset({(BIND, EXECUTE, SYNC), (BIND, DESCRIBE, EXECUTE, SYNC), (PARSE, BIND, EXECUTE, SYNC),
                    (PARSE, BIND, DESCRIBE, EXECUTE, SYNC)})
BATCH_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """``prelude``: what is answered before rows; ``described``: the RowDescription in force, None if the rows' own is
    to be sent. ``parsed``: body of the unnamed statement that it prepares."""

    text: bytes
    route: Any
    bind: Bind = NO_BIND
    formats: tuple[int, ...] = ()
    simple: bool = True
    prelude: bytes = b""
    described: bytes | None = None
    parsed: bytes | None = None

    def applied(self, link: Any) -> None:
        """What it leaves of the client's unnamed statement."""
        if self.simple:
            link.unnamed = link.unnamed_route = None
        elif self.parsed is not None:
            link.unnamed, link.unnamed_route = self.parsed, self.route
            link.unnamed_serial = time.monotonic_ns()


def read_batch(session: Any, batch: bytes) -> Asked | None:
    """What a batch asks for. Raises PgError if a message is malformed."""
    link = session.link
    if batch[0] == QUERY:
        if len(link.routes) != 1:
            return None
        text = batch[5:-1]
        return Asked(text, link.router.route(text))
    if len(batch) > BATCH_MAX:
        return None
    messages = wire.split(batch)[0]
    if tuple(kind for kind, _ in messages) not in SHAPES:
        return None
    return _extended(session, messages)


def _extended(session: Any, messages: list[tuple[int, bytes]]) -> Asked | None:
    payloads = dict(messages)
    message = read_bind(payloads[BIND])
    if message.portal or read_execute(payloads[EXECUTE]) != (b"", 0):
        return None
    describes = DESCRIBE in payloads
    if describes and read_named(payloads[DESCRIBE]) != (PORTAL, b""):
        return None
    parsed = read_parse(payloads[PARSE]) if PARSE in payloads else None
    if parsed is not None and (parsed.name or message.statement):
        return None
    if parsed is not None:
        text, types, route = parsed.text, parsed.types, session.link.router.route(parsed.text)
    else:
        prepared = session.runner.prepared(message.statement)
        text, types, route = prepared.text, prepared.types, prepared.route
    known = session.places.sharding.described.get((text, types, session.search_path, session.link.router.generation))
    if known is None or known.rows is None or len(known.types) != len(message.values):
        return None
    rows = with_formats(known.rows, message.results)
    prelude = (wire.PARSE_COMPLETE if parsed is not None else b"") + wire.BIND_COMPLETE
    if describes:
        prelude += wire.message(b"T", rows)
    return Asked(text, route, Bind(known.types, message.formats, message.values), message.results, False, prelude, rows,
                 None if parsed is None else parsed.body)
