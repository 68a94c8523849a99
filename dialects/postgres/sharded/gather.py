"""Gather into the coordinator: rows of the shards go to temporary tables there, then it answers the statement itself.

Invariants:
* Outside a client's transaction everything on the coordinator is one transaction of its own, which drops the tables;
  in one they are dropped when the statement is over, or by its end.
* The answer is the coordinator's: values, types, scales, order and errors are those of the engine.
"""

from __future__ import annotations

from typing import Any

from shardproxy.planner.plan import Gather

from .columns import read_columns, write_columns
from .errors import PgError, refused
from .inline import inlined
from .legs import Leg
from .merge_cy import count_rows
from .output import Output
from .staging import Bounds, Staging
from .statement import Statement
from .writing import fill

__all__ = ["answer", "run_gather"]

GROUPING_ERROR = "42803"


async def run_gather(tx: Any, plan: Gather, statement: Statement, out: Output, keep: bool = False) -> None:
    """Carry out ``plan``. ``keep``: the tables stay until the client's transaction ends (a cursor reads them)."""
    leg: Leg = await tx.leg("", write=plan.writes)
    if plan.writes:
        tx.wrote(leg, statement.write_slots or (0,))
    own = not (tx.in_block or tx.atomic)
    bounds = tx.database.entry.gather
    staging = Staging(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes),
                      key=any(isinstance(part, bytes) and b"group" in part.lower() for part in plan.text))
    if own:
        await leg.command("BEGIN")
    elif (await leg.run("SHOW transaction_read_only"))[0][0] == b"on":
        out.complete(await _answer_inlined(leg, plan, staging, statement, out))
        return
    tables = await staging.pull(plan.pulls)
    text = fill(plan.text, {number: table.name.encode() for number, table in enumerate(tables)})
    tag = await answer(leg, text, statement, out)
    if own:
        await leg.command("COMMIT")
        leg.temporary = False
    elif not keep:
        await staging.drop()
    out.complete(tag)


async def _answer_inlined(leg: Leg, plan: Gather, staging: Staging, statement: Statement, out: Output) -> str:
    """In a READ ONLY transaction no table can be made: the rows go into the text."""
    text = await inlined(staging, plan)
    try:
        return await answer(leg, text, statement, out)
    except PgError as error:
        if error.sqlstate != GROUPING_ERROR:
            raise
        raise refused("GROUP BY of a key that other columns depend on, over several shards in a READ ONLY transaction",
                      "Name all columns in GROUP BY, or run it in a transaction that may write.") from None


async def answer(leg: Leg, text: bytes, statement: Statement, out: Output) -> str:
    """The client's statement over the temporary tables."""
    rows = leg.rows(text, statement.bind, statement.formats)
    try:
        description = await rows.described()
        if description is not None:
            out.description(_shown(description, statement))
        async for chunk in rows.chunks():
            out.rows(chunk, count_rows(chunk))
            await out.drain()
    except PgError as error:
        error.fields.pop("P", None)         # a position in a text that the client did not write
        raise
    except BaseException:
        await rows.close()
        raise
    return rows.tag


def _shown(description: bytes, statement: Statement) -> bytes:
    """A RowDescription that does not name the temporary tables."""
    columns = read_columns(description)
    return write_columns([column if statement.tables.by_oid(column.table) else column._replace(table=0, number=0)
                          for column in columns])
