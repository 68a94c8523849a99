"""Runs one statement: finds its plan, and the function that carries it out.

Invariants:
* What concerns the whole transaction (BEGIN, COMMIT, savepoints, SET) reaches every leg, in the client's order.
* In a block that has failed nothing runs but what ends it or goes back to a savepoint.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shardproxy.dialects.postgres.sequences import undefined
from shardproxy.errors import ControlError
from shardproxy.planner.plan import (
    COORDINATOR,
    CopyIn,
    CopyOut,
    Gather,
    InsertFrom,
    InsertRows,
    Overview,
    Parted,
    Push,
    Reference,
    Refusal,
    Scatter,
    Select,
    Single,
    Write,
    WriteBack,
)
from shardproxy.router import flags as f
from shardproxy.session.statements import Prepared

from .altered import release
from .described import describe
from .errors import PgError, refused
from .kept_unique import keep_changes
from .legs import Bind
from .lookup import resolve
from .moving import refuse_moving
from .output import Later, Output
from .overlay import see
from .planning import sharding_of
from .statement import Statement
from .transaction import OUTSIDE, Outdated
from .writing import Teller

__all__ = ["EVERY_LEG", "StatementRunner"]

EVERY_LEG = frozenset({"SET", "RESET", "SAVEPOINT", "RELEASE", "ROLLBACK"})
FOLLOWED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "EXECUTE", "DO", "CALL", "EXPLAIN"})
PLANNED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
DDL_KINDS = frozenset("""CREATE ALTER DROP TRUNCATE COMMENT GRANT REVOKE VACUUM ANALYZE REINDEX LOCK REFRESH CLUSTER
    SECURITY REASSIGN IMPORT""".split())  # noqa: SIM905
CHAIN = re.compile(rb"(?i)\band\s+chain\b")
SAVEPOINT = re.compile(rb"(?is)^\W*rollback\b.*\bto\s+(?:savepoint\s+)?(\"(?:[^\"]|\"\")+\"|\w+)\s*$")
ABORTED_TEXT = "current transaction is aborted, commands ignored until end of transaction block"
CATALOG_S = 10.0
REPLANS_MAX = 10
REPLICA_REPEATS = frozenset({"25006", "0A000", "40001", "57P03", "57P01", "57P02"})
"""Errors of a replica after which a read runs on the primary instead."""
SLOW = f.PROBE | f.UNPIN | f.FOREVER | f.DEALLOCATE_ALL | f.PREPARED_SQL | f.PROXY_SET

Executor = Callable[[Any, Any, Statement, Output], Awaitable[None]]
EXECUTORS: dict[type, tuple[str, str]] = {
    Scatter: ("scatter", "run_scatter"), Gather: ("gather", "run_gather"), Push: ("push", "run_push"),
    Overview: ("figures", "run_overview"),
    InsertRows: ("insert", "run_insert_rows"), InsertFrom: ("insert_from", "run_insert_from"),
    WriteBack: ("write_back", "run_write_back"), Reference: ("reference", "run_reference"),
    Parted: ("parted", "run_parted"), CopyIn: ("copy_in", "run_copy_in"), CopyOut: ("copy_out", "run_copy_out")}
"""Module and function of each plan."""


class StatementRunner:
    """For one session."""

    def __init__(self, session: Any) -> None:
        self.session, self.link = session, session.link

    @property
    def tx(self) -> Any:
        return self.session.tx

    # -- small things the batch needs

    def serial(self) -> int:
        """A number that no other unnamed statement has."""
        return time.monotonic_ns()

    def prepared(self, registry: Any, body: bytes, scope: str, route: Any) -> Prepared:
        """A client's statement, as the relay keeps it too."""
        return Prepared(registry.statement(body, scope, route), registry.tick())

    def status(self) -> bytes:
        """For ReadyForQuery."""
        home = self.link.server
        if self.tx.in_block:
            return b"E" if self.tx.failed else b"T"
        return b"I" if home is None or home.status == OUTSIDE else bytes([home.status])

    def may_run(self, route: Any) -> None:
        """Raises 25P02 in a failed block."""
        if self.aborted() and not route.flags & (f.COMMIT | f.ROLLBACK) and route.kind != "ROLLBACK":
            raise PgError.of("25P02", ABORTED_TEXT)

    def aborted(self) -> bool:
        """Whether the block has failed."""
        home = self.link.server
        return bool(self.tx.failed or (home is not None and home.status == 0x45))

    def note(self, route: Any, text: bytes) -> None:
        """A statement that the relay runs: what a leg that joins later must be told."""
        tx = self.tx
        flags = route.flags
        if flags & f.MULTI:
            for part in self.split(text):
                self.note(self.link.router.route(part), part)
        elif flags & f.BEGIN:
            if not tx.in_block:
                tx.begin, tx.log = text.decode("utf-8", "surrogateescape"), []
        elif flags & (f.COMMIT | f.ROLLBACK):
            tx.log = []
        elif tx.in_block and (route.kind in EVERY_LEG or flags & f.PROBE):
            self._log(route, text, Bind())

    @staticmethod
    def split(text: bytes) -> list[bytes]:
        """The statements of a text."""
        from .split import split_statements

        return split_statements(text)

    async def give_up(self) -> None:
        """A statement has failed: in a block, the client's own connection is made to know it, too."""
        tx = self.tx
        await tx.give_up()
        home = self.link.server
        if tx.in_block and home is not None and home.status == 0x54:
            leg = await tx.leg(COORDINATOR)
            try:
                await leg.run("SELECT pg_catalog.current_setting(NULL::text) FROM shardproxy.\"the block has failed\"")
            except PgError:
                return

    async def finish(self) -> None:
        """The end of a statement in autocommit, or of an implicit transaction."""
        await self.tx.finish()
        if not self.tx.in_block:
            await self.catalog_known()

    async def catalog_known(self) -> None:
        """After DDL: until this worker knows the catalog as it is now, so that the next statement is planned by it."""
        if not self.tx.changed_catalog:
            return
        self.tx.changed_catalog = False
        try:
            await self._settle_layout()
            await self._everybody_knows()
        finally:
            release(self.session)

    async def _everybody_knows(self) -> None:
        database = self.session.database
        database.publish([], time.monotonic_ns(), True)
        database.welcomes.clear()
        try:
            await database.worker.catalog_known(database.name)
        except ControlError:                                # then it is known a little later
            database.ddl()
        deadline = time.monotonic() + CATALOG_S
        while database.board.catalog_epoch(database.index) != database.router.epoch and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    async def _settle_layout(self) -> None:
        """What DDL changed in the layout is committed: it holds for everybody before the client hears of it."""
        tx = self.tx
        if not tx.laid_out:
            return
        tx.laid_out = False
        database = self.session.database
        try:
            await database.worker.settle_layout(database.name)
        except ControlError as error:           # the parent finds it later
            database.refused(self.link, "58000", f"the layout could not be stored yet: {error}")

    # -- running

    async def run(self, text: bytes, bind: Bind, formats: tuple[int, ...], out: Output, simple: bool) -> None:
        """Run one statement and tell its result. Raises PgError."""
        route = self.link.router.route(text)
        self.may_run(route)
        route.hits += 1
        self.link.last_route = route
        overlay = self.tx.overlay
        if overlay is not None and overlay.made_of != sharding_of(self.session.database).generation:
            self.tx.unseen = True               # somebody else's DDL was committed
        if self.tx.unseen and route.kind not in EVERY_LEG and not route.flags & (f.BEGIN | f.COMMIT | f.ROLLBACK):
            await see(self.session)
        for _ in range(REPLANS_MAX):
            try:
                await self._run(route, text, bind, formats, out, simple)
            except Outdated:
                continue
            return
        raise PgError.of("40001", "a table is being changed by DDL all the time", hint="Repeat the statement.")

    async def _run(self, route: Any, text: bytes, bind: Bind, formats: tuple[int, ...], out: Output,
                   simple: bool) -> None:
        sharding = self.session.places.sharding
        self.tx.planned, self.tx.fresh = (text, sharding.layout, sharding.tables), True
        statement = Statement(text, sharding.layout, sharding.tables, bind, formats, flags=route.flags,
                              write_slots=route.write_slots, read_slots=route.read_slots, simple=simple,
                              search_path=self.session.search_path)
        may_move = route.flags & f.READ and not route.flags & f.PRIMARY and self.session.consistency != "strong"
        self.tx.reads = route.read_slots if may_move else None
        self.tx.flags = route.flags
        self.tx.fanout.clear()
        self.tx.fanout_max = self._fanout(route, text)
        await self._tried(self._followed(route, statement, out), route, statement, out)

    async def follow(self, route: Any, work: Any, places: Any, legs: Any, replies: Any) -> None:
        """Go on with a read of which ``replies`` are under way."""
        from .scatter import finish_scatter

        self.tx.flags = route.flags
        self.tx.planned = (work.statement.text, work.statement.layout, work.statement.tables)
        self.tx.fresh = False
        await self._tried(finish_scatter(work, places, legs, replies), route, work.statement, work.out)

    async def _tried(self, first: Awaitable[None], route: Any, statement: Statement, out: Output) -> None:
        try:
            await first
        except PgError as error:
            if not self._again(error, out):
                raise
            await self.tx.give_up()
            self.tx.reads = None
            await self.dispatch(route, statement, out)
        finally:
            self.tx.flags = self.tx.fanout_max = 0
            self.tx.planned = None
            self.told(out)

    def _fanout(self, route: Any, text: bytes) -> int:
        """How many shards a statement may use; 0: all, as what is done to the schema, or looked at, has to."""
        shown = route.kind == "EXPLAIN" and b"analyze" not in text[:200].lower()
        return 0 if route.kind in DDL_KINDS or shown else int(self.session.database.entry.max_fanout)

    async def _followed(self, route: Any, statement: Statement, out: Output) -> None:
        """Carry out one statement; where unique values are kept, what it has changed of them is, too."""
        sharding = self.session.places.sharding
        ddl = route.kind in DDL_KINDS
        if not sharding.guarded or route.flags & (f.READ | f.BEGIN | f.COMMIT | f.ROLLBACK) or not (
                ddl or route.kind in FOLLOWED) or sharding.plain(route):
            await self.dispatch(route, statement, out)
            return
        if not ddl:
            await self.tx.begin_atomic()
        later = Later(out)
        await self.dispatch(route, statement, later)
        if self.tx.in_block or self.tx.atomic:
            await keep_changes(self.tx, sharding.guarded)
        if later.tag is not None:
            out.complete(later.tag)

    def _again(self, error: PgError, out: Output) -> bool:
        """Whether a read that replicas served can run once more, on the primaries: nothing of it was told yet."""
        tx = self.tx
        moved = tx.reads is not None and any(not leg.server.on_primary for leg in tx.legs.values())
        return (moved and not tx.in_block and not tx.atomic and out.columns is None and not out.count
                and (error.lost or error.sqlstate in REPLICA_REPEATS))

    async def dispatch(self, route: Any, statement: Statement, out: Output) -> None:
        """Carry out one statement as what it is."""
        flags = route.flags
        if flags & f.BEGIN:
            await self._begin(statement, out)
        elif flags & (f.COMMIT | f.ROLLBACK):
            await self._finish(route, statement, out)
        elif route.kind in EVERY_LEG and (self.tx.in_block or self.tx.atomic):
            await self._every_leg(route, statement, out)
        elif route.kind in DDL_KINDS:
            from .ddl import run_ddl

            refuse_moving(self.session.database.holds.moving, route)
            self.tx.changed_catalog = True
            await run_ddl(self.session, statement, out)
            self.tx.unseen = True
        elif route.kind == "EXPLAIN":
            from .explain import run_explain

            await run_explain(self.session, statement, out)
        elif route.kind in PLANNED and not self.session.places.sharding.plain(route):
            await self._planned(route, statement, out)
        elif route.kind in ("DECLARE", "PREPARE", "EXECUTE"):
            from .named import run_named

            await run_named(self, route, statement, out)
        elif not route.kind and self.session.places.sharding.unread(route):
            raise refused("a text with control characters in names, or in literals of SET or DO", "Leave them out.")
        else:
            await self.at_coordinator(route, statement, out)

    def told(self, out: Output) -> None:
        """What servers noticed."""
        for leg in self.tx.legs.values():
            notices, leg.notices[:] = list(leg.notices), []
            for notice in notices:
                out.notice(notice)

    # -- the transaction

    async def _begin(self, statement: Statement, out: Output) -> None:
        tx = self.tx
        home = await tx.attach()
        rows = home.rows(statement.text)
        tag = await rows.done()
        home.in_block = True
        if not tx.in_block:
            tx.begin, tx.log = statement.text.decode("utf-8", "surrogateescape"), []
        out.complete(tag)

    async def _finish(self, route: Any, statement: Statement, out: Output) -> None:
        tx = self.tx
        begin = tx.begin
        if route.kind == "PREPARE TRANSACTION" and len(tx.legs) > 1:
            raise refused("PREPARE TRANSACTION of a transaction over several servers",
                          "COMMIT it: it is committed at all of them or at none.")
        if not tx.in_block and not tx.atomic:
            home = await tx.attach()
            out.complete(await home.rows(statement.text).done())
            return
        tag = await tx.end(commit=bool(route.flags & f.COMMIT) and not self.aborted())
        await self.catalog_known()
        if CHAIN.search(statement.text) and begin:
            home = await tx.attach()
            await home.run(begin)
            home.in_block, tx.begin = True, begin
        out.complete(tag)

    def _log(self, route: Any, text: bytes, bind: Bind) -> None:
        tx = self.tx
        match = SAVEPOINT.match(text) if route.kind == "ROLLBACK" else None
        if match is not None:
            tx.back_to(match[1].decode("utf-8", "replace"))
        tx.log.append((text, bind))

    async def _every_leg(self, route: Any, statement: Statement, out: Output) -> None:
        """SET, savepoints and the like: at the coordinator first, whose answer is the client's."""
        tx = self.tx
        home = await tx.attach()
        back = route.kind == "ROLLBACK"
        if back:
            for leg in tx.legs.values():
                if leg.busy:
                    leg.cancel()
                    await leg.quiet()
        home.server.flags |= route.flags
        await self._pass(home, statement, out)
        await tx.everywhere(statement.text, statement.bind)
        self._log(route, statement.text, statement.bind)
        if back:
            tx.failed = False

    # -- plans

    async def _planned(self, route: Any, statement: Statement, out: Output) -> None:
        if route.kind == "SELECT" and route.flags & (f.DDL | f.PROBE):
            from .create_as import read_create_as, run_create_as

            made = read_create_as(statement.text.decode("utf-8", "surrogateescape"))
            if made is not None:
                await run_create_as(self.session, made, statement, out)
                return
        planned = self.session.places.sharding.plan(statement.text, route, statement.search_path)
        await self.carry_out(planned.plan, route, statement, out)

    async def carry_out(self, plan: Any, route: Any, statement: Statement, out: Output) -> None:
        """A plan of a query or a change of rows."""
        if isinstance(plan, Refusal):
            await self._refuse(plan, route, statement)
        if _reference(plan, statement):
            self.tx.fanout_max = 0              # every copy is written, or none
        if isinstance(plan, Single):
            write = bool(plan.place) and route.kind != "SELECT"
            await self._single(plan.place, route, statement, out, write)
            return
        await self._resolve(plan, statement)
        if isinstance(plan, Select | Write):
            place = self.session.places.place_of(plan, statement)
            if place is not None:
                if isinstance(plan, Select) and plan.text is not None:
                    statement = replace(statement, text=plan.text)
                await self._single(place, route, statement, out, write=isinstance(plan, Write) or plan.locks)
                return
            plan = plan.spread
            if isinstance(plan, Refusal):
                await self._refuse(plan, route, statement)
        await self._executor(plan)(self.tx, plan, statement, out)

    async def _refuse(self, plan: Refusal, route: Any, statement: Statement) -> None:
        """Raise a refusal, unless the text is wrong on every server: then the error is that of one server."""
        if statement.simple and route.kind != "COPY":
            await describe(self.session, statement.text, (), route)
        raise refused(plan.construct, plan.hint, plan.sqlstate)

    async def _resolve(self, plan: Any, statement: Statement) -> None:
        """Under ``lookup``, find out where the keys are that this worker does not know."""
        wanted = plan.whole if isinstance(plan, Select | Write) else getattr(plan, "filter", None)
        if wanted is not None and statement.layout.keyspaces[wanted.keyspace].function == "lookup" and (
                not statement.all_known(wanted)):
            await resolve(await self.tx.leg(COORDINATOR), statement, wanted)

    @staticmethod
    def _executor(plan: Any) -> Executor:
        module, name = EXECUTORS[type(plan)]
        found: Executor = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        return found

    async def _single(self, place: str, route: Any, statement: Statement, out: Output, write: bool = False) -> None:
        if place == COORDINATOR:
            await self.at_coordinator(route, statement, out)
            return
        leg = await self.tx.leg(place, write)
        if write:
            self.tx.wrote(leg, statement.write_slots or (0,))
        await self._pass(leg, statement, out)

    async def at_coordinator(self, route: Any, statement: Statement, out: Output) -> None:
        """A statement that the coordinator alone answers."""
        tx = self.tx
        if route.flags & (f.COPY_IN | f.COPY_OUT):
            from .copy_in import pass_copy

            await pass_copy(await tx.attach(), statement, out, self.session)
            return
        needs_session = route.flags & SLOW or tx.in_block
        leg = await tx.attach() if needs_session else await tx.leg(COORDINATOR)
        if needs_session:
            leg.server.flags |= route.flags
        if route.flags & f.SEQUENCE_STATE and self.session.sequences.foreign(leg.server):
            await leg.run(undefined(statement.text))
        if not route.flags & f.READ and route.kind not in ("SHOW", "FETCH", "MOVE"):
            tx.wrote(leg, route.write_slots)
        await self._pass(leg, statement, out)

    async def _pass(self, leg: Any, statement: Statement, out: Output) -> None:
        """Pass a statement and its answer through, as they are."""
        rows = (leg.simple(statement.text) if statement.simple
                else leg.rows(statement.text, statement.bind, statement.formats))
        description = await rows.described()
        if description is not None and leg.place and statement.simple:
            await Teller(self.tx, statement, out).tell(description)
        elif description is not None:
            out.description(description)
        async for run in rows.chunks():
            out.rows(run)
            await out.drain()
        if rows.tag:
            out.complete(rows.tag)


def _reference(plan: Any, statement: Statement) -> bool:
    """Whether a plan writes every copy of a reference table."""
    if isinstance(plan, CopyIn):
        return not plan.split
    if isinstance(plan, InsertFrom):
        layout = statement.layout.table(*plan.table)
        return layout is not None and layout.reference
    return isinstance(plan, Reference)
