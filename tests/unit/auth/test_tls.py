"""TLS contexts: handshakes in memory between our two sides, mistakes in files, reload."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from shardproxy.certificates import channel_binding_hash
from shardproxy.errors import ConfigError
from shardproxy.tls import (
    Holder,
    Listening,
    Outgoing,
    client_certificate_name,
    load_client_tls,
    load_server_tls,
    server_binding,
)
from tests.unit.auth.conftest import Issue, Issued


@dataclass(frozen=True)
class Settings:
    """As much of the config as the contexts need."""

    mode: str = "require"
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    min_version: str = "1.2"


def ours(issued: Issued, mode: str = "require", **options: object) -> Settings:
    return Settings(mode, issued.certificate, issued.key, **options)  # type: ignore[arg-type]


def shake(
    listening: Listening, outgoing: Outgoing, host: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake; the client's end and the server's end, or ``ssl.SSLError``."""
    assert listening.context is not None
    assert outgoing.context is not None
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = listening.context.wrap_bio(up, down, server_side=True)
    client = outgoing.context.wrap_bio(down, up, server_hostname=host)
    done = [False, False]
    for _ in range(10):
        for number, side in enumerate((client, server)):
            try:
                side.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
    assert done == [True, True]
    return client, server


def test_handshake_and_binding(issue: Issue) -> None:
    certificate = issue("server")
    listening = load_client_tls(ours(certificate), alpn=("postgresql",))
    client, server = shake(listening, load_server_tls(Settings(), alpn=("postgresql",)))
    assert listening.binding == server_binding(client) == channel_binding_hash(certificate.der)
    assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "postgresql"
    assert client_certificate_name(server) is None
    assert client_certificate_name(client) is None  # shown, but not verified
    with pytest.raises(ssl.SSLWantReadError):  # no session tickets follow the handshake
        client.read(1)
    assert client.session is None or not client.session.has_ticket


def test_no_binding_to_a_certificate_without_a_hash(issue: Issue) -> None:
    listening = load_client_tls(ours(issue("server", curve=False)))
    client, _ = shake(listening, load_server_tls(Settings()))
    assert listening.binding is server_binding(client) is None


@pytest.mark.parametrize(
    ("mode", "host", "ca", "works"),
    [
        ("prefer", "elsewhere", "none", True),
        ("require", "elsewhere", "none", True),
        ("require", "elsewhere", "other", False),  # given, so checked
        ("verify-ca", "elsewhere", "right", True),
        ("verify-ca", "localhost", "other", False),
        ("verify-ca", "localhost", "none", False),  # the system's authorities do not know it
        ("verify-full", "localhost", "right", True),
        ("verify-full", "127.0.0.1", "right", True),
        ("verify-full", "elsewhere", "right", False),
        ("verify-full", "localhost", "other", False),
    ],
)
def test_what_is_checked_of_servers(issue: Issue, mode: str, host: str, ca: str, works: bool) -> None:
    authorities = {"right": issue("right"), "other": issue("other")}
    listening = load_client_tls(ours(issue("server", by=authorities["right"])))
    authority = authorities.get(ca)
    outgoing = load_server_tls(Settings(mode, ca=authority.certificate if authority else None))
    assert outgoing.required is (mode != "prefer")
    if works:
        shake(listening, outgoing, host)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(listening, outgoing, host)


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_client_certificates(issue: Issue, mode: str) -> None:
    authority = issue("authority")
    listening = load_client_tls(ours(issue("server"), mode, ca=authority.certificate))
    assert listening.names_user is (mode == "verify-full")
    _, server = shake(listening, load_server_tls(ours(issue("app", by=authority))))
    assert client_certificate_name(server) == "app"
    with pytest.raises(ssl.SSLError):
        shake(listening, load_server_tls(ours(issue("stranger", by=issue("other")))))
    if mode.startswith("verify"):
        with pytest.raises(ssl.SSLError):
            shake(listening, load_server_tls(Settings()))
    else:
        _, server = shake(listening, load_server_tls(Settings()))
        assert client_certificate_name(server) is None


def test_oldest_version(issue: Issue) -> None:
    listening = load_client_tls(ours(issue("server"), min_version="1.3"))
    outgoing = load_server_tls(Settings())
    assert outgoing.context is not None
    outgoing.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(listening, outgoing)


def test_disabled() -> None:
    assert load_client_tls(Settings("disable")) == Listening("disable")
    assert load_server_tls(Settings("disable")) == Outgoing("disable")
    assert not Listening("prefer").required


def mistake(load: partial[Listening] | partial[Outgoing]) -> str:
    with pytest.raises(ConfigError) as caught:
        load()
    (found,) = caught.value.mistakes
    return str(found)


def test_mistakes(issue: Issue, tmp_path: Path) -> None:
    good, other, locked = issue("good"), issue("other"), issue("locked", password=b"secret")
    missing = tmp_path / "missing.pem"
    (tmp_path / "empty.pem").write_text("")
    client, server = partial(load_client_tls, file="x.toml"), partial(load_server_tls, file="x.toml")
    told = [
        mistake(partial(client, Settings())),
        mistake(partial(client, ours(good, "verify-full"))),
        mistake(partial(client, Settings("require", good.certificate, other.key))),
        mistake(partial(client, Settings("require", good.certificate, missing))),
        mistake(partial(client, Settings("require", good.key, good.key))),
        mistake(partial(client, Settings("require", tmp_path / "empty.pem", good.key))),
        mistake(partial(client, ours(locked))),
        mistake(partial(client, ours(good, ca=missing))),
        mistake(partial(client, ours(good, ca=good.key))),
        mistake(partial(server, Settings("require", good.certificate))),
        mistake(partial(server, Settings("require", ca=tmp_path / "empty.pem"))),
        mistake(partial(server, Settings("require", good.certificate, other.key))),
    ]
    assert all(text.startswith(("x.toml: auth.tls.", "x.toml: server_tls.")) for text in told)
    for text, expected in zip(told, [
        "needs a certificate and a key", "needs the authorities", "KEY_VALUES_MISMATCH", "No such file",
        "no certificate in PEM form", "no certificate in PEM form", "the key is encrypted", "No such file", "ca",
        "belong together", "ca", "KEY_VALUES_MISMATCH",
    ], strict=True):  # fmt: skip
        assert expected in text


def test_reload(issue: Issue) -> None:
    first = issue("server")
    settings = ours(first)
    holder = Holder(partial(load_client_tls, settings))
    before = holder.current
    renewed = issue("renewed")
    first.certificate.write_bytes(renewed.certificate.read_bytes())

    assert "KEY_VALUES_MISMATCH" in str(holder.reload()[0])  # only half of the new pair is there
    assert holder.current is before
    client, _ = shake(holder.current, load_server_tls(Settings()))
    assert server_binding(client) == channel_binding_hash(first.der)

    first.key.write_bytes(renewed.key.read_bytes())
    assert holder.reload() == ()
    client, _ = shake(holder.current, load_server_tls(Settings()))
    assert holder.current.binding == server_binding(client) == channel_binding_hash(renewed.der)
    shake(before, load_server_tls(Settings()))  # handshakes under way are not disturbed


def test_reload_with_other_settings(issue: Issue) -> None:
    certificate = issue("server")
    holder = Holder(partial(load_client_tls, Settings("disable")))
    assert holder.reload(partial(load_client_tls, ours(certificate, "verify-ca"))) != ()
    assert holder.reload() == ()
    assert holder.current == Listening("disable")
    assert holder.reload(partial(load_client_tls, ours(certificate))) == ()
    assert holder.current.required
    assert holder.reload() == ()
    assert holder.current.required


def test_a_certificate_that_changes_while_it_is_read(issue: Issue, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = issue("server")
    texts = iter([certificate.certificate.read_bytes(), b"another"])
    monkeypatch.setattr(Path, "read_bytes", lambda self: next(texts))
    assert "changed while it was read" in mistake(partial(load_client_tls, ours(certificate)))
