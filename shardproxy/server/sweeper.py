"""All that happens by the clock in a worker: timeouts of clients, waits and server connections.

Invariant: one pass costs time in proportion to what is open, sends nothing itself, and runs a few times a second, so a
timeout may come up to a quarter of a second late and never early.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shardproxy.log import get_logger

__all__ = ["sweep", "sweep_forever"]

_log = get_logger(__name__)
PERIOD_S = 0.25


async def sweep_forever(worker: Any) -> None:
    """Until the worker ends."""
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            sweep(worker)
        except Exception as error:
            _log.error("sweep failed", exc_info=error)


def sweep(worker: Any) -> None:
    """One pass."""
    now = time.monotonic_ns()
    for database in list(worker.databases.values()):
        _held(database, now)
        for pool in list(database.pools.values()):
            _waiting(worker, database, pool, now)
            limits = worker.config.pool_for(database.entry, pool.key[2])
            pool.expire(now, worker.config.pool.server_idle_timeout, limits.server_lifetime, limits.min_size)
        if _timed(worker.config.pool):
            for session in list(database.sessions):
                _client(worker.config.pool, session, now)


def _timed(pool: Any) -> bool:
    """Whether any timeout of clients is set: with ten thousand idle ones a pass over them is not free."""
    return bool(
        pool.client_idle_timeout
        or pool.query_timeout
        or pool.idle_transaction_timeout
        or pool.transaction_timeout
    )


def _held(database: Any, now: int) -> None:
    for session in list(database.held):
        if now - session.hold_since_ns > database.entry.failover_hold * 1e9:
            database.held.discard(session)
            code, what = ("08006", "shard") if database.parent is not None else ("57P03", "database")
            session.fail(code, f'{what} "{database.name}" has no primary at the moment',
                         hint="The statement has not been sent. It waited for failover_hold.")  # fmt: skip


def _waiting(worker: Any, database: Any, pool: Any, now: int) -> None:
    if not pool.waiters:
        return
    patience = worker.config.pool_for(database.entry, pool.key[2]).query_wait_timeout
    hold = database.entry.failover_hold
    for client in list(pool.waiters):
        since = getattr(client, "requested_ns", 0)
        if not since:
            continue  # a login, which has its own patience
        if pool.failing_since and not pool.links and now - since > hold * 1e9:
            pool.leave(client)
            client.refused("57P03", f"server {pool.key[1]} is not reachable",
                           "The statement has not been sent. It waited for failover_hold.")  # fmt: skip
        elif patience and now - since > patience * 1e9:
            pool.leave(client)
            client.refused("53300", "no server connection became free within query_wait_timeout",
                           "Raise pool.size, or look at SHOW POOLS and SHOW TRANSACTIONS.")  # fmt: skip


def _client(pool: Any, session: Any, now: int) -> None:
    link, server = session.link, session.link.server
    if server is None:
        if (
            pool.client_idle_timeout
            and not link.busy
            and now - max(link.requested_ns, link.connected_ns) > pool.client_idle_timeout * 1e9
        ):
            session.fatal("57P05", "terminating connection due to client_idle_timeout")
        return
    waiting = server.awaiting > 0 or server.open_cycle
    since = now - server.started_ns
    if waiting and pool.query_timeout and since > pool.query_timeout * 1e9 and not session.timed_out:
        session.timed_out = True
        session.database.cancel(server)
    elif not waiting:
        session.timed_out = False
    in_block = server.status != 0x49
    if (
        in_block
        and not waiting
        and pool.idle_transaction_timeout
        and since > pool.idle_transaction_timeout * 1e9
    ):
        session.fatal("25P03", "terminating connection due to idle_transaction_timeout")
    elif (
        (in_block or waiting)
        and pool.transaction_timeout
        and now - server.linked_ns > pool.transaction_timeout * 1e9
    ):
        session.fatal("25P04", "terminating connection due to transaction_timeout")
