"""From the nodes of a query to its meaning: relations, scopes, and the facts that hold where they are read.

Invariant: every table that the query reads is in ``Analysis.relations``, every call in ``calls``, every column in
``columns``; what cannot be placed raises ``Unplannable``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shardproxy.catalog.tables import Table, Tables
from shardproxy.topology.layout import Layout, TableLayout

from .conditions import Conditions, bare
from .contexts import Context, Term
from .knowledge import Knowledge
from .nodes import Cte, Expr, Query, Select, SetOp, Source, Values, conjuncts, walk
from .scopes import Block, CteName, Relation, Scope, Sub
from .table_names import table_names

__all__ = ["Analysis", "Apart", "Unplannable", "analyse", "layout_of"]


class Unplannable(Exception):
    """Carries what cannot be planned, and what to do about it."""

    def __init__(self, construct: str, hint: str = "") -> None:
        super().__init__(construct)
        self.construct, self.hint = construct, hint


class Apart(Exception):
    """A plan is not possible because what belongs together may be on different shards; says what."""


@dataclass(slots=True)
class Analysis:
    """``columns``: each column of an expression with the scope it is in. ``relations``: by number.

    ``conditions``: conjuncts with the context whose rows they decide about. ``starred``: numbers of relations all of
    whose columns are listed by a star. ``using``: columns of USING.
    """

    query: Query
    layout: Layout
    tables: Tables
    search_path: tuple[str, ...]
    knowledge: Knowledge
    relations: list[Relation] = field(default_factory=list)
    columns: list[tuple[Expr, Scope]] = field(default_factory=list)
    expressions: list[Expr] = field(default_factory=list)
    calls: list[Expr] = field(default_factory=list)
    casts: list[Expr] = field(default_factory=list)
    stars: list[tuple[Expr, Scope]] = field(default_factory=list)
    locks: bool = False
    skip_locked: bool = False
    outward: bool = False       # a query within aggregates rows of one around it, or may
    natural: bool = False
    using: set[str] = field(default_factory=set)
    conditions: list[tuple[Expr, Scope, Context]] = field(default_factory=list)
    starred: set[int] = field(default_factory=set)
    root: Block | None = None
    pushed: list[Any] | Apart | None = None     # what ``safety.check_pushed`` found

    @property
    def sharded(self) -> list[Relation]:
        """Relations with a part on each shard."""
        return [one for one in self.relations if one.sharded]

    def family(self, term: Term) -> str:
        """Family of the type of a column."""
        relation = self.relations[term[0]]
        if relation.table is not None:
            column = relation.table.column(term[1])
            return self.knowledge.family(column.base or column.type) if column is not None else ""
        inner = relation.inner.get(term[1])
        return self.family(inner) if inner is not None else ""


def analyse(query: Query, layout: Layout, tables: Tables, search_path: tuple[str, ...],
            knowledge: Knowledge, writing: bool = False) -> Analysis:
    """The meaning of a query. ``writing``: what its WITH writes is not looked at."""
    found = Analysis(query, layout, tables, search_path, knowledge)
    found.root = _Builder(found, writing).query(query, None, Context())
    return found


def layout_of(table: Table | None, layout: Layout, tables: Tables) -> TableLayout | None:
    """Where a table lives; a partition lives where its parent does."""
    if table is None:
        return None
    here: Table | None = table
    while here is not None:
        found = layout.table(here.schema, here.name)
        if found is not None:
            return found
        here = next((tables.get(schema, name) for schema, name in here.parents), None)
    return None


class _Builder:
    def __init__(self, found: Analysis, writing: bool) -> None:
        self.found, self.writing = found, writing
        self.depth = 0
        self.exists = False

    # -- queries

    def query(self, query: Query, outer: Scope | None, context: Context) -> Block:
        self.depth += 1
        if self.depth > 60:
            raise Unplannable("a query nested too deep")
        scope = Scope(outer)
        for number, cte in enumerate(query.ctes):
            if query.recursive and cte.query is not None:
                later = {one.name for one in query.ctes[number + 1:]}
                if later.intersection(table_names(cte.query)):
                    raise Unplannable("WITH RECURSIVE that reads a query defined after it")
            self._cte(cte, query, scope)
        _count_uses(query, scope)
        if query.locks:
            self.found.locks = True
            self.found.skip_locked = self.found.skip_locked or query.skip_locked
        block = self._body(query, scope, context)
        for named in scope.ctes.values():
            if named is not None and not named.uses:    # never run, but all that it names must be there
                self.query(named.query, named.scope, Context())
        self.depth -= 1
        return block

    def _cte(self, cte: Cte, query: Query, scope: Scope) -> None:
        if cte.query is None:
            if not self.writing:
                raise Unplannable("a WITH query that writes", "Run it as a statement of its own.")
            scope.ctes[cte.name] = None         # what it returns is not known
            return
        recursive = query.recursive and cte.name in set(table_names(cte.query))
        around = Scope(scope.parent, ctes=dict(scope.ctes))
        scope.ctes[cte.name] = CteName(cte.name, cte.columns, cte.query, around, recursive)
        if recursive:
            around.ctes[cte.name] = None

    def _body(self, query: Query, scope: Scope, context: Context) -> Block:
        body = query.body
        if isinstance(body, Select):
            return self._select(query, body, scope, context)
        if isinstance(body, Values):
            block = Block(query, scope, context, operation="values")
            for row in body.rows:
                for expr in row:
                    self._expression(expr, block, scope, context)
            block.outputs = [(f"column{i + 1}", None) for i in range(len(body.rows[0]))]
            self._tail(query, block)
            return block
        if isinstance(body, Query):
            plain = query.limit is None and query.offset is None and not query.locks
            block = Block(query, scope, context, operation="paren")
            inner_context = context if plain else self._sealed(context)
            inner = self.query(body, scope, inner_context)
            block.parts, block.outputs = [inner], inner.outputs
            block.plain = plain and inner.plain
            self._tail(query, block)
            return block
        if isinstance(body, SetOp):
            block = Block(query, scope, context, operation=body.name + (" all" if body.all else ""))
            block.parts = [self.query(side, scope, Context(context)) for side in (body.left, body.right)]
            first = block.parts[0].outputs
            block.outputs = None if first is None else [(name, None) for name, _ in first]
            self._tail(query, block)
            return block
        raise Unplannable("a query without a body")

    def _sealed(self, context: Context) -> Context:
        inner = Context(context)
        context.exports.append(inner)
        return inner

    def _tail(self, query: Query, block: Block) -> None:
        names = {name for name, _ in block.outputs or ()}
        for sort in query.order:
            if not (sort.expr.kind == "column" and len(sort.expr.names) == 1 and sort.expr.name in names):
                self._expression(sort.expr, block, block.scope, block.context)
        for limit in (query.limit, query.offset):
            if limit is not None:
                self._expression(limit, block, block.scope, block.context)

    def _select(self, query: Query, select: Select, scope: Scope, context: Context) -> Block:
        exists, self.exists = self.exists, False
        block = Block(query, scope, context, select)
        scan = [expr for item in select.items for expr in walk(item.expr)]
        scan += [expr for sort in query.order for expr in walk(sort.expr)]
        scan += list(walk(select.having)) if select.having is not None else []
        block.windows = [*select.windows.values(), *(expr.over for expr in scan if expr.over is not None)]
        block.aggregated = select.grouped or select.having is not None or any(
            expr.over is None and self.found.knowledge.aggregate(expr) for expr in scan if expr.kind == "call")
        # a user's aggregate has no rows to be plain over either: unknown calls are treated apart
        block.plain = not (block.aggregated or block.windows or select.distinct == "on" or query.limit is not None
                           or query.offset is not None or any(
                               expr.kind == "call" and self.found.knowledge.function(expr) == "unknown"
                               for expr in scan))
        block.by_group = (select.grouped and not select.grouping and not block.windows and select.distinct != "on"
                          and query.limit is None and query.offset is None)
        for source in select.sources:
            self._source(source, block, scope, context)
        conditions = Conditions(self.found.knowledge, lambda expr: scope.resolve(expr.names), self.found.family)
        conditions.add(select.where, context)
        self._links(select.where, block, scope, context)
        for expr in (*(item.expr for item in select.items), *select.distinct_on, *select.group,
                     *select.windows.values(), *([select.having] if select.having is not None else ())):
            self._expression(expr, block, scope, context)
        block.outputs = self._outputs(select, scope, exists)
        self._tail(query, block)
        return block

    def _outputs(self, select: Select, scope: Scope, exists: bool) -> list[tuple[str, Term | None]] | None:
        found: list[tuple[str, Term | None]] = []
        known = True
        for item in select.items:
            expr = bare(item.expr)
            if expr.kind == "star":
                relations = [scope.relation(expr.names)] if expr.names else list(scope.relations)
                self.found.starred.update(one.number for one in relations if one is not None and not exists)
                if (scope.merged and not expr.names) or any(one is None or one.columns is None for one in relations):
                    known = False
                    continue
                found += [(column, relation.term(column)) for relation in relations if relation is not None
                          for column in relation.columns or ()]
            else:
                name = item.alias or self.found.knowledge.result_name(item.expr)
                found.append((name, scope.resolve(expr.names) if expr.kind == "column" else None))
        return found if known else None

    # -- FROM

    def _source(self, source: Source, block: Block, scope: Scope, context: Context, nullable: bool = False) -> None:
        if source.kind == "join":
            self._named_join(source, block, scope, context, nullable)
            return
        relation = Relation(len(self.found.relations), source.kind, source, context, source.alias or "",
                            nullable=nullable)
        self.found.relations.append(relation)
        if source.kind == "table":
            self._table(relation, scope)
        elif source.kind == "query" and source.query is not None:
            outer = scope if source.lateral else scope.parent
            around = Scope(outer, ctes={}) if source.lateral else Scope(scope.parent, ctes=dict(scope.ctes))
            self._derive(relation, source.query, around, source.alias_columns)
        else:
            for call in source.calls:
                self._expression(call, block, scope, context)
        scope.relations.append(relation)
        block.relations[id(source)] = relation

    def _table(self, relation: Relation, scope: Scope) -> None:
        names = relation.source.names
        relation.alias = relation.source.alias or names[-1]
        if len(names) == 1:
            is_cte, cte = scope.cte(names[0])
            if is_cte:
                self._use(relation, cte)
                return
        if len(names) > 2:
            raise Unplannable("a table name with a database")
        schema = names[0] if len(names) == 2 else None
        relation.table = self.found.tables.get(schema, names[-1], self.found.search_path)
        relation.layout = layout_of(relation.table, self.found.layout, self.found.tables)
        if relation.table is None and any(self.found.layout.table(one, names[-1]) is not None
                                          for one in ((schema,) if schema else self.found.search_path)):
            raise Unplannable(f'table "{names[-1]}", whose columns are not known yet', "Try again in a moment.")
        if relation.table is not None:
            columns = relation.table.names
            renamed = relation.source.alias_columns
            relation.columns = columns if not renamed else None

    def _use(self, relation: Relation, cte: CteName | None) -> None:
        relation.kind = "cte"
        if cte is None:                         # the recursive reference to itself
            return
        relation.shared = cte.recursive or cte.uses != 1
        if not relation.shared:
            self._derive(relation, cte.query, cte.scope, relation.source.alias_columns or cte.columns)
            return
        if cte.block is None:
            cte.block = self.query(cte.query, cte.scope, Context())
        relation.block = cte.block
        relation.columns = _renamed(cte.block, relation.source.alias_columns or cte.columns)
        if relation.columns is not None and cte.block.outputs is not None:
            relation.inner = {name: term for name, (_, term) in zip(relation.columns, cte.block.outputs, strict=True)
                              if term is not None and relation.columns.count(name) == 1}

    def _derive(self, relation: Relation, query: Query, scope: Scope, names: tuple[str, ...]) -> None:
        """A query in FROM: what holds for its columns holds inside, and the other way round if it is plain."""
        context = relation.context if _is_plain(query, self.found.knowledge) else self._sealed(relation.context)
        block = self.query(query, scope, context)
        relation.block = block
        relation.columns = _renamed(block, names)
        if relation.columns is None or block.outputs is None:
            return
        owner = None if block.plain or block.by_group else context
        for name, (_, term) in zip(relation.columns, block.outputs, strict=True):
            if term is not None and relation.columns.count(name) == 1:
                relation.inner[name] = term
                relation.context.equal.append((relation.term(name), term, owner))

    def _named_join(self, source: Source, block: Block, scope: Scope, context: Context, nullable: bool) -> None:
        """A join, whose alias (if it has one) is all that is known of it outside."""
        if source.alias is None:
            self._join(source, block, scope, context, nullable)
            return
        before = len(self.found.relations)
        self._join(source, block, Scope(scope), context, nullable)
        self.found.starred.update(range(before, len(self.found.relations)))
        self._unclear(source, scope, context, source.alias)

    def _unclear(self, source: Source, scope: Scope, context: Context, alias: str) -> None:
        """A name for columns of a join."""
        relation = Relation(len(self.found.relations), "join", source, context, alias)
        self.found.relations.append(relation)
        scope.relations.append(relation)

    def _join(self, source: Source, block: Block, scope: Scope, context: Context, nullable: bool) -> None:
        assert source.left is not None and source.right is not None
        left = right = inner = context
        if source.join in ("left", "right", "full"):
            inner = Context(context)
            left = inner if source.join == "right" else Context(context) if source.join == "full" else context
            right = inner if source.join in ("left", "full") else context
        if source.join == "full":
            inner = Context(context)            # the condition restricts neither side
        block.nullable[id(source)] = inner
        before = len(scope.relations)
        self._source(source.left, block, scope, left, nullable or source.join in ("right", "full"))
        middle = len(scope.relations)
        self._source(source.right, block, scope, right, nullable or source.join in ("left", "full"))
        conditions = Conditions(self.found.knowledge, lambda expr: scope.resolve(expr.names), self.found.family)
        conditions.add(source.condition, inner)
        self._links(source.condition, block, scope, inner)
        if source.natural or source.using is not None:
            self._merge(source, scope, scope.relations[before:middle], scope.relations[middle:], inner)

    def _merge(self, source: Source, scope: Scope, left: list[Relation], right: list[Relation],
               context: Context) -> None:
        names = source.using
        if names is None:
            self.found.natural = True
            if any(one.columns is None for one in (*left, *right)):
                scope.merged.update(dict.fromkeys(column for one in (*left, *right) for column in one.columns or ()))
                return              # any of them may be of both sides
            columns = {column for one in right for column in one.columns or ()}
            names = tuple(column for one in left for column in one.columns or () if column in columns)
        self.found.using.update(names)
        for name in names:
            a = scope.merged[name] if name in scope.merged else _only(left, name)
            b = _only(right, name)
            if a is not None and b is not None and self.found.family(a) and self.found.family(a) == (
                    self.found.family(b)):
                context.equal.append((a, b, None))
            scope.merged[name] = {"left": a, "inner": a, "right": b}.get(source.join)
        if source.using_alias:
            self._unclear(source, scope, context, source.using_alias)

    # -- expressions

    def _links(self, condition: Expr | None, block: Block, scope: Scope, context: Context) -> None:
        """The expressions of a condition; its subqueries decide about rows if they are conjuncts."""
        for one in conjuncts(condition):
            self.found.conditions.append((one, scope, context))
            self._expression(one, block, scope, context, decides=True)

    def _expression(self, expr: Expr, block: Block, scope: Scope, context: Context, decides: bool = False) -> None:
        top = bare(expr)
        for part in walk(expr):
            if part.kind == "column":
                self.found.columns.append((part, scope))
            elif part.kind == "star" and part.names:
                self.found.stars.append((part, scope))
            elif part.kind == "call":
                self.found.calls.append(part)
                if part.over is None and self.found.knowledge.aggregate(part) and not _own(part, scope):
                    self.found.outward = True
            elif part.kind == "cast":
                self.found.casts.append(part)
            if part.query is not None:
                self._sub(part, block, scope, context, decides and part is top)
        self.found.expressions.append(expr)

    def _sub(self, expr: Expr, block: Block, scope: Scope, context: Context, decides: bool) -> None:
        assert expr.query is not None
        inner = Context(context)
        self.exists = expr.name == "exists" and isinstance(expr.query.body, Select)
        found = self.query(expr.query, scope, inner)
        if decides and expr.kind == "sub" and expr.name in ("in", "any") and not expr.negated and (
                found.plain or found.by_group) and (
                expr.name == "in" or expr.how == "="):
            left = bare(expr.args[0])
            sides = [bare(one) for one in left.args] if left.kind == "row" else [left]
            if found.outputs is not None and len(found.outputs) == len(sides):
                for side, (_, term) in zip(sides, found.outputs, strict=True):
                    outer = scope.resolve(side.names) if side.kind == "column" else None
                    if outer is not None and term is not None and self.found.family(outer) and (
                            self.found.family(outer) == self.found.family(term)):
                        inner.equal.append((outer, term, None))
        block.subs.append(Sub(expr, found, inner, decides))


def _own(call: Expr, scope: Scope) -> bool:
    """Whether an aggregate is surely one of rows of this scope: one that names only columns of a query around it
    belongs to that."""
    if scope.parent is None:
        return True
    columns = [part for part in walk(call) if part.kind == "column" or part.query is not None]
    own = {one.number for one in scope.relations}
    if any(one.columns is None for one in scope.relations):
        return True             # a name is looked for here first, and nobody knows what is here
    terms = [None if part.query is not None else scope.resolve(part.names) for part in columns]
    return not columns or any(term is not None and term[0] in own for term in terms)


def _only(relations: list[Relation], name: str) -> Term | None:
    if any(one.columns is None for one in relations):
        return None
    found = [one.term(name) for one in relations if name in (one.columns or ())]
    return found[0] if len(found) == 1 else None


def _renamed(block: Block, names: tuple[str, ...]) -> tuple[str, ...] | None:
    if block.outputs is None:
        return None
    old = tuple(name for name, _ in block.outputs)
    found = (*names, *old[len(names):])
    return found if all(found) and len(found) == len(old) else None


def _is_plain(query: Query, knowledge: Knowledge) -> bool:
    """A first look, before the query is analysed: nothing in it that a condition from outside must not cross."""
    body = query.body
    if query.limit is not None or query.offset is not None or query.locks:
        return False
    if isinstance(body, Query):
        return _is_plain(body, knowledge)
    if not isinstance(body, Select) or body.grouped or body.having is not None or body.distinct == "on" or body.windows:
        return False
    scan = [expr for item in body.items for expr in walk(item.expr)]
    scan += [expr for sort in query.order for expr in walk(sort.expr)]
    return not any(expr.over is not None or (expr.kind == "call" and (
        knowledge.aggregate(expr) or knowledge.function(expr) == "unknown")) for expr in scan)


def _count_uses(query: Query, scope: Scope) -> None:
    for name in table_names(query):
        cte = scope.ctes.get(name)
        if cte is not None:
            cte.uses += 1
