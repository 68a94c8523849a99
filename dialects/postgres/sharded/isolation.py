"""Which isolation levels a transaction over several shards may have.

Invariant: whoever asks for one snapshot of all shards is refused, or told that it is one for each shard.
"""

from __future__ import annotations

import re
from typing import Any

from shardproxy.dialects.postgres import wire

from .errors import refused

__all__ = ["check_isolation"]

ISOLATED = re.compile(r"(?i)repeatable\s+read|serializable")
READ_ONLY = re.compile(r"(?i)read\s+only")
COMMITTED = re.compile(r"(?i)read\s+committed")
DUMPS = frozenset(("pg_dump", "pg_dumpall"))
TOLD = (b"SNOTICE\0VNOTICE\0C00000\0Meach shard is dumped as of a moment of its own\0"
        b"HFor one moment of all shards, dump while nothing writes.\0\0")


def check_isolation(tx: Any, place: str) -> None:
    """Before a leg is opened at a place. There is no snapshot over several servers: who asks for one is refused, unless
    told otherwise. pg_dump, which cannot ask for less, is told."""
    others = [one for one in tx.legs if one and one != place]
    if not place or not others or not tx.in_block or tx.database.entry.isolation == "per_shard":
        return
    said = " ".join([tx.begin, *(text.decode("utf-8", "replace") for text, _ in tx.log)])
    settings = tx.link.settings.values
    default = settings.get("default_transaction_isolation", "")
    if not ISOLATED.search(said) and (not ISOLATED.search(default) or COMMITTED.search(said)):
        return
    if settings.get("application_name") in DUMPS and READ_ONLY.search(said):
        if len(others) == 1:
            tx.link.write(wire.message(b"N", TOLD))
        return
    raise refused("a REPEATABLE READ or SERIALIZABLE transaction over several shards",
                  'There is no snapshot over several servers. Use READ COMMITTED, or isolation = "per_shard".')
