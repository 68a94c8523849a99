"""Authentication of clients: every method with every kind of secret, and bytes that are not the protocol."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardproxy.dialects.postgres.auth import (
    METHODS,
    ClientAuthentication,
    ClientCertificate,
    NameMap,
    Secret,
    ServerAuthentication,
    ServerCredential,
    Verifier,
    md5,
    messages,
)
from shardproxy.errors import ClientError, ServerError
from tests.unit.auth.conftest import SALT_KEY

PLAIN = Secret.parse("secret")
SCRAM = Secret.parse(Verifier.from_password("secret", iterations=1).format())
MD5 = Secret.parse(md5.hash_password("secret", "app"))
WRONG = 'password authentication failed for user "app"'


def make(method: str, secret: Secret | None, **options: object) -> ClientAuthentication:
    options.setdefault("iterations", 1)
    return ClientAuthentication("app", method, secret, salt_key=SALT_KEY, **options)  # type: ignore[arg-type]


def log_in(client: ClientAuthentication, password: str, **options: object) -> list[int]:
    """Plays a client until the verdict; gives the codes of what was sent to it."""
    codes = []
    driver = ServerAuthentication("app", ServerCredential(password=password), **options)  # type: ignore[arg-type]
    waiting = client.start()
    while waiting:
        message = waiting.pop(0)
        codes.append(messages.decode_authentication(message[5:])[0])
        for answer in driver.receive(message[5:]):
            waiting += client.receive(answer[5:])
    assert client.done is (client.failed is None)
    assert client.done is driver.done
    return codes


@pytest.mark.parametrize(
    ("method", "secret", "codes"),
    [
        ("trust", None, [0]),
        ("trust", SCRAM, [0]),
        ("scram-sha-256", PLAIN, [10, 11, 12, 0]),
        ("scram-sha-256", SCRAM, [10, 11, 12, 0]),
        ("md5", PLAIN, [5, 0]),
        ("md5", MD5, [5, 0]),
        ("md5", SCRAM, [10, 11, 12, 0]),
    ],
)
def test_success(method: str, secret: Secret | None, codes: list[int]) -> None:
    client = make(method, secret)
    assert log_in(client, "secret") == codes
    assert client.failed is None
    assert client.log_detail == ""
    assert client.password_known is (secret is PLAIN)
    assert (client.client_key is not None) is (10 in codes)
    assert client.receive(b"") == []  # nothing may follow
    assert client.failed is not None


@pytest.mark.parametrize(
    ("method", "secret", "password", "codes", "log_detail"),
    [
        ("scram-sha-256", PLAIN, "wrong", [10, 11], "does not match"),
        ("scram-sha-256", SCRAM, "wrong", [10, 11], "does not match"),
        ("scram-sha-256", MD5, "secret", [10, 11], "md5 hash"),
        ("scram-sha-256", None, "secret", [10, 11], "does not exist"),
        ("md5", PLAIN, "wrong", [5], "does not match"),
        ("md5", MD5, "wrong", [5], "does not match"),
        ("md5", None, "secret", [5], "does not exist"),
        ("md5", SCRAM, "wrong", [10, 11], "does not match"),
    ],
)
def test_failures_look_alike(
    method: str, secret: Secret | None, password: str, codes: list[int], log_detail: str
) -> None:
    client = make(method, secret)
    assert log_in(client, password) == codes
    assert client.failed is not None
    assert (client.failed.sqlstate, client.failed.message) == ("28P01", WRONG)
    assert client.failed.detail == client.failed.hint == ""
    assert log_detail in client.log_detail
    assert client.client_key is None
    assert client.server_credential() is None


def test_unknown_users_get_the_same_challenge_each_time() -> None:
    def salt_of(secret: Secret | None) -> bytes:
        client = make("scram-sha-256", secret)
        client.start()
        (answer,) = client.receive(b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x")
        return answer.partition(b",s=")[2]

    assert salt_of(None) == salt_of(None) == salt_of(PLAIN)


def test_channel_binding() -> None:
    for binding, mechanism in ((b"h" * 32, "SCRAM-SHA-256-PLUS"), (None, "SCRAM-SHA-256")):
        client = make("scram-sha-256", SCRAM, binding=binding)
        log_in(client, "secret", tls=True, binding=b"h" * 32)
        assert client.done
        assert client.mechanism == mechanism
    client = make("scram-sha-256", SCRAM, binding=b"h" * 32)
    log_in(client, "secret", tls=True, binding=b"x" * 32)
    assert client.failed is not None
    assert client.failed.message == "SCRAM channel binding check failed"


def test_a_client_may_wait_to_be_asked() -> None:
    client = make("scram-sha-256", SCRAM)
    client.start()
    assert client.receive(b"SCRAM-SHA-256\0\xff\xff\xff\xff") == [messages.encode_authentication(11)]
    assert client.receive(b"n,,n=,r=x") != []
    assert client.failed is None


@pytest.mark.parametrize("mechanism", [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-1", b""])
def test_mechanisms_that_were_not_offered(mechanism: bytes) -> None:
    client = make("scram-sha-256", SCRAM)
    client.start()
    assert client.receive(mechanism + b"\0\0\0\0\x09n,,n=,r=x") == []
    assert client.failed is not None
    assert client.failed.message == "client selected an invalid SASL authentication mechanism"


def test_empty_md5_answer() -> None:
    client = make("md5", PLAIN)
    client.start()
    client.receive(b"\0")
    assert client.failed is not None
    assert client.failed.message == "empty password returned by client"


@pytest.mark.parametrize(
    ("name", "entries", "error"),
    [
        ("app", (), ""),
        ("ops", (), 'certificate authentication failed for user "app"'),
        (None, (), "connection requires a valid client certificate"),
        ("ops", (("ops", "app"),), ""),
        ("app", (("ops", "app"),), 'certificate authentication failed for user "app"'),
    ],
)
def test_certificates(name: str | None, entries: tuple[tuple[str, str], ...], error: str) -> None:
    client = make("cert", PLAIN, certificate=ClientCertificate(name, names=NameMap(entries)))
    sent = client.start()
    assert sent == ([] if error else [messages.encode_authentication(0)])
    assert (client.failed.message if client.failed else "") == error
    assert client.failed is None or client.failed.sqlstate == "28000"
    assert (client.server_credential() is not None) is client.done


@pytest.mark.parametrize("method", ["trust", "scram-sha-256"])
def test_certificates_besides_a_method(method: str) -> None:
    client = make(method, PLAIN, certificate=ClientCertificate("app", demanded=True))
    log_in(client, "secret")
    assert client.done
    for name in ("ops", None):
        client = make(method, PLAIN, certificate=ClientCertificate(name, demanded=True))
        assert log_in(client, "secret") == []
        assert client.failed is not None
        assert client.failed.sqlstate == "28000"


def test_methods_are_checked() -> None:
    assert METHODS == ("scram-sha-256", "md5", "cert", "trust")
    with pytest.raises(ValueError, match="unknown authentication method 'gss'"):
        make("gss", None)


def test_what_is_passed_on() -> None:
    """After SCRAM with a verifier, the keys that a client proved log in to a server with that verifier."""
    proxy = make("scram-sha-256", SCRAM)
    log_in(proxy, "secret")
    credential = proxy.server_credential()
    assert credential is not None
    assert credential.password is None
    server, login = make("scram-sha-256", SCRAM), ServerAuthentication("app", credential)
    waiting = server.start()
    while waiting:
        for answer in login.receive(waiting.pop(0)[5:]):
            waiting += server.receive(answer[5:])
    assert server.done
    assert login.done


@settings(deadline=None)
@given(
    st.sampled_from(["scram-sha-256", "md5"]),
    st.sampled_from([PLAIN, SCRAM, MD5, None]),
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.just(b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"),
            st.binary(max_size=40).map(lambda tail: b"c=biws,r=x" + tail),
            st.binary(max_size=40).map(lambda tail: b"SCRAM-SHA-256\0\0\0\0" + bytes([len(tail)]) + tail),
        ),
        max_size=4,
    ),
)
def test_any_bytes_end_in_a_client_error(method: str, secret: Secret | None, payloads: list[bytes]) -> None:
    client = make(method, secret)
    client.start()
    for data in payloads:
        sent = client.receive(data)
        assert not client.done
        assert client.failed is None or (sent == [] and isinstance(client.failed, ClientError))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_from_a_server_are_answered_or_a_server_error(payloads: list[bytes]) -> None:
    login = ServerAuthentication("app", ServerCredential(password="secret"), tls=True, binding=b"h")
    try:
        for data in payloads:
            login.receive(data)
    except ServerError:
        assert not login.done
