"""SCRAM: the vectors of RFC 7677, our client against our server, and everything that must not succeed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth.keys import KeyCache, ScramKeys, Verifier
from shardproxy.dialects.postgres.auth.scram import (
    MECHANISM,
    MECHANISM_PLUS,
    ClientExchange,
    ServerExchange,
)
from shardproxy.errors import ClientError, ProtocolViolation, ServerError

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
VERIFIER = Verifier.from_password("pencil", salt=SALT)
QUICK = Verifier.from_password("pencil", salt=b"salt", iterations=1)
CLIENT_NONCE, SERVER_NONCE = b"rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

nonces = st.binary(min_size=1, max_size=40).map(base64.b64encode)
passwords = st.one_of(st.text(min_size=1).filter(lambda text: text.isprintable()), st.binary(min_size=1))


def test_vector_server() -> None:
    server = ServerExchange(VERIFIER, nonce=SERVER_NONCE)
    assert server.first(FIRST) == CHALLENGE
    assert server.client_key is None
    assert server.final(FINAL) == SIGNATURE
    assert server.client_key == KeyCache().derive("pencil", SALT, 4096).client_key


def test_vector_client() -> None:
    client = ClientExchange("pencil", nonce=CLIENT_NONCE)
    client._bare = FIRST[3:]  # the vector has a user name, which PostgreSQL's clients leave out
    assert client.first() == FIRST
    assert client.final(CHALLENGE) == FINAL
    client.verify(SIGNATURE)


@settings(deadline=None)
@given(passwords, st.integers(1, 50), st.binary(min_size=1, max_size=40), nonces, nonces, st.booleans())
def test_client_and_server_agree(
    password: str | bytes, rounds: int, salt: bytes, mine: bytes, yours: bytes, plus: bool
) -> None:
    binding = b"hash of a certificate" if plus else None
    mechanism = MECHANISM_PLUS if plus else MECHANISM
    verifier = Verifier.from_password(password, salt=salt, iterations=rounds, cache=KeyCache())
    client = ClientExchange(password, mechanism, binding=binding, nonce=mine, cache=KeyCache())
    server = ServerExchange(verifier, mechanism, binding=binding, nonce=yours)
    answer = server.final(client.final(server.first(client.first())))
    assert answer is not None
    client.verify(answer)
    assert server.client_key is not None

    passed_on = ClientExchange(verifier.keys(server.client_key), nonce=mine)
    behind = ServerExchange(verifier)
    answer = behind.final(passed_on.final(behind.first(passed_on.first())))
    assert answer is not None
    passed_on.verify(answer)


@settings(deadline=None)
@given(passwords, passwords)
def test_another_password_is_wrong(right: str | bytes, wrong: str | bytes) -> None:
    verifier = Verifier.from_password(right, salt=b"salt", iterations=1)
    if verifier.matches(wrong):
        return
    client, server = ClientExchange(wrong), ServerExchange(verifier)
    assert server.final(client.final(server.first(client.first()))) is None
    assert server.client_key is None


def test_a_doomed_exchange_looks_like_a_wrong_password() -> None:
    for verifier, doomed in ((VERIFIER, True), (Verifier.mock("nobody", b"key"), True)):
        client, server = ClientExchange("pencil"), ServerExchange(verifier, doomed=doomed)
        challenge = server.first(client.first())
        assert len(challenge) == len(ServerExchange(VERIFIER).first(client.first()))
        assert server.final(client.final(challenge)) is None
        assert server.client_key is None


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 200), st.integers(1, 255), st.booleans())
def test_no_changed_byte_gets_through(step: int, place: int, change: int, plus: bool) -> None:
    """Whichever byte of whichever message someone in between changes, the login fails on at least one side."""
    binding = b"hash of a certificate" if plus else None
    mechanism = MECHANISM_PLUS if plus else MECHANISM
    client = ClientExchange("pencil", mechanism, binding=binding)
    server = ServerExchange(QUICK, mechanism, binding=binding)

    def tampered(message: bytes, number: int) -> bytes:
        if number != step:
            return message
        at = place % len(message)
        return message[:at] + bytes([message[at] ^ change]) + message[at + 1 :]

    try:
        challenge = tampered(server.first(tampered(client.first(), 0)), 1)
        if int(challenge.rpartition(b"=")[2] or b"0") > 100_000:
            return  # a few rounds more, only to find the same
        answer = server.final(tampered(client.final(challenge), 2))
        assert answer is None or step == 3
        client.verify(tampered(answer or b"e=invalid-proof", 3))
    except (ClientError, ServerError, ValueError):
        return
    pytest.fail("accepted")


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=1500), st.sampled_from([FIRST, FINAL, CHALLENGE, SIGNATURE]).flatmap(
    lambda text: st.builds(lambda a, b, new: text[:a] + new + text[b:], st.integers(0, 90), st.integers(0, 90),
                           st.binary(max_size=8)))))  # fmt: skip
def test_any_bytes_give_the_two_errors_only(message: bytes) -> None:
    for mechanism, binding in ((MECHANISM, None), (MECHANISM_PLUS, b"x" * 32)):
        try:
            ServerExchange(QUICK, mechanism, binding=binding).first(message)
        except ClientError:
            pass
        server = ServerExchange(QUICK, nonce=SERVER_NONCE)
        server.first(FIRST)
        try:
            server.final(message)
        except ClientError:
            pass
    keys = ScramKeys(b"c" * 32, b"s" * 32)
    try:
        ClientExchange(keys).final(message)
    except ServerError:
        pass
    client = ClientExchange(keys, nonce=CLIENT_NONCE)
    client.final(CHALLENGE)
    with pytest.raises(ServerError):
        client.verify(message)


@pytest.mark.parametrize(
    ("first", "sqlstate", "text"),
    [
        (b"", "08P01", "malformed SCRAM message"),
        (b"n,,n=,r=" + b"x" * 1024, "08P01", "malformed SCRAM message"),
        (b"n,,n=,r=x\0", "08P01", "malformed SCRAM message"),
        (b"n", "08P01", "malformed SCRAM message"),
        (b"x,,n=,r=x", "08P01", "malformed SCRAM message"),
        (b"n,a=root,n=,r=x", "0A000", "authorization identity"),
        (b"n,b=x,n=,r=x", "08P01", "malformed SCRAM message"),
        (b"n,,m=ext,n=,r=x", "0A000", "extension"),
        (b"n,,r=x", "08P01", "malformed SCRAM message"),
        (b"n,,n=,r=", "08P01", "non-printable"),
        (b"n,,n=,r=\x7f", "08P01", "non-printable"),
        (b"n,,n=,r=x,1", "08P01", "malformed SCRAM message"),
        (b"p=tls-server-end-point,,n=,r=x", "08P01", "malformed SCRAM message"),
    ],
)
def test_bad_first_messages(first: bytes, sqlstate: str, text: str) -> None:
    with pytest.raises(ClientError, match=text) as caught:
        ServerExchange(QUICK).first(first)
    assert caught.value.sqlstate == sqlstate


def test_channel_binding_flags() -> None:
    """n: always; y: only if nothing was offered; p: only with -PLUS, of the right type."""
    plus = {"mechanism": MECHANISM_PLUS, "binding": b"hash"}
    ServerExchange(QUICK).first(b"y,,n=,r=x")
    ServerExchange(QUICK, binding=b"hash").first(b"n,,n=,r=x")
    with pytest.raises(ClientError, match="negotiation error") as caught:
        ServerExchange(QUICK, binding=b"hash").first(b"y,,n=,r=x")  # the offer was tampered with
    assert caught.value.sqlstate == "28000"
    for flag in (b"n", b"y"):
        with pytest.raises(ProtocolViolation, match="malformed"):
            ServerExchange(QUICK, **plus).first(flag + b",,n=,r=x")  # type: ignore[arg-type]
    with pytest.raises(ProtocolViolation, match='type "tls-unique"'):
        ServerExchange(QUICK, **plus).first(b"p=tls-unique,,n=,r=x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs the hash"):
        ServerExchange(QUICK, MECHANISM_PLUS)
    with pytest.raises(ValueError, match="needs the hash"):
        ClientExchange("x", MECHANISM_PLUS)


def test_a_certificate_in_between_is_found_out() -> None:
    client = ClientExchange("pencil", MECHANISM_PLUS, binding=b"hash of the one in between")
    server = ServerExchange(QUICK, MECHANISM_PLUS, binding=b"hash of ours")
    answer = client.final(server.first(client.first()))
    with pytest.raises(ClientError, match="channel binding check failed") as caught:
        server.final(answer)
    assert caught.value.sqlstate == "28000"


def test_flag_of_the_second_message_must_be_that_of_the_first() -> None:
    client, server = ClientExchange("pencil", flag="n"), ServerExchange(QUICK)
    challenge = server.first(b"y" + client.first()[1:])
    with pytest.raises(ProtocolViolation, match="channel-binding attribute"):
        server.final(client.final(challenge))


@pytest.mark.parametrize(
    ("final", "text"),
    [
        (FINAL.replace(b"r=rO", b"r=xO"), "invalid SCRAM response"),
        (FINAL.replace(b"k0,", b"k0x,"), "invalid SCRAM response"),
        (FINAL.replace(b"VQ=", b"VR="), "malformed"),  # the same bytes, spelled otherwise
        (FINAL[:-4], "malformed"),
        (FINAL + b",x=y", "malformed"),
        (FINAL.replace(b",p=", b",q="), "malformed"),
        (FINAL.replace(b"biws", b"eSws"), "channel-binding attribute"),
    ],
)
def test_bad_final_messages(final: bytes, text: str) -> None:
    server = ServerExchange(VERIFIER, nonce=SERVER_NONCE)
    server.first(FIRST)
    with pytest.raises(ProtocolViolation, match=text):
        server.final(final)


def test_extensions_are_ignored_and_covered() -> None:
    client, server = ClientExchange("pencil"), ServerExchange(QUICK)
    challenge = server.first(client.first() + b",x=1")
    client._bare += b",x=1"
    without_proof, _, proof = client.final(challenge).rpartition(b",p=")
    assert server.final(without_proof + b",y=2,p=" + proof) is None  # not what the client signed


@pytest.mark.parametrize(
    ("challenge", "text"),
    [
        (b"r=other,s=c2FsdA==,i=1", "nonce mismatch"),
        (b"r=mine,s=c2FsdA==,i=1", "nonce mismatch"),
        (b"r=mine\x01,s=c2FsdA==,i=1", "nonce mismatch"),
        (b"r=mine1,s=,i=1", "invalid salt"),
        (b"r=mine1,s=!,i=1", "invalid salt"),
        (b"r=mine1,s=c2FsdA==,i=0", "iteration count"),
        (b"r=mine1,s=c2FsdA==,i=-1", "iteration count"),
        (b"r=mine1,s=c2FsdA==,i=99999999999", "iteration count"),
        (b"r=mine1,s=c2FsdA==,i=2000000", "allows 1000000"),
        (b"m=ext,r=mine1,s=c2FsdA==,i=1", "malformed"),
        (b"r=mine1,s=c2FsdA==,i=1,", "malformed"),
        (b"r=mine" + b"x" * 9000, "too long"),
        (b"", "malformed"),
    ],
)
def test_bad_challenges(challenge: bytes, text: str) -> None:
    with pytest.raises(ServerError, match=text):
        ClientExchange("pencil", nonce=b"mine").final(challenge)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"v=" + base64.b64encode(bytes(32)), "incorrect server signature"),
        (b"v=AAAA", "invalid server signature"),
        (b"e=invalid-proof", "invalid-proof"),
        (b"e=\xff\0" + b"x" * 99, "error received"),
        (b"w=AAAA", "invalid server signature"),
        (SIGNATURE + b",", "malformed"),
        (b"v=" + b"A" * 9000, "too long"),
    ],
)
def test_bad_signatures(message: bytes, text: str) -> None:
    client = ClientExchange("pencil", nonce=b"mine")
    client.final(b"r=mine1,s=c2FsdA==,i=1")
    with pytest.raises(ServerError, match=text):
        client.verify(message)


def test_a_signature_without_an_exchange_is_worth_nothing() -> None:
    client = ClientExchange(ScramKeys(b"c" * 32, b""))
    with pytest.raises(ServerError, match="incorrect server signature"):
        client.verify(b"v=" + base64.b64encode(bytes(32)))


def test_keys_are_not_tried_on_a_server_with_another_verifier() -> None:
    server = ServerExchange(Verifier.from_password("pencil", salt=b"pepper", iterations=1))
    keys = QUICK.keys(KeyCache().derive("pencil", b"salt", 1).client_key)
    client = ClientExchange(keys)
    with pytest.raises(ServerError, match="another SCRAM verifier") as caught:
        client.final(server.first(client.first()))
    assert "same verifier" in caught.value.hint
