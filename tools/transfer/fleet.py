"""All proxies of a database, seen from the tool that moves its tables: who lives, who holds, who knows the new layout.

Invariant: nobody is waited for longer than the lease that he may rely on; who lost it holds the tables by himself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardproxy.server.transfers import CHANNEL, make_tables

from .move import Table
from .parts import NotNow

__all__ = ["Fleet"]

POLL_S = 0.004
STALE_S = 60.0

_ANNOUNCE = """
insert into shardproxy.holds (transfer, tables, phase, body) values ($1, $2, 'announced', $3)
on conflict (transfer) do update set tables = excluded.tables where holds.phase in ('announced', 'switched')
"""
_PROXIES = """
select id, epoch, holding, lease_until > clock_timestamp() as alive,
       lease_until > clock_timestamp() - make_interval(secs => $1) as fresh from shardproxy.proxies
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A proxy. ``drained``: transfers whose tables it holds; ``seen``: those that it knows of."""

    id: str
    epoch: int
    alive: bool
    fresh: bool
    drained: frozenset[str]
    seen: frozenset[str]


class Fleet:
    """Through a connection to the coordinator's primary, in autocommit."""

    def __init__(self, connection: Any, transfer: str) -> None:
        self._connection, self._transfer = connection, transfer

    async def members(self) -> list[Member]:
        """All that ever took part and did not leave."""
        rows = await self._connection.fetch(_PROXIES, STALE_S)
        return [Member(row["id"], row["epoch"], row["alive"], row["fresh"], frozenset(state["drained"]),
                       frozenset(state["seen"])) for row in rows for state in [json.loads(row["holding"])]]

    async def announce(self, tables: Sequence[Table], tool: str) -> None:
        """These tables are in transfer: a proxy that loses its lease leaves them alone from now on, and DDL on them is
        refused."""
        await make_tables(self._connection)
        await self._connection.execute(_ANNOUNCE, self._transfer, json.dumps([list(table) for table in tables]),
                                       json.dumps({"tool": tool}))
        await self.notify()

    async def notify(self) -> None:
        """Wake all proxies."""
        await self._connection.execute(f"notify {CHANNEL}")

    async def all_know(self, seconds: float) -> None:
        """Until every proxy knows of the transfer. NotNow: not in time."""
        await self._until(lambda one: self._transfer in one.seen, seconds, "know of the transfer")
        lost = [one.id for one in await self.members() if one.fresh and not one.alive and
                self._transfer not in one.seen]
        if lost:
            raise NotNow(f"proxy {lost[0]} has lost sight of the coordinator a moment ago: wait until it is back, or "
                         f"has been away for {STALE_S:g} s")

    async def all_hold(self, seconds: float) -> None:
        """Until every proxy holds the tables, and nothing is under way on them through any. NotNow."""
        await self._until(lambda one: self._transfer in one.drained, seconds,
                          "hold the tables: a transaction of a client does not end")

    async def all_routed(self, epoch: int, seconds: float) -> None:
        """Until every proxy routes by this layout. NotNow."""
        await self._until(lambda one: one.epoch >= epoch and self._transfer not in one.drained, seconds,
                          "know the new layout")

    async def _until(self, done: Any, seconds: float, what: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            late = [one for one in await self.members() if one.alive and not done(one)]
            if not late:
                return
            if loop.time() > deadline:
                raise NotNow(f"{len(late)} of the proxies did not {what} in time")
            await asyncio.sleep(POLL_S)
