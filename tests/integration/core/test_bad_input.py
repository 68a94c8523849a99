"""Bytes that are no protocol, logins that are refused: a clear error in the protocol's own form; no one else
is hurt.
"""

from __future__ import annotations

import asyncio
import os
import struct

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import StartProxy
from tests.fixtures.raw import B, E, P, Q, Raw, S, X, codes, errors, kinds, message, rows

from .conftest import Arena


def startup(body: bytes, version: int = 0x30000) -> bytes:
    return struct.pack("!II", len(body) + 8, version) + body


FIRST_BYTES = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "too short": struct.pack("!II", 7, 0x30000),
    "too long": struct.pack("!II", 1 << 30, 0x30000) + b"x" * 100,
    "negative": struct.pack("!iI", -1, 0x30000),
    "protocol 2": startup(b"user\0x\0\0", 0x20000),
    "protocol 4": startup(b"user\0x\0\0", 0x40000),
    "no user": startup(b"database\0x\0\0"),
    "no end": startup(b"user\0postgres\0"),
    "no value": startup(b"user\0postgres\0database\0\0"),
    "empty": startup(b""),
    "ssl with a tail": struct.pack("!II", 12, 80877103) + b"abcd",
    "cancel of nobody": struct.pack("!IIII", 16, 80877102, 1, 2),
    "short cancel": struct.pack("!II", 8, 80877102),
    "bad options": startup(b"user\0postgres\0database\0arena\0options\0--\\\0\0"),
    "unknown parameter": startup(b"user\0postgres\0database\0arena\0no_such_thing\0x\0\0"),
    "bad value": startup(b"user\0postgres\0database\0arena\0work_mem\0much\0\0"),
    "not utf-8": startup(b"user\0postgres\0database\0arena\0application_name\0\xff\xfe\0\0"),
    "tls record": b"\x16\x03\x01\x02\x00" + os.urandom(100),
}


ANSWERED_LATER = ("unknown parameter", "bad value")
"""The proxy asks a server first; it does not answer who has left."""


@pytest.mark.parametrize("name", FIRST_BYTES)
async def test_first_bytes(arena: Arena, name: str) -> None:
    client = await Raw.open(arena.proxy.port)
    client.send(FIRST_BYTES[name])
    if name not in ANSWERED_LATER:
        client.writer.write_eof()
    replies = await client.read(timeout=10)
    if name not in ("cancel of nobody", "short cancel", "not utf-8"):
        assert errors(replies)[0]["S"] == "FATAL", replies
        assert len(codes(replies)[0]) == 5
        assert codes(replies) != ["XX000"]
    await client.close()
    async with arena.session() as other:
        assert await other.value("select 1") == "1"


MESSAGES = {
    "unknown type": message("!", b"x"),
    "backend's type": message("Z", b"I"),
    "zero type": b"\0\0\0\0\4",
    "length 3": b"Q\0\0\0\3",
    "negative length": b"Q\xff\xff\xff\xff",
    "huge length": b"Q\x7f\xff\xff\xff",
    "parse without an end": message("P", b"abc"),
    "parse without a text": message("P", b"a\0select"),
    "bind without a statement": message("B", b"a\0b"),
    "parse without types": message("P", b"a\0select 1\0"),
    "bind without names": message("B", b"abc"),
    "bind cut short": P("", "select $1") + message("B", b"\0\0\0\1\0\0\0\1\0\0\0\x10abc") + S,
    "bind with a negative count": P("", "select 1") + message("B", b"\0\0\xff\xff") + S,
    "describe of nothing": message("D", b"") + S,
    "describe of an unknown kind": message("D", b"Xa\0") + S,
    "close of nothing": message("C", b"") + S,
    "close of an unknown kind": message("C", b"Xa\0") + S,
    "execute cut short": message("E", b"\0\0") + S,
    "query without an end": message("Q", b"select 1"),
    "query with two ends": message("Q", b"select 1\0select 2\0"),
    "empty query message": message("Q", b""),
    "sync with a tail": message("S", b"tail"),
    "function call cut short": message("F", b"\0"),
    "password": message("p", b"secret\0"),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_messages(arena: Arena, name: str) -> None:
    """An error, not silence, and the pool of one serves others; a FATAL error ends the connection."""
    async with arena.session() as client, arena.session() as other:
        client.send(MESSAGES[name] + S)
        client.send(Q("select 'after'"))
        replies = await client.read(99, until="D", timeout=10)
        assert codes(replies) or name == "sync with a tail", replies
        fatal = any(error["S"] == "FATAL" for error in errors(replies))
        assert kinds(replies)[-3:] == "end" if fatal else rows(replies) == [("after",)]
        client.vanish()
        assert await other.value("select 1") == "1"


NAMES = (b'execute "s\xfd"', b'deallocate "s\xfd"', b'prepare "s\xfd" as select 1', b'listen "s\xfd"', b"select '\xfd'",
         b'set shardproxy."s\xfd" = 1', b"set shardproxy.consistency = 's\xfd'", b'show shardproxy."s\xfd"')


@pytest.mark.parametrize("text", NAMES)
async def test_names_that_are_not_utf8(arena: Arena, text: bytes) -> None:
    """An error of the statement; the connection goes on."""
    async with arena.session() as client:
        for batch in (message("Q", text + b"\0"), message("P", b"\0" + text + b"\0\0\0") + B() + E() + S):
            assert codes(await client.ask(batch)), batch
        answer = await client.ask(Q("select 1"))
        assert rows(answer) == [("1",)], answer


async def test_truncated_messages_and_the_end(arena: Arena) -> None:
    for data in (b"Q", b"Q\0\0", Q("select 1")[:-3], B("", "x")[:-2], b"P\0\0\1\0abc"):
        async with arena.session() as client:
            client.send(data)
            client.writer.write_eof()
            assert await client.ended(5)
    async with arena.session() as client:
        client.send(X + Q("select 1"))
        assert await client.ended(5)


async def test_unknown_database_and_user(start_proxy: StartProxy, pg: Node, database: str) -> None:
    entry = {"primary": f"127.0.0.1:{pg.port}"}
    users = {
        "app": {"password": "right"},
        "old": {"password": "right"},
        "hidden": {"password": "right", "server_user": "gone"},
    }
    own = start_proxy(
        databases={database: entry},
        auth={
            "admin_users": [],
            "method": "scram-sha-256",
            "users": users,
            "hosts": [{"user": "old", "method": "md5"}, {"source": "all"}],
        },
    )
    await pg.sql("do $$ begin create role app superuser login; create role old superuser login; end $$")
    cases = [
        ("app", "right", database, None),
        ("app", "wrong", database, "password authentication failed"),
        ("nobody", "right", database, "password authentication failed"),
        ("app", "right", "nowhere", 'database "nowhere" does not exist'),
        ("old", "right", database, None),
        ("old", "wrong", database, "password authentication failed"),
        ("hidden", "right", database, 'role "gone" does not exist'),
    ]
    for user, password, name, expected in cases:
        try:
            async with own.psycopg(name, user, password=password) as client:
                assert await (await client.execute("select 1")).fetchone() == (1,)
                assert expected is None
        except psycopg.OperationalError as error:
            assert expected is not None and expected in str(error), (user, error)


async def test_too_many_clients(start_proxy: StartProxy, pg: Node, database: str) -> None:
    own = start_proxy([pg], pool={"max_client_conn": 3, "size": 1, "client_login_timeout": 1})
    clients = [await Raw.open(own.port) for _ in range(3)]
    for client in clients:
        assert kinds(await client.log_in({"user": "postgres", "database": database}))[-1] == "Z"
    late = await Raw.open(own.port)
    assert codes(await late.log_in({"user": "postgres", "database": database})) == ["53300"]
    clients[0].vanish()
    await asyncio.sleep(0.1)
    async with Raw.session(own.port, "postgres", database) as client:
        assert await client.value("select 1") == "1"
    silent = await Raw.open(own.port)
    replies = await silent.read(timeout=10)
    assert codes(replies) == ["08006"]
    for client in (*clients, late, silent):
        await client.close()
