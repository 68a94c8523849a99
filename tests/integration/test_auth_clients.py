"""Real clients log in to us: libpq (through psycopg) and asyncpg, over plain sockets and TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from shardproxy.dialects.postgres.auth import (
    ALPN,
    ClientAuthentication,
    ClientCertificate,
    Secret,
    Verifier,
    md5,
)
from shardproxy.errors import ClientError
from shardproxy.tls import Listening, client_certificate_name, load_client_tls
from shardproxy.tools.cluster.certificates import Authority

PASSWORD = "s\u00e9cret"
SCRAM = Secret.parse(Verifier.from_password(PASSWORD).format())
USERS = {
    "app": SCRAM,
    "plain": Secret.parse(PASSWORD),
    "hashed": Secret.parse(md5.hash_password(PASSWORD, "hashed")),
}
Message = tuple[bytes, bytes]


@dataclass(frozen=True)
class Settings:
    """Settings as the config has them."""

    mode: str
    certificate: Path
    key: Path
    ca: Path
    min_version: str = "1.2"


@dataclass
class Doorkeeper:
    """A server that can do nothing but log clients in, in a thread."""

    method: str = "scram-sha-256"
    listening: Listening = field(default_factory=lambda: Listening("disable"))
    seen: list[ClientAuthentication] = field(default_factory=list)

    def __enter__(self) -> Doorkeeper:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError, struct.error), connection:
                connection.settimeout(20)
                self._one(connection)

    def _one(self, connection: socket.socket | ssl.SSLSocket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS from the first byte
            connection = self._wrap(connection)
            assert connection.selected_alpn_protocol() == ALPN
        code, body = self._startup(connection)
        while code in (80877103, 80877104):
            accept = code == 80877103 and self.listening.context is not None
            connection.sendall(b"S" if accept else b"N")
            if accept:
                connection = self._wrap(connection)
            code, body = self._startup(connection)
        words = body.split(b"\0")
        user = dict(zip(words[::2], words[1::2], strict=False))[b"user"].decode()
        self._authenticate(connection, user)

    def _wrap(self, connection: socket.socket | ssl.SSLSocket) -> ssl.SSLSocket:
        assert self.listening.context is not None
        return self.listening.context.wrap_socket(connection, server_side=True)

    def _startup(self, connection: socket.socket | ssl.SSLSocket) -> tuple[int, bytes]:
        size, code = struct.unpack("!ii", connection.recv(8))
        return code, connection.recv(size - 8) if size > 8 else b""

    def _authenticate(self, connection: socket.socket | ssl.SSLSocket, user: str) -> None:
        secure = isinstance(connection, ssl.SSLSocket)
        client = ClientAuthentication(
            user,
            self.method,
            USERS.get(user),
            salt_key=b"0123456789abcdef",
            binding=self.listening.binding if secure else None,
            certificate=ClientCertificate(
                client_certificate_name(connection) if isinstance(connection, ssl.SSLSocket) else None,
                demanded=self.listening.names_user,
            ),
        )
        self.seen.append(client)
        connection.sendall(b"".join(client.start()))
        while not client.done and client.failed is None:
            kind, size = struct.unpack("!ci", connection.recv(5))
            assert kind == b"p"
            connection.sendall(b"".join(client.receive(connection.recv(size - 4))))
        if client.failed is not None:
            connection.sendall(_error(client.failed))
            return
        connection.sendall(_welcome())
        while connection.recv(1024) not in (b"", b"X\0\0\0\4"):
            pass


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def _error(error: ClientError) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": error.sqlstate, "M": error.message}
    return _message(b"E", b"".join(f"{key}{text}\0".encode() for key, text in fields.items()) + b"\0")


def _welcome() -> bytes:
    settings = {"server_version": "15.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    parts = [_message(b"S", f"{key}\0{text}\0".encode()) for key, text in settings.items()]
    return b"".join([*parts, _message(b"K", bytes(8)), _message(b"Z", b"I")])


@pytest.fixture
def listening(tmp_path: Path) -> Callable[[str], Listening]:
    """``listening(mode)``: our side of TLS; the files of the client's side are in ``tmp_path``."""
    authority = Authority()
    server, client = authority.issue("localhost", hosts=("localhost",)), authority.issue("app")
    texts = {
        "ca.crt": authority.pem,
        "s.crt": server[0],
        "s.key": server[1],
        "c.crt": client[0],
        "c.key": client[1],
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    paths = tmp_path / "s.crt", tmp_path / "s.key", tmp_path / "ca.crt"
    return lambda mode: load_client_tls(Settings(mode, *paths), alpn=(ALPN,))


@contextlib.contextmanager
def libpq(door: Doorkeeper, user: str = "app", **options: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection of libpq."""
    login: dict[str, Any] = {"hostaddr": "127.0.0.1", "host": "localhost", "port": door.port, "user": user,
                             "password": PASSWORD, "sslmode": "disable", "gssencmode": "disable"}  # fmt: skip
    with psycopg.connect(**(login | options), dbname="x", autocommit=True, connect_timeout=20) as connection:
        yield connection


def secured(folder: Path, *, certificate: bool = False) -> dict[str, str]:
    found = {"sslmode": "verify-full", "sslrootcert": str(folder / "ca.crt")}
    if certificate:
        found |= {"sslcert": str(folder / "c.crt"), "sslkey": str(folder / "c.key")}
    return found


@pytest.mark.parametrize(
    ("method", "user", "mechanism"),
    [
        ("scram-sha-256", "app", "SCRAM-SHA-256"),
        ("scram-sha-256", "plain", "SCRAM-SHA-256"),
        ("md5", "plain", "md5"),
        ("md5", "hashed", "md5"),
        ("md5", "app", "SCRAM-SHA-256"),
        ("trust", "anyone", "trust"),
    ],
)
def test_libpq_without_tls(method: str, user: str, mechanism: str) -> None:
    with Doorkeeper(method) as door:
        with libpq(door, user) as connection:
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if mechanism != "trust":
            with (
                pytest.raises(
                    psycopg.OperationalError, match=f'password authentication failed for user "{user}"'
                ),
                libpq(door, user, password="wrong"),
            ):
                pass
    assert door.seen[0].mechanism == mechanism


@pytest.mark.parametrize(
    ("method", "user"), [("scram-sha-256", "nobody"), ("scram-sha-256", "hashed"), ("md5", "nobody")]
)
def test_libpq_without_a_usable_secret(method: str, user: str) -> None:
    with (
        Doorkeeper(method) as door,
        pytest.raises(psycopg.OperationalError, match=f'password authentication failed for user "{user}"'),
        libpq(door, user),
    ):
        pass


@pytest.mark.parametrize("options", [{"channel_binding": "require"}, {}, {"sslnegotiation": "direct"}])
def test_libpq_binds_to_our_certificate(
    listening: Callable[[str], Listening], tmp_path: Path, options: dict[str, str]
) -> None:
    with Doorkeeper(listening=listening("require")) as door:
        with libpq(door, **secured(tmp_path), **options):
            pass
        with libpq(door, **secured(tmp_path), channel_binding="disable"):
            pass
    assert [client.mechanism for client in door.seen] == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    assert all(client.client_key for client in door.seen)


def test_libpq_finds_out_a_certificate_that_is_not_ours(
    listening: Callable[[str], Listening], tmp_path: Path
) -> None:
    honest = listening("require")
    other = Listening("require", honest.context, b"hash of another certificate")
    with (
        Doorkeeper(listening=other) as door,
        pytest.raises(psycopg.OperationalError, match="SCRAM channel binding check failed"),
        libpq(door, **secured(tmp_path), channel_binding="require"),
    ):
        pass


def test_libpq_finds_out_that_binding_was_cut_from_the_offer(
    listening: Callable[[str], Listening], tmp_path: Path
) -> None:
    honest = listening("require")
    with (
        Doorkeeper(listening=Listening("require", honest.context, None)) as door,
        pytest.raises(psycopg.OperationalError, match="channel binding"),
        libpq(door, **secured(tmp_path), channel_binding="require"),
    ):
        pass


def test_libpq_with_a_certificate(listening: Callable[[str], Listening], tmp_path: Path) -> None:
    with Doorkeeper("cert", listening("require")) as door:
        with libpq(door, **secured(tmp_path, certificate=True), password=None):
            pass
        for user, options, text in (
            (
                "plain",
                secured(tmp_path, certificate=True),
                'certificate authentication failed for user "plain"',
            ),
            ("app", secured(tmp_path), "connection requires a valid client certificate"),
        ):
            with pytest.raises(psycopg.OperationalError, match=text), libpq(door, user, **options):
                pass


def test_libpq_with_a_certificate_and_a_password(
    listening: Callable[[str], Listening], tmp_path: Path
) -> None:
    with Doorkeeper(listening=listening("verify-full")) as door:
        with libpq(door, **secured(tmp_path, certificate=True)):
            pass
        with (
            pytest.raises(
                psycopg.OperationalError, match='certificate authentication failed for user "plain"'
            ),
            libpq(door, "plain", **secured(tmp_path, certificate=True)),
        ):
            pass
    assert door.seen[0].mechanism == "SCRAM-SHA-256-PLUS"


async def test_asyncpg(listening: Callable[[str], Listening], tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    for security in (False, context):
        with Doorkeeper(listening=listening("prefer")) as door:
            login: dict[str, Any] = {"host": "localhost", "port": door.port, "user": "app", "database": "x"}
            connection = await asyncpg.connect(**login, password=PASSWORD, ssl=security, timeout=20)
            await connection.close(timeout=20)
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(**login, password="wrong", ssl=security, timeout=20)
