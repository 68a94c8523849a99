"""Certificates made on the fly for the tests of TLS and of channel binding."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

SALT_KEY = b"0123456789abcdef"


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, on disk and in memory."""

    certificate: Path
    key: Path
    der: bytes
    signer: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    subject: x509.Name


Issue = Callable[..., Issued]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """``issue(name, by=authority, digest=SHA256(), names=["a", "b"], curve=False, password=b"")``."""

    def make(
        name: str,
        *,
        by: Issued | None = None,
        digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        names: list[str] | None = None,
        curve: bool = True,
        password: bytes = b"",
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in names or [name]])
        now = datetime.datetime.now(datetime.UTC)
        alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        signer = by.signer if by else key
        signed = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.subject if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(
                signer,
                (digest or hashes.SHA256()) if isinstance(signer, ec.EllipticCurvePrivateKey) else None,
            )
        )
        encryption = (
            serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        )
        files = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return Issued(*files, signed.public_bytes(serialization.Encoding.DER), key, subject)

    return make
