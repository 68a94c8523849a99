"""What the configuration allows one statement and one transaction: how many shards, how many servers to write to.

Invariant: what is not allowed is refused by the statement that would do it, before anything of it was sent to the
server that is one too many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from .errors import PgError, refused

__all__ = ["check_fanout", "check_writer", "may_fan_out"]


def check_fanout(tx: Any, places: Iterable[str]) -> None:
    """The statement in hand is about to use these places, besides those that it uses already. Raises 54000."""
    if tx.fanout_max:
        tx.fanout.update(place for place in places if place)
        may_fan_out(tx.fanout, tx.fanout_max)


def may_fan_out(places: Collection[str], max_fanout: int) -> None:
    """Raises 54000 for more shards than ``max_fanout`` (0: any number)."""
    if max_fanout and len(places) > max_fanout:
        raise refused(f"the statement would run on {len(places)} shards, more than max_fanout = {max_fanout}",
                      "Name the sharding key in the WHERE clause, or raise max_fanout.", "54000")


def check_writer(tx: Any, leg: Any) -> None:
    """A leg is about to be written for the first time. Raises 0A000 if another one was, and two are not allowed."""
    entry = tx.database.entry
    if getattr(entry, "transactions", "") != "refuse" or not (tx.in_block or tx.atomic):
        return
    others = [one.place for one in tx.legs.values() if one.wrote and one is not leg]
    home = tx.home
    if home is not None and home.wrote and "" not in tx.legs and leg.server is not home:
        others.append("")                   # through the relay
    if others:
        raise PgError.of("0A000", "transactions that write to several servers are refused",
                         detail=f"This one has written to {others[0] or 'the coordinator'}, and the statement would "
                                f"write to {leg.place or 'the coordinator'}.",
                         hint=f'It is so set: transactions = "refuse" of database {tx.database.name}.')
