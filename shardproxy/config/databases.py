"""[databases.NAME]: the servers behind a database name, and how statements are spread over them.

Invariant: however a database is written (``primary`` and ``replicas``, ``shards``, or ``keyspaces``),
``keyspace_map`` and ``servers`` show it in one form, and a server's id is always
``database/keyspace/shard/number``, number 0 the configured primary.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from pydantic import PrivateAttr

from .pool import PoolMode
from .secret import Secret
from .servers import Keyspace, Lag, Server, ServerRef, ServerTls, Shard
from .values import Bytes, Count, FilePath, Flag, Name, Seconds, Settings, setting

__all__ = ["ANY", "Balance", "Consistency", "Database", "Gather"]

ANY = "*"
"""Name of the database entry that stands for every name without an entry of its own."""

Balance = Literal["round_robin", "least_connections", "fastest", "weighted", "client_hash"]
Consistency = Literal["database", "session", "strong", "eventual"]


class Gather(Settings):
    """Statements over several shards that only the coordinator can answer: the rows it is given meanwhile."""

    max_rows: int = setting(5_000_000, "More rows are refused.", ge=0, strict=True)
    max_bytes: Bytes = setting(2**30, "More bytes are refused.")


class Database(Settings):
    """A database name that clients can ask for. The entry ``"*"`` stands for every name without an entry."""

    dialect: Literal["postgres", "mysql"] = setting(
        "postgres", "Kind of database. This version supports postgres.", restart=True)
    primary: Server | None = setting(None, "The primary; short for a keyspace with one shard.")
    replicas: tuple[Server, ...] = setting((), "Replicas of primary.")
    shards: Mapping[str, Shard] = setting(
        {}, "Shards of the default keyspace; short for keyspaces.NAME.shards.")
    keyspaces: Mapping[str, Keyspace] = setting({}, "Keyspaces by name.")
    default_keyspace: Name | None = setting(
        None, "Keyspace of the tables that no keyspace lists. It has one shard. Default: the only one.")
    coordinator: Name | None = setting(
        None, "Keyspace whose primary coordinates. Default: the default keyspace.")
    server_user: Name = setting(
        "postgres",
        "User of the proxy's own connections (catalog, health). Not used for clients' statements.")
    server_password: Secret | None = setting(None, "Password of server_user.")
    server_password_file: FilePath | None = setting(None, "File whose first line is that password.")
    server_password_env: Name | None = setting(None, "Environment variable that holds that password.")
    server_tls: ServerTls = setting(ServerTls(), "TLS towards the servers.")
    users: tuple[Name, ...] | None = setting(None, "Users who may connect. Default: all.")
    replication: Flag = setting(
        True, "Let clients whose role on the server has REPLICATION open replication connections to the primary.")
    consistency: Consistency = setting(
        "database",
        "What a read from a replica must have seen. database: every write that any client of this proxy "
        "made to the tables it reads. session: this client's own writes. strong: reads go to the primary. "
        "eventual: any healthy replica.")
    harmless_functions: tuple[Name, ...] = setting(
        (), "Functions that only read, although the database does not know it: statements that call them may go to a "
        "replica.", example=["app.current_tenant"])
    isolation: Literal["per_shard", "refuse"] = setting(
        "refuse", "REPEATABLE READ and SERIALIZABLE over several shards: per shard, or refused.")
    transactions: Literal["2pc", "refuse"] = setting(
        "2pc", "Transactions that write to several shards: committed in two phases (the servers need "
        "max_prepared_transactions), or refused.")
    max_fanout: Count = setting(0, "Shards that one statement may use at most. 0: no limit.")
    gather: Gather = setting(Gather(), "Bounds of what the coordinator is given.")
    balance: Balance = setting("least_connections", "How reads are spread over the replicas.")
    max_lag: Lag | None = setting(
        None, "A replica further behind gets no reads. Default: no limit.", example="10MB, 5s")
    zone: str = setting("", "Where this proxy is; replicas in the same zone are preferred.")
    failover_hold: Seconds = setting(
        30.0, "How long statements wait for a new primary before they fail. 0: not at all.")
    health_interval: Seconds = setting(1.0, "Time between health checks of a server.")
    health_timeout: Seconds = setting(3.0, "A health check without an answer after this has failed.")
    lag_interval: Seconds = setting(0.02, "Time between samples of the replication positions.")
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

    @property
    def sharded(self) -> tuple[str, ...]:
        """Names of the keyspaces whose tables are spread over shards: all but the default one."""
        main = self.main_keyspace
        return tuple(name for name in self.keyspace_map if name != main)

    @cached_property
    def servers(self) -> tuple[ServerRef, ...]:
        """All servers, in the order of the file."""
        return tuple(self._server(keyspace, shard, number, server)
                     for keyspace, space in self.keyspace_map.items() for shard, group in space.shards.items()
                     for number, server in enumerate((group.primary, *group.replicas)))

    def _server(self, keyspace: str, shard: str, number: int, server: Server) -> ServerRef:
        address = server.address.with_dbname(self._name)
        return ServerRef(
            id=f"{self._name}/{keyspace}/{shard}/{number}", database=self._name, keyspace=keyspace,
            shard=shard, number=number, host=address.host, port=address.port, dbname=address.dbname,
            unix=address.unix, weight=server.weight, zone=server.zone, configured_primary=number == 0)
