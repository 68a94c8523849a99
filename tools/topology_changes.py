"""``shardproxy topology add-shard | rebalance | drain``: changes of the shards, as plans of ``reshard``.

Invariant: nothing moves here: a plan is printed and kept, and ``shardproxy reshard start NAME`` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from shardproxy.config.model import Config
from shardproxy.errors import ShardproxyError
from shardproxy.topology.layout import KeyspaceLayout

from .transfers import ConfigFile, DatabaseName, run

__all__ = ["add_commands"]

Keyspace = Annotated[str, typer.Option(help="Which keyspace, if there are several.")]
Shard = Annotated[str, typer.Argument(help="Name of the shard, as in the configuration.")]


def add_commands(app: typer.Typer) -> None:
    """The three verbs."""
    @app.command("add-shard")
    def add_shard(shard: Shard, config: ConfigFile, keyspace: Keyspace = "", database: DatabaseName = "") -> None:
        """Plan to give a new shard its share of the slots."""
        def wanted(space: KeyspaceLayout, used: list[str]) -> list[str]:
            if shard in used:
                raise ShardproxyError(f"shard {shard} has slots already")
            return [*used, shard]

        raise typer.Exit(run(config, lambda found: _plan(found, database, keyspace, shard, f"add-{shard}",
                                                             wanted)))

    @app.command()
    def drain(shard: Shard, config: ConfigFile, keyspace: Keyspace = "", database: DatabaseName = "") -> None:
        """Plan to take all slots from a shard; afterwards it may leave the configuration."""
        def wanted(space: KeyspaceLayout, used: list[str]) -> list[str]:
            if shard not in used:
                raise ShardproxyError(f"shard {shard} has no slots")
            if len(used) == 1:
                raise ShardproxyError(f"shard {shard} is the only one that has slots")
            return [name for name in used if name != shard]

        raise typer.Exit(run(config, lambda found: _plan(found, database, keyspace, shard, f"drain-{shard}",
                                                             wanted)))

    @app.command()
    def rebalance(config: ConfigFile, keyspace: Keyspace = "", database: DatabaseName = "", by: Annotated[
            str, typer.Option(help="What is evened out: size, load or slots.")] = "size") -> None:
        """Plan the smallest number of moved slots after which the shards are about even."""
        if by not in ("size", "load", "slots"):
            raise typer.BadParameter("--by is size, load or slots")
        raise typer.Exit(run(config, lambda found: _plan(
            found, database, keyspace, "", "rebalance", lambda space, used: used, "" if by == "slots" else by)))


async def _plan(config: Config, database: str, keyspace: str, shard: str, name: str,
                wanted: Callable[[KeyspaceLayout, list[str]], list[str]], by: str = "") -> int:
    from .topology import stored
    from .transfer.commands import planned
    from .transfer.finding import database_of
    from .transfer.planning import Ask

    entry = database_of(config, database)
    layout = await stored(config, entry)
    if layout is None:
        raise ShardproxyError(f"no layout of {entry.name} is stored: start a proxy first")
    known = [one.name for one in layout.keyspaces.values() if (shard in one.shards if shard else len(one.used()) > 1)]
    found = keyspace or (known[0] if len(known) == 1 else "")
    if found not in layout.keyspaces:
        raise ShardproxyError(f"--keyspace: which of {', '.join(known or layout.keyspaces)}")
    space = layout.keyspaces[found]
    used = [space.shards[index] for index in space.used()]
    ask = Ask(entry.name, found, found, to=tuple(wanted(space, used)))
    return await planned(config, "reshard", name, ask, by)
