"""Whole rows of tables as values.

Invariant: where rows were gathered, a whole row is used only by what sees nothing but the names, types and order of
its columns: a temporary table has another row type.
"""

from __future__ import annotations

from collections.abc import Iterator

from .analysis import Analysis, Unplannable
from .conditions import bare
from .nodes import Expr, walk
from .scopes import Relation

__all__ = ["check_rows", "rows_of"]


def rows_of(found: Analysis) -> Iterator[tuple[Expr, Relation]]:
    """Every whole row of a sharded table that is a value, ``t`` or ``t.*`` within an expression."""
    aliases = {relation.alias for relation in found.sharded}
    for column, scope in found.columns:
        if column.name in aliases and scope.resolve(column.names) is None:
            meant = scope.relation(column.names)
            if meant is not None and meant.sharded:
                yield column, meant
    for star, scope in found.stars:
        meant = scope.relation(star.names)
        if meant is not None and meant.sharded:
            yield star, meant


def check_rows(found: Analysis) -> None:
    """Raises ``Unplannable`` if something needs the type of a row."""
    rows = {id(expr) for expr, _ in rows_of(found)}
    if not rows:
        return
    proved = {id(one) for expr in found.expressions for part in walk(expr) for one in _seen(found, part)}
    proved.update(id(expr) for expr in found.expressions if expr.kind == "star")
    if not rows <= proved:
        raise Unplannable("a whole row of a sharded table as a value over several shards", "Name its columns.")


def _seen(found: Analysis, part: Expr) -> Iterator[Expr]:
    """Arguments of which only the columns matter."""
    if part.kind == "call" and found.knowledge.reads_columns(part):
        yield from map(bare, part.args)
    elif (part.kind == "field" or part.kind == "is" and part.name == "null") and part.args[0].kind != "star":
        yield bare(part.args[0])
