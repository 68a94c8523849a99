"""Carries out DDL at all its places: in one transaction over them, or, where that cannot be, one after the other.

Invariants:
* Inside a transaction nothing has happened until all places agree; the shells are never open outside of it.
* Outside one, a failure says at which places the statement was carried out, so that the rest can be done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from shardproxy.config.model import Database
from shardproxy.planner.ddl import DdlPlan, Step
from shardproxy.planner.plan import COORDINATOR, Place, Refusal
from shardproxy.topology.layout import DEFAULT_SCHEMA, TableLayout

from .altered import concerned
from .create_as import read_create_as, run_create_as
from .ddl_plan import plan_ddl
from .errors import PgError, refused
from .kept_unique import keep_new, tidy
from .materialized import read_materialized, run_materialized
from .output import Output
from .shells import close_sql, open_sql
from .statement import Statement

__all__ = ["declared_unique", "run_ddl", "run_plan"]

CREATES_TABLE = re.compile(r"(?i)\s*create\s+(?:unlogged\s+)?table\b")
CHANGES = re.compile(r"(?i)\W*(?:create\s+(?:unlogged\s+)?table|alter|drop)\b")
ABSENT = frozenset(("42883", "42704", "42P01", "3F000", "42703"))
"""undefined_function, undefined_object, undefined_table, invalid_schema_name, undefined_column"""
PRESENT = frozenset(("42710", "42P04", "42P06", "23505"))
"""duplicate_object, duplicate_database, duplicate_schema, unique_violation (two at once)"""


async def run_ddl(session: Any, statement: Statement, out: Output) -> None:
    """Plan a statement and carry it out."""
    text = statement.text.decode("utf-8", "surrogateescape")
    made = read_create_as(text)
    if made is not None and not session.places.sharding.plain(session.link.router.route(made.query.encode())):
        await run_create_as(session, made, statement, out)
        return
    view = read_materialized(text)
    if view is not None and not (view.query and session.places.sharding.plain(
            session.link.router.route(view.query.encode("utf-8", "surrogateescape")))):
        await run_materialized(session, view, statement, out)
        return
    plan = plan_ddl(text, statement.layout, statement.tables, statement.search_path,
                    await _default_key(session) if CREATES_TABLE.match(text) else "",
                    declared_unique(session.database.entry))
    if plan is None:
        route = session.link.router.route(statement.text)
        await session.runner.statements.at_coordinator(route, statement, out)
    elif isinstance(plan, Refusal):
        raise refused(f"{plan.construct} is not supported on sharded databases", plan.hint, plan.sqlstate)
    else:
        await run_plan(session.tx, plan, statement, out)


def declared_unique(entry: Database) -> dict[tuple[str, str], set[frozenset[str]]]:
    """Unique indexes without the key that the configuration says to keep, by table."""
    found: dict[tuple[str, str], set[frozenset[str]]] = {}
    for space in entry.keyspace_map.values():
        for name, table in space.tables.items():
            schema, dot, own = name.partition(".")
            if table.unique:
                found[(schema, own) if dot else (DEFAULT_SCHEMA, name)] = set(map(frozenset, table.unique))
    return found


async def _default_key(session: Any) -> str:
    """What the client's session has SET."""
    leg = await session.tx.leg(COORDINATOR)
    rows = await leg.run("SELECT pg_catalog.current_setting('shardproxy.default_key', true)")
    return bytes(rows[0][0] or b"").decode("utf-8", "surrogateescape")


async def run_plan(tx: Any, plan: DdlPlan, statement: Statement, out: Output) -> None:
    """Carry out a plan; the answer is the first step's."""
    if plan.needs_block and not tx.in_block and not tx.atomic:
        raise PgError.of("25P01", f"{plan.kind} can only be used in transaction blocks")
    if plan.outside:
        if tx.in_block or tx.atomic:
            raise PgError.of("25001", f"{plan.kind} of this kind cannot run inside a transaction block")
        out.complete(await _one_by_one(tx, plan, statement))
        return
    await tx.begin_atomic()
    if CHANGES.match(statement.text.decode("utf-8", "surrogateescape")):
        tx.altered |= concerned(statement.text.decode("utf-8", "surrogateescape"), statement.layout)
    skipped = await _same_servers(tx, plan.places) if plan.once else frozenset()
    if plan.opened:
        await _shells(tx, [open_sql(*name) for name in plan.opened], statement)
    tag = ""
    for step in plan.steps:
        for place in step.places:
            if place not in skipped:
                done = await _at(tx, place, step, statement)
                tag = tag if tag or place != COORDINATOR and step.text != statement.text else done
    if plan.closed:
        await _shells(tx, [close_sql(*name) for name in plan.closed], statement)
    for table in plan.keeps:
        await keep_new(tx, table)
    guarded = tx.session.places.sharding.guarded
    if guarded and (plan.tidies or plan.gone):
        await tidy(tx, guarded)
    for change in (*plan.declare, *plan.undeclare, *(await _gone(tx, plan, statement) if plan.gone else ())):
        await tx.lay_out(change)
        tx.altered.add((change.schema, change.name) if isinstance(change, TableLayout) else change)
    out.complete(tag or plan.kind)


async def _at(tx: Any, place: Place, step: Step, statement: Statement) -> str:
    """One step at one place, in a transaction. Gives the command tag; empty if it was forgiven."""
    leg = await tx.leg(place, write=True)
    tx.wrote(leg, statement.write_slots)
    leg.server.flags |= statement.flags
    if place == COORDINATOR:
        return str(await leg.command(step.text))
    forgiven = (ABSENT if step.forgiving else frozenset()) | (PRESENT if step.duplicates else frozenset())
    if step.quiet:
        await leg.command("SET LOCAL check_function_bodies = off")
    if forgiven:
        await leg.command("SAVEPOINT shardproxy_ddl")
    try:
        tag = str(await leg.command(step.text))
    except PgError as error:
        if error.sqlstate not in forgiven:
            raise _located(error, place) from None
        await leg.command("ROLLBACK TO SAVEPOINT shardproxy_ddl")
        tag = ""
    leg.notices.clear()                                 # the coordinator has said the same
    if forgiven:
        await leg.command("RELEASE SAVEPOINT shardproxy_ddl")
    if step.quiet:
        await leg.command("SET LOCAL check_function_bodies = on")
    return tag


async def _shells(tx: Any, texts: Sequence[str], statement: Statement) -> None:
    leg = await tx.leg(COORDINATOR, write=True)
    tx.wrote(leg, statement.write_slots)
    for text in texts:
        await leg.run(text)


async def _one_by_one(tx: Any, plan: DdlPlan, statement: Statement) -> str:
    """Each place in its own transaction."""
    skipped = await _same_servers(tx, plan.places) if plan.once else frozenset()
    done: list[str] = []
    tag = ""
    for step in plan.steps:
        for place in step.places:
            if place in skipped:
                continue
            leg = await tx.leg(place, write=True)
            tx.wrote(leg, statement.write_slots)
            leg.server.flags |= statement.flags
            try:
                found = await leg.command(step.text)
            except PgError as error:
                raise _stopped(error, plan.kind, place, done) from None
            if done:
                leg.notices.clear()
            tag = tag or found
            done.append(place or "the coordinator")
    return tag


def _stopped(error: PgError, kind: str, place: Place, done: Sequence[str]) -> PgError:
    """The same error, with how far the statement came."""
    told = f"{kind} stopped at {place or 'the coordinator'}; it was carried out at: {', '.join(done) or 'no place'}."
    error.fields["D"] = f"{error.fields['D']} {told}" if error.fields.get("D") else told
    return error


def _located(error: PgError, place: Place) -> PgError:
    told = f"At shard {place}."
    error.fields["D"] = f"{error.fields['D']} {told}" if error.fields.get("D") else told
    return error


async def _same_servers(tx: Any, places: Sequence[Place]) -> frozenset[Place]:
    """Places whose server has been met at an earlier place."""
    seen: dict[object, Place] = {}
    again = set()
    for place in places:
        leg = await tx.leg(place)
        rows = await leg.run("SELECT system_identifier FROM pg_catalog.pg_control_system()")
        if seen.setdefault(rows[0][0], place) != place:
            again.add(place)
    return frozenset(again)


async def _gone(tx: Any, plan: DdlPlan, statement: Statement) -> list[tuple[str, str]]:
    """Tables of the layout that the coordinator has no more."""
    known = {(table.schema, table.name) for table in statement.layout.tables()
             if statement.tables.get(table.schema, table.name) is not None} - set(plan.undeclare)
    if not known:
        return []
    listed = ", ".join(f"({_literal(schema)}, {_literal(name)})" for schema, name in sorted(known))
    leg = await tx.leg(COORDINATOR)
    rows = await leg.run(
        f"SELECT t.s, t.n FROM (VALUES {listed}) t(s, n) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN "
        "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = t.s AND c.relname = t.n)")
    return [(bytes(row[0]).decode(), bytes(row[1]).decode()) for row in rows]


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
