"""TLS contexts, towards clients and towards servers, with reload.

``Holder.current`` is an immutable snapshot: the context and what belongs to it. A reload builds a whole new snapshot
from the files and swaps it in, or reports what is wrong and leaves the old one. Invariant: a handshake and the
channel binding after it use one snapshot, so take ``current`` once per connection and keep it.

    mode            towards clients                       towards servers
    disable         TLS declined                          never asked for
    allow, prefer   TLS if the client asks                asked for, goes on without
    require         plain connections refused             no other way; verified if ``ca`` is given, as libpq does
    verify-ca       and a client certificate is needed    certificate signed by ``ca`` (or the system's authorities)
    verify-full     and made out for the user             and made out for the host name
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from .certificates import channel_binding_hash, common_name, first_certificate
from .errors import ConfigError, Mistake

__all__ = ["ClientSettings", "Holder", "Listening", "Outgoing", "ServerSettings", "client_certificate_name",
           "load_client_tls", "load_server_tls", "server_binding"]  # fmt: skip

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = ("verify-ca", "verify-full")
_REQUIRE = ("require", *_VERIFY)


class ServerSettings(Protocol):
    """What the settings towards servers must have; the config's own do."""

    @property
    def mode(self) -> str: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def certificate(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...


class ClientSettings(ServerSettings, Protocol):
    """What the settings towards clients must have."""

    @property
    def min_version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Listening:
    """Towards clients, loaded. No ``context``: TLS is declined. No ``binding``: it cannot be bound to."""

    mode: str
    context: ssl.SSLContext | None = None
    binding: bytes | None = None

    @property
    def required(self) -> bool:
        """A client without TLS is refused."""
        return self.mode in _REQUIRE

    @property
    def names_user(self) -> bool:
        """The client's certificate must be made out for the user, whatever the method."""
        return self.mode == "verify-full"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Towards servers, loaded. No ``context``: TLS is never asked for."""

    mode: str
    context: ssl.SSLContext | None = None

    @property
    def required(self) -> bool:
        """A server that declines TLS is not used."""
        return self.mode in _REQUIRE


_Snapshot = TypeVar("_Snapshot", Listening, Outgoing)


class Holder(Generic[_Snapshot]):
    """Keeps the current snapshot; stays the same object over reloads."""

    def __init__(self, load: Callable[[], _Snapshot]) -> None:
        """Loads at once; ``ConfigError`` tells what is wrong."""
        self._load: Callable[[], _Snapshot] = load
        self.current: _Snapshot = load()

    def reload(self, load: Callable[[], _Snapshot] | None = None) -> tuple[Mistake, ...]:
        """Reads the files again, by other settings if given. On mistakes the old snapshot and settings stay."""
        try:
            self.current = (load or self._load)()
        except ConfigError as error:
            return error.mistakes
        self._load = load or self._load
        return ()


def load_client_tls(
    settings: ClientSettings, *, alpn: Sequence[str] = (), file: str = "", key: str = "auth.tls"
) -> Listening:
    """The context towards clients. ``alpn``: the dialect's name of its protocol; ``file``, ``key``: for mistakes."""
    if settings.mode == "disable":
        return Listening("disable")
    where = _Where(file, key)
    if settings.certificate is None or settings.key is None:
        raise where.wrong("certificate", f'mode "{settings.mode}" needs a certificate and a key', "add both")
    if settings.mode in _VERIFY and settings.ca is None:
        raise where.wrong("ca", f'mode "{settings.mode}" needs the authorities that sign client certificates')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # PostgreSQL has none either; saves work and memory in each handshake
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if settings.ca is not None:
        _load_authorities(context, settings.ca, where)
        context.verify_mode = ssl.CERT_REQUIRED if settings.mode in _VERIFY else ssl.CERT_OPTIONAL
    der = _load_chain(context, settings.certificate, settings.key, where)
    return Listening(settings.mode, context, channel_binding_hash(der))


def load_server_tls(
    settings: ServerSettings, *, alpn: Sequence[str] = (), file: str = "", key: str = "server_tls"
) -> Outgoing:
    """The context towards servers. With ``verify-full`` the handshake needs the server's host name."""
    if settings.mode == "disable":
        return Outgoing("disable")
    where = _Where(file, key)
    if (settings.certificate is None) is not (settings.key is None):
        raise where.wrong("certificate", "a certificate and its key belong together", "give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.mode == "verify-full"
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if settings.ca is not None:
        _load_authorities(context, settings.ca, where)
    elif settings.mode in _VERIFY:
        context.load_default_certs()
    else:
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None and settings.key is not None:
        _load_chain(context, settings.certificate, settings.key, where)
    return Outgoing(settings.mode, context)


def server_binding(connection: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """tls-server-end-point of the server at the other end of a TLS connection."""
    der = connection.getpeercert(binary_form=True)
    return channel_binding_hash(der) if der else None


def client_certificate_name(connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
    """CN of the client at the other end, ``None`` if it has shown no certificate that was verified."""
    der = connection.getpeercert(binary_form=True)
    if der is None or connection.context.verify_mode == ssl.CERT_NONE:
        return None
    return common_name(der)


@dataclass(frozen=True, slots=True)
class _Where:
    """Where settings stand."""

    file: str
    key: str

    def wrong(self, name: str, problem: str, remedy: str = "") -> ConfigError:
        """The error for one setting."""
        return ConfigError([Mistake(self.file, f"{self.key}.{name}", problem, remedy)])


def _load_authorities(context: ssl.SSLContext, ca: Path, where: _Where) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as error:  # ssl.SSLError is one
        raise where.wrong(
            "ca", f"{ca} cannot be loaded: {_reason(error)}", "a PEM file of certificates"
        ) from None


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path, where: _Where) -> bytes:
    """Loads our certificate; gives its DER, which is surely that of the file that was loaded."""
    try:
        before = certificate.read_bytes()
        der = first_certificate(before)
        context.load_cert_chain(certificate, key, _no_passphrase)
        after = certificate.read_bytes()
    except (OSError, ValueError) as error:
        problem = f"{certificate} with key {key} cannot be used: {_reason(error)}"
        raise where.wrong(
            "certificate", problem, "a PEM certificate and its own key, not encrypted"
        ) from None
    if before != after:
        raise where.wrong("certificate", f"{certificate} changed while it was read", "reload again")
    return der


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")  # without this OpenSSL would ask on the terminal


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
