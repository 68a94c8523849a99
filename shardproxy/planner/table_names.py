"""Names of tables that a query reads, as they are written.

Invariant: each name without a schema that stands in FROM is told, in subqueries and queries of WITH too.
"""

from __future__ import annotations

from collections.abc import Iterator

from .nodes import Expr, Query, Select, SetOp, Source, Values, walk

__all__ = ["table_names"]


def table_names(query: Query) -> Iterator[str]:
    """Names without schema of all tables in FROM, in subqueries and CTEs too."""
    for cte in query.ctes:
        if cte.query is not None:
            yield from table_names(cte.query)
    yield from _body_names(query.body)
    for expr in (*(sort.expr for sort in query.order), *(one for one in (query.limit, query.offset) if one)):
        yield from _expression_names(expr)


def _body_names(body: Select | SetOp | Values | Query | None) -> Iterator[str]:
    if isinstance(body, Query):
        yield from table_names(body)
    elif isinstance(body, SetOp):
        yield from table_names(body.left)
        yield from table_names(body.right)
    elif isinstance(body, Values):
        for row in body.rows:
            for expr in row:
                yield from _expression_names(expr)
    elif isinstance(body, Select):
        for source in body.sources:
            yield from _source_names(source)
        for one in (*(item.expr for item in body.items), body.where, *body.group, body.having, *body.distinct_on,
                    *body.windows.values()):
            if one is not None:
                yield from _expression_names(one)


def _source_names(source: Source) -> Iterator[str]:
    if source.kind == "table" and len(source.names) == 1:
        yield source.names[0]
    if source.query is not None:
        yield from table_names(source.query)
    for side in (source.left, source.right):
        if side is not None:
            yield from _source_names(side)
    for expr in (*source.calls, *([source.condition] if source.condition is not None else ())):
        yield from _expression_names(expr)


def _expression_names(expr: Expr) -> Iterator[str]:
    for part in walk(expr):
        if part.query is not None:
            yield from table_names(part.query)
