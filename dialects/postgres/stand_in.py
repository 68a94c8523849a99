"""Signals to clients: the server process that a client's id means at this moment, here or in another worker.

A client that has no server connection now gets one that stands in for it while the signal is on its way: what becomes
of the stand-in becomes of the client. A connection that was named to somebody who sends signals serves nobody else
until the signal is sent.

Invariant: whoever holds a connection for a signal gives it up within ``HELD_S``, also if nobody says that it is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from shardproxy.errors import ControlError

from . import internal, wire

__all__ = ["STAND_IN_S", "Elsewhere", "StandIn", "aim_at", "unaimed"]

STAND_IN_S = 0.5
"""How long a connection stands in for a client, which waits meanwhile: a signal arrives within milliseconds."""

WAIT_S = 2.0
"""How long a statement waits for a stand-in when the pool is full; then the id means nobody, as on the server."""

HELD_S = 20.0
SLEEP = wire.query(b"SELECT pg_catalog.pg_sleep(2)")
"""What a stand-in of a client does whose statement runs at other servers: cancelling this cancels that."""
ASLEEP_S = 0.1
"""A signal that came before it sleeps would be lost."""
CANCELLED = "57014"


def unaimed(asking: Any) -> bool:
    """Whether the statement that signals, on this connection, has been sent and answered."""
    return asking is None or not (asking.awaiting > 0 or asking.open_cycle)


class StandIn:
    """Waits for a server connection as a client does; then stands in for ``target`` until ``over``."""

    closed = False
    settings = None

    def __init__(self, target: Any, done: Callable[[Any], None], over: Callable[[], bool]) -> None:
        """``done`` gets the connection, or None."""
        self.target, self.done, self.over = target, done, over
        self.loop = asyncio.get_running_loop()
        self.until = self.loop.time() + HELD_S
        self.pool = target.session.database.write_pool(target.session)
        self.timer = self.loop.call_later(WAIT_S if self.pool is not None else 0, self.elsewhere)
        server = self.pool.acquire(self) if self.pool is not None else None
        if server is not None:
            self.loop.call_soon(self.granted, server)

    def granted(self, server: Any) -> None:
        self.timer.cancel()
        self.server = server
        self.target.session.stand_in = server
        self.holds = not self.target.busy
        self.target.busy = True
        server.borrower = self.loop.create_future()
        server.borrower.add_done_callback(self._ended)
        self.loop.call_later(STAND_IN_S, self._give_back, server.borrower)
        if self.target.session.carrying_out:
            internal.run(server, SLEEP, self._slept)
            self.loop.call_later(ASLEEP_S, self.done, server)
        else:
            self.done(server)

    def refused(self, sqlstate: str, message: str, hint: str = "") -> None:
        self.elsewhere()

    def elsewhere(self) -> None:
        """There is none."""
        self.timer.cancel()
        if self.pool is not None:
            self.pool.leave(self)
        self.done(None)

    def _slept(self, server: Any, result: internal.Result) -> None:
        if result.error is not None and result.error.get("C") == CANCELLED and not self.target.closed:
            self.target.session.cancel_running()

    def _give_back(self, borrower: asyncio.Future[None]) -> None:
        if borrower.done():
            return
        if self.server.collector is not None or not (self.over() or self.loop.time() > self.until):
            self.loop.call_later(STAND_IN_S, self._give_back, borrower)
        else:
            borrower.set_result(None)

    def _ended(self, borrower: asyncio.Future[None]) -> None:
        server, session = self.server, self.target.session
        server.borrower = None
        session.stand_in = None
        if borrower.exception() is None:
            server.pool.release(server)
        elif server.fatal_fields and not self.target.closed:
            session.verbatim(server.fatal_fields)
            return
        if self.holds and not self.target.closed:
            self.target.busy = False
            self.target.resume()


class _Aimed:
    """A client of this worker that another worker's client is about to signal. ``sent``: it has been."""

    def __init__(self) -> None:
        self.sent = False

    def hold(self, server: Any) -> None:
        """A connection in use is nobody else's until then."""
        loop = asyncio.get_running_loop()
        server.cancels += 1
        until = loop.time() + HELD_S

        def look() -> None:
            if not self.sent and loop.time() < until:
                loop.call_later(STAND_IN_S, look)
                return
            server.cancels -= 1
            if server.parked and not server.cancels and not server.closed:
                server.parked = False
                server.pool.release(server)

        look()


async def aim_at(link: Any) -> tuple[Any, Any] | None:
    """For another worker: the connection that serves this client, or stands in for it, and what is told when the
    signal is sent. None: there is none."""
    session, aimed = link.session, _Aimed()
    session.aimed_ns = time.monotonic_ns()
    server = link.server or session.stand_in
    if server is not None and not server.closed and not session.carrying_out:
        aimed.hold(server)
        return server, aimed
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    StandIn(link, found.set_result, lambda: aimed.sent)
    server = await found
    return None if server is None else (server, aimed)


class Elsewhere:
    """Asks the other workers whose client an id is, while the session's link waits; then ``session.found`` has it."""

    def __init__(self, session: Any, number: int) -> None:
        self.session, self.number = session, number
        self.worker = session.database.worker
        session.link.busy = True
        self.worker.task(self._ask())

    async def _ask(self) -> None:
        try:
            answer = await self.worker.aim_elsewhere(self.number)
        except ControlError:
            answer = None
        session, link = self.session, self.session.link
        process = self.number
        asking = link.server
        if answer is not None and asking is not None and list(answer[1]) == [str(one) for one in asking.address]:
            process = int(answer[0])
        session.found[self.number] = process
        if answer is not None:
            self.worker.loop.call_later(STAND_IN_S, self._sent)
        if not link.closed:
            link.busy = False
            link.resume()

    def _sent(self) -> None:
        if self.session.link.closed or unaimed(self.session.link.server):
            self.worker.signal_sent(self.number)
        else:
            self.worker.loop.call_later(STAND_IN_S, self._sent)
