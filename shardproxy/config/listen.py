"""[listen]: where clients and operators reach the proxy.

Invariant: what is bound here is bound once, by the parent process; a change of an address needs a restart
(or a takeover).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from .addresses import ListenAddress
from .values import Cidr, Count, FilePath, Flag, Name, Seconds, Settings, setting

__all__ = ["Listen", "TcpOptions", "UnixSocket"]


def _as_list(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


Addresses = Annotated[tuple[ListenAddress, ...], BeforeValidator(_as_list)]


class TcpOptions(Settings):
    """Options of TCP sockets, with PgBouncer's names."""

    tcp_keepalive: Flag = setting(True, "Send TCP keepalives.")
    tcp_keepidle: Count = setting(0, "Seconds of silence before the first keepalive. 0: the system's value.")
    tcp_keepintvl: Count = setting(0, "Seconds between keepalives. 0: the system's value.")
    tcp_keepcnt: Count = setting(
        0, "Keepalives without an answer before the connection is dead. 0: the system's value.")
    tcp_user_timeout: Count = setting(
        0,
        "Milliseconds that sent data may stay unacknowledged before the connection is dead. 0: the system's"
        " value.")


class UnixSocket(Settings):
    """A unix socket for clients, named as the database's own clients look for it."""

    directory: FilePath = Field(description="Folder of the socket file.", json_schema_extra={"restart": True})
    port: int | None = setting(
        None,
        "Port number in the name of the socket file. Default: that of the first TCP listener, else 6432.",
        restart=True, ge=1, le=65535, strict=True)
    mode: str = setting(
        "0777", "Permissions of the socket file, octal.", restart=True, pattern=r"^0?[0-7]{3}$")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"directory": value} if isinstance(value, str) else value

    @property
    def mode_bits(self) -> int:
        """Permissions as a number."""
        return int(self.mode, 8)


class Listen(TcpOptions):
    """Listeners, worker processes and the options of clients' sockets."""

    postgres: Addresses = setting((), "Addresses for PostgreSQL clients: one, or a list.", restart=True,
                                  example="127.0.0.1:6432")
    mysql: Addresses = setting(
        (), "Addresses for MySQL clients. Not available in this version.", restart=True)
    http: Addresses = setting(
        (),
        "Addresses for /metrics, /healthz and /readyz. There is no authentication: use a loopback address.",
        restart=True, example="127.0.0.1:9632")
    unix: UnixSocket | None = setting(
        None, "Unix socket for clients: a folder, or a table with directory, port and mode.", restart=True,
        example="/run/shardproxy")
    workers: int = setting(
        1, "Worker processes that share the listeners.", restart=True, ge=1, le=256, strict=True)
    backlog: int = setting(
        1024, "Connections that may wait to be accepted, per listener.", restart=True, ge=1, le=65535,
        strict=True)
    proxy_protocol: tuple[Cidr, ...] = setting(
        (),
        "Networks of the load balancers that must send a PROXY protocol v2 header; no one else may send "
        "one.")
    proxy_protocol_v1: Flag = setting(False, "Let those load balancers send the older text form (version 1), too.")
    control: Name | None = setting(
        None,
        'Unix socket through which a new process takes the listeners over, or "none". Default: beside the '
        'configuration file, with its name and ".control".', restart=True)
    shutdown_timeout: Seconds = setting(
        30.0,
        "How long SIGTERM waits for clients to finish their transactions before they are closed. 0: no "
        "limit.")
