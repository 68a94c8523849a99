"""[auth]: who may log in to the proxy, how that is proved, and as whom the proxy logs in to the servers.

Invariant: a user has at most one proof (a password or a verifier); rules are read from the top and the first
match decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, PlainValidator, model_validator

from .pool import PoolMode
from .secret import Secret
from .values import Count, FilePath, Name, SettingError, Settings, parse_cidr, setting

__all__ = ["Auth", "AuthMethod", "ClientTls", "ClientTlsMode", "HostMethod", "HostRule", "User",
           "is_verifier"]

AuthMethod = Literal["scram-sha-256", "md5", "cert", "trust"]
HostMethod = Literal["scram-sha-256", "md5", "cert", "trust", "reject"]
ClientTlsMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
TlsVersion = Literal["1.2", "1.3"]

_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_SCRAM = re.compile(rf"SCRAM-SHA-256\$[1-9]\d{{0,9}}:{_BASE64}\$[A-Za-z0-9+/]{{43}}=:[A-Za-z0-9+/]{{43}}=")
_MD5 = re.compile(r"md5[0-9a-f]{32}")


def is_verifier(text: str) -> bool:
    """Is this what a database stores instead of a password: a SCRAM-SHA-256 verifier or an MD5 hash?"""
    return _SCRAM.fullmatch(text) is not None or _MD5.fullmatch(text) is not None


def _known_form(value: Secret) -> Secret:
    if not is_verifier(value.reveal()):
        raise SettingError("neither a SCRAM-SHA-256$... nor an md5... verifier",
                           "copy it from the database (PostgreSQL: pg_authid.rolpassword), or write password = ...")
    return value


def _source(value: str) -> str:
    return value if value in ("all", "unix") else parse_cidr(value)


def _either(value: object) -> object:
    if isinstance(value, bool) or value == "any":
        return value
    raise SettingError("neither true, false nor \"any\"", 'write true, false or "any"')


Verifier = Annotated[Secret, AfterValidator(_known_form)]


class ClientTls(Settings):
    """TLS towards clients. ``verify-ca`` and ``verify-full`` demand a client certificate."""

    mode: ClientTlsMode = setting(
        "prefer",
        "disable: refuse TLS. allow, prefer: the client may choose. require: refuse clients without TLS. "
        "verify-ca: demand a certificate signed by ca. verify-full: and its common name must be the user's "
        "name.")
    certificate: FilePath | None = setting(
        None, "Certificate chain of the proxy (PEM). Read again at RELOAD.")
    key: FilePath | None = setting(None, "Private key of the certificate (PEM). Read again at RELOAD.")
    ca: FilePath | None = setting(None, "Certificates that client certificates must be signed by (PEM).")
    min_version: TlsVersion = setting("1.2", "The oldest TLS version that is accepted.")


class User(Settings):
    """A user of the proxy: how he proves who he is, and what he may do."""

    password: Secret | None = setting(
        None, "Password in plain text, or a verifier as stored by the database.")
    password_file: FilePath | None = setting(None, "File whose first line is the password or verifier.")
    password_env: Name | None = setting(None, "Environment variable that holds the password or verifier.")
    verifier: Verifier | None = setting(
        None,
        'What the database stores instead of a password: "SCRAM-SHA-256$..." or "md5...". The proxy then '
        'logs in to the servers with the key that the client proves.')
    server_user: Name | None = setting(None, "User name on the servers. Default: the same name.")
    server_password: Secret | None = setting(
        None, "Password on the servers. Default: the user's own password or verifier.")
    server_password_file: FilePath | None = setting(None, "File whose first line is the server password.")
    server_password_env: Name | None = setting(None, "Environment variable that holds the server password.")
    databases: tuple[Name, ...] | None = setting(
        None, "Databases that the user may connect to. Default: all.")
    pool_size: int | None = setting(None, "Replaces [pool] size for this user.", ge=1, strict=True)
    pool_mode: PoolMode | None = setting(None, "Replaces [pool] mode for this user.")
    max_user_connections: Count | None = setting(None, "Replaces [pool] max_user_connections for this user.")
    max_user_client_connections: Count | None = setting(
        None, "Replaces [pool] max_user_client_connections for this user.")

    @model_validator(mode="before")
    @classmethod
    def _password_may_be_verifier(cls, value: Any) -> Any:
        """As in the database itself: a password that has the form of a verifier is one."""
        password = value.get("password") if isinstance(value, dict) else None
        text = password.reveal() if isinstance(password, Secret) else password
        if not isinstance(text, str) or not is_verifier(text) or value.get("verifier") is not None:
            return value
        return {**value, "password": None, "verifier": text}


class HostRule(Settings):
    """One rule of ``auth.hosts``; all conditions must match, as in PostgreSQL's pg_hba.conf."""

    source: Annotated[str, AfterValidator(_source)] = setting(
        "all", 'Where the client comes from: a network (CIDR), "unix" (the unix socket) or "all".')
    user: Name = setting("all", 'User name, or "all".')
    database: Name = setting(
        "all", 'Database name, or "all". "replication": physical replication connections, which "all" leaves out.')
    tls: Annotated[bool | Literal["any"], PlainValidator(_either)] = setting(
        "any", 'true: only with TLS. false: only without. "any": either.')
    method: HostMethod = setting("scram-sha-256", 'How the client proves who it is, or "reject".')


class Auth(Settings):
    """Authentication of clients."""

    method: AuthMethod = setting(
        "scram-sha-256",
        "How clients prove who they are, where no rule of hosts says otherwise. Passwords are never asked "
        "for in plain text.")
    tls: ClientTls = setting(ClientTls(mode="disable"), "TLS towards clients. Default: none.")
    users: Mapping[str, User] = setting({}, "Users by name.")
    auth_query: Name | None = setting(
        None,
        "SQL that returns name and verifier of users not listed here; $1 is the user's name. A user it does"
        " not return does not exist.", example="SELECT usename, passwd FROM pg_shadow WHERE usename = $1")
    auth_user: Name | None = setting(None, "User that runs auth_query. Default: the database's server_user.")
    auth_dbname: Name | None = setting(
        None, "Database in which auth_query runs. Default: the one the client asks for.")
    admin_users: tuple[Name, ...] = setting((), "Users who may use the whole admin console. Default: no one.")
    stats_users: tuple[Name, ...] = setting(
        (), "Users who may use SHOW on the admin console. Default: no one.")
    hosts: tuple[HostRule, ...] = setting(
        (), "Rules that are read from the top; the first that matches decides. No match: refused. An empty "
        "list: everyone may try, by method.")
