"""Where the statements of a batch belong, as far as it can be told without running anything.

Invariant: a place is given only if every statement of the batch runs there whole, exactly as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shardproxy.dialects.postgres import wire
from shardproxy.planner.plan import COORDINATOR, Push, Select, ShardFilter, Single, Write
from shardproxy.router import flags as f

from .columns import FIRST_USER_OID
from .errors import PgError
from .legs import Bind
from .messages import BindMessage, read_bind, read_parse
from .planning import Planned, Sharding, sharding_of
from .statement import Statement

__all__ = ["COORDINATOR_ONLY", "Places"]

COORDINATOR_ONLY = ""
QUERY, PARSE, BIND, EXECUTE, FUNCTION, FLUSH = 0x51, 0x50, 0x42, 0x45, 0x46, 0x48
SEARCH_PATH = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,\s]+))\s*(?:,|$)')
SPREAD_MAX, SPREAD_BYTES = 2000, 2000
KEYED = Select | Write | Push
"""Plans that may come down to one shard, where the text then runs as it came."""


class Places:
    """For one session."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.link = session.link
        self.failed = False
        self.database = session.database

    @property
    def sharding(self) -> Sharding:
        """What is sharded, and the plans."""
        overlay: Sharding | None = self.session.tx.overlay
        return sharding_of(self.database) if overlay is None else overlay

    # -- names

    def search_path(self) -> tuple[str, ...]:
        """As the session has set it; ``$user`` counts if such a schema has tables."""
        raw = self.link.settings.values.get("search_path") if self.link.settings is not None else None
        found: list[str] = []
        for quoted, plain in SEARCH_PATH.findall(raw if raw is not None else '"$user", public'):
            name = quoted.replace('""', '"') if quoted else plain.lower()
            found.append(self.session.server_user if name == "$user" else name)
        return tuple(found)

    # -- batches

    def of(self, batch: bytes) -> str | None:
        """``COORDINATOR_ONLY``, another place, or None: it has to be carried out."""
        link = self.link
        if not link.batch_other and link.noted is None and not link.routes:
            return COORDINATOR_ONLY if not link.batch_portal else None
        routes = link.routes if link.noted is None else [*link.routes, link.noted]
        if all(self.sharding.plain(route) for route in routes):
            return COORDINATOR_ONLY
        if link.opaque:
            return None
        spread = self.sharding.spread
        known = (batch, link.settings)
        if known in spread:
            return None
        found = self._placed(batch)
        looked_up = any(space.function == "lookup" for space in self.sharding.layout.keyspaces.values())
        if found is None and batch[0] == QUERY and len(batch) <= SPREAD_BYTES and not (self.failed or looked_up):
            spread[known] = None        # a text alone decides that it has no one place
            if len(spread) > SPREAD_MAX:
                spread.popitem(last=False)
        return found

    def _placed(self, batch: bytes) -> str | None:
        """The one place of a batch that names something sharded."""
        found: str | None = None
        runs = self.failed = False
        try:
            for route, text, bind in self.executions(batch):
                runs = True
                place = self._place(route, text, bind)
                if place is None or (found is not None and place != found):
                    return None
                found = place
        except PgError:
            self.failed = True
            return None                 # whoever carries it out says why
        return found if runs else COORDINATOR_ONLY

    def _place(self, route: Any, text: bytes, bind: Bind) -> str | None:
        if self.sharding.plain(route):
            return COORDINATOR
        if route.flags & (f.MULTI | f.DDL | f.PROBE | f.PREPARED_SQL | f.COPY_IN | f.COPY_OUT):
            return None
        sharding = self.sharding
        planned = sharding.plan(text, route, self.search_path())
        place = self.place(planned, text, bind)
        if place and not route.flags & f.READ and place.partition("/")[0] in sharding.guarded:
            return None                 # what it changes has to be kept
        if place and (planned.local or any(oid >= FIRST_USER_OID for oid in bind.types)):
            return None                 # OIDs have to be translated
        if place:
            sharding.learn(route, text, planned, self.database.dialect.digest(text))
        return place

    def place(self, planned: Planned, text: bytes, bind: Bind) -> str | None:
        """The one place where this plan runs as it came."""
        plan = planned.plan
        if isinstance(plan, Single):
            return plan.place
        if (isinstance(plan, Select) and plan.text is not None) or (isinstance(plan, Push) and plan.own):
            return None                 # another text runs there
        return self.place_of(plan, self.statement(text, bind)) if isinstance(plan, KEYED) else None

    def place_of(self, plan: Select | Write | Push, statement: Statement) -> str | None:
        """The one shard that a statement comes down to with these parameters, if it does."""
        whole: ShardFilter | None = plan.filter if isinstance(plan, Push) else plan.whole
        if whole is None:
            return None
        if isinstance(plan, Write) and not statement.all_known(whole):
            return None                 # a new key is given its place first
        indexes = statement.indexes(whole)
        keyspace = statement.layout.keyspaces[whole.keyspace]
        if not indexes:
            return keyspace.places()[keyspace.used()[0]]
        return keyspace.places()[indexes[0]] if len(indexes) == 1 else None

    def statement(self, text: bytes, bind: Bind) -> Statement:
        """A statement of this session."""
        return Statement(text, self.sharding.layout, self.sharding.tables, bind, search_path=self.search_path())

    # -- what a batch runs

    def statements(self, batch: bytes) -> Iterator[tuple[Any, bytes]]:
        """Route and text of everything that it runs."""
        for route, text, _ in self.executions(batch):
            yield route, text

    def executions(self, batch: bytes) -> Iterator[tuple[Any, bytes, Bind]]:
        """Route, text and parameters of every statement that the batch runs; types as the client declared them."""
        link = self.link
        unnamed: tuple[Any, bytes] | None = (link.unnamed_route, link.unnamed) if link.unnamed is not None else None
        named: dict[bytes, tuple[Any, bytes]] = {}
        for kind, payload in wire.split(batch)[0]:
            if kind == QUERY:
                text = payload[:-1]
                yield link.router.route(text), text, Bind()
            elif kind == PARSE:
                parsed = read_parse(payload)
                entry = (link.router.route(parsed.text), parsed.body)
                if parsed.name:
                    named[parsed.name] = entry
                else:
                    unnamed = entry
            elif kind == BIND:
                message = read_bind(payload)
                found = (named.get(message.statement) or self._prepared(message.statement)
                         if message.statement else unnamed)
                if found is None:
                    raise PgError.of("26000", "prepared statement does not exist")
                yield self._execution(found, message)
            elif kind == FUNCTION:
                raise PgError.of("0A000", "function call messages are not supported on sharded databases")

    def _prepared(self, name: bytes) -> tuple[Any, bytes] | None:
        prepared = (self.link.statements or {}).get(name)
        return None if prepared is None else (prepared.statement.route, prepared.statement.body)

    def _execution(self, found: tuple[Any, bytes], message: BindMessage) -> tuple[Any, bytes, Bind]:
        route, body = found
        parsed = read_parse(b"\0" + body)
        if route is None or route.generation != self.link.router.generation:
            route = self.link.router.route(parsed.text)
        return route, parsed.text, Bind(parsed.types, message.formats, message.values)
