"""Columns of a query's result: which are there, by name and number, and what their types are.

Invariant: a number or a type that is told is right for the catalog that the query was planned with.
"""

from __future__ import annotations

from shardproxy.catalog.tables import Column

from .analysis import Analysis
from .conditions import bare
from .contexts import Term
from .nodes import Expr, Select
from .scopes import Block, Scope

__all__ = ["column_of", "lookup", "output_index", "output_of_column", "sort_type", "width"]


def lookup(found: Analysis, scope: Scope, expr: Expr) -> Column | None:
    """The column of a table that a column of an expression shows unchanged."""
    term = scope.resolve(expr.names)
    return column_of(found, term) if term is not None else None


def column_of(found: Analysis, term: Term) -> Column | None:
    """The column of a table that a term shows unchanged."""
    relation = found.relations[term[0]]
    if relation.table is not None:
        return relation.table.column(term[1])
    inner = relation.inner.get(term[1])
    return column_of(found, inner) if inner is not None else None


def sort_type(found: Analysis, scope: Scope, expr: Expr) -> int:
    """OID that the proxy compares as ORDER BY does; 0: it cannot, or the type is not sure."""
    inner = bare(expr)
    if inner.kind == "column":
        term = scope.resolve(inner.names)
        if term is None:
            return 0
        column = column_of(found, term)
        if column is not None:
            return found.knowledge.sort_type(column)
        return _computed(found, term)
    return found.knowledge.sort_type_of(inner, lambda one: lookup(found, scope, one))


def _computed(found: Analysis, term: Term) -> int:
    """Of a column that a query in FROM computes."""
    relation = found.relations[term[0]]
    block = relation.block
    if block is None or block.select is None or relation.columns is None:
        return 0
    place = relation.columns.index(term[1])
    if any(item.expr.kind == "star" for item in block.select.items) or place >= len(block.select.items):
        return 0
    return sort_type(found, block.scope, block.select.items[place].expr)


def width(block: Block) -> int | None:
    """How many columns the result has."""
    return len(block.outputs) if block.outputs is not None else None


def output_of_column(select: Select, number: int) -> Expr | None:
    """The expression of an output column; None behind a star."""
    for item in select.items[:number + 1]:
        if item.expr.kind == "star":
            return None
    return select.items[number].expr


def output_index(found: Analysis, block: Block, expr: Expr) -> tuple[int, Expr | None] | None:
    """The output column that an element of ORDER BY means, with its expression if one is written; None: it is none."""
    outputs, select = block.outputs, block.select
    if outputs is None or select is None:
        return None
    inner = bare(expr)
    if expr.kind == "const" and expr.how == "number" and expr.value is not None and expr.value.isdigit():
        number = int(expr.value) - 1
        return (number, _written(select, number)) if 0 <= number < len(outputs) else None
    if expr.kind == "column" and len(expr.names) == 1:
        named = [number for number, (name, _) in enumerate(outputs) if name == expr.name]
        if named and (len(named) == 1 or len({outputs[number][1] for number in named}) == 1 and outputs[named[0]][1]):
            return named[0], _written(select, named[0])
        if named:
            return None
    term = block.scope.resolve(inner.names) if inner.kind == "column" else None
    if term is not None:
        shown = [number for number, (_, output) in enumerate(outputs) if output == term]
        if shown:
            return shown[0], inner
    return None


def _written(select: Select, number: int) -> Expr | None:
    """The expression of an output column; None if a star before it hides where it is written."""
    return output_of_column(select, number) if number < len(select.items) else None
