"""A query as the planner sees it: every node knows where it stands in the text.

Invariant: ``text[node.start:node.end]`` is the node, complete, with its own parentheses. Nothing is rendered from a
tree; whoever needs the text of a node cuts it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Cte", "Expr", "Item", "Query", "Select", "SetOp", "Sort", "Source", "Token", "Values", "conjuncts", "walk"]


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: word, quoted, string, odd (a literal whose value is not known), number, param, op, end.

    ``text``: a word in lower case, the value of a quoted name or literal.
    """

    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Expr:
    """``kind``: column, star, const, param, call, cast, op, is, in, between, row, array, index, field, sub, case,
    paren, other. ``name``: operator (lower case), function, type, or what kind of subquery: exists, scalar, in, any,
    all, array. ``names``: of a column or function with its qualifiers. ``value``: of a constant, None for NULL.

    ``how`` of a constant: string, number, odd, null, bool. ``negated``: NOT IN, IS NOT, NOT BETWEEN.
    """

    kind: str
    start: int
    end: int
    name: str = ""
    args: list[Expr] = field(default_factory=list)
    names: tuple[str, ...] = ()
    value: str | None = None
    how: str = ""
    param: int = 0
    query: Query | None = None
    negated: bool = False
    distinct: bool = False
    order: list[Sort] = field(default_factory=list)
    filter: Expr | None = None
    over: Expr | None = None            # kind "window": args are PARTITION BY, name is the window that it refines
    plain: bool = True                  # a call written name(arguments) and nothing else


@dataclass(slots=True, eq=False)
class Sort:
    """An element of ORDER BY. ``using``: an operator was named."""

    expr: Expr
    start: int
    end: int
    descending: bool = False
    nulls_first: bool = False
    using: bool = False


@dataclass(slots=True, eq=False)
class Item:
    """An element of a select list."""

    expr: Expr
    alias: str | None
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Source:
    """An element of FROM. ``kind``: table, query, function, join. ``start``..``end`` cover it with its alias.

    A table: ``names`` (with qualifiers) stand at ``name_start``..``name_end``. A join: ``join`` is inner, left, right,
    full or cross; ``condition`` its ON, ``using`` its columns (None: no USING), ``natural``. ``alias``: names of its
    sides mean nothing outside; ``using_alias``: of the columns of USING.
    ``command``: where the word TABLE stands, if that is all of the query but the name.
    """

    kind: str
    start: int
    end: int
    names: tuple[str, ...] = ()
    name_start: int = 0
    name_end: int = 0
    alias: str | None = None
    alias_columns: tuple[str, ...] = ()
    lateral: bool = False
    only: bool = False
    sampled: bool = False
    query: Query | None = None
    calls: list[Expr] = field(default_factory=list)
    join: str = ""
    left: Source | None = None
    right: Source | None = None
    condition: Expr | None = None
    using: tuple[str, ...] | None = None
    natural: bool = False
    using_alias: str = ""
    command: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class Select:
    """``distinct``: "" (no), "all", "on" (``distinct_on``). ``grouping``: GROUPING SETS, CUBE, ROLLUP or GROUP BY
    DISTINCT. ``list_start``..``list_end``: the select list.
    ``from_start``..``rows_end``: FROM and WHERE (-1: no FROM). ``rows_end``..``group_end``: GROUP BY, if there is."""

    start: int
    end: int
    items: list[Item]
    list_start: int
    list_end: int
    from_start: int = -1
    rows_end: int = -1
    group_end: int = -1
    distinct: str = ""
    distinct_on: list[Expr] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    where: Expr | None = None
    group: list[Expr] = field(default_factory=list)
    grouped: bool = False
    grouping: bool = False
    having: Expr | None = None
    windows: dict[str, Expr] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Values:
    """VALUES (...), (...)."""

    start: int
    end: int
    rows: list[list[Expr]]


@dataclass(slots=True, eq=False)
class SetOp:
    """``name``: union, intersect, except."""

    name: str
    all: bool
    left: Query
    right: Query


@dataclass(slots=True, eq=False)
class Cte:
    """A query of WITH. ``query`` None: it is no SELECT, but what stands at ``inner_start``..``inner_end``."""

    name: str
    columns: tuple[str, ...]
    query: Query | None
    start: int
    end: int
    inner_start: int = 0
    inner_end: int = 0


@dataclass(slots=True, eq=False)
class Query:
    """A query expression. ``body_end``: where its last clause before ORDER BY, LIMIT and locks ends; ``tail_end``:
    where LIMIT would stand, behind ORDER BY. ``limit_start``: of the first of LIMIT, OFFSET, FETCH (-1: none).

    ``limit`` None: none, or ALL. ``locks``: names of each FOR clause (empty: all tables).
    """

    start: int
    end: int = 0
    ctes: list[Cte] = field(default_factory=list)
    recursive: bool = False
    body: Select | SetOp | Values | Query | None = None
    body_start: int = 0
    body_end: int = 0
    order: list[Sort] = field(default_factory=list)
    tail_end: int = 0
    limit: Expr | None = None
    offset: Expr | None = None
    ties: bool = False
    limit_start: int = -1
    limit_end: int = -1
    locks: list[tuple[str, ...]] = field(default_factory=list)
    skip_locked: bool = False
    lock_start: int = -1


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all in it, but not into subqueries."""
    yield expr
    for part in expr.args:
        yield from walk(part)
    for sort in expr.order:
        yield from walk(sort.expr)
    if expr.filter is not None:
        yield from walk(expr.filter)
    if expr.over is not None:
        yield from walk(expr.over)


def conjuncts(expr: Expr | None) -> Iterator[Expr]:
    """What AND joins, parentheses taken away."""
    if expr is None:
        return
    if expr.kind == "paren":
        yield from conjuncts(expr.args[0])
    elif expr.kind == "op" and expr.name == "and":
        for part in expr.args:
            yield from conjuncts(part)
    else:
        yield expr
