"""The whole configuration, checked and frozen.

Invariant: the models mirror the TOML file key by key; what is derived from it is a property. A ``Config``
never changes: RELOAD makes another one. Secrets leave a ``Config`` only through ``Secret.reveal()`` and
``to_worker_json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import PrivateAttr

from .auth import Auth, ClientTls, HostRule, User
from .databases import ANY, Database
from .listen import Listen, UnixSocket
from .log import Log
from .pool import Pool, PoolMode
from .secret import REVEAL, Secret
from .servers import Keyspace, MaxLag, Server, ServerRef, ServerTls, Shard, Table
from .values import Name, Settings, setting

__all__ = ["ADMIN_DATABASE", "ANY", "Auth", "ClientTls", "Config", "Database", "HostRule", "Keyspace",
           "Listen", "Log", "MaxLag", "Pool", "PoolLimits", "Secret", "Server", "ServerRef", "ServerTls",
           "Shard", "Table", "UnixSocket", "User"]

ADMIN_DATABASE = "shardproxy"
"""Database name of the admin console; never a real database."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What holds for the pools of one user in one database, after all overrides. Seconds; 0: no limit."""

    mode: PoolMode
    size: int
    min_size: int
    reserve_size: int
    reserve_timeout: float
    max_db_connections: int
    max_user_connections: int
    max_db_client_connections: int
    max_user_client_connections: int
    query_wait_timeout: float
    server_lifetime: float


class Config(Settings):
    """All settings of one proxy."""

    topology: Name | None = setting(
        None,
        'Where the proxy keeps what it must remember over restarts: "file:FOLDER". Default: beside the '
        'configuration file, with its name and ".topology". "database": there too, but who owns which slots is kept in '
        'the schema shardproxy of the primary of the default keyspace, so that several proxies can share it.',
        restart=True)
    listen: Listen = setting(Listen(), "Where clients and operators reach the proxy.")
    auth: Auth = setting(Auth(), "Who may log in.")
    pool: Pool = setting(Pool(), "Server connections.")
    log: Log = setting(Log(), "Log records.")
    databases: Mapping[str, Database] = setting({}, "Databases by name.")

    _source: Path = PrivateAttr(Path("shardproxy.toml"))

    def model_post_init(self, context: object) -> None:
        """Give every database its own name (an entry knows only its key)."""
        for name, database in self.databases.items():
            database._name = name

    @property
    def source(self) -> Path:
        """The file this was loaded from."""
        return self._source

    @property
    def control_path(self) -> Path | None:
        """Socket for takeover; ``None`` if switched off."""
        if self.listen.control == "none":
            return None
        if self.listen.control is None:
            return self._source.with_suffix(".control")
        return self._source.parent / self.listen.control

    @property
    def state_dir(self) -> Path:
        """Folder of what must outlive a restart (topology, highest timeline written to)."""
        if self.topology in (None, "database"):
            return self._source.with_suffix(".topology")
        return self._source.parent / (self.topology or "").removeprefix("file:")

    def database_for(self, name: str) -> Database | None:
        """The database a client asked for; ``"*"`` stands in for names that have no entry."""
        if name in (ADMIN_DATABASE, ANY, "") or self.shard_owner(name) is not None:
            return None
        found = self.databases.get(name)
        if found is not None:
            return found
        wildcard = self.databases.get(ANY)
        return wildcard.named(name) if wildcard is not None else None

    def shard_owner(self, name: str) -> Database | None:
        """The database that ``database/keyspace/shard`` is a shard of, if it is one of a sharded keyspace."""
        database, _, place = name.partition("/")
        found = self.databases.get(database) if place else None
        if found is None or name in self.databases:
            return None
        keyspace, _, shard = place.partition("/")
        return found if keyspace in found.sharded and shard in found.keyspace_map[keyspace].shards else None

    def entry_for(self, name: str) -> Database | None:
        """Whose settings hold for an entry of the topology: a shard's are those of its database."""
        return self.shard_owner(name) or self.database_for(name)

    def user(self, name: str) -> User | None:
        """The configured user of that name."""
        return self.auth.users.get(name)

    def may_use(self, user: str, database: Database) -> bool:
        """Do the lists of users and databases let ``user`` connect to ``database``?"""
        own = self.auth.users.get(user)
        allowed = own is None or own.databases is None or database.name in own.databases
        return allowed and (database.users is None or user in database.users)

    def pool_for(self, database: Database, user: str) -> PoolLimits:
        """Limits of the pools of ``user`` in ``database``: the user's, else the database's, else [pool]'s."""
        pool, own = self.pool, self.auth.users.get(user, User())
        return PoolLimits(
            mode=own.pool_mode or database.pool_mode or pool.mode,
            size=own.pool_size or database.pool_size or pool.size,
            min_size=_first(database.min_pool_size, pool.min_size),
            reserve_size=_first(database.reserve_pool_size, pool.reserve_size),
            reserve_timeout=pool.reserve_timeout,
            max_db_connections=_first(database.max_db_connections, pool.max_db_connections),
            max_user_connections=_first(own.max_user_connections, pool.max_user_connections),
            max_db_client_connections=_first(
                database.max_db_client_connections, pool.max_db_client_connections),
            max_user_client_connections=_first(
                own.max_user_client_connections, pool.max_user_client_connections),
            query_wait_timeout=_first(database.query_wait_timeout, pool.query_wait_timeout),
            server_lifetime=_first(database.server_lifetime, pool.server_lifetime))

    def to_worker_json(self) -> str:
        """Everything, secrets too, for a worker process. Send it over a private socket only."""
        settings = self.model_dump(mode="json", context=REVEAL)
        return json.dumps({"source": str(self._source), "settings": settings})

    @classmethod
    def from_worker_json(cls, text: str | bytes) -> Config:
        """The inverse of ``to_worker_json``."""
        envelope = json.loads(text)
        config = cls.model_validate(envelope["settings"])
        return config.from_file(Path(envelope["source"]))

    def from_file(self, source: Path) -> Config:
        """The same configuration, known to come from ``source``."""
        self._source = source
        return self


def _first(override: T | None, default: T) -> T:
    return default if override is None else override
