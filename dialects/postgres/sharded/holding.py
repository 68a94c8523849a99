"""What touches tables that are held: told by the words of a statement's digest, so rather too much than too little.

Invariant: a statement that is not ``touching`` cannot reach a held table: neither by name nor through a view, a
function or a statement that was prepared by SQL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from shardproxy.dialects.postgres.sql.tokens import UNREAD
from shardproxy.router import flags as f

__all__ = ["Held"]

WORDS = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
BLIND = frozenset("""DO CALL EXECUTE FETCH MOVE CREATE ALTER DROP TRUNCATE COMMENT GRANT REVOKE VACUUM ANALYZE REINDEX
    LOCK REFRESH CLUSTER SECURITY REASSIGN IMPORT""".split())  # noqa: SIM905
"""Kinds that may reach any table, whatever they name."""
HARMLESS = f.BEGIN | f.COMMIT | f.ROLLBACK


class Held:
    """``tables`` (schema, name) of a database, and all names through which they are reached."""

    def __init__(self, database: Any, tables: Collection[tuple[str, str]]) -> None:
        self.tables = frozenset(tables)
        self.names = _reaching(getattr(database.router.facts, "tables", None), {name for _, name in tables})

    def touching(self, routes: Iterable[Any]) -> bool:
        """Whether statements with these routes may touch what is held."""
        return any(self._touches(route) for route in routes)

    def _touches(self, route: Any) -> bool:
        if route is None:
            return True
        if route.flags & HARMLESS and not route.flags & f.MULTI:
            return False
        kinds = set(re.findall(r"(?:^|;)\s*(\w+)", route.digest.upper()))
        unread = route.flags & f.DDL and route.digest.startswith(UNREAD)
        if not route.digest or unread or route.kind in BLIND or kinds & BLIND:
            return True
        return not self.names.isdisjoint(_words(route.digest)) or 'u&"' in route.digest.lower()


def _reaching(tables: Any, names: set[str]) -> frozenset[str]:
    """These names, and those of views and functions over them."""
    if tables is None:
        return frozenset(names)
    found, before = set(names), 0
    while len(found) > before:
        before = len(found)
        found |= {table.name for table in tables
                  if table.kind in "vm" and not found.isdisjoint(_words(table.definition))}
        found |= tables.touching(found)
    return frozenset(found | tables.functions_opaque)


def _words(text: str) -> set[str]:
    return {quoted.replace('""', '"') if quoted else plain.lower() for quoted, plain in WORDS.findall(text)}
