"""DECLARE, PREPARE and EXECUTE of statements over several servers.

Invariant: a cursor over several servers is a cursor of the coordinator over rows that were gathered before; its
temporary tables live as long as the transaction.
"""

from __future__ import annotations

from typing import Any

from shardproxy.planner.lexemes import find, lex
from shardproxy.planner.plan import Gather, Refusal, Single

from .errors import refused
from .output import Output
from .statement import Statement

__all__ = ["run_named"]


async def run_named(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    """See the module."""
    sharding = runner.session.places.sharding
    if sharding.plain(route):
        await runner.at_coordinator(route, statement, out)
    elif route.kind == "DECLARE":
        await _declare(runner, route, statement, out)
    else:
        await _by_name(runner, route, statement, out)


async def _by_name(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    """PREPARE and EXECUTE in SQL: the coordinator's, unless the statement is over sharded tables."""
    if route.kind == "PREPARE":
        raise refused("PREPARE of a statement over sharded tables",
                      "Prepare it through the protocol, as drivers do (parameters in the query call).")
    await runner.at_coordinator(route, statement, out)


async def _declare(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    from .gather import run_gather

    text = statement.text.decode("utf-8", "surrogateescape")
    lexemes = lex(text)
    at = find(lexemes, ("for",), 0, len(lexemes))
    if at < 0:
        await runner.at_coordinator(route, statement, out)
        return
    head, query = text[: lexemes[at].end], text[lexemes[at].end :]
    if any(one.kind == "word" and one.text == "hold" for one in lexemes[:at]):
        raise refused("a WITH HOLD cursor over sharded tables", "DECLARE it without HOLD, in a transaction.")
    if not runner.tx.in_block:
        await runner.at_coordinator(route, statement, out)      # it says that a cursor needs a block
        return
    raw = query.encode("utf-8", "surrogateescape")
    plan = runner.session.places.sharding.gathered(raw, runner.link.router.route(raw), statement.search_path)
    if isinstance(plan, Refusal):
        raise refused(plan.construct, plan.hint, plan.sqlstate)
    if isinstance(plan, Single):
        await runner.at_coordinator(route, statement, out)
        return
    assert isinstance(plan, Gather)
    cursor = Gather(plan.pulls, (head.encode("utf-8", "surrogateescape") + b" ", *plan.text), plan.why)
    await run_gather(runner.tx, cursor, statement, out, keep=True)


