"""What a statement's parameters and rows are: asked of the coordinator, whose shells have every column and type.

Invariant: an answer is used only while the catalog and the session's search path are those it was given under.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from shardproxy.dialects.postgres import wire

from .overlay import see

__all__ = ["Described", "describe"]

KNOWN_MAX = 1000
TEXT_MAX = 64 * 1024
LASTING = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
"""What these say depends on nothing but the catalog; FETCH and EXECUTE name things of the session."""
PARAMETERS, ROWS = 0x74, 0x54


@dataclass(frozen=True, slots=True)
class Described:
    """``types``: of the parameters; ``rows``: RowDescription in text format, or None."""

    types: tuple[int, ...]
    rows: bytes | None

    def parameters(self) -> bytes:
        """ParameterDescription."""
        return wire.message(b"t", struct.pack(f"!H{len(self.types)}I", len(self.types), *self.types))


async def describe(session: Any, text: bytes, types: tuple[int, ...], route: Any) -> Described:
    """Ask, or remember. Raises PgError as PostgreSQL would at Parse."""
    await see(session)
    known: OrderedDict[Any, Described] = session.places.sharding.described
    key = (text, types, session.search_path, session.link.router.generation)
    found = known.get(key)
    if found is not None:
        known.move_to_end(key)
        return found
    found = await _ask(session, text, types)
    if len(text) <= TEXT_MAX and (route is None or route.kind in LASTING):    # None: a query
        known[key] = found
    if len(known) > KNOWN_MAX:
        known.popitem(last=False)
    return found


async def _ask(session: Any, text: bytes, types: tuple[int, ...]) -> Described:
    body = text + b"\0" + struct.pack(f"!H{len(types)}I", len(types), *types)
    leg = await session.tx.leg("")
    reply = leg.exchange(wire.parse(b"", body) + wire.message(b"D", b"S\0") + wire.SYNC)
    found: tuple[int, ...] = ()
    rows: bytes | None = None
    while (item := await reply.next()) is not None:
        kind, payload = item
        if kind == PARAMETERS:
            (count,) = struct.unpack_from("!H", payload)
            found = struct.unpack_from(f"!{count}I", payload, 2)
        elif kind == ROWS:
            rows = payload
    return Described(found, rows)
