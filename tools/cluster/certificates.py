"""Throw-away certificates: an authority, a certificate for localhost, and one for a client of any name."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .place import Place

__all__ = ["Authority", "write_certificates"]

LIFE = datetime.timedelta(days=2)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


class Authority:
    """A self-signed authority that lives as long as this object."""

    def __init__(self, common: str = "shardproxy test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common)
        self._certificate = self._sign(self._name, self._key, authority=True)

    @property
    def pem(self) -> str:
        """The authority's own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, common: str, *, hosts: tuple[str, ...] = ()) -> tuple[str, str]:
        """A certificate and its key, both PEM. ``hosts`` are names and addresses that it stands for."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(common), key, hosts=hosts)
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool = False,
              hosts: tuple[str, ...] = ()) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFE)
                   .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                                  critical=False))
        if authority:
            usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                                  key_encipherment=False, data_encipherment=False, key_agreement=False,
                                  encipher_only=False, decipher_only=False)
            builder = builder.add_extension(usage, critical=True)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]),
                                            critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def write_certificates(place: Place, user: str = "postgres") -> None:
    """``ca.crt``, ``server.crt``, ``server.key``, ``client.crt``, ``client.key`` into the cluster's folder."""
    authority = Authority()
    server = authority.issue("localhost", hosts=("localhost", "127.0.0.1", "::1"))
    client = authority.issue(user)
    texts = {"ca.crt": authority.pem, "server.crt": server[0], "server.key": server[1], "client.crt": client[0],
             "client.key": client[1]}
    for name, text in texts.items():
        place.write(Path(place.folder, name), text)
