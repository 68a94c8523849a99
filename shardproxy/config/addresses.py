"""Addresses as they are written in the configuration.

    listeners   "127.0.0.1:6432"  "[::1]:6432"  "*:6432"
    servers     "db1:5432/shop"   "[::1]:5432/shop"  "/run/postgresql:5432/shop"
                (also "unix:/run/postgresql:5432/shop")

Invariant: ``parse(str(address)) == address``; a text that is not exactly one of these forms is refused with
what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .values import SettingError

__all__ = ["Address", "ListenAddress", "parse_address", "parse_listen"]

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_SERVER_REMEDY = 'write "host:port/database", "[::1]:port/database" or "/socket/folder:port/database"'
_LISTEN_REMEDY = 'write "127.0.0.1:6432", "[::1]:6432" or "*:6432"'


@dataclass(frozen=True, slots=True, order=True)
class ListenAddress:
    """Where to listen. ``host`` is ``"*"`` for all interfaces; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(lambda value: value if isinstance(value, cls) else parse_listen(value))


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a server is: ``host``, or ``unix``, the folder of its socket. ``dbname`` can be empty."""

    host: str
    port: int
    dbname: str = ""
    unix: str | None = None

    def __str__(self) -> str:
        place = self.unix if self.unix is not None else _bracketed(self.host)
        return f"{place}:{self.port}/{self.dbname}" if self.dbname else f"{place}:{self.port}"

    def with_dbname(self, dbname: str) -> Address:
        """The same server; ``dbname`` only where the address names none."""
        return self if self.dbname else replace(self, dbname=dbname)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(lambda value: value if isinstance(value, cls) else parse_address(value))


def parse_listen(text: object) -> ListenAddress:
    """Parse the address of a listener."""
    if not isinstance(text, str):
        raise SettingError("not an address", _LISTEN_REMEDY)
    host, port = _host_and_port(text, _LISTEN_REMEDY, allow_any=True)
    return ListenAddress(host, port)


def parse_address(text: object) -> Address:
    """Parse the address of a database server."""
    if not isinstance(text, str):
        raise SettingError("not an address", _SERVER_REMEDY)
    if "://" in text:  # the text is not repeated: it may carry a password
        raise SettingError("a URL is not an address", f"{_SERVER_REMEDY}; the user has keys of its own")
    if "\0" in text:
        raise SettingError("an address cannot contain a zero byte", _SERVER_REMEDY)
    if text.startswith(("/", "unix:")):
        return _parse_unix(text)
    place, slash, dbname = text.partition("/")
    if slash and not dbname:
        raise SettingError(f'"{text}" ends with "/"', "write the name of the database, or leave / out")
    host, port = _host_and_port(place, _SERVER_REMEDY)
    return Address(host, _server_port(port), dbname)


def _parse_unix(text: str) -> Address:
    """The folder may contain ":" and "/", so the port is the last ":digits" that "/" or the end follows."""
    path = text.removeprefix("unix:")
    match = re.fullmatch(r"(/.*?):(\d+)(?:/(.+))?", path, re.DOTALL)
    if match is None:
        raise SettingError(f'"{text}" is not the address of a unix socket',
                           'write "/run/postgresql:5432/database"')
    return Address("", _server_port(_port(match[2], text, _SERVER_REMEDY)), match[3] or "", match[1])


def _server_port(port: int) -> int:
    if port == 0:
        raise SettingError("port 0 cannot be connected to", "write the port that the server listens on")
    return port


def _host_and_port(text: str, remedy: str, *, allow_any: bool = False) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text)
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2]
        _check_ipv6(host, text, remedy)
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, None
        if ":" in host:
            raise SettingError(f'"{text}" has more than one ":"',
                               'write an IPv6 address in brackets: "[::1]:5432"')
    if not port:
        raise SettingError(f'"{text}" has no port', remedy)
    if not (host == "*" and allow_any) and bracketed is None:
        _check_host(host, text, remedy)
    return host, _port(port, text, remedy)


def _check_ipv6(host: str, text: str, remedy: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise SettingError(f'"{text}" has no valid IPv6 address in the brackets', remedy) from None


def _check_host(host: str, text: str, remedy: str) -> None:
    if _HOST.fullmatch(host) is None:
        raise SettingError(f'"{text}" has no valid host', remedy)
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise SettingError(f'"{text}" has no valid IPv4 address', remedy) from None


def _port(digits: str, text: str, remedy: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", digits) or int(digits) > 65535:
        raise SettingError(f'"{text}" has no valid port', f"a port is a number from 1 to 65535: {remedy}")
    return int(digits)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _schema(parse: Any) -> CoreSchema:
    return core_schema.no_info_plain_validator_function(
        parse, serialization=core_schema.to_string_ser_schema())
