"""Accept clients: the listening sockets of one worker, and the PROXY header of those behind a load balancer.

Invariants:
* A connection is counted from accept until its socket is closed; above ``max_client_conn`` it gets an error, no login.
* Only addresses in ``listen.proxy_protocol`` may send a PROXY header, and they must, within ``HEADER_TIMEOUT_S``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from shardproxy.server.proxy_header import Peer, read_header

__all__ = ["Acceptor", "Peer"]

ACCEPTS_PER_TURN = 64
HEADER_TIMEOUT_S = 5.0


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
        worker = self.worker
        if worker.crowded():
            sock.close()
            return
        sock.setblocking(False)
        worker.expected += 1
        worker.counted()
        try:
            async with asyncio.timeout(HEADER_TIMEOUT_S):
                peer = await read_header(sock, peer, worker.config.listen.proxy_protocol_v1)
        except (OSError, ValueError, TimeoutError) as error:
            worker.header_refused(peer, error)
            sock.close()
            return
        finally:
            worker.expected -= 1
            worker.counted()
        worker.arrived(sock, peer)
