"""Logins to servers: methods, what must never be sent, and what must not be believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth import (
    KeyCache,
    ScramKeys,
    ServerAuthentication,
    ServerCredential,
    Verifier,
    md5,
    messages,
)
from shardproxy.dialects.postgres.auth.scram import ServerExchange
from shardproxy.errors import ServerError

PASSWORD = ServerCredential(password="secret")
HASH = ServerCredential(md5=md5.hash_password("secret", "app"))
KEYS = ServerCredential(keys=ScramKeys(b"c" * 32, b"s" * 32))
VERIFIER = Verifier.from_password("secret", iterations=1)

PLUS_OFFER = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]


def request(code: int, body: bytes = b"") -> bytes:
    return messages.encode_authentication(code, body)[5:]


def offer(*names: str) -> bytes:
    return messages.encode_mechanisms(names)[5:]


def test_trust() -> None:
    login = ServerAuthentication("app", None)
    assert login.receive(request(0)) == []
    assert login.done
    assert login.method == "trust"
    with pytest.raises(ServerError, match="unexpected authentication message 0"):
        login.receive(request(0))


@pytest.mark.parametrize("options", [{"tls": True}, {"allow_cleartext": True}])
def test_cleartext_where_no_one_listens(options: dict[str, bool]) -> None:
    login = ServerAuthentication("app", PASSWORD, **options)  # type: ignore[arg-type]
    assert login.receive(request(3)) == [messages.encode_password(b"secret")]
    assert login.method == "password"
    login.receive(request(0))
    assert login.done


def test_cleartext_is_refused_elsewhere() -> None:
    with pytest.raises(ServerError, match="clear text over an unencrypted connection") as caught:
        ServerAuthentication("app", PASSWORD).receive(request(3))
    assert "scram-sha-256" in caught.value.hint


@pytest.mark.parametrize("credential", [PASSWORD, HASH])
def test_md5(credential: ServerCredential) -> None:
    login = ServerAuthentication("app", credential)
    assert credential is PASSWORD or credential.md5
    expected = md5.answer(HASH.md5 or "", b"salt")
    assert login.receive(request(5, b"salt")) == [messages.encode_password(expected)]
    login.receive(request(0))
    assert login.method == "md5"


@pytest.mark.parametrize(
    ("credential", "asked", "hint"),
    [
        (None, request(5, b"salt"), "Configure a password"),
        (None, offer("SCRAM-SHA-256"), "Configure a password"),
        (HASH, offer("SCRAM-SHA-256"), "Only an md5 hash"),
        (KEYS, request(5, b"salt"), "let the server use scram-sha-256"),
        (KEYS, request(3), "let the server use scram-sha-256"),
    ],
)
def test_what_cannot_be_answered(credential: ServerCredential | None, asked: bytes, hint: str) -> None:
    login = ServerAuthentication("app", credential, tls=True)
    with pytest.raises(ServerError, match='asks user "app"') as caught:
        login.receive(asked)
    assert hint in caught.value.hint
    assert caught.value.sqlstate == "28000"


@pytest.mark.parametrize(
    ("code", "name"),
    [(2, "Kerberos"), (7, "GSSAPI"), (9, "SSPI"), (6, "authentication method 6"), (11, "11")],
)
def test_foreign_methods(code: int, name: str) -> None:
    with pytest.raises(ServerError, match=name) as caught:
        ServerAuthentication("app", PASSWORD).receive(request(code))
    assert "pg_hba.conf" in caught.value.hint


@pytest.mark.parametrize(
    ("offered", "options", "mechanism", "header"),
    [
        (["SCRAM-SHA-256"], {}, "SCRAM-SHA-256", b"n,,"),
        (["SCRAM-SHA-256"], {"tls": True, "binding": b"h"}, "SCRAM-SHA-256", b"y,,"),
        (["SCRAM-SHA-256"], {"tls": True}, "SCRAM-SHA-256", b"n,,"),
        (PLUS_OFFER, {"tls": True, "binding": b"h"}, "SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,"),
        (PLUS_OFFER, {"tls": True}, "SCRAM-SHA-256", b"n,,"),  # nothing to bind to
        (PLUS_OFFER, {"tls": True, "binding": b"h", "channel_binding": "disable"}, "SCRAM-SHA-256", b"n,,"),
    ],
)
def test_choice_of_mechanism(
    offered: list[str], options: dict[str, object], mechanism: str, header: bytes
) -> None:
    login = ServerAuthentication("app", PASSWORD, **options)  # type: ignore[arg-type]
    (answer,) = login.receive(offer(*offered))
    chosen, first = messages.decode_sasl_initial(answer[5:])
    assert chosen == mechanism
    assert (first or b"").startswith(header + b"n=,r=")


@pytest.mark.parametrize(
    ("payload", "options", "text"),
    [
        (offer(*PLUS_OFFER), {}, "without TLS"),
        (offer("OAUTHBEARER"), {}, "no SASL mechanism that shardproxy knows: OAUTHBEARER"),
        (offer("SCRAM-SHA-256"), {"tls": True, "binding": b"h", "channel_binding": "require"}, "is required"),
        (request(5, b"salt"), {"tls": True, "binding": b"h", "channel_binding": "require"}, "is required"),
        (request(0), {"tls": True, "binding": b"h", "channel_binding": "require"}, "is required"),
        (request(5, b"sal"), {}, "malformed authentication message"),
        (b"\0\0", {}, "malformed authentication message"),
        (request(10, b"SCRAM"), {}, "malformed authentication message"),
    ],
)
def test_refused(payload: bytes, options: dict[str, object], text: str) -> None:
    login = ServerAuthentication("app", PASSWORD, **options)  # type: ignore[arg-type]
    with pytest.raises(ServerError, match=text):
        login.receive(payload)
    assert not login.done


def scram(login: ServerAuthentication) -> tuple[ServerExchange, bytes]:
    """Up to the server's signature."""
    server = ServerExchange(VERIFIER)
    _, first = messages.decode_sasl_initial(login.receive(offer("SCRAM-SHA-256"))[0][5:])
    assert first is not None
    (final,) = login.receive(request(11, server.first(first)))
    signature = server.final(final[5:])
    assert signature is not None
    return server, signature


def test_scram() -> None:
    login = ServerAuthentication("app", PASSWORD)
    server, signature = scram(login)
    assert login.receive(request(12, signature)) == []
    early = login.done
    assert login.receive(request(0)) == []
    assert (early, login.done) == (False, True)
    assert login.method == "scram-sha-256"
    assert server.client_key == KeyCache().derive("secret", VERIFIER.salt, 1).client_key


def test_a_server_that_does_not_prove_itself_is_not_believed() -> None:
    login = ServerAuthentication("app", PASSWORD)
    login.receive(offer("SCRAM-SHA-256"))
    with pytest.raises(ServerError, match="unexpected authentication message 0"):
        login.receive(request(0))
    login = ServerAuthentication("app", PASSWORD)
    scram(login)
    with pytest.raises(ServerError, match="unexpected authentication message 0"):
        login.receive(request(0))
    login = ServerAuthentication("app", PASSWORD)
    scram(login)
    with pytest.raises(ServerError, match="incorrect server signature"):
        login.receive(request(12, b"v=" + b"A" * 43 + b"="))
    assert not login.done


@pytest.mark.parametrize("later", [request(3), request(5, b"salt"), offer("SCRAM-SHA-256")])
def test_a_server_cannot_ask_for_more_after_it_began(later: bytes) -> None:
    """Else a server that cannot check SCRAM would next ask for the password in clear."""
    login = ServerAuthentication("app", PASSWORD, tls=True)
    login.receive(offer("SCRAM-SHA-256"))
    with pytest.raises(ServerError, match="unexpected authentication message"):
        login.receive(later)


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_during_scram(challenge: bytes, signature: bytes) -> None:
    login = ServerAuthentication("app", KEYS)
    login.receive(offer("SCRAM-SHA-256"))
    try:
        login.receive(request(11, challenge))
        login.receive(request(12, signature))
    except ServerError:
        pass
    assert not login.done
