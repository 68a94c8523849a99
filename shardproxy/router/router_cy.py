# cython: annotation_typing=False
"""The cache from statement texts to routes, one for each database and worker.

Invariant: a cached route was made from the facts that hold now; ``set_facts`` empties the cache and starts a new
``generation``, so whoever keeps a route longer (a prepared statement) can see that it is out of date. The cache is
bounded in routes and bytes: two halves; what is not used while one fills is forgotten when the next does.
"""

from collections.abc import Mapping
from typing import Any

import cython

from shardproxy import limits
from shardproxy.catalog.facts import Facts
from shardproxy.dialects.base import UNKNOWN_TABLE, Analysis, Dialect, FactsView
from shardproxy.dialects.flags import (
    ADVANCES,
    DDL,
    DEALLOCATE_ALL,
    PREPARED_SQL,
    PROBE,
    SEQUENCE_STATE,
    UNPARSED,
    UNPIN,
)
from shardproxy.router import hints

if cython.compiled:
    from cython.cimports.shardproxy.router.route_cy import Route
else:
    from shardproxy.router.route_cy import Route

__all__ = ["Router"]

_HALF = limits.ROUTES_MAX // 2
_HALF_BYTES = 8 * 1024 * 1024
_TEXTS_MAX = 1000
_TEXT_MAX = 1024


class Router:
    """``route`` is asked for every statement; it never raises.

    ``opaque`` is the route of a text that must not be scanned (the session's encoding or
    ``standard_conforming_strings`` make it mean something else): nothing is proven about it.
    """

    def __init__(self, dialect: Dialect, database_index: int = 0) -> None:
        self.dialect = dialect
        self.database_index = database_index
        self.digest_of = dialect.digest
        self.opaque = Route(PROBE | UNPIN | DDL | PREPARED_SQL | DEALLOCATE_ALL | SEQUENCE_STATE | ADVANCES
                            | UNPARSED, write_slots=UNKNOWN_TABLE)
        self.hits = self.misses = self.generation = 0
        self.set_facts(None, 0)

    def set_facts(self, facts: FactsView | Mapping[str, Any] | None, epoch: int) -> None:
        """Route by other facts from now on; JSON as it came from the parent is taken, too."""
        self.facts = Facts(facts) if isinstance(facts, Mapping) else facts
        self.epoch = epoch
        self.generation += 1
        self.young_bytes = 0
        self.young: dict[bytes, Route] = {}
        self.old: dict[bytes, Route] = {}
        self.texts: dict[bytes, Route] = {}

    def route(self, sql: bytes) -> Route:
        """The route of a text as it came from the client, without a closing NUL."""
        if cython.compiled:
            return self.find(sql)
        found = self.texts.get(sql)                 # interpreted, the digest costs far more than one more look-up
        if found is None:
            found = self.find(sql)
            if len(sql) <= _TEXT_MAX:
                if len(self.texts) >= _TEXTS_MAX:
                    self.texts.clear()
                self.texts[sql] = found
        else:
            self.hits += 1
        return found

    def find(self, sql: bytes) -> Route:
        key = self.digest_of(sql)
        found = self.young.get(key)
        if found is not None:
            self.hits += 1
            return found
        return self.analyse(sql, key)

    def analyse(self, sql: bytes, key: bytes) -> Route:
        """The route of a digest that is not in the young half."""
        found = self.old.get(key)
        if found is None:
            self.misses += 1
            found = self.make(key)
            if len(sql) > limits.STATEMENT_CACHED_MAX or key[:1] == b"\0":
                return found
        else:
            self.hits += 1
        if len(self.young) >= _HALF or self.young_bytes > _HALF_BYTES:
            self.old = self.young
            self.young = {}
            self.young_bytes = 0
        self.young[key] = found
        self.young_bytes += len(key)
        return found

    def make(self, key: bytes) -> Route:
        """Analyse a digest."""
        try:
            analysis = self.dialect.analyse(key, self.facts)
            return self.route_of(analysis, self.dialect.display(key))
        except Exception as error:                  # a mistake in the analysis costs speed, not the session
            return Route(self.opaque.flags, write_slots=UNKNOWN_TABLE, generation=self.generation,
                         note=f"analysis failed: {error!r}"[:200])

    def route_of(self, analysis: Analysis, text: str) -> Route:
        hint, note = hints.parse(analysis.hints)
        flags, read_slots = hints.apply(analysis, hint)
        return Route(flags, kind=analysis.kind, read_slots=read_slots, write_slots=analysis.write_slots,
                     statements=analysis.statements, names=analysis.names,
                     settings=analysis.settings, hint=hint,
                     note="; ".join(filter(None, (analysis.note, note))), digest=text, rewrite=analysis.rewrite,
                     generation=self.generation)

    def cached(self) -> list[Route]:
        """All routes in the cache, for people."""
        return [*self.young.values(), *self.old.values()]
