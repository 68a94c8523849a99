"""Patroni's REST interface as a hint: who does the cluster manager take for the leader?

Invariant: a hint makes servers be checked, and decides between two that are both writable. It never makes a primary
of a server that is not writable.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from shardproxy.dialects.replication import Target

__all__ = ["Patroni", "leader_of"]

_LEADERS = ("leader", "master", "primary", "standby_leader")


class Patroni:
    """Asks until one of the URLs answers; ``leader`` is the number of the server it names."""

    def __init__(self, urls: Sequence[str], targets: Callable[[], Sequence[Target]], interval: float, timeout: float,
                 changed: Callable[[], None]) -> None:
        self.leader: int | None = None
        self._urls, self._targets, self._interval, self._timeout = urls, targets, interval, timeout
        self._changed = changed

    async def run(self) -> None:
        """For as long as the group lives."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout)) as session:
            while True:
                place = await self._ask(session)
                leader = None if place is None else await self._number(*place)
                if leader != self.leader:
                    self.leader = leader
                    self._changed()
                await asyncio.sleep(self._interval)

    async def _ask(self, session: aiohttp.ClientSession) -> tuple[str, int] | None:
        for url in self._urls:
            try:
                async with session.get(url.rstrip("/") + "/cluster") as answer:
                    if answer.status == 200 and (place := leader_of(await answer.json(content_type=None))):
                        return place
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                continue
        return None

    async def _number(self, host: str, port: int) -> int | None:
        """The server at this address, by name or by what the name means."""
        targets = [(number, target) for number, target in enumerate(self._targets()) if target.port == port]
        for number, target in targets:
            if target.host == host:
                return number
        wanted = await _addresses(host, port)
        for number, target in targets:
            if target.host and wanted & await _addresses(target.host, port):
                return number
        return None


def leader_of(cluster: Any) -> tuple[str, int] | None:
    """Host and port of the running leader in an answer of ``GET /cluster``."""
    members = cluster.get("members") if isinstance(cluster, dict) else None
    for member in members if isinstance(members, list) else ():
        if (isinstance(member, dict) and member.get("role") in _LEADERS and member.get("state") == "running"
                and isinstance(member.get("host"), str) and isinstance(member.get("port"), int)):
            return member["host"], member["port"]
    return None


async def _addresses(host: str, port: int) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(entry[4][0]) for entry in found}
