"""What is known of a user's password: to check clients (``Secret``), to log in (``ServerCredential``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from . import md5
from .keys import ITERATIONS, ScramKeys, Verifier, derived_salt

__all__ = ["Secret", "ServerCredential"]


@dataclass(frozen=True, slots=True)
class ServerCredential:
    """What logs in to a server; the first that fits the server's method is used."""

    password: str | None = field(default=None, repr=False)
    keys: ScramKeys | None = None
    md5: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A password, SCRAM verifier or md5 hash, as the config or ``pg_authid.rolpassword`` has it."""

    kind: Literal["plain", "scram", "md5"]
    text: str = field(repr=False)
    stored_verifier: Verifier | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Tells the kind by PostgreSQL's rules; ``ValueError`` if empty, or a verifier that is damaged.

        (PostgreSQL takes a damaged verifier for a password, which only hides a mistake.)
        """
        if not text:
            raise ValueError("the password is empty")
        if "\0" in text:
            raise ValueError("the password has a zero byte")
        if text.startswith("SCRAM-SHA-256$"):
            return cls("scram", text, Verifier.parse(text))
        return cls("md5" if md5.is_hash(text) else "plain", text)

    def verifier(self, user: str, salt_key: bytes, iterations: int = ITERATIONS) -> Verifier | None:
        """The verifier to check a SCRAM client with; ``None`` for an md5 hash.

        A plain password is derived under a salt that depends on the user alone, so that the rounds are run
        once per process; call this when the users are loaded, and a first login takes no longer than one of
        an unknown user.
        """
        if self.kind == "plain":
            return Verifier.from_password(self.text, salt=derived_salt(salt_key, user), iterations=iterations)
        return self.stored_verifier

    def md5_hash(self, user: str) -> str | None:
        """The md5 hash to check a client with; ``None`` for a SCRAM verifier."""
        if self.kind == "plain":
            return md5.hash_password(self.text, user)
        return self.text if self.kind == "md5" else None

    def server_credential(self, client_key: bytes | None = None) -> ServerCredential | None:
        """What this user can log in to servers with; a verifier needs the key its client proved."""
        if self.kind == "plain":
            return ServerCredential(password=self.text)
        if self.kind == "md5":
            return ServerCredential(md5=self.text)
        if client_key is None or self.stored_verifier is None:
            return None
        return ServerCredential(keys=self.stored_verifier.keys(client_key))
