"""A write to a reference table: the same at the coordinator and at every shard of its keyspace.

Invariant: the coordinator's copy is written first, so that two writers of one row wait for each other there and not in
a circle; if another copy answers otherwise, nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardproxy.planner.plan import Reference

from .insert_from import differing, statement_places
from .output import Output
from .statement import Statement
from .writing import clocks_of, deliver, fill, foreign_text, tag_of, writers

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["run_reference"]


async def run_reference(tx: Transaction, plan: Reference, statement: Statement, out: Output) -> None:
    """Carry it out; the answer is the coordinator's."""
    places = statement_places(statement, plan.keyspace)
    text = statement.text
    if plan.text is not None:
        text = fill(plan.text, await clocks_of(tx, "", [plan.text]))
    coordinator, *others = await writers(tx, places, statement)
    if plan.text is None:
        count = await deliver([coordinator.rows(text, statement.bind, statement.formats)], out)
    else:
        with foreign_text():
            count = await deliver([coordinator.rows(text, statement.bind, statement.formats)], out)
    results = [leg.rows(text, statement.bind, statement.formats) for leg in others]
    tag = tag_of(plan.kind, count)
    for leg, rows in zip(others, results, strict=True):
        if await rows.done() != tag:
            raise differing(leg.place)
    out.complete(tag)
