"""One PostgreSQL client's slow path: everything that is not passing messages on.

Invariants:
* ``link.settings`` is what the client's session has set: its startup parameters, changed only by what a probe found
  on its server connection. No statement of the client runs on a connection whose settings are not these.
* ``link.busy`` is true exactly while an operation of ours is under way or the client waits for a connection.
* What pins a session (temporary objects, LISTEN, ...) keeps its connection until a probe finds it gone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from shardproxy.router import flags as f
from shardproxy.session.settings import Settings, intern_settings
from shardproxy.session.statements import Prepared, Registry
from shardproxy.topology.balance import Sticky

from . import internal, process_ids, wire
from .client_statements import ClientStatements
from .custom import CustomNames, dotted, names_in_sql, names_in_values
from .own_settings import CONSISTENCIES, TOKEN, own_setting
from .probe import FOREVER_PIN, HIDDEN_PIN, probe_sql, read_truth, sync_sql
from .read_only import ReadOnlyBlock
from .sequences import DISCARD, Sequences, undefined
from .server_link_cy import CLIENT
from .sql.scannable import scannable

__all__ = ["PgSession"]

ADOPT_ATTEMPTS = 3
OUTSIDE = ord("I")
DEALLOCATES = re.compile(rb"deallocate|discard", re.IGNORECASE)
"""In a text that is not scanned and does not say so, only a function could do it: see ``ClientStatements.compare``."""


class PgSession:
    """Slow path of one ``ClientLink``."""

    shard: Any = None
    stopped = False
    replication = "none"

    def __init__(self, link: Any, database: Any, user: str, server_user: str, baseline: Settings, registry: Registry):
        self.link = link
        self.database = database
        self.user = user
        self.server_user = server_user
        self.baseline = baseline
        self.registry = registry
        self.token: tuple[int, int] | None = None
        self.consistency: str = database.consistency
        self.last_server: Any = None
        self.timed_out = False
        self.sticky = Sticky()
        self.client_key = f"{user}@{getattr(link.arrival, 'address', None)}"
        self.hold_since_ns = 0
        self.aimed_ns = -(1 << 62)
        self.stand_in: Any = None
        self.unreachable: set[int] = set()
        self.found: dict[int, int] = {}         # processes of other workers' clients, by their ids
        self.block: ReadOnlyBlock | None = None
        self.serializable = False
        self._attempts = 0
        self._untimed = self._cleaning = False
        self._unexplained = False
        self._kept_pins: list[str] = []
        self._custom = CustomNames()
        self.statements = ClientStatements(self, registry)
        self.prepare = self.statements.prepare
        self.inject_parse = self.statements.inject_parse
        self.restore_unnamed = self.statements.restore_unnamed
        self.answer_closes = self.statements.answer_closes
        self.sequences = Sequences(self)
        self.advanced = self.sequences.advanced
        self.take_own = self.sequences.take
        self.settings_changed()

    # -- where to ---------------------------------------------------------------------------------------------

    def target(self) -> Any:
        """The pool that serves the batch in hand; None: there is no primary now."""
        link = self.link
        flags = link.batch_flags
        link.reads_elsewhere = (
            self.database.has_replicas
            and self.consistency != "strong"
            and not self.serializable
            and not link.session_mode  # one connection for all it will do
        )
        if link.reads_elsewhere and not (link.batch_other or link.force_primary or flags & f.PRIMARY):
            pool = self.database.read_pool(self, tuple(link.batch_slots) or (0,))
            if pool is not None:
                self.block = ReadOnlyBlock(self, link.begins.names[0]) if link.begins is not None else None
                return pool
        link.write_pool = self.database.write_pool(self)
        return link.write_pool

    def where(self, batch: bytes) -> int:
        """The database is sharded by now (``link.sharded``), and was not when the client came: once outside a block, so
        is the session. 0: the batch in hand goes through the relay."""
        link, server = self.link, self.link.server
        if server is not None:
            if server.status != OUTSIDE:
                return 0
            if server.pins is None and not link.session_mode:
                server.holding = False
                link.unlink(server)
                link.in_block = False
            elif not server.on_primary:
                return 0
        from .sharded.session import ShardedSession

        self.__class__ = ShardedSession
        session: Any = self
        session.become_sharded()
        return int(session.where(batch))

    def quiet(self, held: Any) -> bool:
        """Whether nothing is under way that may touch tables that are held."""
        server = self.link.server
        return server is None or (server.status == OUTSIDE and not (
            server.awaiting or server.open_cycle or server.copying_in or self.link.body))

    @property
    def carrying_out(self) -> bool:
        """Whether something runs for the client at other servers than that of its own connection."""
        return False

    def cancel_running(self) -> bool:
        """A cancel request: whether the session itself had something running that it stopped."""
        return False

    def may_stay(self) -> bool:
        """In a transaction on a replica: whether the batch in hand may run there. False: the link is busy."""
        return self.block is None or self.block.may_stay()

    def begin_again(self, server: Any) -> bool:
        """A transaction comes to the primary from a replica. False: under way, the link is busy."""
        self.link.busy = True
        server.holding = False
        internal.run(server, wire.query(self.link.reopen), self._begun, preparing=True)
        return False

    def _begun(self, server: Any, result: internal.Result) -> None:
        self.link.reopen = None
        if result.error is not None:
            self.fatal("08006", f"the transaction could not be moved to the primary: {result.error.get('M', '')}")
            return
        self.go_on(server)

    def go_on(self, server: Any) -> None:
        """After an operation of ours on the client's connection."""
        if self.link.closed or self.link.server is not server:
            server.events.drained_cycle(server)
            return
        self.link.busy = False
        self.link.resume()

    def hold(self) -> None:
        """No primary: wait for one."""
        self.hold_since_ns = time.monotonic_ns()
        self.database.hold(self)

    def release_hold(self) -> None:
        """Look again; called when the topology changed."""
        self.link.busy = False
        self.link.write_pool = None
        self.link.resume()

    # -- settings ----------------------------------------------------------------------------------------------

    def settings_changed(self) -> None:
        """``link.settings`` is new: take what concerns the proxy itself."""
        link = self.link
        values = (link.settings or self.baseline).values
        wanted = values.get("shardproxy.consistency", "")
        self.consistency = wanted if wanted in CONSISTENCIES else self.database.consistency
        match = TOKEN.fullmatch(values.get("shardproxy.token", ""))
        self.token = (int(match[1]), (int(match[2], 16) << 32) | int(match[3], 16)) if match else None
        self.serializable = values.get("default_transaction_isolation") == "serializable"
        link.write_pool = None

    def adopt(self, server: Any) -> bool:
        """Make the connection's settings the client's, and forget another's sequences. True: they are; False: under
        way, the link is busy."""
        link = self.link
        sql = sync_sql(server.settings, link.settings) if server.settings is not link.settings else ""
        self._cleaning = self.sequences.to_clean(server)
        if self._cleaning:
            sql = f"{sql.rstrip('; ')}; {DISCARD}" if sql else DISCARD
        if not sql:
            server.settings = link.settings
            self._announce(server)
            return True
        link.busy = True
        internal.run(
            server, wire.query(sql.encode("utf-8", "surrogateescape")), self._adopted, preparing=server.pins is None
        )
        return False

    def _adopted(self, server: Any, result: internal.Result) -> None:
        link = self.link
        if result.error is None:
            server.settings = link.settings
            if self._cleaning:
                server.last_writer = None
        if link.closed or link.server is not server:
            if result.error is None:
                server.events.drained_cycle(server)
            else:
                server.events.discard(server, "settings could not be applied")
            return
        if result.error is not None:
            self._not_adopted(server, result.error)
            return
        self._attempts = 0
        server.mode = CLIENT
        self._announce(server)
        if link.reopen is not None:
            self.begin_again(server)
            return
        link.busy = False
        link.resume()

    def _not_adopted(self, server: Any, error: dict[str, str]) -> None:
        """The connection has unknown settings now: it is closed. The client tries another, or hears why."""
        link = self.link
        self._attempts += 1
        link.server = None
        server.client = server.owner = None
        server.events.discard(server, "settings could not be applied")
        link.busy = False
        if self._attempts < ADOPT_ATTEMPTS:
            link.resume()
        else:
            text = error.get("M", "unknown error")
            self.fatal("08006", f"the session's settings could not be applied to a server connection: {text}")

    def _announce(self, server: Any) -> None:
        """Tell the client of parameters that are not as it last heard."""
        link = self.link
        if server.parameters is link.parameters:
            return
        known = link.parameters.values
        for name, value in server.parameters.values.items():
            if known.get(name) != value:
                link.write(wire.parameter_status(name, value))
        link.parameters = server.parameters
        self.parameters_changed()

    def parameter(self, server: Any, name: str, value: str) -> bool:
        """The server reports a parameter; true if the client is to hear of it."""
        link = self.link
        changed = bool(link.parameters.values.get(name) != value)
        link.parameters = intern_settings({**link.parameters.values, name: value})
        self.parameters_changed()
        return changed

    def parameters_changed(self) -> None:
        """In some sessions a text cannot be scanned for what it means: nothing is proven about it then."""
        values = self.link.parameters.values
        encoding, conforming = values.get("client_encoding", "UTF8"), values.get("standard_conforming_strings", "on")
        self.link.opaque = not scannable(encoding, conforming)

    # -- after a transaction ---------------------------------------------------------------------------------

    def transaction_over(self, server: Any) -> None:
        """Outside a transaction, with something to look after: probe, pin, unpin, release."""
        flags = server.flags
        server.flags = 0
        if flags & f.DDL:
            self.database.ddl()
        if server.own_names:
            self.statements.close_own_names(server, lambda: self._names_closed(server, flags))
            return
        self._maybe_probe(server, flags)

    def note_values(self, data: bytes) -> None:
        """Values given to what may change the session: they may name settings."""
        self._custom.add(names_in_values(data), self._utf8)

    def bound(self, route: Any, body: bytes, bind: bytes, server: Any) -> bytes | None:
        """A statement that needs a look is about to be executed, perhaps long after its Parse.

        ``bind``: the client's name, a zero byte, the values. Returns a name to use in place of the shared one, or None.
        """
        flags = route.flags
        name, _, values = bind.partition(b"\0")
        if flags & (f.PROBE | f.DDL | f.PROXY_SET):
            self._note(route, body)
            self._custom.add(names_in_values(values), self._utf8)
        if flags & f.DEALLOCATE_ALL:
            if DEALLOCATES.search(body):
                self.statements.forget_all(server)
        elif flags & f.PREPARED_SQL:
            self.statements.show(route, server, simple=False)
            if name in server.own_names:  # no shared name is to be seen in pg_prepared_statements
                return name
        if flags & f.SEQUENCE_STATE and self.sequences.foreign(server):
            return self.sequences.bound(body, values, server)
        return None

    def _note(self, route: Any, sql: bytes) -> None:
        names = names_in_sql(sql)
        self._custom.add(names.union(route.settings), self._utf8)
        if route.flags & f.DDL and names:
            self.database.events.custom.add(names)  # of a function whose body the facts do not tell of yet

    @property
    def _utf8(self) -> bool:
        return bool(self.link.parameters.values.get("client_encoding") == "UTF8")

    def _probe_sql(self, server: Any) -> bytes:
        names = self._custom.names | self.database.events.custom.names | dotted(server.settings.values)
        return probe_sql(names | dotted(self.link.settings.values), self.baseline.values)

    def _maybe_probe(self, server: Any, flags: int) -> None:
        pins = [FOREVER_PIN] if flags & f.FOREVER else []
        if flags & f.HIDDEN or self._custom.overflow or self.database.events.custom.overflow:
            pins.append(HIDDEN_PIN)
        if pins:
            server.pins = list(dict.fromkeys([*(server.pins or ()), *pins]))
        pinned = server.pins is not None
        ask = f.PROBE | f.PROXY_SET | f.DEALLOCATE_ALL | (f.UNPIN if pinned else 0)
        if not self.link.session_mode and flags & ask:
            self.link.busy = True
            self._kept_pins = [pin for pin in server.pins or () if pin in (FOREVER_PIN, HIDDEN_PIN)]
            internal.run(server, wire.query(self._probe_sql(server)), self._probed)
        else:
            self.settle(server)

    def _names_closed(self, server: Any, flags: int) -> None:
        self._maybe_probe(server, flags)
        if not self.link.busy:
            self.link.resume()

    def _probed(self, server: Any, result: internal.Result) -> None:
        link = self.link
        if link.closed or link.server is not server:
            server.settings = intern_settings({"?": "?"})
            server.pins = server.pins or ["?"]
            server.events.drained_cycle(server)
            return
        if result.error is not None:
            self._probe_failed(server, result.error)
            return
        truth = read_truth(result.rows, server.pool.key[2])
        self._custom.clear()
        self.statements.compare(server, truth.prepared)
        server.settings = intern_settings(truth.settings)
        wanted = {name: value for name, value in self.baseline.values.items() if name not in truth.settings}
        link.settings = intern_settings({**wanted, **truth.settings})
        server.pins = truth.pins + self._kept_pins or None
        self.settings_changed()
        server.mode = CLIENT
        if server.pins is not None and not self.adopt(server):
            return
        link.busy = False
        self.settle(server)
        link.resume()

    def _probe_failed(self, server: Any, error: dict[str, str]) -> None:
        """Mostly a statement_timeout shorter than the probe: once more without it."""
        if error.get("C") == "57014" and not self._untimed:
            self._untimed = True
            statements = (b"SHOW statement_timeout", b"SET statement_timeout = 0", self._probe_sql(server))
            internal.run(server, b"".join(map(wire.query, statements)), self._probed_untimed, cycles=3)
            return
        self._untimed = False
        self.link.server = None
        server.client = server.owner = None
        server.events.discard(server, f"probe failed: {error.get('M', '')}")
        self.fatal("08006", f"the state of the session could not be read: {error.get('M', '')}")

    def _probed_untimed(self, server: Any, result: internal.Result) -> None:
        """The rows of a probe behind the timeout that was in force; the connection now has none."""
        timeout = result.rows.pop(0)[0] if result.rows else None
        self._probed(server, result)
        if result.error is None and not self.link.closed and timeout is not None:
            values = {**self.link.settings.values, "statement_timeout": timeout.decode()}
            self.link.settings = intern_settings(values)
            if server.pins is not None and self.link.server is server and not self.link.busy:
                self.adopt(server)
        self._untimed = False

    def settle(self, server: Any) -> None:
        """Keep the connection if the session needs it, else give it back."""
        link = self.link
        if link.session_mode or server.pins is not None:
            server.mode = CLIENT
            return
        link.unlink(server)

    def begin_write(self, server: Any, slots: tuple[int, ...]) -> None:
        """A statement that may write to tables with these slots is about to be sent."""
        server.write_slots.append(slots)
        self.database.begin_write(slots)

    # -- prepared statements -----------------------------------------------------------------------------------

    def special(self, route: Any, sql: bytes, server: Any, simple: bool) -> bytes | None:
        """The text to send for a statement that needs a look first; None: not yet, the link waits.

        ``simple``: a Query; else a Parse, which may be executed later or never (see ``bound``).
        """
        flags = route.flags
        link = self.link
        if flags & f.HIDDEN and not self._unexplained and self.database.router.facts is None:
            self._unexplained = link.busy = True
            self.database.until_facts(self)
            return None
        if flags & (f.PROBE | f.DDL | f.PROXY_SET):
            self._note(route, sql)
        if flags & (f.PROXY_SET | f.PROXY_SHOW):
            return own_setting(self.database.consistency, route, sql)
        if flags & f.DEALLOCATE_ALL and simple and DEALLOCATES.search(sql):
            self.statements.forget_all(server)
        if simple and flags & f.SEQUENCE_STATE and self.sequences.foreign(server):
            return undefined(sql)
        if flags & f.PREPARED_SQL and not flags & f.DEALLOCATE_ALL and (link.statements or not route.names):
            if not self.statements.show(route, server, simple=simple, runs=simple):
                return None
        text = bytes(route.rewrite) if route.rewrite is not None else sql
        if flags & f.SESSIONS:
            process_ids.vacate(self.database, text)
            text = process_ids.own_id(link, text)
        return process_ids.in_text(self, text) if flags & f.TERMINATE else text

    def explained(self) -> None:
        """The catalog's facts are there: what the statement in hand may do is looked up again."""
        link = self.link
        if not link.closed:
            link.busy = False
            link.forget_routes()
            link.resume()

    def aim(self, payload: bytes, prepared: Prepared | None) -> bytes | None:
        """A Bind of a statement that signals processes, as the server is to have it; None: the link waits."""
        return process_ids.in_bind(self, payload, prepared.statement.name if prepared is not None else b"")

    # -- answers of the proxy's own ----------------------------------------------------------------------------

    def violation(self, kind: int, length: int) -> None:
        """The client's bytes are not the protocol."""
        known = kind in b"QPBEDCSHFXdcf"
        self.fatal(
            "08P01", "invalid message length" if known else f"invalid frontend message type {kind}", quiet=True
        )

    def verbatim(self, fields: Mapping[str, str]) -> None:
        """Pass a server's final error on, and close the client's connection as the server would have."""
        link = self.link
        if not link.closed:
            body = b"".join(code.encode() + text.encode("utf-8", "replace") + b"\0" for code, text in fields.items())
            link.write(
                wire.message(b"E", body + b"\0")
                if "S" in fields
                else wire.error(fields["C"], fields["M"], severity="FATAL")
            )
            self.leave()
            link.close(True)

    def fatal(self, sqlstate: str, text: str, *, hint: str = "", quiet: bool = False) -> None:
        """Tell the client and close its connection."""
        link = self.link
        if not link.closed:
            self.database.refused(link, sqlstate, text)
            link.write(wire.error(sqlstate, text, severity="FATAL", hint=hint))
            self.leave()
            link.close(True)

    def fail(self, sqlstate: str, text: str, *, hint: str = "", detail: str = "") -> None:
        """Fail the batch in hand with an error; the connection goes on after the batch."""
        link = self.link
        self.database.refused(link, sqlstate, text)
        link.write(wire.error(sqlstate, text, hint=hint, detail=detail))
        link.busy = False
        link.reopen = None
        link.skip_batch()

    # -- the end -----------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """The client says goodbye."""
        self.leave()
        self.link.close()

    def client_lost(self, reason: object) -> None:
        """The client vanished."""
        self.leave()

    def leave(self) -> None:
        """Undo everything that this client holds."""
        link = self.link
        if link.leaving:
            return
        link.leaving = True
        server = link.server
        link.server = None
        self.database.left(self)
        if server is not None and not server.closed:
            server.client = server.owner = None
            if link.body > 0:
                server.events.discard(server, "its client left in the middle of a message")
            else:
                server.events.abandoned(server)
