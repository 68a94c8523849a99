"""Conditions that a shard may check before its rows are pulled.

Invariant: a row that a pushed condition drops could not have changed the result: the condition is checked where the
relation itself is read, no outer join stands between, and it means the same on the shard.
"""

from __future__ import annotations

from collections.abc import Container

from .analysis import Analysis
from .nodes import Expr, walk
from .safety import moves
from .scopes import Relation, Scope

__all__ = ["conditions_of", "only_about"]


def conditions_of(found: Analysis, relation: Relation, clocks: Container[int] = ()) -> list[Expr]:
    """Conjuncts about this relation alone. ``clocks``: holes for the time that may be in them."""
    return [one for one, scope, context in found.conditions
            if context is relation.context and only_about(found, one, scope, relation) and (
                moves(found, one, clocks))]


def only_about(found: Analysis, expr: Expr, scope: Scope, relation: Relation) -> bool:
    """Whether all columns of an expression are this relation's, and there is nothing to look up elsewhere."""
    columns = 0
    for part in walk(expr):
        if part.query is not None or part.kind == "star":
            return False
        if part.kind == "column":
            term = scope.resolve(part.names)
            if term is None or term[0] != relation.number or relation.source.alias_columns:
                return False
            columns += 1
        if part.kind == "call" and (found.knowledge.aggregate(part) or part.over is not None):
            return False
    return columns > 0
