"""A new process takes the listening sockets over from a running one, so that no connection is refused in between.

    new                                         old
     |---- connects to the control socket ------>|
     |<--- listeners, and their sockets ---------|   (SCM_RIGHTS)
     |     starts its workers: both accept       |
     |---- serving ----------------------------->|   stops accepting, drains
     |---- cancel(pid, secret) ----------------->|   cancel requests for clients that the old one still has
     |<--- end of file --------------------------|   has exited

Invariants: the sockets are the same kernel objects in both, so what waits in their queues is lost by neither; if
the new one fails before "serving", the old one goes on as if nothing had happened; only the same user may connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardproxy.errors import ShardproxyError
from shardproxy.log import get_logger
from shardproxy.server.control import Endpoint, Handler
from shardproxy.server.sockets import Listener
from shardproxy.topology.board_cy import DATABASES_MAX, UNKNOWN_TABLE, Board

__all__ = ["Predecessor", "TakeoverFailed", "TakeoverServer", "distrust_replicas", "take_over"]

DISTRUST_S = 2.0

_VERSION = 1
_FDS_AT_ONCE = 100
_HELLO_MAX = 1 << 20
_TIMEOUT_S = 10.0
_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("3i")

_log = get_logger(__name__)


class TakeoverFailed(ShardproxyError):
    """There is a running process, but it could not be taken over from."""


@dataclass(slots=True)
class Predecessor:
    """The running process, seen from the new one."""

    listeners: list[Listener]
    endpoint: Endpoint
    running: asyncio.Task[None]

    async def serving(self) -> None:
        """Tell it that the new process accepts: returns when the old one does not any more."""
        await self.endpoint.call("serving", timeout=30)

    async def cancel(self, pid: int, secret_hex: str) -> bool:
        """Pass a cancel request to a client that it still has."""
        if self.endpoint.closed:
            return False
        return bool(await self.endpoint.call("cancel", pid=pid, secret_hex=secret_hex))

    async def gone(self) -> None:
        """Returns when the old process has ended."""
        await asyncio.wait([self.running])


class TakeoverServer:
    """Waits for a new process. `handlers` has "serving" and "cancel"."""

    def __init__(self, path: Path, listeners: Sequence[Listener], handlers: dict[str, Handler]) -> None:
        self._path, self._listeners, self._handlers = path, listeners, handlers
        self._sock: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._open: set[Endpoint] = set()

    def start(self) -> None:
        """Listen. A problem is logged: the proxy can live without."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.is_socket():  # of a process that was killed, or that this one took over from
                self._path.unlink()
            sock.bind(str(self._path))
            os.chmod(self._path, 0o600)  # before listen: no one else can ever connect
            sock.listen(1)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            _log.warning("no takeover will be possible", socket=str(self._path), error=str(error))
            return
        self._sock = sock
        self._task = asyncio.create_task(self._accept(sock))

    async def close(self, remove: bool) -> None:
        """Stop listening. `remove`: the socket's file too (not when a new process has put its own there)."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            if remove:
                self._path.unlink(missing_ok=True)

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(sock)
            try:
                await asyncio.to_thread(_hand_out, connection, self._listeners)
                endpoint = await Endpoint.over(connection, self._handlers, "successor")
            except (OSError, ValueError, TakeoverFailed) as error:
                connection.close()
                _log.warning("takeover failed", error=str(error))
                continue
            _log.info("listeners were handed to a new process")
            with contextlib.suppress(ShardproxyError):
                await endpoint.run()  # one successor at a time
            _log.info("the new process has gone without taking over")


async def take_over(path: Path, handlers: dict[str, Handler] | None = None) -> Predecessor | None:
    """The listeners of the process behind a control socket. None if no process is there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise TakeoverFailed(f"cannot take over through {path}: {error.strerror}") from error
    try:
        listeners = await asyncio.to_thread(_receive, connection)
        endpoint = await Endpoint.over(connection, handlers or {}, "predecessor")
    except (OSError, ValueError, KeyError) as error:
        connection.close()
        raise TakeoverFailed(f"cannot take over through {path}: {error}") from error
    return Predecessor(listeners, endpoint, asyncio.create_task(endpoint.run()))


async def distrust_replicas(board: Board, predecessor: Predecessor) -> None:
    """While clients of the old process may write, no replica is fresh enough for this one.

    Writes through the old process are not on this process's board; so the board says that unknown tables are
    written to in the near future, again and again, until the old process has gone.
    """
    gone = asyncio.create_task(predecessor.gone())
    while not gone.done():
        soon = time.monotonic_ns() + int(DISTRUST_S * 1e9)
        for database in range(DATABASES_MAX):
            board.mark_write(database, (UNKNOWN_TABLE,), soon)
        await asyncio.wait([gone], timeout=DISTRUST_S / 4)
    _log.info("the old process has ended")


def _hand_out(connection: socket.socket, listeners: Sequence[Listener]) -> None:
    """Old side: a description of the listeners, then their descriptors in portions."""
    connection.settimeout(_TIMEOUT_S)
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(peer)
    if uid not in (os.geteuid(), 0):
        raise TakeoverFailed(f"user {uid} may not take over")
    hello: dict[str, Any] = {"version": _VERSION, "pid": os.getpid(), "listeners": [
        {"kind": listener.kind, "address": listener.address, "count": len(listener.sockets),
         "unix": str(listener.unix) if listener.unix else None} for listener in listeners]}
    body = json.dumps(hello).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)
    fds = [sock.fileno() for listener in listeners for sock in listener.sockets]
    for start in range(0, len(fds), _FDS_AT_ONCE):
        socket.send_fds(connection, [b"F"], fds[start:start + _FDS_AT_ONCE])


def _receive(connection: socket.socket) -> list[Listener]:
    """New side of `_hand_out`."""
    connection.settimeout(_TIMEOUT_S)
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _HELLO_MAX:
        raise ValueError("what answers there is not shardproxy")
    hello = json.loads(_exactly(connection, length))
    if hello["version"] != _VERSION:
        raise ValueError(f"the running process speaks version {hello['version']} of this, not {_VERSION}")
    wanted = sum(listener["count"] for listener in hello["listeners"])
    fds: list[int] = []
    while len(fds) < wanted:
        mark, some, flags, _ = socket.recv_fds(connection, 1, _FDS_AT_ONCE)
        fds += some
        if not mark or flags & socket.MSG_CTRUNC:
            raise ValueError("the sockets did not arrive: is the limit of open files too low?")
    for fd in fds:
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
    sockets = iter([socket.socket(fileno=fd) for fd in fds])
    return [Listener(entry["kind"], entry["address"], [next(sockets) for _ in range(entry["count"])],
                     Path(entry["unix"]) if entry["unix"] else None) for entry in hello["listeners"]]


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = connection.recv(count - len(found))
        if not more:
            raise ValueError("the running process closed the connection")
        found += more
    return found
