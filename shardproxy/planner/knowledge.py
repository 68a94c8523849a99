"""What the planner of queries asks of a dialect.

Invariant: a dialect that is not sure gives the careful answer: another family, ``unknown``, not sortable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shardproxy.catalog.tables import Column

from .nodes import Expr, Query

__all__ = ["Knowledge"]


class Knowledge(Protocol):
    """Types, functions and the grammar of a dialect."""

    def parse(self, text: str) -> Query | None:
        """The query that a text is; None: not understood."""

    def function(self, expr: Expr) -> str:
        """Of a call, what it is among the server's own functions: ``immutable``, ``stable``, ``clock`` (depends on
        the time of the transaction), ``session`` (on the connection), ``volatile``, ``sequence``, or ``unknown``."""

    def aggregate(self, expr: Expr) -> bool:
        """Whether a call is one of the server's own aggregates."""

    def reads_columns(self, expr: Expr) -> bool:
        """Whether a call sees of a row nothing but the names, types and values of its columns."""

    def clock_hole(self, expr: Expr) -> tuple[int, str] | None:
        """Of a call that gives the time of the transaction or statement: the hole for it (see ``NOW`` in plan.py), and
        the type that it is cast to; None: it is no such call."""

    def clock_literal(self, expr: Expr) -> bool:
        """Whether a constant means the time (``'now'::timestamptz``)."""

    def family(self, type_oid: int) -> str:
        """Types whose values are equal across each other and then live on the same shard; "" if none."""

    def named_family(self, type_name: str) -> str:
        """The same of a type as a cast names it; "" also if the cast may change the value (a modifier)."""

    def ranged(self, family: str) -> bool:
        """Whether values of the family are in the same order to the proxy and to every comparison of the server."""

    def takes(self, family: str, how: str, text: str | None) -> bool:
        """Whether a literal without a cast keeps its value when compared with the family (``how`` as in ``Expr``)."""

    def sort_type(self, column: Column) -> int:
        """OID that the proxy compares exactly as the server sorts this column; 0: it cannot."""

    def type_of(self, expr: Expr, lookup: Callable[[Expr], Column | None]) -> str:
        """SQL name of an expression's type, "" if not sure. ``lookup``: the table's column that a column shows."""

    def column_type(self, column: Column) -> str:
        """SQL type of a column with its collation, for a temporary column of the same; "" if it cannot be told."""

    def sort_type_of(self, expr: Expr, lookup: Callable[[Expr], Column | None]) -> int:
        """As ``sort_type``, of an expression that is not a column."""

    def folds(self, name: str, column: Column | None) -> tuple[str, int]:
        """How values of an aggregate over a column (None: over rows) combine, and the OID of its result.

        ("", 0): they do not, or not exactly.
        """

    def result_name(self, expr: Expr) -> str:
        """Name of an output column without alias; "" if not sure."""

    def quote(self, name: str) -> str:
        """A name as SQL."""

    def row_id(self, alias: str) -> str:
        """SQL, as text, of where a row is on its server while it is locked; "" if there is no such thing."""
