"""Parts of a database entry: servers, shards, keyspaces, lag limits, TLS towards the servers.

Invariant: which server is the primary is found out at run time; the configuration only says where to look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator

from .addresses import Address
from .values import FilePath, Flag, Name, SettingError, Settings, Unit, parse_bytes, parse_seconds, setting

__all__ = ["Keyspace", "Lag", "MaxLag", "Range", "Server", "ServerRef", "ServerTls", "ServerTlsMode", "Shard", "Table",
           "parse_lag"]

ServerTlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


@dataclass(frozen=True, slots=True)
class MaxLag:
    """How far behind a replica may be; ``None``: not limited in that unit."""

    bytes: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        size = [] if self.bytes is None else [f"{self.bytes}B"]
        return ", ".join(size if self.seconds is None else [*size, f"{self.seconds!r}s"])


def parse_lag(value: object) -> MaxLag:
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


Lag = Annotated[MaxLag, BeforeValidator(parse_lag), PlainSerializer(str, return_type=str)]


class ServerTls(Settings):
    """TLS towards the servers of a database."""

    mode: ServerTlsMode = setting(
        "prefer",
        "disable: never. prefer: if the server offers it. require: refuse a server without TLS. verify-ca: "
        "and its certificate must be signed by ca. verify-full: and it must name the host.")
    ca: FilePath | None = setting(
        None, "Certificates that the server's certificate must be signed by (PEM). Default: the system's.")
    certificate: FilePath | None = setting(None, "Client certificate of the proxy (PEM).")
    key: FilePath | None = setting(None, "Private key of the client certificate (PEM).")


class Server(Settings):
    """One database server: ``"host:port/database"``, or a table."""

    address: Address = Field(
        description='"host:port/database", "[::1]:port/database" or "/socket/folder:port/database". Without'
        ' a database: the name that clients ask for.')
    weight: float = setting(
        1.0, 'Share of the reads under balance = "weighted"; 0: none.', ge=0, le=1e6, strict=True)
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


def _columns(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _key_text(value: object) -> object:
    """A key as the database writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (int, float)) else value


def _ranges(value: object) -> object:
    return (value,) if isinstance(value, (Mapping, BaseModel)) else value


Columns = Annotated[tuple[Name, ...], BeforeValidator(_columns)]
Uniques = Annotated[tuple[Columns, ...], BeforeValidator(_columns)]
KeyText = Annotated[str, BeforeValidator(_key_text), Unit("key")]


class Table(Settings):
    """A table that is split over the shards of its keyspace, or copied to all of them. `NAME` is a table of the schema
    `public`, or `"schema.table"`."""

    key: Columns = setting((), "Column by which rows are split, or several: `key = [\"tenant\", \"id\"]`.")
    reference: Flag = setting(False, "Every shard holds all rows.")
    unique: Uniques = setting((), "Unique constraints without the key that may be made, their values kept on the "
                              "coordinator; each a column or a list: `unique = [\"email\", [\"a\", \"b\"]]`.")


class Range(Settings):
    """Keys of a shard, for function = "range"."""

    at_least: KeyText | None = setting(None, "The smallest key. Default: no bound.")
    below: KeyText | None = setting(None, "Keys are smaller than this. Default: no bound.")


Ranges = Annotated[tuple[Range, ...], BeforeValidator(_ranges)]


class Keyspace(Settings):
    """Tables that live together on one shard, or split over several. Which slots a shard owns is seeded from here once;
    then the topology store knows it."""

    shards: Mapping[str, Shard] = setting({}, "Shards by name. The default keyspace has one.")
    function: Literal["hash", "range", "list", "lookup"] = setting(
        "hash", "How keys are dealt to slots. hash: as PostgreSQL deals rows to hash partitions. range, list: as "
        "ranges and lists say. lookup: a table of the coordinator, kept by the proxy, says where each key is; a new "
        "key goes where lists say, else to a slot as under hash.")
    slots: int = setting(1024, 'Number of slots under function = "hash" or "lookup".', ge=1, le=65536, strict=True)
    ranges: Mapping[str, Ranges] = setting({}, "Keys of each shard, a range or a list of ranges: "
                                           "`ranges.s0 = { below = 1000 }`. Text is compared by its bytes.")
    lists: Mapping[str, tuple[KeyText, ...]] = setting({}, "Keys of each shard: "
                                                       '`lists.s0 = ["at", "de"]`.')
    default_shard: Name | None = setting(None, "Shard of the keys that no range and no list names.")
    tables: Mapping[str, Table] = setting({}, "Tables by name.")

    @property
    def sharded_tables(self) -> Mapping[str, Table]:
        """Tables that are split."""
        return {name: table for name, table in self.tables.items() if not table.reference}


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
