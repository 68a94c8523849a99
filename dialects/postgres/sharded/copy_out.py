"""COPY ... TO STDOUT of sharded tables: what the shards send, one behind the other, as it comes.

Invariant: the client gets one header and one trailer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shardproxy.dialects.postgres import wire
from shardproxy.planner.plan import CopyOut, Gather

from .errors import PgError, refused
from .insert_from import begun_here
from .legs import Leg, payloads
from .output import Output
from .staging import Bounds, Staging
from .statement import Statement
from .writing import count_of, fill, foreign_text

if TYPE_CHECKING:
    from .stream import Reply
    from .transaction import Transaction

__all__ = ["run_copy_out"]

COPY_OUT, COPY_DATA, COMPLETE = 0x48, 0x64, 0x43
BINARY_HEADER = 19
TRAILER = b"\xff\xff"


async def run_copy_out(tx: Transaction, plan: CopyOut, statement: Statement, out: Output) -> None:
    """Carry it out."""
    if plan.query is not None:
        await _gathered(tx, plan, plan.query, statement, out)
        return
    if plan.filter is None:
        raise refused("COPY of a table without shards")
    legs = await tx.all(statement.shards(plan.filter))
    replies = [leg.exchange(wire.query(plan.rest if number else plan.text)) for number, leg in enumerate(legs)]
    try:
        with foreign_text():
            count = await _pass(replies, plan.binary, out)
    except BaseException:
        for leg in legs:
            leg.cancel()
        raise
    out.complete(f"COPY {count}")


async def _gathered(tx: Transaction, plan: CopyOut, query: Gather, statement: Statement, out: Output) -> None:
    """COPY of a query: one shard copies it as it came, or the coordinator copies what was gathered."""
    places = statement.shards(plan.filter) if plan.filter is not None else []
    if len(places) == 1:
        leg = await tx.leg(places[0])
        out.complete(f"COPY {await _pass([leg.exchange(wire.query(plan.text or statement.text))], False, out)}")
        return
    own = not (tx.in_block or tx.atomic)
    leg = await begun_here(tx)
    bounds = tx.database.entry.gather
    staging = Staging(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes))
    tables = await staging.pull(query.pulls)
    text = fill(query.text, {number: table.name.encode() for number, table in enumerate(tables)})
    with foreign_text():
        count = await _pass([leg.exchange(wire.query(text))], False, out)
    await _over(leg, staging, own)
    out.complete(f"COPY {count}")


async def _over(leg: Leg, staging: Staging, own: bool) -> None:
    if own:
        await leg.command("COMMIT")
        leg.in_block = leg.temporary = False
    else:
        await staging.drop()


async def _pass(replies: Sequence[Reply], binary: bool, out: Output) -> int:
    """The data of all replies in order; gives the number of rows."""
    count = 0
    for number, reply in enumerate(replies):
        first = True
        while (item := await reply.next()) is not None:
            kind, data = item
            if kind == COPY_OUT and not number:
                out.message(wire.message(b"H", data))
            elif kind == COPY_DATA:
                if binary:
                    data = _inner(data, first, bool(number))
                    first = False
                out.message(data)
                await out.drain()
            elif kind == COMPLETE:
                count += count_of(data.rstrip(b"\0").decode())
    if binary:
        out.message(wire.message(b"d", TRAILER))
    out.message(wire.message(b"c", b""))
    return count


def _inner(run: bytes, first: bool, later: bool) -> bytes:
    """CopyData messages in binary format without the trailer, and without the header of all shards but one."""
    found = []
    for number, payload in enumerate(payloads(run)):
        if first and number == 0:
            if len(payload) < BINARY_HEADER:
                raise PgError.of("08P01", "a shard sent no header of COPY in binary format")
            trailer = payload[BINARY_HEADER:] == TRAILER
            payload = payload[:BINARY_HEADER if trailer else len(payload)][BINARY_HEADER if later else 0:]
        elif payload == TRAILER:
            continue
        if payload:
            found.append(wire.message(b"d", payload))
    return b"".join(found)
