"""SCRAM-SHA-256 keys: what is stored, what is derived, and a bounded memory of derivations.

    password --SASLprep, PBKDF2--> SaltedPassword --HMAC--> ClientKey --SHA-256--> StoredKey
                                                  --HMAC--> ServerKey

StoredKey and ServerKey (a *verifier*) are enough to check a client. ClientKey and ServerKey are enough to
log in to any server that has the same verifier: that is how a client's login is passed on without ever
knowing its password. Invariant: nothing here keeps a plain password, and no ``repr`` shows a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from .saslprep import password_bytes, saslprep

__all__ = ["CACHE", "DERIVED_ITERATIONS_MAX", "ITERATIONS", "KeyCache", "ScramKeys", "Verifier", "b64decode",
           "derived_salt", "digest", "hmac_sha256"]  # fmt: skip

ITERATIONS = 4096
"""PostgreSQL's default number of PBKDF2 rounds."""

DERIVED_ITERATIONS_MAX = 1_000_000
"""A server that asks for more rounds is refused: a million block for about a third of a second."""

_STORED_ITERATIONS_MAX = 2**31 - 1  # an int in PostgreSQL; checking a client costs no rounds
_PREFIX = "SCRAM-SHA-256$"
_SALT_BYTES = 16
_SALT_BYTES_MAX = 1024
_KEY_BYTES = 32
_VERIFIER_CHARS_MAX = 2048
_CACHED_KEYS_MAX = 4096


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA-256 of the parts joined by commas, as SCRAM joins its messages."""
    return hmac.digest(key, b",".join(parts), "sha256")


def digest(data: bytes) -> bytes:
    """SHA-256, the H() of SCRAM."""
    return hashlib.sha256(data).digest()


def b64decode(text: bytes | str, *, size: int | None = None, size_max: int | None = None) -> bytes | None:
    """Strict base64, one spelling for each value; ``None`` if malformed or of another size."""
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
        value = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    if base64.b64encode(value) != data:  # loose bits in the last character
        return None
    if (size is not None and len(value) != size) or (size_max is not None and len(value) > size_max):
        return None
    return value


def derived_salt(salt_key: bytes, user: str) -> bytes:
    """A salt that depends on the user alone: the same at each attempt and in each worker."""
    return hmac.digest(salt_key, user.encode("utf-8", "surrogateescape"), "sha256")[:_SALT_BYTES]


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """ClientKey and ServerKey; with the salt and rounds they were made for, if known."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    salt: bytes | None = None
    iterations: int | None = None

    def made_for(self, salt: bytes, iterations: int) -> bool:
        """False when a server's challenge shows that it has another verifier."""
        return self.salt is None or (self.salt == salt and self.iterations in (None, iterations))


class KeyCache:
    """Least recently used derivations. The key of an entry is a digest under a random key of this process."""

    def __init__(self, entries_max: int = _CACHED_KEYS_MAX) -> None:
        self._entries_max = entries_max
        self._secret = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()
        self._lock = threading.Lock()  # a caller may derive in a thread, as PBKDF2 releases the interpreter

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything, as after a reload."""
        with self._lock:
            self._entries.clear()

    def derive(self, password: str | bytes, salt: bytes, iterations: int) -> ScramKeys:
        """Keys of a password; about 1.3 ms for 4,096 rounds the first time."""
        raw = password_bytes(password)
        name = self._name(raw, salt, iterations)
        with self._lock:
            found = self._entries.get(name)
            if found is not None:
                self._entries.move_to_end(name)
        if found is None:
            salted = hashlib.pbkdf2_hmac("sha256", saslprep(raw), salt, iterations)
            found = hmac_sha256(salted, b"Client Key"), hmac_sha256(salted, b"Server Key")
            self._keep(name, found)
        return ScramKeys(*found, salt, iterations)

    def _keep(self, name: bytes, keys: tuple[bytes, bytes]) -> None:
        with self._lock:
            self._entries[name] = keys
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)

    def _name(self, raw: bytes, salt: bytes, iterations: int) -> bytes:
        head = b"%d:%d:" % (iterations, len(salt))  # lengths first: no two triples give the same text
        return hashlib.blake2b(head + salt + raw, key=self._secret, digest_size=32).digest()


CACHE = KeyCache()
"""The derivations of this process."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What ``pg_authid.rolpassword`` holds for a SCRAM user."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """From ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, else ``ValueError``."""
        verifier = cls._parse(text)
        if verifier is None:
            raise ValueError("not a SCRAM-SHA-256 verifier")  # without the text: it is a secret
        return verifier

    @classmethod
    def _parse(cls, text: str) -> Verifier | None:
        if not text.startswith(_PREFIX) or len(text) > _VERIFIER_CHARS_MAX:
            return None
        head, _, tail = text[len(_PREFIX) :].partition("$")
        rounds, _, salt_text = head.partition(":")
        stored_text, _, server_text = tail.partition(":")
        if not (rounds.isascii() and rounds.isdigit() and len(rounds) <= 10):
            return None
        salt = b64decode(salt_text, size_max=_SALT_BYTES_MAX)
        stored, server = b64decode(stored_text, size=_KEY_BYTES), b64decode(server_text, size=_KEY_BYTES)
        if not salt or stored is None or server is None or not 1 <= int(rounds) <= _STORED_ITERATIONS_MAX:
            return None
        return cls(int(rounds), salt, stored, server)

    @classmethod
    def from_password(cls, password: str | bytes, *, salt: bytes | None = None, iterations: int = ITERATIONS,
                      cache: KeyCache = CACHE) -> Verifier:  # fmt: skip
        """A verifier as CREATE ROLE would store it; a random salt unless one is given."""
        salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
        keys = cache.derive(password, salt, iterations)
        return cls(iterations, salt, digest(keys.client_key), keys.server_key)

    @classmethod
    def mock(cls, user: str, salt_key: bytes, iterations: int = ITERATIONS) -> Verifier:
        """For a user that does not exist: the challenge looks like any other, and no proof fits."""
        return cls(iterations, derived_salt(salt_key, user), bytes(_KEY_BYTES), bytes(_KEY_BYTES))

    def format(self) -> str:
        """The text that ``parse`` reads and PostgreSQL stores."""
        salt, stored, server = (base64.b64encode(part).decode("ascii")
                                for part in (self.salt, self.stored_key, self.server_key))  # fmt: skip
        return f"{_PREFIX}{self.iterations}:{salt}${stored}:{server}"

    def keys(self, client_key: bytes) -> ScramKeys:
        """What logs in to a server with this same verifier, from the ClientKey a client proved."""
        return ScramKeys(client_key, self.server_key, self.salt, self.iterations)

    def matches(self, password: str | bytes, cache: KeyCache = CACHE) -> bool:
        """Whether ``password`` is the one this verifier was made from."""
        keys = cache.derive(password, self.salt, self.iterations)
        return hmac.compare_digest(keys.server_key, self.server_key)
