"""``shardproxy explain``: how a statement would be carried out, from the configuration and a schema file alone.

Invariant: nothing is connected to. Slots are those of a first start, dealt evenly; shards of a key may differ from
those of a database whose slots have moved since.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from shardproxy import dialects
from shardproxy.config.load import load
from shardproxy.config.model import Config, Database
from shardproxy.errors import ConfigError, ShardproxyError
from shardproxy.topology.seeding import seed

__all__ = ["explain"]

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2


def explain(path: Path, schema: Path, sql: str, database: str = "", *, out: TextIO | None = None,
            err: TextIO | None = None) -> int:
    """Print the plan of ``sql``; the exit code. ``database``: needed if more than one has sharded tables."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        entry = _entry(load(path), database)
        text = schema.read_text()
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        print(f"shardproxy: {error}" if not isinstance(error, ConfigError) else error, file=err)
        return EXIT_CONFIG
    except ShardproxyError as error:
        print(f"shardproxy: {error}", file=err)
        return EXIT_CONFIG
    try:
        lines = dialects.get(entry.dialect).explain_offline(sql, text, seed(entry))
    except ShardproxyError as error:
        print(f"shardproxy: {error}", file=err)
        return EXIT_FAILED
    print("\n".join(lines), file=out)
    return EXIT_OK


def _entry(config: Config, name: str) -> Database:
    sharded = {one: entry for one, entry in config.databases.items() if entry.sharded}
    if not sharded:
        raise ShardproxyError("no database has sharded tables")
    if name and name not in sharded:
        raise ShardproxyError(f'no database "{name}" with sharded tables: {", ".join(sharded)}')
    if not name and len(sharded) > 1:
        raise ShardproxyError(f"say which with --database: {', '.join(sharded)}")
    return sharded[name or next(iter(sharded))]
