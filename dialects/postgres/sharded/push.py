"""A write whose rows are changed where they live: the text runs on each shard, counts are summed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardproxy.planner.plan import Push

from .output import Output
from .statement import Statement
from .writing import Teller, clocks_of, deliver, fill, foreign_text, tag_of, writers

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["run_push"]


async def run_push(tx: Transaction, plan: Push, statement: Statement, out: Output) -> None:
    """Carry it out. With one shard the text runs as it came, unless the plan has its own."""
    places = statement.shards(plan.filter)
    if not places:                                  # no row can match: any shard says so in the right words
        places = list(statement.layout.keyspaces[plan.filter.keyspace].places()[:1])
    if plan.text is None or (
            len(places) == 1 and not statement.one_clock and not plan.own):
        text, same = statement.text, True
    else:
        text, same = fill(plan.text, await clocks_of(tx, places[0], [plan.text])), False
    legs = await writers(tx, places, statement)
    teller = Teller(tx, statement, out)
    results = [leg.rows(text, statement.bind, statement.formats) for leg in legs]
    if same:
        count = await deliver(results, out, teller)
    else:
        with foreign_text():
            count = await deliver(results, out, teller)
    out.complete(tag_of(plan.kind, count))
