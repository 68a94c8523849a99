"""Our logins to a real PostgreSQL, over plain sockets and TLS, and passwords that both must prepare alike."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from shardproxy.dialects.postgres.auth import (
    ALPN,
    ClientAuthentication,
    Secret,
    ServerAuthentication,
    ServerCredential,
    Verifier,
    md5,
)
from shardproxy.errors import ServerError
from shardproxy.tls import load_server_tls, server_binding
from shardproxy.tools.cluster import Cluster, Node
from shardproxy.tools.postgres_binaries import Binaries

PASSWORD = "p\u00e4ss\u00a0w\u00f6rd"
USERS = {"scram": "scram-sha-256", "hashed": "md5", "clear": "password", "open": "trust"}
SECURE_USERS = {"certified": "cert", "postgres": "cert"}


@dataclass(frozen=True)
class Tls:
    """Settings as the config has them."""

    mode: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(binaries: Binaries) -> AsyncIterator[Node]:
    """A server that asks each user for another method."""
    lines = [f"host all {user} 127.0.0.1/32 {method}" for user, method in USERS.items()]
    if binaries.tls:
        lines += [f"hostssl all {user} 127.0.0.1/32 {method}" for user, method in SECURE_USERS.items()]
    async with Cluster(binaries=binaries, tls=binaries.tls, hba=tuple(lines)) as cluster:
        for user in (*USERS, "certified"):
            encryption = "md5" if user == "hashed" else "scram-sha-256"
            await cluster.primary.sql(
                f"set password_encryption = '{encryption}'; create role {user} login password '{PASSWORD}'"
            )
        yield cluster.primary


def tls(node: Node, mode: str = "verify-full", *, client: bool = False) -> Tls:
    folder = node.data.parent
    certificate = (folder / "client.crt", folder / "client.key") if client else (None, None)
    return Tls(mode, folder / "ca.crt", *certificate)


class Refused(Exception):
    """The server's ErrorResponse."""


def log_in(node: Node, user: str, credential: ServerCredential | None, settings: Tls | None = None) -> str:
    """Logs in with our code; gives the method that the server asked for."""
    with socket.create_connection((node.host, node.port), timeout=20) as plain:
        connection: socket.socket | ssl.SSLSocket = plain
        binding = None
        if settings is not None:
            outgoing = load_server_tls(settings, alpn=(ALPN,))
            assert outgoing.context is not None
            plain.sendall(struct.pack("!ii", 8, 80877103))
            assert plain.recv(1) == b"S"
            connection = outgoing.context.wrap_socket(plain, server_hostname="localhost")
            binding = server_binding(connection)
        login = ServerAuthentication(user, credential, tls=settings is not None, binding=binding)
        startup = struct.pack("!i", 196608) + f"user\0{user}\0database\0postgres\0\0".encode()
        connection.sendall(struct.pack("!i", len(startup) + 4) + startup)
        stream = connection.makefile("rb")
        while not login.done:
            kind, size = struct.unpack("!ci", stream.read(5))
            payload = stream.read(size - 4)
            if kind == b"E":
                raise Refused(payload.decode())
            assert kind == b"R"
            connection.sendall(b"".join(login.receive(payload)))
        assert stream.read(1) in (b"S", b"K")  # it goes on: ParameterStatus, BackendKeyData
        stream.close()
        connection.close()
    return login.method


@pytest.mark.parametrize("user", ["scram", "hashed", "open"])
async def test_password(server: Node, user: str) -> None:
    assert log_in(server, user, ServerCredential(password=PASSWORD)) == USERS[user]
    if user != "open":
        with pytest.raises(Refused, match='password authentication failed for user "'):
            log_in(server, user, ServerCredential(password="wrong"))


async def test_stored_md5_hash(server: Node) -> None:
    (stored,) = (await server.sql("select rolpassword from pg_authid where rolname = 'hashed'"))[0]
    assert stored == md5.hash_password(PASSWORD, "hashed")
    assert log_in(server, "hashed", ServerCredential(md5=stored)) == "md5"


async def test_keys_are_passed_on(server: Node) -> None:
    """A client logs in to us; with what it proved we log in to the server. Nobody but the client has the password."""
    (stored,) = (await server.sql("select rolpassword from pg_authid where rolname = 'scram'"))[0]
    client = ClientAuthentication("scram", "scram-sha-256", Secret.parse(stored), salt_key=b"x" * 16)
    driver = ServerAuthentication("scram", ServerCredential(password=PASSWORD))
    waiting = client.start()
    while waiting:
        for answer in driver.receive(waiting.pop(0)[5:]):
            waiting += client.receive(answer[5:])
    credential = client.server_credential()
    assert credential is not None
    assert credential.password is None
    assert log_in(server, "scram", credential) == "scram-sha-256"

    await server.sql(f"alter role scram password '{PASSWORD}'")  # the same password, another salt
    with pytest.raises(ServerError, match="another SCRAM verifier"):
        log_in(server, "scram", credential)


async def test_clear_text_is_not_sent_over_a_plain_connection(server: Node, binaries: Binaries) -> None:
    with pytest.raises(ServerError, match="clear text over an unencrypted connection"):
        log_in(server, "clear", ServerCredential(password=PASSWORD))
    if binaries.tls:
        assert log_in(server, "clear", ServerCredential(password=PASSWORD), tls(server)) == "password"


async def test_tls_and_channel_binding(server: Node, binaries: Binaries) -> None:
    if not binaries.tls:
        assert await server.value("show ssl") == "off"
        return
    for mode in ("require", "verify-ca", "verify-full"):
        method = log_in(server, "scram", ServerCredential(password=PASSWORD), tls(server, mode))
        assert method == "scram-sha-256-plus"
    with pytest.raises(Refused, match="password authentication failed"):
        log_in(server, "scram", ServerCredential(password="wrong"), tls(server))


async def test_our_certificate(server: Node, binaries: Binaries) -> None:
    """The cluster's client certificate is for its superuser."""
    if not binaries.tls:
        assert await server.value("show ssl") == "off"
        return
    assert log_in(server, "postgres", None, tls(server, client=True)) == "trust"
    with pytest.raises(Refused, match="requires a valid client certificate"):
        log_in(server, "certified", None, tls(server))
    with pytest.raises(Refused, match="certificate authentication failed"):
        log_in(server, "certified", None, tls(server, client=True))


async def test_verifiers_that_we_make(server: Node) -> None:
    text = Verifier.from_password(PASSWORD, iterations=5000).format()
    await server.sql(f"create role made login password '{text}'")
    assert (await server.sql("select rolpassword from pg_authid where rolname = 'made'"))[0][0] == text


def _passwords() -> list[str]:
    """Characters from all corners of SASLprep, mixed by a generator that always does the same."""
    corners = (
        "a Z9~\x01\x7f" "\u00a0\u1680\u2003\u3000\u200b" "\u00ad\u034f\u180b\u2060\ufe0f" "\u00aa\u2168\u212b\ufb01"
        "\uff21"
        "\u0041\u030a\u0301" "\u05d0\u0627\u0660\u06dd" "\u0221\u0234\u1e9e\u20bf\u0378" "\u2028\u2029\u0085\u0340"
        "\ue000\ufdd0\ufffd\ufff9\ufeff" "\u200e\u202a\u206a" "\u4e2d\uac00\u1100\u1161\U0001f600\U0001d400\U000e0001"
        "\U0002f868\u2f868\U0010ffff\u1d2c\ua69c"
    )  # fmt: skip
    choose = random.Random(7677)
    singles = [f"x{char}y" for char in corners] + list(corners)
    return singles + ["".join(choose.choices(corners, k=choose.randint(2, 5))) for _ in range(150)]


async def test_passwords_are_prepared_alike(server: Node) -> None:
    """The verifier PostgreSQL stores for a password is the one we derive: else that user could not log in."""
    passwords = _passwords()
    await server.sql("create role prepared; create table made_of (n int, verifier text)")
    literals = ", ".join("E'" + "".join(f"\\U{ord(char):08x}" for char in text) + "'" for text in passwords)
    await server.sql(f"""
        do $$
        declare texts text[] := array[{literals}];
        begin
            for n in 1 .. array_length(texts, 1) loop
                execute format('alter role prepared password %L', texts[n]);
                insert into made_of select n, rolpassword from pg_authid where rolname = 'prepared';
            end loop;
        end $$""")
    rows = await server.sql("select verifier from made_of order by n")
    assert len(rows) == len(passwords)
    differ = [ascii(text) for text, (stored,) in zip(passwords, rows, strict=True)
              if not Verifier.parse(stored).matches(text)]  # fmt: skip
    assert differ == []
