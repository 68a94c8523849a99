"""Login of ours to one server: answers its 'R' messages.

    receive(payload of 'R') -> messages to send; ... until ``done``

Invariants: raises only ``ServerError``, whatever the bytes. A password is never sent in clear over a
connection that others can read, unless the config allows it. A server that began SCRAM is believed only
after its signature was checked: AuthenticationOk before that is refused. An ErrorResponse of the server is
the caller's to handle.
"""

from __future__ import annotations

from typing import Literal

from shardproxy.errors import ServerError

from . import md5, messages
from .keys import ScramKeys
from .saslprep import password_bytes
from .scram import MECHANISM, MECHANISM_PLUS, ClientExchange
from .secret import ServerCredential

__all__ = ["ServerAuthentication"]

ChannelBinding = Literal["disable", "prefer", "require"]

_FOREIGN = {
    messages.KERBEROS_V5: "Kerberos V5", messages.GSS: "GSSAPI", messages.GSS_CONTINUE: "GSSAPI",
    messages.SSPI: "SSPI",
}  # fmt: skip


class ServerAuthentication:
    """One login. ``method`` says what the server asked for: trust, password, md5, scram-sha-256[-plus]."""

    def __init__(self, user: str, credential: ServerCredential | None, *, tls: bool = False,
                 binding: bytes | None = None, channel_binding: ChannelBinding = "prefer",
                 allow_cleartext: bool = False) -> None:  # fmt: skip
        """
        ``binding``: hash of the server's certificate over TLS, ``None`` if there is none.
        ``allow_cleartext``: a password may be sent in clear without TLS (unix sockets, or by the config).
        """
        self.done = False
        self.method = "trust"
        self._user, self._credential = user, credential or ServerCredential()
        self._tls, self._binding, self._channel_binding = tls, binding if tls else None, channel_binding
        self._cleartext_allowed = tls or allow_cleartext
        self._exchange: ClientExchange | None = None
        self._expected: int | None = None  # the only code the server may send now

    def receive(self, payload: bytes) -> list[bytes]:
        """The payload of an 'R' message; gives messages to send."""
        try:
            code, body = messages.decode_authentication(payload)
            return self._dispatch(code, body)
        except ValueError as error:
            raise ServerError(
                "08P01", f"the server sent a malformed authentication message: {error}"
            ) from None

    def _dispatch(self, code: int, body: bytes) -> list[bytes]:
        if self.done or (self._expected is not None and code != self._expected):
            raise ServerError("08P01", f"unexpected authentication message {code} from the server")
        if code == messages.OK:
            return self._ok()
        if code == messages.SASL_CONTINUE and self._exchange is not None:
            self._expected = messages.SASL_FINAL
            return [messages.encode_response(self._exchange.final(body))]
        if code == messages.SASL_FINAL and self._exchange is not None:
            self._exchange.verify(body)
            self._expected = messages.OK
            return []
        if self._channel_binding == "require" and code != messages.SASL:
            raise self._binding_required()
        if code == messages.SASL:
            return self._sasl(messages.decode_mechanisms(body))
        if code == messages.MD5:
            return self._md5(body)
        if code == messages.CLEARTEXT:
            return self._cleartext()
        raise self._foreign(code)

    def _ok(self) -> list[bytes]:
        if self._channel_binding == "require" and self.method != "scram-sha-256-plus":
            raise self._binding_required()
        self.done = True
        return []

    def _cleartext(self) -> list[bytes]:
        self.method, self._expected = "password", messages.OK
        if not self._cleartext_allowed:
            raise ServerError(
                "28000", "the server asks for a password in clear text over an unencrypted connection",
                hint="Use TLS towards this server, or scram-sha-256 in its pg_hba.conf.")  # fmt: skip
        if self._credential.password is None:
            raise self._missing("a password in clear text")
        return [messages.encode_password(password_bytes(self._credential.password))]

    def _md5(self, salt: bytes) -> list[bytes]:
        self.method, self._expected = "md5", messages.OK
        if len(salt) != md5.SALT_BYTES:
            raise ValueError("md5 salt is not four bytes")
        stored = self._credential.md5
        if self._credential.password is not None:
            stored = md5.hash_password(self._credential.password, self._user)
        if stored is None:
            raise self._missing("md5 authentication")
        return [messages.encode_password(md5.answer(stored, salt))]

    def _sasl(self, offered: list[str]) -> list[bytes]:
        mechanism, flag = self._choose(offered)
        self.method, self._expected = mechanism.lower(), messages.SASL_CONTINUE
        secret: str | ScramKeys | None = self._credential.password
        if secret is None:
            secret = self._credential.keys
        if secret is None:
            raise self._missing("SCRAM authentication")
        self._exchange = ClientExchange(secret, mechanism, flag=flag, binding=self._binding)
        return [messages.encode_sasl_initial(mechanism, self._exchange.first())]

    def _choose(self, offered: list[str]) -> tuple[str, str]:
        """Mechanism and gs2 flag: bind if both can; tell the server if we could and it did not offer."""
        if MECHANISM_PLUS in offered:
            if not self._tls:
                raise ServerError(
                    "08P01", "the server offered SCRAM-SHA-256-PLUS over a connection without TLS"
                )
            if self._binding is not None and self._channel_binding != "disable":
                return MECHANISM_PLUS, "p"
        if self._channel_binding == "require":
            raise self._binding_required()
        if MECHANISM not in offered:
            names = ", ".join(offered)[:200]
            raise ServerError("28000", f"the server offers no SASL mechanism that shardproxy knows: {names}")
        can_bind = self._binding is not None and self._channel_binding != "disable"
        return MECHANISM, "y" if can_bind else "n"

    def _binding_required(self) -> ServerError:
        return ServerError("28000", "channel binding is required, but the server did not offer it",
                           hint="It needs TLS and scram-sha-256 in the server's pg_hba.conf.")  # fmt: skip

    def _missing(self, what: str) -> ServerError:
        hint = f'Configure a password for user "{self._user}".'
        if self._credential.keys is not None:
            hint = f"Only SCRAM keys are known for this user: let the server use scram-sha-256. {hint}"
        elif self._credential.md5 is not None:
            hint = f"Only an md5 hash is known for this user. {hint}"
        text = f'the server asks user "{self._user}" for {what}, which shardproxy cannot give'
        return ServerError("28000", text, hint=hint)

    def _foreign(self, code: int) -> ServerError:
        name = _FOREIGN.get(code, f"authentication method {code}")
        return ServerError("28000", f"the server asks for {name}, which shardproxy does not speak",
                           hint="Let pg_hba.conf offer scram-sha-256, md5 or trust to shardproxy.")  # fmt: skip
