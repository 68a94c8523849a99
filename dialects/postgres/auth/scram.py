"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677), both roles, as PostgreSQL speaks them.

    client                                           server
      first():  n,,n=,r=NONCE                ->        first():  r=NONCE+MORE,s=SALT,i=ROUNDS
      final():  c=...,r=NONCE+MORE,p=PROOF   ->        final():  v=SIGNATURE, or None: wrong password
      verify()  checks the signature         <-

Invariants: ``ServerExchange`` raises only ``ClientError``, ``ClientExchange`` only ``ServerError``,
whatever the bytes. Every byte of the exchange is covered by the proof and by the signature, so a change on
the way fails the login. For a *doomed* exchange (no such user, no usable secret) the messages and the work
are those of a wrong password.

Channel binding is tls-server-end-point: both sides mix in the hash of the server's certificate, so a proxy in
between that ends TLS with another certificate is found out.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable

from shardproxy.errors import ClientError, ProtocolViolation, ServerError

from .keys import CACHE, DERIVED_ITERATIONS_MAX, KeyCache, ScramKeys, Verifier, b64decode, digest, hmac_sha256

__all__ = ["BINDING_TYPE", "MECHANISM", "MECHANISM_PLUS", "ClientExchange", "ServerExchange", "Verifier",
           "malformed"]  # fmt: skip

MECHANISM = "SCRAM-SHA-256"
MECHANISM_PLUS = "SCRAM-SHA-256-PLUS"
BINDING_TYPE = "tls-server-end-point"

_BINDING_UNASKED = (
    "The client selected SCRAM-SHA-256 without channel binding, "
    "but the SCRAM message includes channel binding data."
)
_BINDING_MISSING = (
    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data."
)
_BINDING_DENIED = (
    "The client supports SCRAM channel binding but thinks the server does not.  "
    "However, this server does support channel binding."
)
_OTHER_VERIFIER = "the server holds another SCRAM verifier for this user than the one shardproxy has"
_OTHER_VERIFIER_HINT = (
    "Store one and the same verifier on all servers and in shardproxy, or give shardproxy the password."
)

_CLIENT_MESSAGE_MAX = 1024  # PostgreSQL's own limit, so every driver keeps it
_SERVER_MESSAGE_MAX = 8192
_NONCE_BYTES = 18
_KEY_BYTES = 32


def malformed(detail: str) -> ProtocolViolation:
    """The error for a client whose message is not SCRAM, in PostgreSQL's words."""
    error = ProtocolViolation("malformed SCRAM message")
    error.detail = detail
    return error


def _malformed_server(detail: str) -> ServerError:
    return ServerError("08P01", f"malformed SCRAM message from the server: {detail}")


def _new_nonce() -> bytes:
    return base64.b64encode(secrets.token_bytes(_NONCE_BYTES))


def _printable(text: bytes) -> bool:
    return bool(text) and all(0x21 <= byte <= 0x7E and byte != 0x2C for byte in text)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _shown(text: bytes) -> str:
    return repr(chr(text[0])) if text and 0x21 <= text[0] <= 0x7E else f"0x{text[0]:02x}" if text else "end"


class _Attributes:
    """Reads ``a=x,b=y`` from left to right; ``fail`` makes the error of the side that sent it."""

    def __init__(self, text: bytes, fail: Callable[[str], Exception]) -> None:
        self._parts = text.split(b",")
        self._parts.reverse()
        self._fail = fail

    def any(self) -> tuple[str, bytes]:
        """The next attribute."""
        part = self._parts.pop() if self._parts else b""
        if not part[:1].isalpha():
            raise self._fail(f"Attribute expected, but found {_shown(part)}.")
        if part[1:2] != b"=":
            raise self._fail(f'Expected character "=" for attribute "{chr(part[0])}".')
        return chr(part[0]), part[2:]

    def take(self, name: str) -> bytes:
        """The value of the next attribute, which must be ``name``."""
        found, value = self.any()
        if found != name:
            raise self._fail(f'Expected attribute "{name}", but found "{found}".')
        return value

    def skip(self) -> None:
        """Optional extensions up to the end."""
        while self._parts:
            self.any()

    def end(self) -> None:
        """Nothing may follow."""
        if self._parts:
            raise self._fail("Garbage found at the end of the message.")


class ServerExchange:
    """Checks one client. ``client_key`` is set once it has proved its password."""

    def __init__(self, verifier: Verifier, mechanism: str = MECHANISM, *, binding: bytes | None = None,
                 doomed: bool = False, nonce: bytes | None = None) -> None:  # fmt: skip
        """``binding``: hash of our certificate if the client came over TLS, so that binding is on offer."""
        if mechanism == MECHANISM_PLUS and binding is None:
            raise ValueError("SCRAM-SHA-256-PLUS needs the hash of our certificate")
        self.client_key: bytes | None = None
        self._verifier, self._mechanism, self._binding, self._doomed = verifier, mechanism, binding, doomed
        self._nonce = nonce or _new_nonce()
        self._flag = b""
        self._client_first = self._server_first = b""

    def first(self, message: bytes) -> bytes:
        """The client's first message; gives the challenge."""
        _check_size(message)
        flag, _, rest = message.partition(b",")
        self._check_flag(flag)
        authzid, comma, bare = rest.partition(b",")
        if authzid[:1] == b"a":
            raise ClientError("0A000", "client uses authorization identity, but it is not supported")
        if authzid or not comma:
            raise malformed(f"Unexpected attribute {_shown(authzid)} in client-first-message.")
        if bare[:1] == b"m":
            raise ClientError("0A000", "client requires an unsupported SCRAM extension")
        attributes = _Attributes(bare, malformed)
        attributes.take("n")  # ignored: the user is the one in the startup packet
        nonce = attributes.take("r")
        if not _printable(nonce):
            raise ProtocolViolation("non-printable characters in SCRAM nonce")
        attributes.skip()
        self._flag, self._client_first, self._nonce = flag, bare, nonce + self._nonce
        salt = base64.b64encode(self._verifier.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._verifier.iterations)
        return self._server_first

    def final(self, message: bytes) -> bytes | None:
        """The client's proof; gives our signature, or ``None`` if the password was wrong."""
        _check_size(message)
        attributes = _Attributes(message, malformed)
        self._check_binding(attributes.take("c"))
        nonce = attributes.take("r")
        name, value = attributes.any()
        while name != "p":
            name, value = attributes.any()
        attributes.end()
        proof = b64decode(value, size=_KEY_BYTES)
        if proof is None:
            raise malformed("Malformed proof in client-final-message.")
        if not hmac.compare_digest(nonce, self._nonce):
            error = ProtocolViolation("invalid SCRAM response")
            error.detail = "Nonce does not match."
            raise error
        return self._check_proof(proof, message[: -len(value) - 3])

    def _check_proof(self, proof: bytes, without_proof: bytes) -> bytes | None:
        messages = (self._client_first, self._server_first, without_proof)
        client_key = _xor(proof, hmac_sha256(self._verifier.stored_key, *messages))
        right = hmac.compare_digest(digest(client_key), self._verifier.stored_key)
        signature = hmac_sha256(self._verifier.server_key, *messages)
        if not right or self._doomed:
            return None
        self.client_key = client_key
        return b"v=" + base64.b64encode(signature)

    def _check_flag(self, flag: bytes) -> None:
        """The client's word on channel binding must fit what was offered and what it chose."""
        plus = self._mechanism == MECHANISM_PLUS
        if flag[:2] == b"p=":
            if not plus:
                raise malformed(_BINDING_UNASKED)
            if flag[2:] != BINDING_TYPE.encode():
                name = flag[2:34].decode("ascii", "backslashreplace")
                raise ProtocolViolation(f'unsupported SCRAM channel-binding type "{name}"')
        elif flag not in (b"n", b"y"):
            raise malformed(f"Unexpected channel-binding flag {_shown(flag)}.")
        elif plus:
            raise malformed(_BINDING_MISSING)
        elif flag == b"y" and self._binding is not None:  # someone has cut -PLUS out of our offer
            raise ClientError("28000", "SCRAM channel binding negotiation error", detail=_BINDING_DENIED)

    def _check_binding(self, value: bytes) -> None:
        expected = self._flag + b",,"
        if self._flag[:1] == b"p":
            expected += self._binding or b""
        if hmac.compare_digest(base64.b64encode(expected), value):
            return
        if self._flag[:1] == b"p":
            raise ClientError("28000", "SCRAM channel binding check failed")
        raise ProtocolViolation("unexpected SCRAM channel-binding attribute in client-final-message")


def _check_size(message: bytes) -> None:
    if not message:
        raise malformed("The message is empty.")
    if len(message) > _CLIENT_MESSAGE_MAX:
        raise malformed("The message is too long.")
    if b"\0" in message:
        raise malformed("Message length does not match input length.")


class ClientExchange:
    """Logs in to one server, from a password or from keys that a client has proved to us."""

    def __init__(self, secret: str | bytes | ScramKeys, mechanism: str = MECHANISM, *, flag: str = "n",
                 binding: bytes | None = None, nonce: bytes | None = None,
                 cache: KeyCache = CACHE) -> None:  # fmt: skip
        """``flag``: ``n``, or ``y`` if we could bind and the server offers none; ``binding``: for -PLUS."""
        if mechanism == MECHANISM_PLUS and binding is None:
            raise ValueError("SCRAM-SHA-256-PLUS needs the hash of the server's certificate")
        plus = mechanism == MECHANISM_PLUS
        self._secret, self._cache = secret, cache
        self._header = f"p={BINDING_TYPE},,".encode() if plus else f"{flag},,".encode()
        self._bound = self._header + ((binding or b"") if plus else b"")
        self._nonce = nonce or _new_nonce()
        self._bare = b"n=,r=" + self._nonce  # the name is empty: the server takes it from the startup packet
        self._server_key = self._messages = b""

    def first(self) -> bytes:
        """The first message."""
        return self._header + self._bare

    def final(self, challenge: bytes) -> bytes:
        """Answers the server's challenge with our proof."""
        if len(challenge) > _SERVER_MESSAGE_MAX:
            raise _malformed_server("it is too long")
        attributes = _Attributes(challenge, _malformed_server)
        nonce = attributes.take("r")
        salt = b64decode(attributes.take("s"))
        iterations = _iterations(attributes.take("i"))
        attributes.skip()
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce) or not _printable(nonce):
            raise ServerError("08P01", "invalid SCRAM response from the server (nonce mismatch)")
        if not salt:
            raise _malformed_server("invalid salt")
        keys = self._keys(salt, iterations)
        without_proof = b"c=%b,r=%b" % (base64.b64encode(self._bound), nonce)
        self._messages = b",".join((self._bare, challenge, without_proof))
        self._server_key = keys.server_key
        proof = _xor(keys.client_key, hmac_sha256(digest(keys.client_key), self._messages))
        return without_proof + b",p=" + base64.b64encode(proof)

    def verify(self, message: bytes) -> None:
        """Checks that the server knows the verifier too."""
        if len(message) > _SERVER_MESSAGE_MAX:
            raise _malformed_server("it is too long")
        attributes = _Attributes(message, _malformed_server)
        name, value = attributes.any()
        if name == "e":
            text = value[:64].decode("utf-8", "backslashreplace")
            raise ServerError("28P01", f"error received from the server in SCRAM exchange: {text}")
        signature = b64decode(value, size=_KEY_BYTES) if name == "v" else None
        if signature is None:
            raise _malformed_server("invalid server signature")
        attributes.skip()
        expected = hmac_sha256(self._server_key, self._messages)
        if not self._messages or not hmac.compare_digest(signature, expected):
            raise ServerError("28000", "incorrect server signature: the server does not know the password")

    def _keys(self, salt: bytes, iterations: int) -> ScramKeys:
        if not isinstance(self._secret, ScramKeys):
            if iterations > DERIVED_ITERATIONS_MAX:
                limit = f"shardproxy allows {DERIVED_ITERATIONS_MAX}"
                raise ServerError("28000", f"the server asks for {iterations} SCRAM iterations; {limit}")
            return self._cache.derive(self._secret, salt, iterations)
        if not self._secret.made_for(salt, iterations):
            raise ServerError("28000", _OTHER_VERIFIER, hint=_OTHER_VERIFIER_HINT)
        return self._secret


def _iterations(text: bytes) -> int:
    if not text.isdigit() or len(text) > 10 or int(text) < 1:
        raise _malformed_server("invalid iteration count")
    return int(text)
