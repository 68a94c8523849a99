"""The PROXY protocol: how a load balancer tells whom it speaks for, before the first byte of its client.

Invariants:
* Not one byte behind the header is read: the client's own (a TLS handshake, a startup packet) follows at once.
* A header is bounded in size, and taken from configured networks only; there it is a must.

Source: haproxy, proxy-protocol.txt: version 2 is binary, version 1 a line of text.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import struct
from dataclasses import dataclass

__all__ = ["Peer", "parse_text", "parse_v2", "read_header"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TEXT_START, TEXT_MAX = b"PROXY ", 107
LOCAL, PROXY = 0, 1
UNSPECIFIED, IPV4, IPV6, UNIX = 0, 1, 2, 3
STREAM = 1
_SIZES = {IPV4: 4, IPV6: 16}
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class Peer:
    """Both ends of an accepted connection. ``address`` is None on a unix socket."""

    address: str | None
    port: int
    local_address: str
    local_port: int


def parse_v2(head: bytes, body: bytes, peer: Peer) -> Peer:
    """The peer that a header of version 2 tells of: the sender itself if it speaks for itself. ValueError."""
    if head[:12] != SIGNATURE or head[12] >> 4 != 2:
        raise ValueError("no PROXY protocol v2 header")
    command, family, transport = head[12] & 15, head[13] >> 4, head[13] & 15
    if command not in (LOCAL, PROXY):
        raise ValueError(f"unknown PROXY command {command}")
    if family > UNIX or transport > STREAM + 1:
        raise ValueError(f"unknown PROXY family {head[13]:#x}")
    size = _SIZES.get(family)
    if command == LOCAL or size is None:
        return peer
    if transport != STREAM:
        raise ValueError("the PROXY header is of no stream")
    if len(body) < 2 * size + 4:
        raise ValueError("truncated PROXY header")
    source, target = (str(ipaddress.ip_address(body[i * size : (i + 1) * size])) for i in (0, 1))
    source_port, target_port = struct.unpack_from("!HH", body, 2 * size)
    return Peer(source, source_port, target, target_port)


def parse_text(line: bytes, peer: Peer) -> Peer:
    """The same for a line of version 1, without its end."""
    words = line.decode("ascii").split(" ")  # UnicodeDecodeError is a ValueError
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return peer
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):
        raise ValueError("malformed PROXY line")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    source, target = str(kind(words[2])), str(kind(words[3]))
    if not all(_PORT.fullmatch(port) and int(port) < 65536 for port in words[4:]):
        raise ValueError("malformed port in a PROXY line")
    return Peer(source, int(words[4]), target, int(words[5]))


async def read_header(sock: socket.socket, peer: Peer, text: bool) -> Peer:
    """Read a header from a non-blocking socket; whom it tells of. ``text``: version 1 will do. OSError, ValueError."""
    start = await _read(sock, len(SIGNATURE))
    if text and start.startswith(TEXT_START):
        while not start.endswith(b"\r\n"):
            if len(start) >= TEXT_MAX:
                raise ValueError("the PROXY line is too long")
            start += await _read(sock, 1)  # no more: what comes next is the client's
        return parse_text(start[:-2], peer)
    if start != SIGNATURE:
        raise ValueError("no PROXY protocol header")
    head = start + await _read(sock, 4)
    body = await _read(sock, int.from_bytes(head[14:16], "big"))
    return parse_v2(head, body, peer)


async def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not part:
            raise OSError("closed before the PROXY header was complete")
        data += part
    return data
