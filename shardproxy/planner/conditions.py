"""Reads conditions: which columns they make equal, and which constants columns may have.

Invariant: a condition that is not understood says nothing. A constant is reported only if its comparison with the
column is the equality that places rows: same family of types, nothing cast on the column's side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from .contexts import Constant, Context, Term
from .knowledge import Knowledge
from .nodes import Expr, conjuncts
from .plan import Bound, KeyValue, Value

__all__ = ["Conditions"]

ROWS_MAX = 4000
"""More candidates say no more than all shards do."""


class Conditions:
    """``term``: resolves a column; ``family``: the family of a term's type."""

    def __init__(self, knowledge: Knowledge, term: Callable[[Expr], Term | None],
                 family: Callable[[Term], str]) -> None:
        self.knowledge = knowledge
        self.term = term
        self.family = family

    def add(self, condition: Expr | None, context: Context) -> None:
        """Put what a condition says into the context where it holds."""
        for one in conjuncts(condition):
            for left, right in self._pairs(one):
                a, b = self._column(left), self._column(right)
                if a is not None and b is not None and self.family(a) and self.family(a) == self.family(b):
                    context.equal.append((a, b, None))
            constant = self.constant(one)
            if constant is not None:
                context.constants.append(constant)
            context.bounds += self.bounds(one)

    def bounds(self, expr: Expr) -> Iterator[tuple[Term, Bound]]:
        """What a comparison with constants says of a column: strict ones count as if they were not."""
        expr = bare(expr)
        if expr.kind == "between" and expr.name == "between" and not expr.negated:
            yield from self._bound(expr.args[0], expr.args[1], True)
            yield from self._bound(expr.args[0], expr.args[2], False)
        elif expr.kind == "op" and expr.name in ("<", "<=", ">", ">=") and len(expr.args) == 2:
            yield from self._bound(expr.args[0], expr.args[1], expr.name[0] == ">")
            yield from self._bound(expr.args[1], expr.args[0], expr.name[0] == "<")

    def _bound(self, column: Expr, other: Expr, low: bool) -> Iterator[tuple[Term, Bound]]:
        term = self._column(bare(column))
        if term is None or not self.knowledge.ranged(self.family(term)):
            return
        value = self._value(bare(other), term)
        if value is not None and (value.value.param or value.value.text is not None):
            yield term, Bound(low, value)

    def _pairs(self, expr: Expr) -> list[tuple[Expr, Expr]]:
        """Both sides of an equality, of rows column by column."""
        if expr.kind != "op" or expr.name != "=":
            return []
        left, right = map(bare, expr.args)
        if left.kind == right.kind == "row" and len(left.args) == len(right.args):
            return [(bare(a), bare(b)) for a, b in zip(left.args, right.args, strict=True)]
        return [(left, right)]

    def _column(self, expr: Expr) -> Term | None:
        return self.term(expr) if expr.kind == "column" else None

    def constant(self, expr: Expr) -> Constant | None:
        """The columns whose values a condition gives."""
        expr = bare(expr)
        if expr.kind == "op" and expr.name == "or":
            return self._or(expr)
        if expr.kind == "op" and expr.name == "and":
            found: dict[Term, tuple[KeyValue, ...]] = {}
            for part in conjuncts(expr):
                one = self.constant(part)
                if one is not None and len(one.terms) == 1 and one.strict and one.terms[0] not in found:
                    found[one.terms[0]] = tuple(row[0] for row in one.rows)
            return self._constant(found)
        if expr.kind == "op" and expr.name == "=":
            return self._equal(expr)
        if expr.kind == "in" and not expr.negated:
            return self._in(expr)
        if expr.kind == "other" and expr.name == "= any":
            return self._any(expr)
        if expr.kind == "is" and expr.name == "null" and not expr.negated:
            term = self._column(bare(expr.args[0]))
            return None if term is None else Constant((term,), ((KeyValue(Value(0, None)),),), strict=False)
        return None

    def _equal(self, expr: Expr) -> Constant | None:
        found: dict[Term, tuple[KeyValue, ...]] = {}
        for left, right in self._pairs(expr):
            for column, other in ((left, right), (right, left)):
                term = self._column(column)
                value = None if term is None else self._value(other, term)
                if term is not None and value is not None:
                    found.setdefault(term, (value,))
        return self._constant(found)

    def _constant(self, found: dict[Term, tuple[KeyValue, ...]]) -> Constant | None:
        count = 1
        for values in found.values():
            count *= len(values)
        if not found or count > ROWS_MAX:
            return None
        return Constant(tuple(found), tuple(product(*found.values())))

    def _in(self, expr: Expr) -> Constant | None:
        left, items = bare(expr.args[0]), expr.args[1:]
        columns = [bare(one) for one in left.args] if left.kind == "row" else [left]
        terms = [self._column(column) for column in columns]
        rows: list[tuple[KeyValue, ...]] = []
        for item in items:
            inner = bare(item)
            parts = inner.args if left.kind == "row" and inner.kind == "row" else [inner]
            if len(parts) != len(terms):
                return None
            row = [None if term is None else self._value(part, term) for part, term in zip(parts, terms, strict=True)]
            if any(one is None for one in row):
                return None
            rows.append(tuple(one for one in row if one is not None))
        known = tuple(term for term in terms if term is not None)
        return Constant(known, tuple(rows)) if len(known) == len(terms) and len(rows) <= ROWS_MAX else None

    def _any(self, expr: Expr) -> Constant | None:
        term, array = self._column(bare(expr.args[0])), bare(expr.args[1])
        if term is None:
            return None
        cast = ""
        if array.kind == "cast" and array.name.endswith("[]") and not array.name.endswith("[][]"):
            cast = array.name[:-2]
            if self.knowledge.named_family(cast) != self.family(term) or not self.family(term):
                return None
            array = bare(array.args[0])
        if array.kind == "array":
            values = [self._value(bare(item), term) for item in array.args]
            known = [value for value in values if value is not None]
            if len(known) != len(values) or not known or len(known) > ROWS_MAX:
                return None
            return Constant((term,), tuple((value,) for value in known))
        if array.kind == "param":
            return Constant((term,), ((KeyValue(Value(array.param), True, cast),),))
        if array.kind == "const" and array.how == "string":
            return Constant((term,), ((KeyValue(Value(0, array.value), True, cast),),))
        return None

    def _or(self, expr: Expr) -> Constant | None:
        branches = [self.constant(part) for part in expr.args]
        known = [one for one in branches if one is not None]
        if len(known) != len(branches):
            return None
        terms = [term for term in known[0].terms if all(term in one.terms for one in known)]
        rows: list[tuple[KeyValue, ...]] = []
        for one in known:
            places = [one.terms.index(term) for term in terms]
            rows += [tuple(row[place] for place in places) for row in one.rows]
        if not terms or len(rows) > ROWS_MAX:
            return None
        return Constant(tuple(terms), tuple(dict.fromkeys(rows)), all(one.strict for one in known))

    def _value(self, expr: Expr, term: Term) -> KeyValue | None:
        """A constant or parameter that is compared with a column as the column's type compares."""
        family, expr, cast = self.family(term), bare(expr), ""
        if not family:
            return None
        if expr.kind == "cast":
            cast, expr = expr.name, bare(expr.args[0])
            if self.knowledge.named_family(cast) != family:
                return None
        if expr.kind == "param":
            return KeyValue(Value(expr.param), cast=cast)
        sign = ""
        if expr.kind == "op" and expr.name == "-" and len(expr.args) == 1:
            sign, expr = "-", bare(expr.args[0])
            if expr.how != "number":
                return None
        if expr.kind != "const" or expr.name == "interval":
            return None
        text = None if expr.value is None else sign + expr.value
        if expr.how == "number" and cast and not self.knowledge.takes(family, "number", text):
            return None
        if not self.knowledge.takes(family, expr.how, text):
            return None
        return KeyValue(Value(0, text), cast=cast)


def bare(expr: Expr) -> Expr:
    """Without the parentheses around it."""
    while expr.kind == "paren":
        expr = expr.args[0]
    return expr
