"""Open one server connection: TCP or unix socket, TLS, startup, authentication, until ReadyForQuery.

Invariant: either a ``ServerLink`` that is outside a transaction with no settings of its own is returned, or the
socket is closed and ``ServerError`` (the server refused; its own SQLSTATE) or ``OSError`` (not reachable) is raised.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, cast

from shardproxy.errors import ServerError
from shardproxy.session.settings import EMPTY, intern_settings
from shardproxy.tls import Outgoing, server_binding

from . import wire
from .auth import ServerAuthentication, ServerCredential
from .server_events import HIDDEN_PARAMETERS
from .server_link_cy import ServerLink

__all__ = ["connect", "open_socket", "send_cancel"]

MESSAGE_MAX = 1 << 20


def _family(host: str) -> int | None:
    """The family of a numeric address, which needs no look-up; None for a name."""
    try:
        return socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return None


async def open_socket(host: str, port: int, unix: str | None) -> socket.socket:
    """A connected, non-blocking socket. Tries every address of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    if unix is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        targets: list[tuple[int, Any]] = [(socket.AF_UNIX, f"{unix}/.s.PGSQL.{port}")]
    elif (family := _family(host)) is not None:
        targets = [(family, (host, port))]
    else:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        targets = [(family, address) for family, _, _, _, address in found]
    last: OSError = OSError(f"no address for {host}")
    for family, address in targets:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            last = error
            continue
        except BaseException:
            sock.close()
            raise
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock
    raise last


async def _start_tls(link: ServerLink, tls: Outgoing, host: str, unix: str | None) -> None:
    if tls.context is None or (unix is not None and not tls.required):
        return
    link.write(struct.pack("!II", 8, wire.SSL_REQUEST))
    answer = await link.take(1)
    if answer == b"S":
        if len(link.inbox):
            raise ServerError("08P01", "the server sent data before the TLS handshake")
        await link.start_tls(tls.context, False, host)
    elif tls.required:
        raise ServerError("08001", "the server does not offer TLS, which the configuration requires")


async def _next_message(link: ServerLink) -> tuple[int, bytes]:
    head = await link.take(5)
    size = int.from_bytes(head[1:], "big") - 4
    if size < 0 or size > MESSAGE_MAX:
        raise ServerError("08P01", "malformed message from the server")
    return head[0], await link.take(size)


async def connect(
    pump: Any,
    address: tuple[str, int, str | None],
    user: str,
    database: str,
    credential: ServerCredential | None,
    tls: Outgoing,
    wanted: Mapping[str, str] | None = None,
) -> ServerLink:
    """A new connection of ``user`` to ``database`` at ``address`` (host, port, unix folder).

    ``wanted``: it is for one client alone, with these startup parameters; all that the server reports is kept.
    """
    host, port, unix = address
    link = ServerLink(pump, await open_socket(host, port, unix))
    try:
        await _start_tls(link, tls, host, unix)
        await _log_in(link, user, database, credential, unix is not None, wanted)
    except BaseException as error:
        link.close()
        if isinstance(error, ssl.SSLError):
            raise ServerError("08001", f"TLS handshake with the server failed: {error.reason or error}") from None
        raise
    link.address = address
    link.settings = EMPTY
    link.start_streaming()
    return link


async def _log_in(
    link: ServerLink, user: str, database: str, credential: ServerCredential | None, local: bool,
    wanted: Mapping[str, str] | None,
) -> None:  # fmt: skip
    binding = server_binding(link.tls) if link.tls is not None else None
    exchange = ServerAuthentication(
        user, credential, tls=link.tls is not None, binding=binding, allow_cleartext=local
    )
    link.write(wire.startup({"user": user, "database": database, **(wanted or {})}))
    parameters: dict[str, str] = {}
    while True:
        kind, payload = await _next_message(link)
        if kind == 0x52:  # R
            for answer in exchange.receive(payload):
                link.write(answer)
        elif kind == 0x53:  # S
            name, value = wire.parse_parameter_status(payload)
            if wanted is not None or name not in HIDDEN_PARAMETERS:
                parameters[name] = value
        elif kind == 0x4B:  # K
            link.backend_pid = int.from_bytes(payload[:4], "big")
            link.backend_secret = payload[4:]
        elif kind == 0x45:  # E
            fields = wire.error_fields(payload)
            raise ServerError(fields.get("C", "08006"), fields.get("M", "the server refused the connection"),
                              detail=fields.get("D", ""), hint=fields.get("H", ""))  # fmt: skip
        elif kind == 0x5A:  # Z
            if not exchange.done:
                raise ServerError("08P01", "the server let us in without authentication being finished")
            break
        elif kind not in (0x4E, 0x76):  # N, v
            raise ServerError("08P01", f"unexpected message {chr(kind)!r} from the server at login")
    link.parameters = intern_settings(parameters)


async def send_cancel(link: ServerLink, tls: Outgoing, timeout: float = 10.0) -> None:
    """Ask the server to cancel what ``link`` runs; returns when the server has closed the cancel connection.

    PostgreSQL closes it after the signal was sent, so that after this nothing later can be hit.
    """
    address: tuple[str, int, str | None] = cast(Any, link).address
    host, port, unix = address
    async with asyncio.timeout(timeout):
        carrier = ServerLink(link.pump, await open_socket(host, port, unix))
        try:
            await _start_tls(carrier, tls, host, unix)
            carrier.write(wire.cancel_request(link.backend_pid, link.backend_secret))
            await carrier.need(1)  # ends with the connection
        except OSError:
            return
        finally:
            carrier.close()
