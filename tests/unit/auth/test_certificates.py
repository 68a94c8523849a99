"""Hashes and names of certificates."""

from __future__ import annotations

import hashlib
import ssl

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.certificates import channel_binding_hash, common_name, first_certificate
from tests.unit.auth.conftest import Issue

# Self-signed with SHA-1 by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1 -subj /CN=old`.
SHA1_SIGNED = """-----BEGIN CERTIFICATE-----
MIIBcDCCARigAwIBAgIUe91pS2yN8dQw6nnnpvAKtTCHnkcwCQYHKoZIzj0EATAO
MQwwCgYDVQQDDANvbGQwIBcNMjYxMTI0MDcwODM3WhgPMjEyNjEwMzEwNzA4Mzda
MA4xDDAKBgNVBAMMA29sZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHJr6rWq
o1n5Isl0DMNSKzJ0CmwyPDZ3oRSl+J5hX21ST6/IMQG8ntih2GbypjhbPbPl82bS
Ou6r6VWnrK0eGqKjUzBRMB0GA1UdDgQWBBTtlN+CmVYwh7Jeb2wH14QWgOIrCTAf
BgNVHSMEGDAWgBTtlN+CmVYwh7Jeb2wH14QWgOIrCTAPBgNVHRMBAf8EBTADAQH/
MAkGByqGSM49BAEDRwAwRAIgeAqXYRG5bqr/h7aA98haEFZAdBfMqgCZb5ItZF8j
sLwCIB37Y7J4kZ6iUwsSoQonVloSphzVZ+o45O62t52K/s5O
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize(
    ("digest", "name"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")],
)
def test_hash_is_that_of_the_signature(issue: Issue, digest: hashes.SHA256, name: str) -> None:
    der = issue("server", digest=digest).der
    assert channel_binding_hash(der) == hashlib.new(name, der).digest()


def test_weak_hashes_are_replaced() -> None:
    der = ssl.PEM_cert_to_DER_cert(SHA1_SIGNED)
    assert channel_binding_hash(der) == hashlib.sha256(der).digest()


def test_no_binding_where_the_rfc_has_none(issue: Issue) -> None:
    assert channel_binding_hash(issue("server", curve=False).der) is None
    assert channel_binding_hash(b"not a certificate") is None


def test_common_name(issue: Issue) -> None:
    assert common_name(issue("app").der) == "app"
    assert common_name(issue("two", names=["app", "root"]).der) is None
    assert common_name(b"not a certificate") is None


@given(st.binary(max_size=200))
def test_any_bytes_have_no_name(der: bytes) -> None:
    assert common_name(der) is None
    assert channel_binding_hash(der) is None


def test_first_certificate_of_a_chain(issue: Issue) -> None:
    authority = issue("authority")
    server = issue("server", by=authority)
    chain = b"text before\n" + server.certificate.read_bytes() + authority.certificate.read_bytes()
    assert first_certificate(chain) == server.der
    with pytest.raises(ValueError, match="no certificate"):
        first_certificate(server.key.read_bytes())
