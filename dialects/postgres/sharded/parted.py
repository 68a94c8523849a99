"""A statement whose WITH writes, a part at a time.

Invariants:
* What the query at the end reads of shards is taken before anything is written, what a part returns is kept in a
  temporary table of the coordinator: no part sees what another one wrote.
* All of it is one atomic transaction, and the client hears of success when every part has succeeded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shardproxy.dialects.postgres import wire
from shardproxy.dialects.postgres.wire import quote_ident
from shardproxy.planner.plan import Parted, Step
from shardproxy.router import flags as f

from .columns import read_columns
from .errors import PgError
from .gather import answer
from .insert_from import begun_here
from .legs import Leg
from .merge_cy import lines
from .output import Later, Output
from .staging import Bounds, Staging
from .statement import Statement
from .writing import fill

if TYPE_CHECKING:
    from .transaction import Transaction

__all__ = ["run_parted"]

KEPT_MAX = 64 * 1024 * 1024
LOSSY = {700: "real", 701: "double precision", 1021: "real[]", 1022: "double precision[]",
         1184: "timestamp with time zone", 1185: "timestamp with time zone[]"}
"""Names of types whose text may say less than the value."""


class _Kept(Output):
    """Keeps the rows of a part, in text format."""

    def __init__(self, link: Any) -> None:
        super().__init__(link, described=False)
        self.runs: list[bytes] = []
        self.size = 0

    def row(self, payload: bytes) -> None:
        self.rows(wire.message(b"D", payload), 1)

    def rows(self, run: bytes, count: int = 0) -> None:
        self.runs.append(run)
        self.size += len(run)
        if self.size > KEPT_MAX:
            raise PgError.of("54000", "a WITH query that writes returns too much over several shards",
                             hint="Return fewer columns, or write fewer rows at once.")

    async def drain(self) -> None:
        """Nothing is sent."""

    def complete(self, tag: str) -> None:
        self.tag = tag

    async def lines(self) -> AsyncIterator[bytes]:
        """As COPY reads them."""
        for run in self.runs:
            yield lines(run)


async def run_parted(tx: Transaction, plan: Parted, statement: Statement, out: Output) -> None:
    """Carry it out."""
    leg = await begun_here(tx)
    await tx.begin_atomic()
    leg.temporary = True
    leg.wrote = leg.wrote or bool(tx.flags & f.ADVANCES)
    bounds = tx.database.entry.gather
    staging = Staging(tx, leg, statement, Bounds(bounds.max_rows, bounds.max_bytes))
    pulled = await staging.pull(plan.main.pulls) if plan.main is not None else []
    later = Later(out)
    made = []
    for step in plan.steps:
        await _carry_out(tx, leg, step, statement, later, staging)
        made += [step.stage] if step.stage else []
    if plan.main is not None:
        holes = {number: one.name.encode() for number, one in enumerate(pulled)}
        later.tag = await answer(leg, fill(plan.main.text, holes), statement, out)
    if made:
        await leg.command("DROP TABLE " + ", ".join(f"pg_temp.{name}" for name in made))
    await staging.drop()
    out.complete(later.tag or "")


async def _carry_out(tx: Transaction, leg: Leg, step: Step, statement: Statement, later: Output,
                     staging: Staging) -> None:
    """One part; its rows go to its temporary table, or to the client."""
    runner = tx.session.runner.statements
    route = tx.link.last_route
    part = replace(statement, text=step.text, shown=step.shown, one_clock=True, simple=False)
    if step.client:
        await runner.carry_out(step.plan, route, part, later)
        return
    if step.stage:
        columns = ", ".join(map(quote_ident, step.columns))
        head = f"CREATE TEMPORARY TABLE {step.stage} ({columns}) ON COMMIT DROP AS ".encode()
        await leg.rows(head + step.shape + b" WITH NO DATA", statement.bind).done()
    kept = _Kept(later.link)
    await runner.carry_out(step.plan, route, replace(part, formats=()), kept)
    if step.stage and kept.columns is not None:
        staging.check_text([LOSSY.get(column.type, "") for column in read_columns(kept.columns)])
    if step.stage and kept.runs:
        await leg.copy_in(f"COPY pg_temp.{step.stage} FROM STDIN", kept.lines())
