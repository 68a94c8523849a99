"""Partial aggregation: each shard groups its own rows, the coordinator groups the groups.

Invariant: the final query has the columns of the original, with the same names and types; values that the server
computes exactly stay exact. An expression that is neither grouped nor aggregated ends the attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from .analysis import Analysis, Apart
from .colocated import meant, rows_home
from .conditions import bare
from .edits import Edit, Piece, edited, parts, whole
from .nodes import Expr, Item, Select, Sort
from .output import lookup
from .plan import Gather, Pull
from .safety import check_pushed
from .scatter import merged_filter
from .scopes import Block

__all__ = ["partial"]

_FLOATS = ("real", "double precision")
_SPREAD = ("stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop")
_EXACT = ("smallint", "integer", "bigint", "numeric")


def partial(text: str, found: Analysis) -> Gather:
    """The plan, or ``Apart``."""
    root = found.root
    assert root is not None
    select = root.select
    if select is None or not (root.aggregated or select.distinct) or found.locks or (
            select.distinct == "on"):
        raise Apart("not a plain aggregation")
    clocks = check_pushed(found)
    if not rows_home(found, root).key and rows_home(found, root).key != ():
        raise Apart("no rows of shards")
    begun = (root.query.start, root.query.body_start), (select.from_start, select.rows_end)
    if not all(any(start <= edit[0] < end for start, end in begun) for edit in clocks):
        raise Apart("the time within an aggregate")
    return _Partial(text, found, root, select, clocks).plan()


class _Partial:
    """``columns``, ``types``, ``texts``: of what each shard computes. ``numbers``: of those that it groups by."""

    def __init__(self, text: str, found: Analysis, root: Block, select: Select, clocks: Sequence[Edit] = ()) -> None:
        self.text, self.found, self.root, self.select, self.clocks = text, found, root, select, clocks
        self.columns: list[str] = []
        self.types: list[str] = []
        self.texts: list[str] = []
        self.groups: dict[tuple[int, str], str] = {}
        self.spelled: dict[str, str] = {}
        self.numbers: list[int] = []
        self.values: dict[str, str] = {}

    def plan(self) -> Gather:
        grouped = [self._group(expr) for expr in self._grouped()]
        final: list[Piece] = ["SELECT ", "DISTINCT " if self.select.distinct == "all" else ""]
        for number, item in enumerate(self.select.items):
            final += [", " if number else "", *self._item(item)]
        final += [" FROM ", 0]
        if self.select.grouped:
            edits = [(one.start, one.end, (name,)) for one, name in zip(self.select.group, grouped, strict=True)]
            final += [" ", *edited(self.text, edits, self.select.rows_end, self.select.group_end)]
        if self.select.having is not None:
            final += [" HAVING ", *self._rewritten(self.select.having)]
        final += self._tail()
        query = self.root.query
        pull = [*edited(self.text, self.clocks, query.start, query.body_start), "SELECT " + ", ".join(self.texts)]
        if self.select.from_start >= 0:
            pull += [" ", *edited(self.text, self.clocks, self.select.from_start, self.select.rows_end)]
        if self.numbers:
            pull.append("\nGROUP BY " + ", ".join(map(str, self.numbers)))
        elif not self.texts:
            raise Apart("nothing is aggregated")
        rows = Pull(merged_filter(self.found), whole(pull), tuple(self.columns), types=tuple(self.types))
        return Gather((rows,), parts(final), "each shard aggregates its own rows")

    def _grouped(self) -> list[Expr]:
        """What rows are grouped by; without aggregates DISTINCT groups by all that is selected."""
        if self.root.aggregated:
            return [meant(self.root, element) for element in self.select.group]
        if self.root.windows or any(item.expr.kind == "star" for item in self.select.items):
            raise Apart("DISTINCT windows, or a star")
        return [bare(item.expr) for item in self.select.items]

    # -- what each shard computes

    def _group(self, expr: Expr) -> str:
        """The column of what rows are grouped by, once for each."""
        term = self.root.scope.resolve(expr.names) if expr.kind == "column" else None
        known = self.groups.get(term) if term is not None else self.spelled.get(self._spelling(expr))
        if known is not None:
            return known
        name = self._column("g", expr)
        if term is not None:
            self.groups[term] = name
        self.spelled[self._spelling(expr)] = name
        self.numbers.append(len(self.columns))
        return name

    def _column(self, prefix: str, expr: Expr, type_name: str = "") -> str:
        name = f"{prefix}{len(self.columns) + 1}"
        self.types.append(type_name or self._type(expr))
        self.texts.append(self.text[expr.start:expr.end])
        self.columns.append(name)
        return name

    def _type(self, expr: Expr) -> str:
        """SQL type of an expression, with its modifier if it is a column."""
        inner = bare(expr)
        if inner.kind == "column":
            column = lookup(self.found, self.root.scope, inner)
            if column is not None:
                if not column.deterministic:
                    raise Apart("groups by a collation to which different texts are equal")
                name = self.found.knowledge.column_type(column)
                if name:
                    return name
            term = self.root.scope.resolve(inner.names)
            computed = self._computed(term) if term is not None else ""
            if computed:
                return computed
        name = self.found.knowledge.type_of(inner, lambda one: lookup(self.found, self.root.scope, one))
        if not name:
            raise Apart("the type of an expression is not sure")
        return name

    def _computed(self, term: tuple[int, str]) -> str:
        """Type of a column that a query in FROM computes."""
        relation = self.found.relations[term[0]]
        block = relation.block
        if block is None or block.select is None or relation.columns is None or any(
                item.expr.kind == "star" for item in block.select.items):
            return ""
        inner = _Partial(self.text, self.found, block, block.select)
        return inner._type(block.select.items[relation.columns.index(term[1])].expr)

    def _spelling(self, expr: Expr) -> str:
        return self.text[expr.start:expr.end]

    # -- what the coordinator computes

    def _item(self, item: Item) -> list[Piece]:
        if item.expr.kind == "star":
            raise Apart("a star among groups")
        found = self._rewritten(item.expr)
        if item.alias is not None:
            return [*found, self.text[item.expr.end:item.end]]
        name = self.found.knowledge.result_name(item.expr)
        if not name:
            raise Apart("the name of a column is not sure")
        return [*found, " AS " + '"' + name.replace('"', '""') + '"']

    def _tail(self) -> list[Piece]:
        query = self.root.query
        names = {name for name, _ in self.root.outputs or ()}
        found: list[Piece] = []
        for number, sort in enumerate(query.order):
            found += [", " if number else " ORDER BY ", *self._sort(sort, names),
                      self.text[sort.expr.end:sort.end]]
        if query.limit_start >= 0:
            found.append(" " + self.text[query.limit_start:query.limit_end])
        return found

    def _sort(self, sort: Sort, names: set[str]) -> list[Piece]:
        expr = sort.expr
        if expr.kind == "const" or (expr.kind == "column" and len(expr.names) == 1 and expr.name in names):
            return [self.text[expr.start:expr.end]]
        return self._rewritten(expr)

    def _rewritten(self, expr: Expr) -> list[Piece]:
        """The text of an expression over the shards' groups."""
        spelled = self.spelled.get(self._spelling(expr))
        if spelled is not None:
            return [spelled]
        if expr.kind == "column":
            term = self.root.scope.resolve(expr.names)
            if term is None or term not in self.groups:
                raise Apart("a column is neither grouped nor aggregated")
            return [self.groups[term]]
        if expr.query is not None or expr.over is not None or expr.kind == "star":
            raise Apart("a subquery or a window over groups")
        if expr.kind == "call" and self.found.knowledge.aggregate(expr) and expr.name != "grouping":
            return [self._combined(expr)]
        return self._parts(expr)

    def _parts(self, expr: Expr) -> list[Piece]:
        inner = [*expr.args, *(sort.expr for sort in expr.order)]
        if expr.filter is not None:
            inner.append(expr.filter)
        found: list[Piece] = []
        at = expr.start
        for part in sorted(inner, key=lambda one: one.start):
            found += [self.text[at:part.start], *self._rewritten(part)]
            at = part.end
        return [*found, self.text[at:expr.end]]

    def _combined(self, call: Expr) -> str:
        """What stands for an aggregate: computed on each shard, then put together."""
        if call.name in self.found.tables.functions or not call.plain or call.order or len(call.args) != 1 or (
                call.args[0].query is not None):
            raise Apart("an aggregate that needs the rows")
        name = call.name
        if call.distinct and name not in ("min", "max") and not self._counted_there():
            return self._distinct(call)
        if name == "count":
            column = self._column("c", call, "bigint")
            return f"COALESCE(sum({column}), 0)::bigint"
        if name in ("bool_and", "bool_or", "every"):
            return f"{name}({self._column('b', call, 'boolean')})"
        if name in ("min", "max"):
            return f"{name}({self._column('m', call, self._type(call.args[0]))})"
        kind = self._type(call.args[0]).split("(")[0]
        if name == "sum" and kind in ("smallint", "integer"):
            return f"sum({self._column('s', call, 'bigint')})::bigint"
        if name == "sum" and kind in ("bigint", "numeric"):
            return f"sum({self._column('s', call, 'numeric')})"
        if name == "sum" and kind in _FLOATS:
            return f"sum({self._column('s', call, kind)})"
        if name == "avg" and kind in (*_EXACT, *_FLOATS) and not call.distinct:
            return self._average(call, kind)
        if name in _SPREAD and kind in _EXACT and not call.distinct:
            return self._deviation(call)
        raise Apart("an aggregate that needs the rows")

    def _distinct(self, call: Expr) -> str:
        """Each shard's values are groups of their own; the coordinator counts those that differ."""
        if call.name != "count" or call.filter is not None:
            raise Apart("DISTINCT values of all shards")
        spelling = self._spelling(call.args[0])
        name = self.values.get(spelling)
        if name is None:
            name = self.values[spelling] = self._column("d", call.args[0])
            self.numbers.append(len(self.columns))
        return f"count(DISTINCT {name})"

    def _deviation(self, call: Expr) -> str:
        """Variance and standard deviation, digit for digit as the server computes them from its own sums."""
        arg, tail = call.args[0], self.text[call.args[0].end:call.end]
        inner = f"CAST({self.text[arg.start:arg.end]} AS numeric)"
        n, total, squares = (f"v{len(self.columns) + number}" for number in (1, 2, 3))
        self.columns += [n, total, squares]
        self.types += ["bigint", "numeric", "numeric"]
        self.texts += [f"count({inner}{tail}", f"sum({inner}{tail}", f"sum({inner} * {inner}{tail}"]
        count = f"sum({n})"
        over = f"{count} * sum({squares}) - sum({total}) * sum({total})"
        under = f"{count} * {count}" if call.name.endswith("_pop") else f"{count} * ({count} - 1)"
        variance = f"({over}) / ({under})"
        result = variance if call.name.startswith("var") else (
            f"round(sqrt({variance} * 1.000000000000000000000000), scale({variance}))")
        return f"(CASE WHEN {under} > 0 THEN CASE WHEN {over} <= 0 THEN 0 ELSE {result} END END)"

    def _average(self, call: Expr, kind: str) -> str:
        arg, tail = call.args[0], self.text[call.args[0].end:call.end]
        as_type = "double precision" if kind in _FLOATS else "numeric"
        inner = self.text[arg.start:arg.end]
        total, count = f"a{len(self.columns) + 1}", f"n{len(self.columns) + 2}"
        self.columns += [total, count]
        self.types += [as_type, "bigint"]
        self.texts += [f"sum(CAST({inner} AS {as_type}){tail}", f"count({inner}{tail}"]
        return f"(sum({total}) / NULLIF(sum({count}), 0)" + ("::double precision)" if kind in _FLOATS else ")")

    def _counted_there(self) -> bool:
        """Whether each shard can count all DISTINCT values by itself: else its rows are in smaller groups."""
        return all(len(call.args) == 1 and self._on_one_shard(call.args[0]) for call in self.found.calls
                   if call.distinct and call.name not in ("min", "max"))

    def _on_one_shard(self, expr: Expr) -> bool:
        """Whether equal values are on one shard, so that each shard's distinct ones are all distinct."""
        inner = bare(expr)
        term = self.root.scope.resolve(inner.names) if inner.kind == "column" else None
        key = rows_home(self.found, self.root).key
        return term is not None and key is not None and len(key) == 1 and self.root.context.same(key[0], term)
