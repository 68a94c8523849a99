"""Certificates and keys: they exist, can be read, and belong together.

Invariant: no check asks for a passphrase; an encrypted key is a mistake, because a daemon cannot ask.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from ..report import Key, Report

__all__ = ["check_authorities", "check_certificate", "readable"]


class _EncryptedKeyError(Exception):
    pass


def readable(path: Path, key: Key, report: Report) -> bool:
    """Can the file be opened? Reports if not."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        report.add(key, f"{path} cannot be read: {reason}", "create it, or let this user read it")
        return False
    return True


def check_certificate(certificate: Path | None, key_file: Path | None, key: Key, report: Report) -> None:
    """A certificate and its private key, in the keys ``certificate`` and ``key`` of the table ``key``."""
    if certificate is None and key_file is None:
        return
    if certificate is None or key_file is None:
        missing, present = ("key", "certificate") if key_file is None else ("certificate", "key")
        report.add((*key, missing), f"is missing: {present} is given", f'add "{missing}", a PEM file')
        return
    both = [readable(certificate, (*key, "certificate"), report), readable(key_file, (*key, "key"), report)]
    if not all(both):
        return

    def refuse() -> str:
        raise _EncryptedKeyError

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key_file, password=refuse)
    except _EncryptedKeyError:
        report.add((*key, "key"), f"{key_file} is encrypted with a passphrase", "store it without one, mode 0600")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            report.add((*key, "key"), f"{key_file} is not the key of {certificate}", "give the key of that certificate")
        else:
            report.add((*key, "certificate"), f"{certificate} with {key_file} cannot be used: {error.reason or error}",
                       "both must be PEM files")


def check_authorities(path: Path | None, key: Key, report: Report) -> None:
    """A file of certificates of authorities."""
    if path is None or not readable(path, key, report):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        report.add(key, f"{path} holds no certificates: {error.reason or error}", "give a PEM file")
