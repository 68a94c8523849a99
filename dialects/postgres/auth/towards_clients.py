"""Authentication of one client: which method, which messages, and the verdict.

    start() -> messages to send; receive(payload of 'p') -> messages to send; ... until ``done`` or ``failed``

The last message of a successful exchange is AuthenticationOk. After ``failed`` is set the caller sends that
error and closes. Invariants: never raises, whatever the bytes; a user that does not exist, or has no usable
secret, sees the same messages as a wrong password does, and the reason is in ``log_detail`` only.

    method          secret: plain     verifier     md5 hash     none
    trust           ok                ok           ok           ok
    cert            by the name in the verified certificate, which may be demanded besides any other method
    scram-sha-256   SCRAM             SCRAM        fails        fails     (failures after a SCRAM exchange)
    md5             md5               SCRAM        md5          fails     (after an md5 exchange)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from shardproxy.errors import ClientError, ProtocolViolation

from . import md5, messages
from .keys import ITERATIONS, Verifier
from .name_map import NameMap
from .scram import MECHANISM, MECHANISM_PLUS, ServerExchange
from .secret import Secret, ServerCredential

__all__ = ["METHODS", "ClientAuthentication", "ClientCertificate"]

METHODS = ("scram-sha-256", "md5", "cert", "trust")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """CN of the client's *verified* certificate, whether it is demanded besides the method, and whom it may be."""

    name: str | None = None
    demanded: bool = False
    names: NameMap = field(default_factory=NameMap)


class ClientAuthentication:
    """One client's login. ``mechanism`` says what was used; ``client_key`` is there after SCRAM."""

    def __init__(self, user: str, method: str, secret: Secret | None, *, salt_key: bytes,
                 binding: bytes | None = None, certificate: ClientCertificate | None = None,
                 iterations: int = ITERATIONS) -> None:  # fmt: skip
        """``salt_key``: 16 or more random bytes, the same in all workers. ``binding``: the hash that binds to our
        certificate, if the client came over TLS (``Listening.binding``).
        """
        if method not in METHODS:
            raise ValueError(f"unknown authentication method {method!r}")
        self.done = False
        self.failed: ClientError | None = None
        self.log_detail = ""
        self.mechanism = method
        self.client_key: bytes | None = None
        self._user, self._method, self._secret = user, method, secret
        self._salt_key, self._binding, self._iterations = salt_key, binding, iterations
        self._certificate = certificate or ClientCertificate()
        self._salt = b""
        self._exchange: ServerExchange | None = None
        self._step: Callable[[bytes], list[bytes]] = self._unexpected

    @property
    def password_known(self) -> bool:
        """Whether the plain password is known, so that any server can be logged in to."""
        return self._secret is not None and self._secret.kind == "plain"

    def server_credential(self) -> ServerCredential | None:
        """What this client's own login can be passed on with; ``None``: nothing, or not logged in."""
        if not self.done or self._secret is None:
            return None
        return self._secret.server_credential(self.client_key)

    def start(self) -> list[bytes]:
        """The first messages to send."""
        kind = self._secret.kind if self._secret is not None else ""
        if self._method == "cert" or self._certificate.demanded:
            error = self._certificate_error()
            if error is not None:
                return self._fail(error)
        if self._method in ("trust", "cert"):
            return self._succeed()
        if self._method == "md5" and kind != "scram":
            self._salt, self._step = secrets.token_bytes(md5.SALT_BYTES), self._md5
            return [messages.encode_authentication(messages.MD5, self._salt)]
        self.mechanism, self._step = MECHANISM, self._sasl_initial
        offered = [MECHANISM] if self._binding is None else [MECHANISM_PLUS, MECHANISM]
        return [messages.encode_mechanisms(offered)]

    def receive(self, payload: bytes) -> list[bytes]:
        """The payload of a 'p' message; gives messages to send."""
        try:
            return self._step(payload)
        except ClientError as error:
            return self._fail(error)
        except ValueError as error:
            return self._fail(ProtocolViolation(str(error)))

    def _succeed(self) -> list[bytes]:
        self.done, self._step = True, self._unexpected
        return [messages.encode_authentication(messages.OK)]

    def _fail(self, error: ClientError) -> list[bytes]:
        self.done, self.failed, self._step = False, error, self._unexpected
        return []

    def _wrong_password(self) -> list[bytes]:
        if not self.log_detail:
            self.log_detail = "the password does not match"
        return self._fail(ClientError("28P01", f'password authentication failed for user "{self._user}"'))

    def _unexpected(self, payload: bytes) -> list[bytes]:
        return self._fail(self.failed or ProtocolViolation("unexpected password message"))

    def _certificate_error(self) -> ClientError | None:
        name = self._certificate.name
        if name is None:
            return ClientError("28000", "connection requires a valid client certificate")
        if self._certificate.names.allows(name, self._user):
            return None
        self.log_detail = f"the certificate is for {name!r}"
        return ClientError("28000", f'certificate authentication failed for user "{self._user}"')

    def _md5(self, payload: bytes) -> list[bytes]:
        response = messages.decode_password(payload)
        if not response:
            return self._fail(ClientError("28P01", "empty password returned by client"))
        stored = self._secret.md5_hash(self._user) if self._secret is not None else None
        if stored is None:
            self.log_detail = "the user does not exist or has no password"
        matched = md5.matches(stored or "md5" + secrets.token_hex(16), self._salt, response)
        return self._succeed() if matched and stored is not None else self._wrong_password()

    def _sasl_initial(self, payload: bytes) -> list[bytes]:
        mechanism, response = messages.decode_sasl_initial(payload)
        if mechanism not in (MECHANISM, MECHANISM_PLUS) or (
            mechanism == MECHANISM_PLUS and self._binding is None
        ):
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        self.mechanism = mechanism
        verifier, doomed = self._verifier()
        self._exchange = ServerExchange(verifier, mechanism, binding=self._binding, doomed=doomed)
        self._step = self._sasl_first
        if response is None:  # the client wants to be asked
            return [messages.encode_authentication(messages.SASL_CONTINUE)]
        return self._sasl_first(response)

    def _verifier(self) -> tuple[Verifier, bool]:
        verifier = None
        if self._secret is not None:
            verifier = self._secret.verifier(self._user, self._salt_key, self._iterations)
        if verifier is not None:
            return verifier, False
        self.log_detail = ("the user does not exist or has no password" if self._secret is None
                           else "an md5 hash cannot check a SCRAM client")  # fmt: skip
        return Verifier.mock(self._user, self._salt_key, self._iterations), True

    def _sasl_first(self, response: bytes) -> list[bytes]:
        assert self._exchange is not None
        challenge = self._exchange.first(response)
        self._step = self._sasl_final
        return [messages.encode_authentication(messages.SASL_CONTINUE, challenge)]

    def _sasl_final(self, response: bytes) -> list[bytes]:
        assert self._exchange is not None
        signature = self._exchange.final(response)
        if signature is None:
            return self._wrong_password()
        self.client_key = self._exchange.client_key
        return [messages.encode_authentication(messages.SASL_FINAL, signature), *self._succeed()]
