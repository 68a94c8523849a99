"""What kind of secret a text is, and what can be done with it."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.auth import md5
from shardproxy.dialects.postgres.auth.keys import CACHE, Verifier
from shardproxy.dialects.postgres.auth.secret import Secret, ServerCredential
from tests.unit.auth.conftest import SALT_KEY

VERIFIER = Verifier.from_password("secret", iterations=1)
HASH = md5.hash_password("secret", "app")


def test_kinds() -> None:
    assert Secret.parse("secret").kind == "plain"
    assert Secret.parse(HASH).kind == "md5"
    assert Secret.parse("md5sum").kind == "plain"
    assert Secret.parse(VERIFIER.format()).stored_verifier == VERIFIER


@pytest.mark.parametrize("text", ["", "a\0b", "SCRAM-SHA-256$4096:damaged"])
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|zero byte|verifier") as caught:
        Secret.parse(text)
    assert "damaged" not in str(caught.value)


def test_plain_passwords_have_one_verifier_for_each_user() -> None:
    secret = Secret.parse("secret")
    first = secret.verifier("app", SALT_KEY, 1)
    assert first is not None
    assert first == secret.verifier("app", SALT_KEY, 1)
    assert first.matches("secret")
    other = secret.verifier("other", SALT_KEY, 1)
    assert other is not None
    assert other.salt != first.salt
    assert (
        first.salt == Verifier.mock("app", SALT_KEY, 1).salt
    )  # the salt does not tell whether the user exists
    assert secret.md5_hash("app") == HASH


def test_stored_forms() -> None:
    assert Secret.parse(HASH).verifier("app", SALT_KEY) is None
    assert Secret.parse(HASH).md5_hash("app") == HASH
    assert Secret.parse(VERIFIER.format()).verifier("app", SALT_KEY) == VERIFIER
    assert Secret.parse(VERIFIER.format()).md5_hash("app") is None


def test_credentials_for_servers() -> None:
    assert Secret.parse("secret").server_credential() == ServerCredential(password="secret")
    assert Secret.parse(HASH).server_credential() == ServerCredential(md5=HASH)
    assert Secret.parse(VERIFIER.format()).server_credential() is None
    key = CACHE.derive("secret", VERIFIER.salt, 1).client_key
    passed_on = Secret.parse(VERIFIER.format()).server_credential(key)
    assert passed_on == ServerCredential(keys=VERIFIER.keys(key))


def test_secrets_are_not_shown() -> None:
    for text in ("secret", HASH, VERIFIER.format()):
        secret = Secret.parse(text)
        assert text not in repr(secret)
        assert text not in repr(secret.server_credential())
