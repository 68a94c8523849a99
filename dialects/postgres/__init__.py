"""PostgreSQL: protocol, authentication and SQL knowledge. ``DIALECT`` imports the heavy parts when they are needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from shardproxy.dialects.base import Adopted, Analysis, FactsView
from shardproxy.dialects.changes import Changes
from shardproxy.dialects.distributed import Distributed
from shardproxy.dialects.postgres.proxying import Proxying
from shardproxy.dialects.replication import Replication

__all__ = ["DIALECT", "Postgres"]


class Postgres(Proxying):
    """See ``dialects.base.Dialect``."""

    name = "postgres"

    def __init__(self) -> None:
        from shardproxy.dialects.postgres import digest_cy, key_values, partition_hash_cy

        self.digest = digest_cy.digest
        self.partition_hash = partition_hash_cy.partition_hash
        self.key_value = key_values.read

    def analyse(self, key: bytes, facts: FactsView | None) -> Analysis:
        """What the text with this digest is."""
        from shardproxy.dialects.postgres.sql.analysis import analyse

        return analyse(key, facts)

    def display(self, key: bytes) -> str:
        """A digest for people."""
        from shardproxy.dialects.postgres.sql.tokens import display

        return display(key)

    @property
    def replication(self) -> Replication:
        """Roles, timelines and positions, over asyncpg."""
        from shardproxy.dialects.postgres.replication import REPLICATION

        return REPLICATION

    @property
    def distributed(self) -> Distributed:
        """How transactions over several servers are finished, over asyncpg."""
        from shardproxy.dialects.postgres.sharded.place_link import DISTRIBUTED

        return DISTRIBUTED

    @property
    def changes(self) -> Changes:
        """How rows are copied and changes are followed."""
        from shardproxy.dialects.postgres.changes import CHANGES

        return CHANGES

    def warm_catalog(self) -> None:
        """Import what ``catalog_load`` needs."""
        from shardproxy.dialects.postgres import catalog  # noqa: F401

    async def catalog_load(self, connection: Any, harmless: Iterable[str] = (),
                           tables: bool = False) -> dict[str, Any]:
        """What ``Facts`` is made of, read through an asyncpg connection."""
        from shardproxy.dialects.postgres.catalog import load

        return await load(connection, harmless, tables)

    async def prepare_place(self, connection: Any, coordinator: bool) -> None:
        """Make what transactions and shells need in a server's database. PlaceError: it cannot be made."""
        from shardproxy.dialects.postgres.sharded.bootstrap import prepare_place

        await prepare_place(connection, coordinator)

    async def adopt(self, coordinator: Any, shards: Mapping[str, Any], tables: Sequence[Any]) -> Adopted:
        """Make shells of what only the shards have; what stands against serving these tables as laid out."""
        from shardproxy.dialects.postgres.sharded.adopt import adopt

        return await adopt(coordinator, shards, tables)

    async def fill_lookup(self, coordinator: Any, shards: Mapping[str, Any], layout: Any,
                          ) -> dict[tuple[str, str], str]:
        """Note where the keys of keyspaces with ``lookup`` are; why a table cannot be served."""
        from shardproxy.dialects.postgres.sharded.lookup import fill

        return await fill(coordinator, shards, layout)

    async def settle_layout(self, connection: Any, store: Callable[[Sequence[Any]], Awaitable[None]]) -> bool:
        """Have what DDL changed in the layout stored."""
        from shardproxy.dialects.postgres.sharded.laid_out import settle

        return await settle(connection, store)

    def explain_offline(self, text: str, schema: str, layout: Any) -> list[str]:
        """The plan of a statement, from the text of a schema."""
        from shardproxy.dialects.postgres.sharded.offline import explain_offline

        return explain_offline(text, schema, layout)

    async def exchange(self, connection: Any, name: str, how: str, tables: Sequence[tuple[str, str]]) -> None:
        """Give these tables' names to other relations, in a transaction; once for each ``name``."""
        from shardproxy.dialects.postgres.sharded.exchange import exchange

        await exchange(connection, name, how, tables)


DIALECT = Postgres()
