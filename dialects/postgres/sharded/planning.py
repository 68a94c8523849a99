"""Plans of one database in one worker: made once for a text, kept while the layout and the catalog stay the same.

Invariants:
* A text that names nothing sharded is ``plain``: names come from the digest, so all texts of one digest are alike.
* The cache is bounded in number and bytes; a plan made from an older layout or catalog is never used.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import sqlglot

from shardproxy.catalog.tables import Tables
from shardproxy.dialects.postgres.sql.sharding import KNOWLEDGE
from shardproxy.dialects.postgres.sql.tokens import UNREAD
from shardproxy.planner.plan import COORDINATOR, Parted, Plan, Refusal, Scatter, Select, Single, Write
from shardproxy.planner.queries import plan_query
from shardproxy.planner.writes import plan_write
from shardproxy.router import flags as f
from shardproxy.topology.layout import Layout

from .columns import FIRST_USER_OID
from .figures_text import asks, overview
from .hinted import has_place, hinted
from .points import learn

__all__ = ["Planned", "Sharding", "sharding_of", "words_of"]

PLANS_MAX, PLAN_BYTES_MAX = 2000, 16 * 1024 * 1024
TEXT_MAX = 1024 * 1024
WORDS = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')
EVERYWHERE = frozenset("""CREATE ALTER DROP TRUNCATE COMMENT GRANT REVOKE VACUUM ANALYZE REINDEX LOCK REFRESH CLUSTER
    SECURITY REASSIGN IMPORT PREPARE EXECUTE DEALLOCATE""".split())  # noqa: SIM905
OVERVIEWS = frozenset(("SELECT", "INSERT", "COPY"))
"""Kinds of statements that may show what all servers have."""

_generations = itertools.count(1)
"""Routes are shared by all, so no two of these are ever alike."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and the kind of its statement. ``local``: its rows or parameters may be of types that users made, whose
    OIDs are each server's own."""

    plan: Plan
    kind: str
    local: bool = False


def sharding_of(database: Any) -> Sharding:
    """Of a database of a worker."""
    if database.sharding is None:
        database.sharding = Sharding()
    found: Sharding = database.sharding.refresh(database)
    return found


class Sharding:
    """What is sharded in one database. ``set`` whenever the layout or the facts are new."""

    def __init__(self) -> None:
        self.layout: Layout = None  # type: ignore[assignment]  # set before the first session
        self.tables = Tables(())
        self.guarded: frozenset[str] = frozenset()
        """Keyspaces in which unique values are kept: what writes there is followed."""
        self.generation = self.made_of = 0      # of an overlay: the generation of what it lies over
        self.spread: OrderedDict[Any, None] = OrderedDict()
        """Queries that were found to belong to no one place: (message, settings)."""
        self.described: OrderedDict[Any, Any] = OrderedDict()
        self.quick: OrderedDict[Any, Any] = OrderedDict()
        """Batches that went the short way: (message, settings, user)."""
        self._facts: Any = self
        self._names: frozenset[str] = frozenset()
        self._typed: frozenset[str] = frozenset()
        self._types: frozenset[str] = frozenset()
        self._plans: OrderedDict[tuple[bytes, tuple[str, ...]], Planned] = OrderedDict()
        self._bytes = 0

    def set(self, layout: Layout, tables: Tables) -> None:
        """Plan by these from now on."""
        self.layout, self.tables = layout, tables
        self.generation = next(_generations)
        self.guarded = frozenset(found.keyspace for table in tables if table.kept and (
            found := layout.table(table.schema, table.name)) is not None)
        self._plans.clear()
        self.spread.clear()
        self.quick.clear()
        self._bytes = 0
        names = {table.name for table in layout.tables()}
        shells = {table.name for table in tables if table.shell}
        for table in tables:
            if table.kind == "v" and names.union(shells) & words_of(table.definition):
                names.add(table.name)
        grown = True
        while grown:                        # views on views
            more = {table.name for table in tables if table.kind == "v" and names & words_of(table.definition)}
            grown = not more <= names
            names |= more
        self._names = frozenset(names | shells | tables.touching(names | shells))
        typed = [(table, column) for table in tables for column in table.columns if column.type >= FIRST_USER_OID]
        sharded = [(table, column) for table, column in typed if layout.table(table.schema, table.name) is not None]
        self._typed = frozenset(table.name for table, _ in sharded)
        self._types = frozenset({column.name for _, column in sharded}.union(
            *(words_of(column.type_name) for _, column in typed)))

    def refresh(self, database: Any) -> Sharding:
        """Plan by what the database knows now."""
        facts = database.router.facts
        if self.layout is not database.layout or self._facts is not facts:
            self._facts = facts
            tables = getattr(facts, "tables", None)
            self.set(database.layout, tables if tables is not None else Tables(()))
        return self

    # -- statements

    def plain(self, route: Any) -> bool:
        """Whether the statements of this route name nothing sharded and change nothing that all places have."""
        known = route.sharding
        if known is not None and known[0] == self.generation:
            return bool(known[1])
        found = self._plain(route)
        route.sharding = (self.generation, found)
        return found

    def learn(self, route: Any, text: bytes, planned: Planned, digest: bytes) -> None:
        """A text was planned in full: what that tells of its digest."""
        known = route.point
        if known is not None and known.generation != self.generation:
            known = None
        route.point = learn(known, digest, text, planned.plan, self.layout, self._key_types, self.generation)

    def _key_types(self, name: tuple[str, str]) -> list[int]:
        table, layout = self.tables.get(*name), self.layout.table(*name)
        columns = [] if table is None or layout is None else [table.column(one) for one in layout.key]
        return [column.base or column.type for column in columns if column is not None]

    @staticmethod
    def unread(route: Any) -> bool:
        """Whether the text could not be scanned, although a server may take it."""
        return bool(route.flags & f.DDL) and route.digest.startswith(UNREAD)

    def _plain(self, route: Any) -> bool:
        text = route.digest
        if (route.flags & f.UNPARSED and not text) or self.unread(route):
            return False
        if not text or 'u&"' in text.lower() or ("shardproxy:" in text and has_place(text)):
            return False
        kinds = set(re.findall(r"(?:^|;)\s*(\w+)", text.upper()))
        if kinds & EVERYWHERE or route.kind in EVERYWHERE:
            return False
        words = words_of(text)
        shows = route.kind in (*OVERVIEWS, "DECLARE") or route.flags & f.MULTI
        return not (self._names & words or (shows and asks(words, text)))

    def plan(self, text: bytes, route: Any, search_path: tuple[str, ...]) -> Planned:
        """The plan of one statement that is a query or changes rows."""
        key = (text, search_path)
        found = self._plans.get(key)
        if found is not None:
            self._plans.move_to_end(key)
            return found
        found = Planned(self._make(text, route, search_path), route.kind, self._local(text, route.kind))
        if len(text) <= 64 * 1024:
            self._plans[key] = found
            self._bytes += len(text)
            while len(self._plans) > PLANS_MAX or self._bytes > PLAN_BYTES_MAX:
                self._bytes -= len(self._plans.popitem(last=False)[0][0])
        return found

    def _local(self, raw: bytes, kind: str) -> bool:
        """Whether columns or types are named that users made, or may be meant by ``*`` or an INSERT without names."""
        if not self._typed:
            return False
        text = raw.decode("utf-8", "replace")
        words = words_of(text)
        return bool(words & self._types or (words & self._typed and ("*" in text or kind in ("INSERT", "MERGE")
                                                                     or "table" in words)))

    def gathered(self, text: bytes, route: Any, search_path: tuple[str, ...]) -> Plan:
        """The plan of a query whose rows the coordinator must have: for a cursor."""
        plan = self.plan(text, route, search_path).plan
        if isinstance(plan, Write | Parted):
            return Refusal("DECLARE CURSOR of a query that writes")
        if not isinstance(plan, Select):
            return plan
        spread = plan.spread
        if isinstance(spread, Scatter):
            return Refusal("a cursor over this query") if spread.otherwise is None else spread.otherwise
        return spread

    def _make(self, raw: bytes, route: Any, search_path: tuple[str, ...]) -> Plan:
        if len(raw) > TEXT_MAX and route.kind != "INSERT":
            return Refusal("the statement is too long to be planned over several servers")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return Refusal("the statement is not UTF-8", "set client_encoding to UTF8")
        for (schema, name), why in self.tables.refused.items():
            if name in words_of(text):
                return Refusal(f"statements on {schema}.{name} are refused: {why}",
                               "make its definitions alike on all servers", "55000")
        told = hinted(text, route.kind != "SELECT", self.layout, self.tables)
        if told is not None:
            return told
        words = words_of(text)
        if route.kind not in OVERVIEWS or not asks(words, text):
            return self._plan(text, route, search_path)
        sharded = self._names & words_of(route.digest) or 'u&"' in text.lower()      # not what literals say
        plan = self._plan(text, route, search_path) if sharded else Single(COORDINATOR)
        found = overview(text)
        if found is None:
            return plan
        if isinstance(plan, Single) and plan.place == COORDINATOR:
            return replace(found, writes=route.kind == "INSERT", copies=route.kind == "COPY")
        return Refusal("sizes, statistics or activity of all servers, and sharded tables, in one statement",
                       "ask for them in a statement of their own")

    def _plan(self, text: str, route: Any, search_path: tuple[str, ...]) -> Plan:
        if route.kind == "SELECT":
            return plan_query(text, _tree(text), self.layout, self.tables, search_path, KNOWLEDGE)
        return plan_write(text, None, self.layout, self.tables, search_path, KNOWLEDGE)


def _tree(text: str) -> Any:
    """Another reading of the text; None: sqlglot does not understand it."""
    try:
        return sqlglot.parse_one(text, dialect="postgres")
    except Exception:           # its own errors, and what its parser trips over
        return None


def words_of(text: str) -> set[str]:
    """Everything in a text that may be a name."""
    return {(quoted.replace('""', '"') if quoted else plain.lower()) for quoted, plain in WORDS.findall(text)}
