"""Plans of statements that change rows: INSERT, UPDATE, DELETE, MERGE and COPY over sharded and reference tables.

Invariant: a plan changes exactly the rows that one database with all the data would change, each where it lives (a
reference table's: everywhere), or it is a ``Refusal``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shardproxy.catalog.tables import Tables
from shardproxy.topology.layout import Layout

from . import change, copy_statement, insert_from
from .analysis import Unplannable
from .expressions import Judge
from .insert import parse_insert, plan_values
from .knowledge import Knowledge
from .lexemes import Lexeme, Unreadable, close_of, is_op, lex, word
from .parted import plan_parted
from .plan import COORDINATOR, Parted, Plan, Push, Reference, Refusal, Single, Write
from .readings import ViewRead
from .target import Scope
from .views import ROUNDS_MAX, put_in

__all__ = ["plan_write"]


def plan_write(text: str, tree: Any, layout: Layout, tables: Tables, search_path: Sequence[str],
               knowledge: Knowledge) -> Plan:
    """The plan of one INSERT, UPDATE, DELETE, MERGE or COPY. ``tree``: not needed."""
    came = text
    for _ in range(ROUNDS_MAX):
        try:
            found = _plan(Scope(text, layout, tables, tuple(search_path), knowledge, Judge(knowledge, tables)))
            return found if text == came else _of_text(found, text)
        except ViewRead as met:
            try:
                text = put_in(text, met.source, met.view, layout, tables, knowledge)
            except Unplannable as problem:
                return Refusal(problem.construct, problem.hint)
    return Refusal("views nested too deep, in a statement that writes")


def _of_text(plan: Plan, text: str) -> Plan:
    """A plan that was made of another text than the one that came: none of it runs as that came."""
    if isinstance(plan, Write):
        plan = plan.spread
    whole = (text.encode("utf-8", "surrogateescape"),)
    if isinstance(plan, Push):
        return replace(plan, text=plan.text or whole, own=True)
    return replace(plan, text=plan.text or whole) if isinstance(plan, Reference) else plan


def _plan(scope: Scope) -> Plan:
    text = scope.text
    try:
        lexemes = lex(text)
        start = _behind_with(lexemes)
        kind = word(lexemes, start)
        if start and any(word(lexemes, i) in ("insert", "update", "delete", "merge") and is_op(lexemes, i - 1, "(")
                         for i in range(start)):
            return _parted(scope, lexemes[start - 1].end)
        if kind == "insert":
            return _insert(scope, lexemes, start)
        if kind == "copy":
            return copy_statement.plan(scope, lexemes)
        if kind in ("update", "delete", "merge"):
            return change.plan(scope, lexemes, start)
    except (Unreadable, IndexError):
        pass
    return Refusal("the statement could not be understood for planning over several servers",
                   "name one shard with a hint: /* shardproxy: shard=NAME */")


def _behind_with(lexemes: list[Lexeme]) -> int:
    """Index of the statement behind WITH."""
    if word(lexemes, 0) != "with":
        return 0
    at = 1 + (word(lexemes, 1) == "recursive")
    while True:
        at += 1
        if is_op(lexemes, at, "("):
            at = close_of(lexemes, at) + 1
        if word(lexemes, at) != "as":
            raise Unreadable("with")
        at += 1
        while word(lexemes, at) in ("not", "materialized"):
            at += 1
        at = close_of(lexemes, at) + 1
        if not is_op(lexemes, at, ","):
            return at
        at += 1


def _parted(scope: Scope, end: int) -> Plan:
    """A statement whose WITH, which ends at ``end``, writes."""
    query = scope.knowledge.parse(scope.text[:end] + " SELECT 1")
    if query is None:
        raise Unreadable("with")
    rest = (scope.layout, scope.search_path, scope.knowledge)

    def plan(text: str, tables: Tables) -> Plan:
        return plan_write(text, None, rest[0], tables, rest[1], rest[2])

    found = plan_parted(scope, query.ctes, query.recursive, plan, plan)
    if isinstance(found, Parted) and all(isinstance(step.plan, Single) for step in found.steps):
        return Single(COORDINATOR, "no sharded table is named")
    return found


def _insert(scope: Scope, lexemes: list[Lexeme], start: int) -> Plan:
    insert = parse_insert(scope.text, lexemes, start)
    layout, table = scope.target(insert.name)
    if layout is None:
        return insert_from.into_unsharded(scope, insert)
    if table is None:
        return Single(COORDINATOR, "the table is not known")
    if table.kind not in "rp" or table.rules:
        return Refusal(f'INSERT into "{table.name}", which is not a plain sharded table')
    if (refusal := insert_from.check_returned(scope, insert, layout)) is not None:
        return refusal
    if layout.reference:
        return insert_from.into_reference(scope, insert, table, layout)
    if start or insert.kind == "query":
        return insert_from.plan(scope, insert, table, layout)
    return plan_values(insert, table, layout, scope.judge, lambda: insert_from.staged(scope, insert, table, layout))
