"""[databases.NAME]: the servers behind a database name, and how statements are spread over them.

Invariant: however a database is written (``primary`` and ``replicas``, ``shards``, or ``keyspaces``), ``keyspace_map`` and
``servers`` show it in one form, and a server's id is always ``database/keyspace/shard/number``, number 0 the configured primary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PrivateAttr, model_validator

from .addresses import Address
from .pool import PoolMode
from .secret import Secret
from .types import Bytes, Count, FilePath, Flag, Name, Seconds, SettingError, Settings, parse_bytes, parse_seconds, setting

__all__ = ["ANY", "Balance", "Consistency", "Database", "Keyspace", "MaxLag", "Server", "ServerRef", "ServerTls",
           "ServerTlsMode", "Shard", "Table"]

ANY = "*"
"""Name of the database entry that stands for every name without an entry of its own."""

Balance = Literal["round_robin", "least_connections", "fastest", "weighted", "client_hash"]
Consistency = Literal["database", "session", "strong", "eventual"]
ServerTlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


@dataclass(frozen=True, slots=True)
class MaxLag:
    """How far behind a replica may be; ``None``: not limited in that unit."""

    bytes: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.bytes}B" if self.bytes is not None else "", f"{self.seconds!r}s" if self.seconds is not None else ""]
        return ", ".join(filter(None, parts))


def _parse_lag(value: object) -> object:
    """``"10MB"``, ``"5s"`` or both, with a comma between them."""
    if isinstance(value, MaxLag):
        return value
    remedy = 'write a size, a time, or both: "10MB", "5s", "10MB, 5s"'
    if not isinstance(value, str):
        raise SettingError("max_lag is a text with a unit", remedy)
    found: dict[str, Any] = {}
    for part in value.split(","):
        is_size = re.search(r"(?i)\db|[kmg]i?b\s*$", part) is not None
        kind = "bytes" if is_size else "seconds"
        if kind in found:
            raise SettingError(f"max_lag names two limits in {kind}", remedy)
        try:
            found[kind] = parse_bytes(part) if is_size else parse_seconds(part)
        except SettingError as error:
            raise SettingError(error.problem, remedy) from None
    return MaxLag(**found)


Lag = Annotated[MaxLag, BeforeValidator(_parse_lag), PlainSerializer(str, return_type=str)]


class ServerTls(Settings):
    """TLS towards the servers of a database."""

    mode: ServerTlsMode = setting(
        "prefer", "disable: never. prefer: if the server offers it. require: refuse a server without TLS. verify-ca: and its "
        "certificate must be signed by ca. verify-full: and it must name the host.")
    ca: FilePath | None = setting(None, "Certificates that the server's certificate must be signed by (PEM). Default: the system's.")
    certificate: FilePath | None = setting(None, "Client certificate of the proxy (PEM).")
    key: FilePath | None = setting(None, "Private key of the client certificate (PEM).")


class Server(Settings):
    """One database server: ``"host:port/database"``, or a table."""

    address: Address = Field(description='"host:port/database", "[::1]:port/database" or "/socket/folder:port/database". '
                             "Without a database: the name that clients ask for.")
    weight: float = setting(1.0, "Share of the reads under balance = \"weighted\"; 0: none.", ge=0, le=1e6, strict=True)
    zone: str = setting("", "Where the server is. Reads prefer the proxy's own zone.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value


class Shard(Settings):
    """One primary and its replicas. Which server is the primary now is found out, not believed."""

    primary: Server = Field(description="The primary.")
    replicas: tuple[Server, ...] = setting((), "Its streaming replicas.")
    empty: Flag = setting(False, "The first start gives this shard no rows.")


class Table(Settings):
    """A table that is split over the shards of its keyspace, or copied to all of them."""

    key: Name | None = setting(None, "Column by which rows are split.")
    reference: Flag = setting(False, "Every shard holds all rows.")


class Keyspace(Settings):
    """Tables that live together on one shard, or split over several."""

    shards: Mapping[str, Shard] = setting({}, "Shards by name. This version supports one.")
    function: Name | None = setting(None, "How keys are dealt to slots. Not available in this version.")
    slots: int | None = setting(None, "Number of slots. Not available in this version.", ge=1, le=65536, strict=True)
    tables: Mapping[str, Table] = setting({}, "Tables by name. Not available in this version.")


@dataclass(frozen=True, slots=True)
class ServerRef:
    """One server of one database, with its place in the topology."""

    id: str
    database: str
    keyspace: str
    shard: str
    number: int
    host: str
    port: int
    dbname: str
    unix: str | None
    weight: float
    zone: str
    configured_primary: bool


class Database(Settings):
    """One database name that clients can ask for. ``[databases."*"]`` stands for every name that has no entry."""

    dialect: Literal["postgres", "mysql"] = setting("postgres", "Kind of database. This version supports postgres.", restart=True)
    primary: Server | None = setting(None, "The primary; short for a keyspace with one shard.")
    replicas: tuple[Server, ...] = setting((), "Replicas of primary.")
    shards: Mapping[str, Shard] = setting({}, "Shards of the default keyspace; short for keyspaces.NAME.shards.")
    keyspaces: Mapping[str, Keyspace] = setting({}, "Keyspaces by name.")
    default_keyspace: Name | None = setting(None, "Keyspace of the tables that no keyspace lists. Default: the only one.")
    coordinator: Name | None = setting(None, "Keyspace whose primary coordinates. Default: the default keyspace.")
    server_user: Name = setting("postgres", "User of the proxy's own connections (catalog, health). Not used for clients' statements.")
    server_password: Secret | None = setting(None, "Password of server_user.")
    server_password_file: FilePath | None = setting(None, "File whose first line is that password.")
    server_password_env: Name | None = setting(None, "Environment variable that holds that password.")
    server_tls: ServerTls = setting(ServerTls(), "TLS towards the servers.")
    users: tuple[Name, ...] | None = setting(None, "Users who may connect. Default: all.")
    consistency: Consistency = setting(
        "database", "What a read from a replica must have seen. database: every write that any client of this proxy made to "
        "the tables it reads. session: this client's own writes. strong: reads go to the primary. eventual: any healthy replica.")
    isolation: Literal["per_shard", "refuse"] = setting(
        "refuse", "REPEATABLE READ and SERIALIZABLE over several shards: per shard, or refused.")
    balance: Balance = setting("least_connections", "How reads are spread over the replicas.")
    max_lag: Lag | None = setting(None, "A replica further behind gets no reads. Default: no limit.", example="10MB, 5s")
    zone: str = setting("", "Where this proxy is; replicas in the same zone are preferred.")
    failover_hold: Seconds = setting(30.0, "How long statements wait for a new primary before they fail. 0: not at all.")
    health_interval: Seconds = setting(1.0, "Time between health checks of a server.")
    health_timeout: Seconds = setting(3.0, "A health check without an answer after this has failed.")
    lag_interval: Seconds = setting(0.1, "Time between samples of the replication positions.")
    patroni: tuple[Name, ...] = setting((), "URLs of Patroni's REST interface, asked for the roles too.",
                                        example=["http://10.0.0.1:8008"])
    pool_size: int | None = setting(None, "Replaces [pool] size.", ge=1, strict=True)
    min_pool_size: Count | None = setting(None, "Replaces [pool] min_size.")
    reserve_pool_size: Count | None = setting(None, "Replaces [pool] reserve_size.")
    pool_mode: PoolMode | None = setting(None, "Replaces [pool] mode.")
    max_db_connections: Count | None = setting(None, "Replaces [pool] max_db_connections.")
    max_db_client_connections: Count | None = setting(None, "Replaces [pool] max_db_client_connections.")
    server_lifetime: Seconds | None = setting(None, "Replaces [pool] server_lifetime.")
    query_wait_timeout: Seconds | None = setting(None, "Replaces [pool] query_wait_timeout.")

    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name that clients ask for."""
        return self._name

    def named(self, name: str) -> Database:
        """This database under ``name``: how the entry ``"*"`` becomes the database a client asked for."""
        copy = self.model_copy()
        copy._name = name
        for cached in ("servers", "keyspace_map"):
            copy.__dict__.pop(cached, None)
        return copy

    @cached_property
    def keyspace_map(self) -> Mapping[str, Keyspace]:
        """All keyspaces, those of the short forms too."""
        shards = dict(self.shards)
        if self.primary is not None:
            shards["main"] = Shard(primary=self.primary, replicas=self.replicas)
        if not shards:
            return self.keyspaces
        return {self.default_keyspace or "main": Keyspace(shards=shards), **self.keyspaces}

    @property
    def main_keyspace(self) -> str:
        """Name of the keyspace of tables that no keyspace lists; empty if that is not decided."""
        if self.default_keyspace is not None:
            return self.default_keyspace
        names = list(self.keyspace_map)
        return names[0] if len(names) == 1 else ""

    @cached_property
    def servers(self) -> tuple[ServerRef, ...]:
        """All servers, in the order of the file."""
        return tuple(self._server(keyspace, shard, number, server)
                     for keyspace, space in self.keyspace_map.items() for shard, group in space.shards.items()
                     for number, server in enumerate((group.primary, *group.replicas)))

    def _server(self, keyspace: str, shard: str, number: int, server: Server) -> ServerRef:
        address = server.address.with_dbname(self._name)
        return ServerRef(
            id=f"{self._name}/{keyspace}/{shard}/{number}", database=self._name, keyspace=keyspace, shard=shard, number=number,
            host=address.host, port=address.port, dbname=address.dbname, unix=address.unix, weight=server.weight,
            zone=server.zone, configured_primary=number == 0)
