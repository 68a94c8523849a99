"""DDL on tables that are being moved is refused, from the moment at which a transfer is ready to switch until its end.

Invariant: a statement that would change a moved table, its grants or what hangs on it, and names the table, never
begins. What does not name it (DROP OWNED, an index by its own name, what a DO block makes up) is seen by the transfer
itself, which compares the catalogs of both sides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import PgError

__all__ = ["refuse_moving"]

Table = tuple[str, str]

HARMLESS = frozenset(("TRUNCATE", "VACUUM", "ANALYZE", "REINDEX", "LOCK"))
"""What changes follow (TRUNCATE), or what changes nothing that has to."""
_MADE = re.compile(r"(?is)^\W*create\s+(?:or\s+replace\s+)?(?:(?:temp|temporary|recursive|trusted|procedural)\s+)*"
                   r"(?:view|function|procedure|sequence|type|domain|aggregate|operator|cast|schema|extension|role|user)\b")
"""CREATE of what reads or names a table, and leaves it as it is."""
_DROPPED_SCHEMA = re.compile(r"(?is)^\W*drop\s+schema\b")
_NAMES = re.compile(r'(?:("(?:[^"]|"")+"|[^\W\d][\w$]*)\s*\.\s*)?("(?:[^"]|"")+"|[^\W\d][\w$]*)')


def refuse_moving(moving: Mapping[str, tuple[str, Sequence[Table]]], route: Any) -> None:
    """Raises 55006 if DDL names a table of ``moving`` (transfer -> tool and tables)."""
    if not moving or route.kind in HARMLESS or _MADE.match(route.digest):
        return
    words = [(_plain(schema), _plain(name)) for schema, name in _NAMES.findall(route.digest)]
    schemas = {name for _, name in words} if _DROPPED_SCHEMA.match(route.digest) else set()
    for transfer, (tool, tables) in moving.items():
        for table in tables:
            if table[0] in schemas or any(name == table[1] and schema in ("", table[0]) for schema, name in words):
                raise PgError.of(
                    "55006", f'table {table[0]}.{table[1]} is being moved by the transfer "{transfer}": '
                             "it cannot be changed now",
                    hint=f"Try again after `shardproxy {tool} complete {transfer}`, or give the move up with "
                         f"`shardproxy {tool} cancel {transfer}`.")


def _plain(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
