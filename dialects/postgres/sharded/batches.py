"""Carries out a batch, message by message, when no single server can serve it as it came.

Invariants:
* Every message of the extended protocol is answered as PostgreSQL would: after an error nothing but ReadyForQuery, at
  the Sync. What lies between two Syncs is one implicit transaction.
* ReadyForQuery tells the status of the client's block, and is sent when the outcome of what came before is certain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shardproxy.dialects.postgres import wire

from .described import Described, describe
from .errors import PgError
from .legs import Bind
from .messages import read_bind, read_execute, read_named, read_parse, with_formats
from .output import Output
from .portal import Portal
from .runner import StatementRunner
from .split import split_statements

__all__ = ["BatchRunner"]

QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC, FLUSH = 0x51, 0x50, 0x42, 0x44, 0x45, 0x43, 0x53, 0x48
EXTENDED = frozenset({PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FLUSH})
STATEMENT = 0x53
READ_ONLY_KINDS = frozenset({"SELECT", "SHOW", "EXPLAIN", "FETCH"})


@dataclass
class Prepared:
    """A statement as the client prepared it."""

    text: bytes
    body: bytes
    route: Any
    types: tuple[int, ...]
    described: Described | None = field(default=None)


class BatchRunner:
    """``open``: between the parts of a pipeline that the client flushed before its Sync."""

    def __init__(self, session: Any) -> None:
        self.session, self.link = session, session.link
        self.statements = StatementRunner(session)
        self.portals: dict[bytes, Portal] = {}
        self.open = False
        self.failed = False
        self.cancelled = False

    @property
    def tx(self) -> Any:
        return self.session.tx

    def note(self, route: Any, text: bytes) -> None:
        """A statement is about to run through the relay, on the client's own connection."""
        self.statements.note(route, text)

    async def run(self, batch: bytes) -> None:
        """All messages of a batch, with their answers."""
        self.cancelled = False
        for kind, payload in wire.split(batch)[0]:
            if kind == QUERY:
                await self._query(payload[:-1])
            elif kind == SYNC:
                await self._sync()
            elif self.failed:
                continue
            elif kind in EXTENDED:
                self.open = True
                try:
                    await self._extended(kind, payload)
                except PgError as error:
                    await self._fail(error)
            else:
                await self._fail(PgError.of("0A000", "function call messages are not supported on sharded databases"))
                await self._sync()

    async def follow(self, simple: bool, route: Any, work: Any, places: Any, legs: Any, replies: Any) -> None:
        """Go on with a read that was begun on the short way, to the end of its batch."""
        self.cancelled = False
        self.open = not simple
        try:
            await self.statements.follow(route, work, places, legs, replies)
            await self.statements.finish()
        except PgError as error:
            await self._fail(error)
        self.ready()

    # -- simple

    async def _query(self, text: bytes) -> None:
        link = self.link
        link.unnamed = link.unnamed_route = None
        parts = split_statements(text)
        out = Output(link)
        try:
            if not parts:
                link.write(wire.EMPTY_QUERY)
            for part in parts:
                if len(parts) > 1 and not self.tx.in_block:
                    await self.tx.begin_atomic()
                await self.statements.run(part, Bind(), (), out, simple=True)
            await self.statements.finish()
        except PgError as error:
            await self._fail(error)
        self.ready()

    # -- extended

    async def _extended(self, kind: int, payload: bytes) -> None:
        if kind == PARSE:
            await self._parse(payload)
        elif kind == BIND:
            await self._bind(payload)
        elif kind == DESCRIBE:
            await self._describe(payload)
        elif kind == EXECUTE:
            await self._execute(payload)
        elif kind == CLOSE:
            what, name = read_named(payload)
            if what != STATEMENT:
                self.portals.pop(name, None)
            elif name:
                (self.link.statements or {}).pop(name, None)
            else:
                self.link.unnamed = self.link.unnamed_route = None
            self.link.write(wire.CLOSE_COMPLETE)

    async def _parse(self, payload: bytes) -> None:
        parsed = read_parse(payload)
        link = self.link
        if parsed.name and parsed.name in (link.statements or {}):
            raise PgError.of("42P05", f'prepared statement "{parsed.name.decode("utf-8", "replace")}" already exists')
        if len(split_statements(parsed.text)) > 1:
            raise PgError.of("42601", "cannot insert multiple commands into a prepared statement")
        route = link.router.route(parsed.text)
        await describe(self.session, parsed.text, parsed.types, route)
        if parsed.name:
            registry = self.session.registry
            scope = link.settings.values.get("search_path", "")
            if link.statements is None:
                link.statements = {}
            link.statements[parsed.name] = self.statements.prepared(registry, parsed.body, scope, route)
        else:
            link.unnamed, link.unnamed_route = parsed.body, route
            link.unnamed_serial = self.statements.serial()
        link.write(wire.PARSE_COMPLETE)

    def prepared(self, name: bytes) -> Prepared:
        link = self.link
        if name:
            found = (link.statements or {}).get(name)
            body, route = (None, None) if found is None else (found.statement.body, found.statement.route)
        else:
            body, route = link.unnamed, link.unnamed_route
        if body is None:
            text = f'"{name.decode("utf-8", "replace")}"' if name else ""
            raise PgError.of("26000", f"prepared statement {text} does not exist" if name
                             else "unnamed prepared statement does not exist")
        parsed = read_parse(b"\0" + body)
        if route is None or route.generation != link.router.generation:
            route = link.router.route(parsed.text)
        return Prepared(parsed.text, body, route, parsed.types)

    async def _bind(self, payload: bytes) -> None:
        message = read_bind(payload)
        if message.portal and message.portal in self.portals:
            raise PgError.of("42P03", f'cursor "{message.portal.decode("utf-8", "replace")}" already exists')
        prepared = self.prepared(message.statement)
        self.statements.may_run(prepared.route)
        described = await describe(self.session, prepared.text, prepared.types, prepared.route)
        if len(message.values) != len(described.types):
            raise PgError.of("08P01", f"bind message supplies {len(message.values)} parameters, but prepared statement "
                                      f'"{message.statement.decode("utf-8", "replace")}" requires '
                                      f"{len(described.types)}")
        if described.rows is not None:
            with_formats(described.rows, message.results)
        bind = Bind(described.types, message.formats, message.values)
        portal = Portal(prepared.text, prepared.route, bind, message.results, described)
        portal.depth = len(self.tx.log)
        self.portals[message.portal] = portal
        self.link.write(wire.BIND_COMPLETE)

    async def _describe(self, payload: bytes) -> None:
        what, name = read_named(payload)
        if what == STATEMENT:
            prepared = self.prepared(name)
            described = await describe(self.session, prepared.text, prepared.types, prepared.route)
            self.link.write(described.parameters())
            self._describe_rows(described.rows, ())
            return
        if name not in self.portals and self.tx.in_block and self.link.server is not None:
            await self._pass(wire.message(b"D", payload))
            return
        portal = self._portal(name)
        self._describe_rows(portal.described.rows, portal.formats)

    def _describe_rows(self, rows: bytes | None, formats: tuple[int, ...]) -> None:
        self.link.write(wire.NO_DATA if rows is None else wire.message(b"T", with_formats(rows, formats)))

    def _portal(self, name: bytes) -> Portal:
        portal = self.portals.get(name)
        if portal is None:
            raise PgError.of("34000", f'portal "{name.decode("utf-8", "replace")}" does not exist')
        return portal

    async def _execute(self, payload: bytes) -> None:
        name, limit = read_execute(payload)
        if name not in self.portals and self.tx.in_block and self.link.server is not None:
            await self._pass(wire.message(b"E", payload))      # bound through the relay, maybe
            return
        portal = self._portal(name)
        await portal.execute(self.statements, self.link, max(limit, 0))
        self.portals = {key: one for key, one in self.portals.items() if one.depth <= len(self.tx.log) or one is portal}

    async def _pass(self, message: bytes) -> None:
        """A message about a portal that the client's own connection has."""
        reply = (await self.tx.attach()).exchange(message + wire.SYNC)
        while (item := await reply.next()) is not None:
            kind, payload = item
            self.link.write(payload if kind in (0x44, 0x64) else wire.message(bytes([kind]), payload))

    # -- the end

    async def _sync(self) -> None:
        if not self.failed:
            try:
                await self.statements.finish()
            except PgError as error:
                await self._fail(error)
        self.ready()

    def ready(self) -> None:
        """The batch is over."""
        self.open = self.failed = False
        if not self.tx.in_block:
            self.portals.clear()
        self.link.write(wire.ready(self.statements.status()))

    async def _fail(self, error: PgError) -> None:
        """An error of the batch: told, and what it had begun is undone."""
        self.failed = True
        error = self.tx.explained(error)
        self.link.pending_error = None      # that its own connection is lost: this tells of it
        self.session.refuse(error)
        self.link.write(error.message())
        await self.statements.give_up()
