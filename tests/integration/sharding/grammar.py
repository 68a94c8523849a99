"""Hypothesis strategies for rows and statements over the tables ``ga``, ``gb`` (sharded by ``k``), ``gr`` (reference)
and ``gu`` (unsharded). Every statement has one right answer: what orders or limits rows orders them completely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["TABLES", "Script", "rows_of", "scripts"]

TABLES = {"ga": ("k", "g", "t", "n"), "gb": ("k", "i", "g", "t", "n"), "gr": ("g", "name"), "gu": ("k", "name")}
TYPES = {"k": "i", "i": "i", "g": "i", "t": "t", "n": "n", "name": "t"}
ROWS_MAX = 14
Draw = Any


@dataclass(frozen=True)
class Script:
    """Rows of the tables, as SQL values, and the statements to run on them."""

    rows: dict[str, list[str]]
    statements: list[str]


keys = st.one_of(st.none(), st.integers(-3, 12), st.sampled_from([2, 2, 2147483647]))
small = st.one_of(st.none(), st.integers(-2, 5))
texts = st.sampled_from([None, "", "a", "A", "b", "ab", "ä", "Z", "%", "o'k"])
numbers = st.one_of(st.none(), st.sampled_from(["0", "1.50", "-2.25", "10.00", "999999.99", "1.5"]))


def literal(value: object) -> str:
    """A value as SQL."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


@st.composite
def rows_of(draw: Draw, table: str) -> list[str]:
    """Rows as they stand in VALUES; primary keys are kept."""
    found: dict[Any, str] = {}
    for number in range(draw(st.integers(0, ROWS_MAX))):
        values: list[object] = []
        for column in TABLES[table]:
            source = {"k": keys, "i": st.just(number), "g": small, "t": texts, "n": numbers, "name": texts}[column]
            values.append(draw(source))
        if table != "ga" and values[0] is None:
            values[0] = 0
        unique = number if table == "ga" else (values[0], values[1]) if table == "gb" else values[0]
        found.setdefault(unique, "(" + ", ".join(map(literal, values)) + ")")
    return list(found.values())


class Query:
    """Makes one query; ``columns`` are those of the present FROM as (expression, kind)."""

    def __init__(self, draw: Draw, depth: int = 0) -> None:
        self.draw, self.depth = draw, depth
        self.columns: list[tuple[str, str]] = []

    def pick(self, *options: Any) -> Any:
        """One of these."""
        return self.draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases; shrinks to False."""
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def _table(self, table: str, alias: str) -> str:
        self.columns += [(f"{alias}.{column}", TYPES[column]) for column in TABLES[table]]
        return f"{table} {alias}"

    def source(self) -> str:
        """A FROM clause."""
        kind = self.pick("a", "b", "join", "cross", "left", "reference", "reference left", "unsharded", "grouped",
                         "union", "full", "self", "limited", "cte", "lateral")
        if kind in ("a", "b"):
            return self._table(f"g{kind}", kind)
        if kind in ("grouped", "union", "limited") and self.depth < 2:
            return self._derived(kind)
        if kind == "lateral":
            one = self._table("ga", "a")
            self.columns.append(("l.m", "i"))
            return f"{one} left join lateral (select max(b.g) m from gb b where b.{self.pick('k', 'g')} = a.k) l on true"
        first, second, how, on = {
            "join": ("ga", "gb", "join", "x.k = y.k"),
            "cross": ("ga", "gb", "join", "x.g = y.g"),
            "left": ("ga", "gb", "left join", self.pick("x.k = y.k", "x.k = y.k and y.g > 1", "x.g = y.k")),
            "full": ("ga", "gb", "full join", "x.k = y.k"),
            "self": ("gb", "gb", "join", self.pick("x.k = y.k", "x.k = y.k and x.i < y.i", "x.k = y.g")),
            "reference": ("ga", "gr", self.pick("join", "left join"), "x.g = y.g"),
            "reference left": ("gr", "gb", self.pick("left join", "right join", "full join"), "x.g = y.g"),
        }.get(kind, ("ga", "gu", self.pick("join", "left join", "right join"), "x.k = y.k"))
        left = self._table(first, "x")
        return f"{left} {how} {self._table(second, 'y')} on {on}"

    def _derived(self, kind: str) -> str:
        inner = Query(self.draw, self.depth + 1)
        if kind == "grouped":
            self.columns += [("s.g", "i"), ("s.c", "i"), ("s.m", "t")]
            key = self.pick("k", "g")
            text = f"select {key} as g, count(*)::int as c, max(t) as m from ga {inner.only('ga')} group by {key}"
        elif kind == "union":
            self.columns += [("s.k", "i"), ("s.t", "t")]
            operator = self.pick("union", "union all", "intersect", "except", "except all")
            text = f"select k, t from ga {inner.only('ga')} {operator} select k, t from gb"
        else:
            self.columns += [("s.k", "i"), ("s.g", "i")]
            text = f"select k, g from gb order by g, k, i limit {self.pick(0, 1, 3, 100)}"
        return f"({text}) s"

    def only(self, table: str) -> str:
        """A WHERE for one table without an alias, or nothing."""
        self.columns = [(column, TYPES[column]) for column in TABLES[table]]
        return self.where()

    def where(self) -> str:
        """A WHERE clause, or nothing."""
        return f"where {self.condition()}" if self.chance(65) else ""

    def condition(self, level: int = 0) -> str:
        """A truth value."""
        if level < 2 and self.chance(35):
            operator = self.pick("and", "or")
            return f"({self.condition(level + 1)} {operator} {self.condition(level + 1)})"
        if self.chance(8):
            return f"not ({self.condition(level + 1)})"
        column, kind = self.pick(*self.columns)
        return self._subquery(column, kind) if self.chance(25) and self.depth < 2 else self._simple(column, kind)

    def value(self, kind: str) -> str:
        """A constant."""
        return literal(self.draw({"i": st.integers(-1, 6), "t": texts, "n": numbers}[kind]))

    def _simple(self, column: str, kind: str) -> str:
        form = self.pick("=", "in", "null", "<", ">=", "<>", "between", "distinct")
        if form == "null":
            return f"{column} is {self.pick('', 'not ')}null"
        if form == "in":
            count = self.draw(st.integers(1, 3))
            return f"{column} {self.pick('', 'not ')}in ({', '.join(self.value(kind) for _ in range(count))})"
        if form == "between":
            return f"{column} between {self.value(kind)} and {self.value(kind)}"
        if form == "distinct":
            return f"{column} is {self.pick('', 'not ')}distinct from {self.value(kind)}"
        return f"{column} {form} {self.value(kind)}"

    def _subquery(self, column: str, kind: str) -> str:
        inner = {"i": self.pick("k", "g"), "t": "t", "n": "n"}[kind]
        table = self.pick("ga", "gb")
        form = self.pick("in", "not in", "exists", "not exists", "scalar", "all")
        if form in ("in", "not in"):
            nested = Query(self.draw, self.depth + 1)
            return f"{column} {form} (select q.{inner} from {table} q {nested._for('q', table)})"
        if form in ("exists", "not exists"):
            return f"{form} (select from {table} q where q.{inner} = {column})"
        if form == "all":
            return f"{column} {self.pick('>', '=', '<=')} {self.pick('all', 'any')} (select q.{inner} from {table} q)"
        return f"{column} {self.pick('=', '<', '>')} (select {self.pick('min', 'max')}(q.{inner}) from {table} q)"

    def _for(self, alias: str, table: str) -> str:
        self.columns = [(f"{alias}.{column}", TYPES[column]) for column in TABLES[table]]
        return self.where()

    def aggregate(self) -> str:
        """An aggregate over the columns of FROM."""
        column, kind = self.pick(*self.columns)
        options = ["count(*)", f"count({column})", f"count(distinct {column})", f"min({column})", f"max({column})",
                   f"array_agg({column} order by {column})", f"count(*) filter (where {column} is null)",
                   f"bool_or({column} is null)"]
        if kind == "t":
            options.append(f"string_agg({column}, ',' order by {column})")
        else:
            options += [f"sum({column})", f"avg({column})", f"sum(distinct {column})", f"coalesce(sum({column}), 0)",
                        f"variance({column})"]
        return str(self.pick(*options))

    def select(self) -> str:
        """A whole query with its ORDER BY."""
        source = self.source()
        where = self.where()
        if self.chance(45):
            body, count = self._grouped(source, where)
        else:
            count = self.draw(st.integers(1, 3))
            columns = [self.pick(*self.columns)[0] for _ in range(count)]
            body = f"select {self.pick('', '', 'distinct ')}{', '.join(columns)} from {source} {where}"
        return f"{body} {self._order(count)}"

    def _grouped(self, source: str, where: str) -> tuple[str, int]:
        groups = [self.pick(*self.columns)[0] for _ in range(self.draw(st.integers(0, 2)))]
        aggregates = [self.aggregate() for _ in range(self.draw(st.integers(1, 3)))]
        body = f"select {', '.join([*groups, *aggregates])} from {source} {where}"
        if groups:
            body += f" group by {', '.join(dict.fromkeys(groups))}"
        if self.chance(25):
            body += f" having {self.pick('count(*) > 1', 'count(*) <> 2', f'{self.aggregate()} is not null')}"
        return body, len(groups) + len(aggregates)

    def _order(self, count: int) -> str:
        if not self.chance(70):
            return ""
        directions = ("", "", " desc", " nulls first", " desc nulls last")
        text = "order by " + ", ".join(f"{number + 1}{self.pick(*directions)}" for number in range(count))
        if self.chance(45):
            text += f" limit {self.pick('0', '1', '2', '5', 'null', '100')}"
        return text + (f" offset {self.pick(0, 1, 3, 50)}" if self.chance(30) else "")


def write(draw: Draw) -> str:
    """A statement that changes ``ga`` or ``gb``."""
    query = Query(draw, depth=1)
    table = query.pick("ga", "gb")
    where = query.only(table)
    if table == "gb":
        change = query.pick("g = g + 1", "t = t || 'x'", "n = null", "k = k + 100", "g = (select count(*) from ga)",
                            "g = (select max(a.g) from ga a where a.k = gb.k)", "i = i + 1000, n = i")
    else:
        change = query.pick("g = k", "t = coalesce(t, 'none')", "n = n * 2", "k = g", "k = k + 1, g = k", "k = null")
    return str(query.pick(
        f"update {table} set {change} {where}",
        f"delete from {table} {where}",
        f"insert into ga select {query.pick('k', 'g', 'k + 1')}, g, t, n from {table} {where}",
        f"insert into ga (k, t) select k, name from gu {query.pick('', 'where k > 2')}",
        f"insert into ga (g, k) values (1, {query.value('i')}), (2, {query.value('i')}), (3, NULL)",
        f"insert into gb select k, 500, max(g), min(t), sum(n) from {table} where k is not null group by k",
        "insert into gb (k, i, g) values (1, 1, 7), (5, 0, 8), (6, 600, 9) on conflict (k, i) do update "
        "set g = excluded.g",
    ))


@st.composite
def scripts(draw: Draw, writes: bool = True) -> Script:
    """Rows, and a few statements."""
    rows = {table: draw(rows_of(table)) for table in TABLES}
    count = draw(st.integers(1, 5))
    statements: Sequence[str] = [
        write(draw) if writes and draw(st.integers(0, 3)) == 3 else Query(draw).select() for _ in range(count)]
    return Script(rows, [" ".join(statement.split()) for statement in statements])
