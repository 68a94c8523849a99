"""The prepared statements of one client: its names, and what servers know instead of them.

Invariants:
* A name of the client reaches a server only for SQL that refers to statements by name, and leaves it again when the
  transaction is over (``own_names``).
* What was sent but skipped because of an error before it did not happen (``ServerEvents.not_done``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shardproxy import limits
from shardproxy.router import flags as f
from shardproxy.session.statements import Prepared, Registry, Statement

from . import internal, wire
from .server_link_cy import CLIENT
from .sql_error import raising

__all__ = ["ClientStatements"]

ABORTED = 0x45
UNNAMED = b"*"
"""In place of a name: a restored unnamed statement that an error skipped leaves the server with an unknown one."""


class ClientStatements:
    """See the module. ``link.statements`` is the table itself, which the link looks up."""

    def __init__(self, session: Any, registry: Registry) -> None:
        self.link = session.link
        self.database = session.database
        self.registry = registry
        self._deallocated: dict[bytes, Prepared] | None = None

    def prepare(self, server: Any, name: bytes, body: bytes, route: Any) -> None:
        """A named Parse."""
        link = self.link
        if link.statements is None:
            link.statements = {}
        if name in link.statements:
            # the server itself says that the name is taken: it is given the client's name first
            server.expect(True, None, None)
            server.out += wire.close_statement(name)
            server.expect(True, None, None)
            server.out += wire.parse(name, b"\0\0\0")
            server.expect(False, None, None)
            server.out += wire.parse(name, body)
            server.own_names.add(name)
            server.flags |= f.PREPARED_SQL
            return
        if len(link.statements) >= limits.PREPARED_PER_CLIENT_MAX:
            body = (
                raising("54000", "too many prepared statements", "close what is not used any more")
                + b"\0\0\0"
            )
        statement = self.registry.statement(body, link.settings.values.get("search_path", ""), route)
        since = self.registry.tick()
        link.statements[name] = Prepared(statement, since)
        self._send_parse(server, statement, since, False, name)

    def inject_parse(self, server: Any, statement: Statement) -> None:
        """Prepare a statement that the client prepared on another connection."""
        self.database.counters.server_parse_count += 1
        self._send_parse(server, statement, self.registry.now(), True, None)

    def _send_parse(
        self, server: Any, statement: Statement, since: int, swallow: bool, name: bytes | None
    ) -> None:
        if len(server.prepared) >= self.database.max_prepared and statement not in server.prepared:
            oldest = next(iter(server.prepared))
            del server.prepared[oldest]
            server.expect(True, None, None)
            server.out += wire.close_statement(oldest.name)
        server.prepared.pop(statement, None)
        server.expect(True, None, None)
        server.out += wire.close_statement(statement.name)
        server.expect(swallow, statement, name)
        server.out += wire.parse(statement.name, statement.body)
        server.prepared[statement] = since

    def restore_unnamed(self, server: Any) -> None:
        """The client uses the unnamed statement that it prepared on another connection (or has none)."""
        link = self.link
        if link.unnamed is None:
            server.expect(True, None, UNNAMED)
            server.out += wire.close_statement(b"")
            server.unnamed_serial = 0
        else:
            server.expect(True, None, UNNAMED)
            server.out += wire.parse(b"", link.unnamed)
            server.unnamed_serial = link.unnamed_serial

    # -- SQL that refers to statements by name -----------------------------------------------------------------

    def show(self, route: Any, server: Any, simple: bool, runs: bool = True) -> bool:
        """Give the server the client's own names, before SQL that refers to them. False: under way, the link waits.

        ``runs``: the SQL is executed next, not only parsed.
        """
        statements = self.link.statements or {}
        names = [str(name).encode("utf-8", "surrogateescape") for name in route.names] or list(statements)
        missing = {n: statements[n].statement for n in names if n in statements and n not in server.own_names}
        foreign = [] if route.names else list(server.prepared)
        if runs and route.kind == "DEALLOCATE" and server.status != ABORTED and not (missing and simple):
            for name in names:
                statements.pop(name, None)
        if not missing and not foreign:
            return True
        if simple and server.awaiting > 0 and not server.open_cycle:
            return False
        for statement in foreign:
            server.prepared.pop(statement, None)
        server.own_names.update(missing)
        server.flags |= f.PREPARED_SQL
        if (
            not simple or server.open_cycle
        ):  # in the client's own pipeline, with no Sync to end its transaction
            self._show_inline(server, foreign, missing)
            return True
        data = b"".join(wire.close_statement(statement.name) for statement in foreign)
        for name, statement in missing.items():
            data += wire.close_statement(name) + wire.parse(name, statement.body)
        self.link.busy = True
        internal.run(server, data + wire.SYNC, self._shown)
        return False

    def _show_inline(self, server: Any, foreign: list[Statement], missing: dict[bytes, Statement]) -> None:
        for statement in foreign:
            server.expect(True, None, None)
            server.out += wire.close_statement(statement.name)
        for name, statement in missing.items():
            server.expect(True, None, None)
            server.out += wire.close_statement(name)
            server.expect(True, None, None)
            server.out += wire.parse(name, statement.body)

    def _shown(self, server: Any, result: internal.Result) -> None:
        if self.link.closed or self.link.server is not server:
            server.events.drained_cycle(server)
            return
        server.status = ord(result.status)
        server.mode = CLIENT
        self.link.busy = False
        self.link.resume()

    def close_own_names(self, server: Any, done: Callable[[], None]) -> None:
        """The client's own names leave the server again; then ``done()``."""
        data = b"".join(map(wire.close_statement, server.own_names)) + wire.SYNC
        server.own_names.clear()
        self.link.busy = True

        def closed(server: Any, result: internal.Result) -> None:
            if self.link.closed or self.link.server is not server:
                server.events.drained_cycle(server)
                return
            server.mode = CLIENT
            self.link.busy = False
            done()

        internal.run(server, data, closed)

    # -- answers of the proxy's own --------------------------------------------------------------------------------

    def answer_closes(self, data: bytes) -> None:
        """A batch of nothing but Close and Sync needs no server."""
        link = self.link
        for kind, payload in wire.split(data)[0]:
            if kind == 0x43:  # C
                if payload[:1] == b"S":
                    name = payload[1:-1]
                    if name and link.statements:
                        link.statements.pop(name, None)
                    elif not name:
                        link.unnamed = link.unnamed_route = None
                link.write(wire.CLOSE_COMPLETE)
            elif kind == 0x53:  # S
                link.write(wire.ready(bytes([link.server.status]) if link.server is not None else b"I"))

    # -- DEALLOCATE ALL ----------------------------------------------------------------------------------------

    def forget_all(self, server: Any) -> None:
        """DEALLOCATE ALL is about to run; if it does not, the probe that follows finds out."""
        if server.status != ABORTED:
            self._deallocated = self.link.statements
            self.link.statements = None
            server.prepared.clear()
            server.own_names.clear()

    def compare(self, server: Any, count: int) -> None:
        """On the server is less than we know (DEALLOCATE ALL in a function) or more (one that did not happen)."""
        kept, self._deallocated = self._deallocated, None
        if count < len(server.prepared):
            server.prepared.clear()
            if count == 0:
                self.link.statements = None
        elif count > len(server.prepared) and kept:
            self.link.statements = {**kept, **(self.link.statements or {})}
