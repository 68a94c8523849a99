"""Clients behind a load balancer: its header, in both versions, with and without TLS after it; who is believed."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from shardproxy.server.proxy_header import SIGNATURE
from shardproxy.tools.cluster import Node
from shardproxy.tools.cluster.certificates import Authority
from tests.fixtures.proxy import Proxy, StartProxy
from tests.fixtures.raw import Raw, codes, errors, kinds

CLIENT, REJECTED, CLIENT6 = "203.0.113.7", "203.0.113.66", "2001:db8::7"
RULES = [
    {"source": REJECTED, "method": "reject"},
    {"source": "203.0.113.0/24", "method": "trust"},
    {"source": "2001:db8::/32", "method": "trust"},
    {"source": "127.0.0.1", "user": "monitor", "method": "trust"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def balanced(pg: Node, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """Believes load balancers at 127.0.0.1 and ::1; listens on both, with TLS for those who want it."""
    folder = tmp_path_factory.mktemp("balanced")
    certificate, key = Authority().issue("proxy.test", hosts=("localhost",))
    (folder / "tls.crt").write_text(certificate)
    (folder / "tls.key").write_text(key)
    (folder / "tls.key").chmod(0o600)
    made = Proxy(folder / "proxy", [pg], log={"connections": True})
    made.configure(
        listen={"postgres": [f"127.0.0.1:{made.port}", f"[::1]:{made.port}"], "proxy_protocol_v1": True,
                "proxy_protocol": ["127.0.0.0/8", "::1/128"]},
        auth={"hosts": RULES, "tls": {"mode": "allow", "certificate": str(folder / "tls.crt"),
                                      "key": str(folder / "tls.key")}},
    )  # fmt: skip
    made.start()
    await pg.sql("create role monitor superuser login")
    yield made
    await pg.sql("drop role monitor")
    made.stop()
    made.check_log()


@pytest.fixture
def tls() -> Iterator[ssl.SSLContext]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    yield context


def v2(source: str = CLIENT, target: str = "198.51.100.1", *, command: int = 1, more: bytes = b"") -> bytes:
    """A header of version 2; ``more``: TLVs."""
    ends = [ipaddress.ip_address(text).packed for text in (source, target)]
    body = b"".join(ends) + struct.pack("!HH", 40000, 5432) + more
    kind = 0x11 if len(ends[0]) == 4 else 0x21
    return SIGNATURE + bytes([0x20 | command, kind]) + struct.pack("!H", len(body)) + body


def v1(source: str = CLIENT, target: str = "198.51.100.1", kind: str = "TCP4") -> bytes:
    return f"PROXY {kind} {source} {target} 40000 5432\r\n".encode()


async def seen(proxy: Proxy, *headers: bytes, host: str = "127.0.0.1", user: str = "postgres",
               context: ssl.SSLContext | None = None, pause: float = 0.0) -> tuple[str, str]:
    """Log in behind a header (sent in these parts): address and port as the server's console shows them."""
    client = await Raw.open(proxy.port, host)
    for part in headers:
        client.send(part)
        await asyncio.sleep(pause)
    if context is not None:
        client.send(struct.pack("!II", 8, 80877103))
        assert await client.reader.readexactly(1) == b"S"
        await client.writer.start_tls(context)
    replies = await client.log_in({"user": user, "database": "shardproxy"})
    assert kinds(replies)[-1] == "Z", errors(replies)
    rows = await client.rows("SHOW CLIENTS")
    await client.close()
    mine = next(row for row in rows if row[2] == "shardproxy")
    return str(mine[5]), str(mine[6])


async def test_the_address_is_the_clients(balanced: Proxy, tls: ssl.SSLContext) -> None:
    for header in (v2(), v1(), v2(more=b"\x04\0\x03abc")):
        assert await seen(balanced, header) == (CLIENT, "40000")
        assert await seen(balanced, header, context=tls) == (CLIENT, "40000")
    for header in (v2(CLIENT6, "2001:db8::1"), v1(CLIENT6, "2001:db8::1", "TCP6")):
        assert await seen(balanced, header) == (CLIENT6, "40000")
        assert await seen(balanced, header, host="::1", context=tls) == (CLIENT6, "40000")


async def test_in_single_bytes(balanced: Proxy, tls: ssl.SSLContext) -> None:
    for header in (v2(), v1()):
        parts = [header[i : i + 1] for i in range(len(header))]
        assert await seen(balanced, *parts, pause=0.001, context=tls) == (CLIENT, "40000")


async def test_in_one_piece_with_what_follows(balanced: Proxy) -> None:
    """The startup packet arrives with the header, and its bytes are not taken for the header's."""
    body = b"user\0postgres\0database\0postgres\0\0"
    startup = struct.pack("!II", len(body) + 8, 0x30000) + body
    for header in (v2(), v1()):
        client = await Raw.open(balanced.port)
        client.send(header + startup)
        assert kinds(await client.read())[-1] == "Z"
        assert await client.value("select 1") == "1"
        await client.close()


async def test_the_balancer_itself(balanced: Proxy) -> None:
    """Health checks, and connections of unknown kind: its own address counts."""
    unknown = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"
    for header in (v2(command=0), SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\0\0\0", b"PROXY UNKNOWN\r\n", unknown):
        client = await Raw.open(balanced.port)
        client.send(header)
        assert kinds(await client.log_in({"user": "monitor", "database": "postgres"}))[-1] == "Z"
        await client.close()
        other = await Raw.open(balanced.port)
        other.send(header)
        assert codes(await other.log_in({"user": "postgres", "database": "postgres"})) == ["28000"]
        await other.close()


async def test_rules_and_logs_see_the_client(balanced: Proxy) -> None:
    client = await Raw.open(balanced.port)
    client.send(v2(REJECTED))
    (error,) = errors(await client.log_in({"user": "postgres", "database": "postgres"}))
    assert error["C"] == "28000"
    assert REJECTED in error["M"]
    await client.close()
    balanced.wait_log(f"addr={REJECTED}")
    client = await Raw.open(balanced.port)
    client.send(v1("203.0.113.99"))
    await client.log_in({"user": "postgres", "database": "postgres"})
    await client.close()
    balanced.wait_log("addr=203.0.113.99")


@pytest.mark.parametrize("data", [
    b"\0\0\0\x08\x04\xd2\x16\x2f" + bytes(8),
    SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    SIGNATURE + b"\x2f\x11\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
    SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\x51\0\x0c" + bytes(12),
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 70000\r\n",
    b"PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 \xff 198.51.100.1 1 2\r\n",
    b"PROXY " + b"x" * 200,
    b"GET / HTTP/1.1\r\n\r\n",
])  # fmt: skip
async def test_no_header_no_answer(balanced: Proxy, data: bytes) -> None:
    """A connection of a load balancer without a proper header is closed, without a byte."""
    client = await Raw.open(balanced.port)
    client.send(data)
    assert await client.read() == [("end", b"")]
    await client.close()
    balanced.wait_log("connection refused: PROXY header")
    assert await seen(balanced, v2()) == (CLIENT, "40000")


async def test_a_header_that_ends_or_does_not_come(balanced: Proxy) -> None:
    for data in (b"", v2()[:5], v2()[:20], v1()[:20]):
        client = await Raw.open(balanced.port)
        client.send(data)
        client.vanish()
    silent = await Raw.open(balanced.port)
    assert await silent.read(timeout=15) == [("end", b"")]
    await silent.close()


async def test_from_others_it_is_garbage(start_proxy: StartProxy, pg: Node) -> None:
    """Nobody else may say who he is; and the text form counts only where it is allowed."""
    own = start_proxy([pg], listen={"proxy_protocol": ["10.0.0.0/8", "2001:db8::/32"]})
    for header in (v2(), v1()):
        client = await Raw.open(own.port)
        client.send(header)
        assert codes(await client.log_in({"user": "postgres", "database": "postgres"})) == ["08P01"]
        await client.close()
    strict = start_proxy([pg], listen={"proxy_protocol": ["127.0.0.1/32"]})
    client = await Raw.open(strict.port)
    client.send(v1())
    assert await client.read() == [("end", b"")]
    await client.close()
    assert await seen(strict, v2()) == (CLIENT, "40000")
