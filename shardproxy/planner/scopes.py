"""What the names of a query mean: relations in their scopes, columns in their relations.

Invariant: a name is resolved only where the database cannot resolve it otherwise; else it is ``None``, and whoever
asks knows nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardproxy.catalog.tables import Table
from shardproxy.topology.layout import TableLayout

from .contexts import Context, Term
from .nodes import Expr, Query, Select, Source

__all__ = ["Block", "CteName", "Relation", "Scope", "Sub"]


@dataclass(slots=True, eq=False)
class Relation:
    """Something in FROM. ``kind``: table, query, cte, function. ``columns``: their names, None if not known.

    ``layout``: of a table that lives on shards. ``inner``: the columns that its columns show unchanged (not
    equal to them, if it is read more than once).
    ``block``: what a query or CTE is. ``nullable``: an outer join may put NULLs in its place.
    """

    number: int
    kind: str
    source: Source
    context: Context
    alias: str
    columns: tuple[str, ...] | None = None
    table: Table | None = None
    layout: TableLayout | None = None
    block: Block | None = None
    nullable: bool = False
    inner: dict[str, Term] = field(default_factory=dict)
    shared: bool = False

    @property
    def sharded(self) -> bool:
        """Whether each shard has a part of it."""
        return self.layout is not None and not self.layout.reference

    def term(self, column: str) -> Term:
        """Its column."""
        return self.number, column

    def key(self) -> tuple[Term, ...]:
        """The columns that say on which shard a row is."""
        return tuple(self.term(column) for column in self.layout.key) if self.layout is not None else ()


@dataclass(slots=True, eq=False)
class CteName:
    """A query of WITH. ``uses``: how often it is read. ``block``: analysed already, if more than once."""

    name: str
    columns: tuple[str, ...]
    query: Query
    scope: Scope
    recursive: bool
    uses: int = 0
    block: Block | None = None


@dataclass(slots=True, eq=False)
class Scope:
    """Relations that column names may mean, CTEs that table names may mean."""

    parent: Scope | None = None
    relations: list[Relation] = field(default_factory=list)
    ctes: dict[str, CteName | None] = field(default_factory=dict)
    merged: dict[str, Term | None] = field(default_factory=dict)

    def cte(self, name: str) -> tuple[bool, CteName | None]:
        """Whether a table name means a CTE, and which (None: the recursive one that is being defined)."""
        here: Scope | None = self
        while here is not None:
            if name in here.ctes:
                return True, here.ctes[name]
            here = here.parent
        return False, None

    def relation(self, names: tuple[str, ...]) -> Relation | None:
        """The relation that qualifies a column."""
        here: Scope | None = self
        while here is not None:
            for one in here.relations:
                if one.alias == names[-1] and (len(names) == 1 or (
                        one.source.alias is None and one.table is not None and one.table.schema == names[-2])):
                    return one
            here = here.parent
        return None

    def resolve(self, names: tuple[str, ...]) -> Term | None:
        """The column that a name means; None if it is not sure."""
        if len(names) > 1:
            relation = self.relation(names[:-1])
            if relation is None or relation.columns is None or names[-1] not in relation.columns:
                return None
            return relation.term(names[-1])
        here: Scope | None = self
        while here is not None:
            if names[0] in here.merged:
                return here.merged[names[0]]
            found = [one for one in here.relations if one.columns is not None and names[0] in one.columns]
            if found:
                return found[0].term(names[0]) if len(found) == 1 else None
            if any(one.columns is None for one in here.relations):
                return None
            here = here.parent
        return None


@dataclass(slots=True, eq=False)
class Sub:
    """A subquery in an expression. ``decides``: rows of the block are only kept if it is true."""

    expr: Expr
    block: Block
    context: Context
    decides: bool


@dataclass(slots=True, eq=False)
class Block:
    """One SELECT, set operation or VALUES. ``outputs``: name and term of each column, None if not known.

    ``plain``: it has no LIMIT, grouping, window or the like: a condition on its output may be checked on its input.
    ``by_group``: a condition on a column of its output decides about whole groups. ``aggregated``: rows become groups.
    """

    query: Query
    scope: Scope
    context: Context
    select: Select | None = None
    operation: str = ""
    parts: list[Block] = field(default_factory=list)
    outputs: list[tuple[str, Term | None]] | None = None
    subs: list[Sub] = field(default_factory=list)
    relations: dict[int, Relation] = field(default_factory=dict)
    nullable: dict[int, Context] = field(default_factory=dict)
    plain: bool = False
    by_group: bool = False
    aggregated: bool = False
    windows: list[Expr] = field(default_factory=list)
