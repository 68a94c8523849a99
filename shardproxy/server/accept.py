"""Accept clients: the listening sockets of one worker, PROXY protocol v2, and the limit of client connections.

Invariants:
* A connection is counted from accept until its socket is closed; above ``max_client_conn`` it gets an error, no login.
* Only addresses in ``listen.proxy_protocol`` may send a PROXY header, and they must.
  Source: haproxy, proxy-protocol.txt.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Acceptor", "Peer", "parse_proxy_header"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_MAX = 16 + 65535
ACCEPTS_PER_TURN = 64
HEADER_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Both ends of an accepted connection. ``address`` is None on a unix socket."""

    address: str | None
    port: int
    local_address: str
    local_port: int


def parse_proxy_header(head: bytes, body: bytes, peer: Peer) -> Peer:
    """The peer that a PROXY v2 header tells of. ValueError if it is malformed. LOCAL: the sender itself."""
    version, family = head[12], head[13]
    if head[:12] != SIGNATURE or version >> 4 != 2:
        raise ValueError("no PROXY protocol v2 header")
    command = version & 15
    if command == 0:
        return peer
    if command != 1:
        raise ValueError(f"unknown PROXY command {command}")
    kind = family >> 4
    size = {1: 4, 2: 16}.get(kind)
    if size is None:
        return peer
    if len(body) < 2 * size + 4:
        raise ValueError("truncated PROXY header")
    source, target = (str(ipaddress.ip_address(body[i * size : (i + 1) * size])) for i in (0, 1))
    source_port, target_port = struct.unpack_from("!HH", body, 2 * size)
    return Peer(source, source_port, target, target_port)


class Acceptor:
    """One listening socket of a worker. ``worker.arrived(sock, peer)`` takes each connection."""

    def __init__(self, worker: Any, sock: socket.socket, address: str) -> None:
        self.worker, self.sock, self.address = worker, sock, address
        self.unix = sock.family == socket.AF_UNIX
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to accept."""
        self.worker.loop.add_reader(self.sock.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; the socket is closed."""
        self.worker.loop.remove_reader(self.sock.fileno())
        self.sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors left: let others go on for a moment
                self.worker.accept_failed(self, error)
                return
            try:
                peer = self._peer(sock, address)
            except OSError:
                sock.close()
                continue
            if peer.address is not None and self.worker.from_balancer(peer.address):
                self.worker.task(self._behind_balancer(sock, peer))
            else:
                self.worker.arrived(sock, peer)

    def _peer(self, sock: socket.socket, address: Any) -> Peer:
        if self.unix:
            return Peer(None, 0, self.address, 0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.worker.tcp_options(sock)
        local = sock.getsockname()
        return Peer(address[0], address[1], local[0], local[1])

    async def _behind_balancer(self, sock: socket.socket, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            async with asyncio.timeout(HEADER_TIMEOUT_S):
                head = await _read(loop, sock, 16)
                body = await _read(loop, sock, struct.unpack("!H", head[14:16])[0])
            peer = parse_proxy_header(head, body, peer)
        except (OSError, ValueError, TimeoutError) as error:
            self.worker.header_refused(peer, error)
            sock.close()
            return
        self.worker.arrived(sock, peer)


async def _read(loop: asyncio.AbstractEventLoop, sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await loop.sock_recv(sock, count - len(data))
        if not part:
            raise OSError("closed before the PROXY header was complete")
        data += part
    return data
