"""``shardproxy topology``: the stored layouts, read without a running proxy.

Invariant: nothing is written. What is not stored yet is shown as the first start would seed it, and says so (epoch 0).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from shardproxy import dialects
from shardproxy.config.load import load
from shardproxy.config.model import Config, Database
from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ConfigError
from shardproxy.server.layouts import store_in
from shardproxy.server.watched import target_at
from shardproxy.topology.layout import Layout
from shardproxy.topology.seeding import reconcile, seed
from shardproxy.topology.store import StoreError
from shardproxy.topology.store_database import DatabaseStore

__all__ = ["differences", "show", "stored"]

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2


def show(path: Path, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Print the layouts of all databases with sharded tables; the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=err)
        return EXIT_CONFIG
    try:
        layouts = asyncio.run(_layouts(config))
    except StoreError as error:
        print(f"shardproxy: {error}", file=err)
        return EXIT_FAILED
    if as_json:
        print(json.dumps({name: _json(layout) for name, layout in layouts.items()}, indent=2), file=out)
        return EXIT_OK
    for name, layout in layouts.items():
        for line in _lines(name, layout):
            print(line, file=out)
        for difference in reconcile(layout, config.databases[name])[1]:
            print(f"  differs from the configuration: {difference}", file=out)
    if not layouts:
        print("no database has sharded tables", file=out)
    return EXIT_OK


async def stored(config: Config, entry: Database) -> Layout | None:
    """The stored layout of a database; None: it was never started. StoreError."""
    if config.topology != "database":
        return (await store_in(config.state_dir, entry.name).load())[1]
    return (await DatabaseStore(_coordinator(entry), entry.name).load())[1]


async def differences(config: Config, entry: Database) -> list[str]:
    """Where the stored layout of a database is another one than that configured. StoreError."""
    layout = await stored(config, entry)
    return [] if layout is None else reconcile(layout, entry)[1]


async def _layouts(config: Config) -> dict[str, Layout]:
    return {name: await stored(config, entry) or seed(entry)
            for name, entry in config.databases.items() if entry.sharded}


def _coordinator(entry: Database) -> Callable[[], Awaitable[Any]]:
    """Connects to the first server of the default keyspace that answers: a replica has the row too."""
    async def connect() -> Any:
        replication = dialects.get(entry.dialect).replication
        failed: Exception = LinkError("no server")
        for server in entry.servers:
            if server.keyspace == entry.main_keyspace:
                target = target_at(entry, server.host, server.port, server.unix, server.dbname)
                try:
                    return await replication.open(target, entry.health_timeout)
                except LinkError as error:
                    failed = error
        raise failed

    return connect


def _json(layout: Layout) -> dict[str, Any]:
    """For programs: shards with the ranges of slots that they own."""
    return {"epoch": layout.epoch, "default_keyspace": layout.default, "keyspaces": {
        name: {"function": keyspace.function, "slots": keyspace.slots,
               "shards": {shard: {"slots": keyspace.owners.count(index), "ranges": _runs(keyspace.owners, index)}
                          for index, shard in enumerate(keyspace.shards)},
               "tables": {f"{table.schema}.{table.name}": {"reference": True} if table.reference
                          else {"key": list(table.key)} for table in keyspace.tables}}
        for name, keyspace in layout.keyspaces.items()}}


def _runs(owners: tuple[int, ...], index: int) -> list[list[int]]:
    """First and last slot of each run that a shard owns."""
    found: list[list[int]] = []
    for slot, owner in enumerate(owners):
        if owner == index and found and found[-1][1] == slot - 1:
            found[-1][1] = slot
        elif owner == index:
            found.append([slot, slot])
    return found


def _lines(name: str, layout: Layout) -> Iterator[str]:
    state = f"epoch {layout.epoch}" if layout.epoch else "not stored yet"
    yield f"database {name}: {state}; other tables are in keyspace {layout.default}"
    for keyspace in layout.keyspaces.values():
        yield f"  keyspace {keyspace.name}: {keyspace.function}, {keyspace.slots} slots"
        width = max(len(shard) for shard in keyspace.shards)
        for index, shard in enumerate(keyspace.shards):
            runs = ", ".join(f"{first}-{last}" if first != last else f"{first}"
                             for first, last in _runs(keyspace.owners, index)[:8])
            count = keyspace.owners.count(index)
            yield f"    shard {shard:{width}}  {count:6} slots" + (f"  {runs}" if runs else "")
        for table in keyspace.tables:
            how = "reference: whole on every shard" if table.reference else f"by {', '.join(table.key)}"
            yield f"    table {table.schema}.{table.name}: {how}"
