"""DECLARE, PREPARE and EXECUTE of statements over several servers.

Invariants:
* A cursor over several servers is a cursor of the coordinator over rows that were gathered before; their temporary
  tables live as long as the transaction, and a cursor WITH HOLD has its own rows by then.
* What PREPARE names is kept by the coordinator, on the client's own connection, which stays the client's for that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shardproxy.dialects.postgres.wire import quote_literal
from shardproxy.planner.lexemes import Lexeme, close_of, find, is_op, lex, split
from shardproxy.planner.plan import Gather, Overview, Refusal, Single

from .errors import refused
from .legs import Bind
from .output import Output
from .statement import Statement

__all__ = ["run_named"]

_PREPARED = """SELECT p.statement, u.type::text, pg_catalog.format_type(u.type, NULL)
FROM pg_catalog.pg_prepared_statements p LEFT JOIN LATERAL pg_catalog.unnest(p.parameter_types::pg_catalog.oid[])
     WITH ORDINALITY u(type, n) ON true WHERE p.name = {name} ORDER BY u.n"""


async def run_named(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    """See the module."""
    if route.kind == "DECLARE":
        await _declare(runner, route, statement, out)
    elif route.kind == "EXECUTE":
        await _execute(runner, route, statement, out)
    else:
        await runner.at_coordinator(route, statement, out)


# -- cursors

async def _declare(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    from .figures import run_overview
    from .gather import run_gather

    sharding = runner.session.places.sharding
    text = statement.text.decode("utf-8", "surrogateescape")
    lexemes = lex(text)
    at = find(lexemes, ("for",), 0, len(lexemes))
    held = any(one.kind == "word" and one.text == "hold" and lexemes[number - 1].text == "with"
               for number, one in enumerate(lexemes[:at]))
    if sharding.plain(route) or at >= len(lexemes) or not (held or runner.tx.in_block):
        await runner.at_coordinator(route, statement, out)      # which says what is wrong, if something is
        return
    head, query = text[: lexemes[at].end], text[lexemes[at].end :]
    raw = query.encode("utf-8", "surrogateescape")
    plan = sharding.gathered(raw, runner.link.router.route(raw), statement.search_path)
    if isinstance(plan, Refusal):
        raise refused(plan.construct, plan.hint, plan.sqlstate)
    if isinstance(plan, Single):
        await runner.at_coordinator(route, statement, out)
        return
    if isinstance(plan, Overview):
        if held:
            (await runner.tx.attach()).server.flags |= route.flags
        cursor = replace(plan, text=head.encode("utf-8", "surrogateescape") + b" " + plan.text)
        await run_overview(runner.tx, cursor, statement, out, keep=True)
        return
    assert isinstance(plan, Gather)
    gather = Gather(plan.pulls, (head.encode("utf-8", "surrogateescape") + b" ", *plan.text), plan.why)
    if held:
        (await runner.tx.attach()).server.flags |= route.flags
    await run_gather(runner.tx, gather, statement, out, keep=True)


# -- prepared statements

async def _execute(runner: Any, route: Any, statement: Statement, out: Output) -> None:
    """EXECUTE: a statement over sharded tables runs with the arguments as its parameters."""
    tx = runner.tx
    if runner.link.server is None:              # nothing was prepared in SQL, or it would have been kept
        await runner.at_coordinator(route, statement, out)
        return
    lexemes = lex(statement.text.decode("utf-8", "surrogateescape"))
    if len(lexemes) < 2:
        await runner.at_coordinator(route, statement, out)
        return
    home = await tx.attach()
    rows = await home.run(_PREPARED.format(name=quote_literal(lexemes[1].text)))
    prepared = _text_of(rows)
    inner = runner.link.router.route(prepared) if prepared is not None else None
    if prepared is None or inner is None or runner.session.places.sharding.plain(inner):
        await runner.at_coordinator(route, statement, out)
        return
    types = [(int(oid), name.decode()) for _, oid, name in rows if oid is not None and name is not None]
    values = await _arguments(home, statement, lexemes, [name for _, name in types])
    bind = Bind(tuple(oid for oid, _ in types), (0,), values)
    formats = statement.formats
    await runner.dispatch(inner, replace(statement, text=prepared, bind=bind, formats=formats, simple=False,
                                         flags=inner.flags, write_slots=inner.write_slots,
                                         read_slots=inner.read_slots), out)


def _text_of(rows: list[list[bytes | None]]) -> bytes | None:
    """The statement behind PREPARE name (types) AS."""
    if not rows or rows[0][0] is None:
        return None
    text = rows[0][0].decode("utf-8", "surrogateescape")
    lexemes = lex(text)
    at = find(lexemes, ("as",), 0, len(lexemes))
    if at >= len(lexemes):
        return None
    return text[lexemes[at].end :].strip().rstrip(";").encode("utf-8", "surrogateescape")


async def _arguments(home: Any, statement: Statement, lexemes: list[Lexeme], types: list[str],
                     ) -> tuple[bytes | None, ...]:
    """The arguments, evaluated by the coordinator as values of the parameters' types."""
    text = statement.text.decode("utf-8", "surrogateescape")
    given: list[str] = []
    if len(lexemes) > 2 and is_op(lexemes, 2, "("):
        given = [text[lexemes[start].start : lexemes[end - 1].end]
                 for start, end in split(lexemes, 3, close_of(lexemes, 2))]
    if len(given) != len(types):
        raise refused(f'wrong number of parameters for prepared statement "{lexemes[1].text}"', "", "42601")
    if not types:
        return ()
    columns = ", ".join(f"CAST({value} AS {name})::pg_catalog.text" for value, name in zip(given, types, strict=True))
    return tuple((await home.run("SELECT " + columns))[0])
