"""Carries out statements about what all servers have: sizes, row counts, statistics, activity (``Overview``).

The shards are asked first; what they say is told to the coordinator in settings of the transaction, where the functions
of ``figures_sql.py`` find it. No temporary table is needed, so it works in READ ONLY transactions too.

Invariants:
* A shard that cannot be asked fails the statement: a sum without it would be wrong.
* Each server is counted once for activity, each database once for sizes, however many places they are.
* Tables are matched by name: a shard's OIDs mean nothing elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shardproxy.dialects.postgres.wire import quote_literal
from shardproxy.planner.plan import COORDINATOR, Overview, Place
from shardproxy.topology.layout import Layout

from .copy_in import pass_copy
from .figures_merge import Cells, Seen, activity, figures, statistics
from .figures_sql import STATISTICS
from .figures_text import ACTIVITY, DATABASE_SIZE, PREPARED, SIZES, TUPLES
from .gather import answer
from .legs import Leg
from .output import Output
from .reading import together
from .staging import Bounds
from .statement import Statement

__all__ = ["run_overview"]

SETTINGS = {ACTIVITY: "activity", PREPARED: "prepared", DATABASE_SIZE: "database_size"}
WHO = """SELECT concat((SELECT system_identifier FROM pg_catalog.pg_control_system()), ' ',
    extract(epoch FROM pg_catalog.pg_postmaster_start_time())), pg_catalog.current_database()"""
"""Which server it is: copies of one have one identifier, but were not started in the same microsecond."""
RELATED = """WITH t AS (
    SELECT c.oid, w.schema, w.name, c.reltoastrelid AS toast
    FROM (VALUES {names}) w(schema, name) JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name),
r AS (
    SELECT oid, schema, name, '' AS part FROM t
    UNION ALL SELECT c.oid, t.schema, c.relname, '' FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    UNION ALL SELECT toast, schema, name, 't' FROM t WHERE toast <> 0
    UNION ALL SELECT i.indexrelid, t.schema, t.name, 'i' FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.toast)
SELECT r.schema, r.name, r.part, {sizes}, c.reltuples, c.relpages, c.relallvisible
FROM r JOIN pg_catalog.pg_class c ON c.oid = r.oid"""
"""``part``: '' the relation itself, 't' its TOAST table, 'i' the index of that."""
ALL_SIZES = ", ".join([f"pg_catalog.pg_relation_size(r.oid, '{fork}')" for fork in ("main", "fsm", "vm", "init")]
                      + [f"pg_catalog.pg_{what}_size(r.oid)" for what in ("table", "indexes", "total_relation")])
NO_SIZES = ", ".join(["NULL"] * 7)
TELL_FIGURES = """SELECT pg_catalog.set_config('shardproxy.figures', (
    SELECT pg_catalog.concat(pg_catalog.string_agg(pg_catalog.concat(';', CASE f.part WHEN '' THEN c.oid
        WHEN 't' THEN c.reltoastrelid ELSE (SELECT i.indexrelid FROM pg_catalog.pg_index i
                                            WHERE i.indrelid = c.reltoastrelid LIMIT 1) END, ':', f.cells), ''), ';')
    FROM pg_catalog.json_to_recordset({rows}) AS f(schema text, name text, part text, cells text)
        JOIN pg_catalog.pg_namespace n ON n.nspname = f.schema
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = f.name), true)"""


async def run_overview(tx: Any, plan: Overview, statement: Statement, out: Output, keep: bool = False) -> None:
    """Carry out ``plan``. ``keep``: what was told stays until the client's transaction ends (a cursor reads it)."""
    tx.reads = None                     # of replicas nobody asks for the sizes and the activity
    leg: Leg = await tx.attach() if plan.copies else await tx.leg(COORDINATOR, write=plan.writes)
    if plan.writes:
        tx.wrote(leg, statement.write_slots or (0,))
    own = not (tx.in_block or tx.atomic)
    told = await _gathered(tx, leg, plan.needs, statement.layout)
    if own:
        await leg.command("BEGIN")
    for text in told.values():
        await leg.run(text)
    tag = ""
    if plan.copies:
        await pass_copy(leg, replace(statement, text=plan.text), out, tx.session)
    else:
        tag = await answer(leg, plan.text, statement, out)
    if own:
        await leg.command("COMMIT")
    elif told and not keep:
        await leg.run("SELECT " + ", ".join(f"pg_catalog.set_config('shardproxy.{name}', '', true)" for name in told))
    if tag:
        out.complete(tag)


async def _gathered(tx: Any, leg: Leg, needs: frozenset[str], layout: Layout) -> dict[str, str]:
    """What tells the coordinator, by name of the setting."""
    if not needs:
        return {}
    places = [place for place in layout.places() if place != COORDINATOR]
    asking = _Asking(tx, layout, places, needs)
    seen = Seen(await leg.run(WHO))
    for place, who in zip(places, await asking.rows(dict.fromkeys(places, WHO)), strict=True):
        seen.add(place, who)
    found: dict[str, str] = {}
    if needs & {SIZES, TUPLES}:
        found["figures"] = TELL_FIGURES.format(rows=quote_literal(json.dumps(figures(await asking.related()))))
    if views := sorted(needs & set(STATISTICS)):
        found["statistics"] = _setting("statistics", json.dumps(statistics(await asking.statistics(views))))
    for what in sorted(needs & {ACTIVITY, PREPARED}):
        found[SETTINGS[what]] = _setting(SETTINGS[what], json.dumps(
            activity(seen, await asking.activity(what, seen.servers))))
    if DATABASE_SIZE in needs:
        found["database_size"] = _setting("database_size", str(await asking.database_size(seen.databases)))
    return found


def _setting(name: str, value: str) -> str:
    return f"SELECT pg_catalog.set_config('shardproxy.{name}', {quote_literal(value)}, true)"


class _Asking:
    """Asks the shards, all at once."""

    def __init__(self, tx: Any, layout: Layout, places: Sequence[Place], needs: frozenset[str]) -> None:
        self.tx, self.layout, self.places, self.needs = tx, layout, places, needs
        gather = tx.database.entry.gather
        self.bounds = Bounds(gather.max_rows, gather.max_bytes)

    async def rows(self, texts: dict[Place, str]) -> list[Cells]:
        """The rows that each place has, in their order."""
        legs = await self.tx.all(list(texts))
        found = await together([leg.run(texts[leg.place]) for leg in legs])
        for rows in found:
            self.bounds.take(len(rows), sum(len(cell or b"") for row in rows for cell in row))
        return found

    def _names(self, place: Place) -> str:
        """The sharded tables that live there, as rows of VALUES."""
        return ", ".join(
            f"({quote_literal(table.schema)}, {quote_literal(table.name)})" for table in self.layout.tables()
            if not table.reference and place in self.layout.keyspaces[table.keyspace].places())

    async def related(self) -> list[Cells]:
        """Figures of tables, their indexes and what belongs to them."""
        sizes = ALL_SIZES if SIZES in self.needs else NO_SIZES
        return await self.rows({place: RELATED.format(names=names, sizes=sizes)
                                for place in self.places if (names := self._names(place))})

    async def statistics(self, views: Sequence[str]) -> list[Cells]:
        """View, schema, name, and the row as JSON."""
        texts = {}
        for place in self.places:
            if names := self._names(place):
                texts[place] = " UNION ALL ".join(
                    f"SELECT '{view}', s.schemaname, s.{STATISTICS[view]}, pg_catalog.to_jsonb(s) "
                    f"FROM pg_catalog.{view} s JOIN (VALUES {names}) w(schema, name) "
                    "ON s.schemaname = w.schema AND s.relname = w.name" for view in views)
        return await self.rows(texts)

    async def activity(self, view: str, places: Sequence[Place]) -> list[Cells]:
        """Rows as JSON. What asks is left out, unless it is in the client's transaction and so holds something."""
        own = view == PREPARED or self.tx.in_block
        condition = "" if own else " WHERE a.pid <> pg_catalog.pg_backend_pid()"
        text = f"SELECT pg_catalog.to_jsonb(a) FROM pg_catalog.{view} a{condition}"
        return await self.rows(dict.fromkeys(places, text)) if places else []

    async def database_size(self, places: Sequence[Place]) -> int:
        """Bytes in the databases of these places."""
        text = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
        return sum(int(rows[0][0] or 0) for rows in await self.rows(dict.fromkeys(places, text)))
