"""The channel between parent and worker: symmetrical calls and notifications, JSON over a Unix stream socket.

A frame is four bytes of length (big endian) and one JSON object:

    {"id": 7, "call": "show", "params": {}}     answered by {"id": 7, "result": ...} or {"id": 7, "error": ""}
    {"call": "permit", "params": {}}            a notification: never answered

Invariants: handlers *start* in the order their frames were sent (so ``release`` before ``acquire`` stays so);
every pending call ends when the connection does; no frame is larger than ``CONTROL_MESSAGE_MAX``; a peer that
does not read is disconnected rather than buffered for without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from shardproxy.errors import ControlClosed, ControlError
from shardproxy.limits import CONTROL_MESSAGE_MAX
from shardproxy.log import get_logger

__all__ = ["Endpoint", "Handler"]

Handler = Callable[..., Awaitable[Any]]

HANDLERS_MAX = 10_000
"""Handlers running at once; above this calls are refused (each may hold a message's worth of memory)."""

_LENGTH = struct.Struct("!I")
_log = get_logger(__name__)


class Endpoint:
    """One side of a control connection. ``run`` must be running for ``call`` to be answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                 handlers: dict[str, Handler], name: str) -> None:
        self._reader, self._writer, self._handlers, self.name = reader, writer, handlers, name
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = 0
        self._closed = False

    @classmethod
    async def over(cls, sock: socket.socket, handlers: dict[str, Handler], name: str) -> Endpoint:
        """An endpoint over one end of a socketpair, which it owns from now on."""
        sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(reader, writer, handlers, name)

    @property
    def closed(self) -> bool:
        return self._closed

    async def call(self, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        """Run `method` on the other side. ControlError: failed or too late; ControlClosed: it is gone."""
        if self._closed:
            raise ControlClosed(f"{self.name}: {method}: the connection is closed")
        self._last_id += 1
        call_id = self._last_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = answer
        try:
            self._send({"id": call_id, "call": method, "params": params})
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise ControlError(f"{self.name}: {method}: no answer within {timeout} s") from None
        finally:
            self._pending.pop(call_id, None)

    def notify(self, method: str, /, **params: Any) -> None:
        """Run `method` on the other side and do not wait. Nothing happens if the other side is gone."""
        if not self._closed:
            self._send({"call": method, "params": params})

    async def run(self) -> None:
        """Serve until the other side closes; ControlError if what it sends is not this protocol."""
        try:
            while True:
                try:
                    (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                    if length > CONTROL_MESSAGE_MAX:
                        raise ControlError(f"{self.name}: a message of {length} bytes is too long")
                    body = await self._reader.readexactly(length)
                except (asyncio.IncompleteReadError, OSError):
                    return
                self._received(self._decode(body))
        finally:
            self.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def close(self) -> None:
        """Close now; pending calls end with ControlClosed, running handlers are cancelled."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ControlClosed(f"{self.name}: the connection closed"))

    async def drain(self) -> None:
        """Wait until what was sent has left (before a process exits)."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def _decode(self, body: bytes) -> dict[str, Any]:
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise ControlError(f"{self.name}: received {len(body)} bytes that are not a control message")
        return message

    def _send(self, message: dict[str, Any]) -> None:
        try:
            body = json.dumps(message, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise ControlError(f"{self.name}: cannot be sent: {error}") from error
        if len(body) > CONTROL_MESSAGE_MAX:
            raise ControlError(f"{self.name}: a message of {len(body)} bytes is too long to send")
        if self._writer.transport.get_write_buffer_size() > CONTROL_MESSAGE_MAX:
            _log.error("the other side does not read its control connection: closed", peer=self.name)
            self._writer.transport.abort()
            self.close()
            raise ControlClosed(f"{self.name}: does not read")
        self._writer.write(_LENGTH.pack(len(body)) + body)

    def _received(self, message: dict[str, Any]) -> None:
        if "call" not in message:
            self._answered(message)
            return
        call_id, method = message.get("id"), message["call"]
        if call_id is not None and len(self._tasks) >= HANDLERS_MAX:
            self._send({"id": call_id, "error": f"{method}: too many calls at once"})
            return
        params = message.get("params") or {}
        task = asyncio.get_running_loop().create_task(self._handle(call_id, method, params))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answered(self, message: dict[str, Any]) -> None:
        answer = self._pending.get(message.get("id", -1))
        if answer is None or answer.done():
            return  # the caller has given up waiting
        if "error" in message:
            answer.set_exception(ControlError(str(message["error"])))
        else:
            answer.set_result(message.get("result"))

    async def _handle(self, call_id: int | None, method: str, params: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": call_id}
        try:
            handler = self._handlers.get(method)
            if handler is None:
                raise ControlError(f"unknown method {method!r}")
            reply["result"] = await handler(**params)
        except Exception as error:
            known = isinstance(error, ControlError)
            reply["error"] = str(error) if known else f"{type(error).__name__}: {error}"
            if call_id is None:
                _log.exception("notification failed", peer=self.name, method=method)
        if call_id is None or self._closed:
            return
        try:
            self._send(reply)
        except ControlError as error:  # too long, or not JSON: the caller must still hear of it
            if not self._closed:
                self._send({"id": call_id, "error": f"{method}: {error}"})
