"""What TLS certificates say: the hash that binds a login to the connection, and the name of a client.

``channel_binding_hash`` is tls-server-end-point of RFC 5929: the certificate hashed with the hash function of its own
signature, MD5 and SHA-1 replaced by SHA-256. Where the RFC leaves it undefined (Ed25519) there is no binding.
"""

from __future__ import annotations

import functools
import hashlib
import re
import ssl

__all__ = ["channel_binding_hash", "common_name", "first_certificate"]

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_WEAK = ("md5", "sha1")


@functools.lru_cache(maxsize=256)
def channel_binding_hash(der: bytes) -> bytes | None:
    """tls-server-end-point of a server's certificate; ``None`` if it is not defined for this one."""
    from cryptography import x509  # here, since a proxy without TLS does without its memory
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = (
        "sha256" if algorithm.name in _WEAK else algorithm.name.replace("-", "_")
    )  # sha3-256 is sha3_256 there
    return hashlib.new(name, der).digest()


def first_certificate(pem: bytes) -> bytes:
    """DER of the first certificate in a PEM file, the one a chain is for; ``ValueError`` if there is none."""
    found = _PEM.search(pem.decode("ascii", "replace"))
    if found is None:
        raise ValueError("no certificate in PEM form")
    return ssl.PEM_cert_to_DER_cert(found.group())


@functools.lru_cache(maxsize=256)
def common_name(der: bytes) -> str | None:
    """CN of a client's certificate, which TLS must have *verified*; ``None`` if it has not exactly one."""
    from cryptography import x509

    try:
        names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError:
        return None
    if len(names) != 1 or not isinstance(names[0].value, str):  # of two names, which one is the user?
        return None
    name = names[0].value
    return name if name and "\0" not in name else None
