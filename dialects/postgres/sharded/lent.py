"""Shells that can be read for the length of one statement: materialized views over sharded tables are filled so.

PostgreSQL fills a materialized view by running its stored query, which nobody can exchange, over the shells. So the
rows of the shards are copied to temporary tables, and each shell gets that table as its child instead of the foreign
table that cannot be planned (``shells.py``). What runs then in this transaction reads the shards' rows through the
shell. Afterwards all is as before.

Invariants:
* Only the transaction that lends a shell sees it so. The foreign child stays locked, and is a child again at the
  commit: others wait for it and find it, and none of them ever reads a shell without rows.
* The shell itself is not locked against reading its definition, so statements go on being prepared.
"""

from __future__ import annotations

from typing import Any

from shardproxy.catalog.tables import Table
from shardproxy.dialects.postgres.wire import quote_ident, quote_literal
from shardproxy.planner.plan import Pull, ShardFilter

from .errors import PgError, refused
from .legs import Leg
from .staging import Bounds, Staging
from .statement import Statement

__all__ = ["Lending"]

NOT_OWNER = "42501"


class Lending(Staging):
    """Lends shells on ``leg``, the coordinator's, which is in a transaction."""

    def __init__(self, tx: Any, leg: Leg, statement: Statement) -> None:
        bounds = tx.database.entry.gather
        super().__init__(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes), key=False)
        self.shells: list[Table] = []

    async def lend(self, shells: list[Table]) -> None:
        """Copy all rows and lend the shells."""
        shells.sort(key=lambda one: (one.schema, one.name))         # locked in one order by everybody
        try:
            names = ", ".join(f"ONLY {_name(one)}" for one in shells)
            await self.leg.command(f"LOCK TABLE {names} IN SHARE UPDATE EXCLUSIVE MODE")    # before the shards: as DDL
            for shell, table in zip(shells, await self.pull([self._whole(one) for one in shells]), strict=True):
                await self._call("lend_shell", shell, table.name)
                self.shells.append(shell)
        except PgError as error:
            if error.sqlstate != NOT_OWNER:
                raise
            raise refused("filling a materialized view over sharded tables of another owner",
                          "The role that fills it must own the sharded tables too.") from None

    async def end(self) -> None:
        """Everything as it was."""
        for shell, table in zip(self.shells, self.tables, strict=True):
            await self._call("return_shell", shell, table.name)
        await self.drop()

    async def _call(self, function: str, shell: Table, lent: str) -> None:
        await self.leg.run(f"SELECT shardproxy.{function}({quote_literal(_name(shell))}::pg_catalog.regclass, "
                           f"{quote_literal(lent)}::pg_catalog.regclass)")

    def _whole(self, shell: Table) -> Pull:
        """All rows; generated columns are made again."""
        layout = self.statement.layout.table(shell.schema, shell.name)
        assert layout is not None
        columns = tuple(column.name for column in shell.columns if not column.generated)
        listed = ", ".join(map(quote_ident, columns))
        text = f"SELECT {listed} FROM {_name(shell)}"
        return Pull(ShardFilter(layout.keyspace, (shell.schema, shell.name)), text.encode("utf-8", "surrogateescape"),
                    columns, like=(shell.schema, shell.name))

    async def _create(self, name: str, pull: Pull) -> None:
        if pull.like is None:
            await super()._create(name, pull)
            return
        shell = ".".join(map(quote_ident, pull.like))
        await self.leg.command(f"CREATE TEMPORARY TABLE {name.removeprefix('pg_temp.')} "
                               f"(LIKE {shell} INCLUDING CONSTRAINTS INCLUDING GENERATED) ON COMMIT DROP")


def _name(table: Table) -> str:
    return f"{quote_ident(table.schema)}.{quote_ident(table.name)}"
