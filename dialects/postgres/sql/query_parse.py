"""Parser of queries: SELECT, VALUES, TABLE, WITH, set operations and FROM.

Invariant: a text that is read to its end is a query of PostgreSQL; each clause stands where the nodes say.
"""

from __future__ import annotations

from shardproxy.planner.nodes import Cte, Expr, Item, Query, Select, SetOp, Source, Token, Values

from .query_exprs import ExpressionParser
from .query_scan import Unreadable, scan
from .query_words import NEEDS_AS, RESERVED

__all__ = ["QueryParser", "Unreadable", "parse_query"]

_LOCKS = (("update",), ("no", "key", "update"), ("share",), ("key", "share"))


def parse_query(text: str) -> Query:
    """The one query that the text is."""
    parser = QueryParser(scan(text))
    query = parser.query()
    while parser.op(";"):
        pass
    if parser.token.kind != "end":
        raise Unreadable(f"at {parser.token.start}")
    return query


class QueryParser(ExpressionParser):
    """Reads queries from tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.levels = 0

    def query(self) -> Query:
        """A query expression with WITH, ORDER BY, LIMIT and locks."""
        self.levels += 1
        if self.levels > 60:
            raise Unreadable("nested too deep")
        found = Query(self.token.start)
        if self.word("with"):
            self._ctes(found)
        found.body_start = self.token.start
        found.body = self._union(found)
        self._tail(found)
        self.levels -= 1
        return found

    def query_after(self, first: Expr) -> Query:
        """A query that begins with one in parentheses, already read."""
        found = Query(first.start)
        found.body_start = first.start
        left = Query(first.start, first.end, body=first.query, body_start=first.start, body_end=first.end,
                     tail_end=first.end)
        found.body = self._union(found, left)
        self._tail(found)
        return found

    # -- WITH

    def _ctes(self, found: Query) -> None:
        found.recursive = self.word("recursive")
        while True:
            start, name = self.token.start, self.name()
            columns = self._names() if self.is_op("(") else ()
            self.need("as")
            if not self.word("materialized"):
                self.word("not", "materialized")
            self.need("(")
            inner = self.token.start
            query = self.query() if self.starts_query() else None
            if query is None:
                self._skip_to_closing()
            inner_end = self.last_end
            found.ctes.append(Cte(name, columns, query, start, self.need(")"), inner, inner_end))
            if self.is_word("search", "cycle"):
                raise Unreadable("SEARCH or CYCLE")
            if not self.op(","):
                return

    def _skip_to_closing(self) -> None:
        depth = 0
        while depth or not self.is_op(")"):
            if self.token.kind == "end":
                raise Unreadable("parenthesis")
            depth += self.is_op("(") - self.is_op(")")
            self.at += 1

    def _names(self) -> tuple[str, ...]:
        self.need("(")
        names = [self.name(label=True)]
        while self.op(","):
            names.append(self.name(label=True))
        self.need(")")
        return tuple(names)

    # -- set operations

    def _union(self, outer: Query, left: Query | None = None) -> Select | SetOp | Values | Query | None:
        first = self._intersect(left)
        while self.is_word("union", "except"):
            name = self.token.text
            self.at += 1
            everything = self._all()
            right = self._intersect(None)
            first = self._wrap(SetOp(name, everything, first, right), first.start)
        return first.body if not self._is_parenthesised(first) else first

    @staticmethod
    def _is_parenthesised(query: Query) -> bool:
        return isinstance(query.body, Query)

    def _intersect(self, left: Query | None) -> Query:
        first = left or self._simple()
        while self.is_word("intersect"):
            self.at += 1
            everything = self._all()
            first = self._wrap(SetOp("intersect", everything, first, self._simple()), first.start)
        return first

    def _all(self) -> bool:
        everything = self.word("all")
        self.word("distinct")
        return everything

    def _wrap(self, body: Select | SetOp | Values | Query, start: int) -> Query:
        end = self.last_end
        return Query(start, end, body=body, body_start=start, body_end=end, tail_end=end)

    def _simple(self) -> Query:
        start = self.token.start
        if self.op("("):
            inner = self.query()
            self.need(")")
            return self._wrap(inner, start)
        if self.word("values"):
            return self._wrap(self._values(start), start)
        if self.word("table"):
            return self._wrap(self._table_command(start), start)
        self.need("select")
        return self._wrap(self._select(start), start)

    def _table_command(self, start: int) -> Select:
        """``TABLE name``: as SELECT * FROM name."""
        word_end = self.last_end
        source = self._name_of_table()
        source.command = (start, word_end)
        item = Item(Expr("star", word_end, word_end, "*"), None, word_end, word_end)
        return Select(start, source.end, [item], word_end, word_end, source.start, source.end, sources=[source])

    def _values(self, start: int) -> Values:
        rows: list[list[Expr]] = []
        while True:
            self.need("(")
            rows.append(self.expressions())
            self.need(")")
            if not self.op(","):
                return Values(start, self.last_end, rows)

    def _tail(self, found: Query) -> None:
        found.body_end = found.tail_end = self.last_end
        found.order = self.order_by()
        found.tail_end = self.last_end
        while True:
            if self.is_word("limit", "offset", "fetch"):
                found.limit_start = self.token.start if found.limit_start < 0 else found.limit_start
                self._limit(found)
                found.limit_end = self.last_end
            elif self.is_word("for") and self.peek().text in ("update", "no", "share", "key", "read"):
                found.lock_start = self.token.start if found.lock_start < 0 else found.lock_start
                self._lock(found)
            else:
                break
        found.end = self.last_end

    def _limit(self, found: Query) -> None:
        if self.word("limit"):
            if not self.word("all"):
                found.limit = self.expression()
        elif self.word("offset"):
            found.offset = self.expression()
            if not self.word("rows"):
                self.word("row")
        else:
            self.at += 1
            if not self.word("first"):
                self.need("next")
            start = self.token.start
            found.limit = Expr("const", start, start, value="1", how="number")
            if not self.is_word("row", "rows"):
                found.limit = self.primary() if not self.is_op("+", "-") else self.expression()
            self.at += 1
            if not self.word("only"):
                self.need("with")
                self.need("ties")
                found.ties = True

    def _lock(self, found: Query) -> None:
        self.at += 1
        if not any(self.word(*words) for words in _LOCKS):
            raise Unreadable("FOR")
        names: list[str] = []
        if self.word("of"):
            names.append(self.name())
            while self.op(","):
                names.append(self.name())
        if not self.word("nowait") and self.word("skip", "locked"):
            found.skip_locked = True
        found.locks.append(tuple(names))

    # -- SELECT

    def _select(self, start: int) -> Select:
        found = Select(start, 0, [], 0, 0)
        if self.word("distinct"):
            found.distinct = "all"
            if self.word("on"):
                self.need("(")
                found.distinct, found.distinct_on = "on", self.expressions()
                self.need(")")
        else:
            self.word("all")
        found.list_start = self.token.start
        if not (self.is_word("from", "where", "group", "having", "union", "order", "limit") or self.is_op(")", ";")
                or self.token.kind == "end"):
            found.items.append(self._item())
            while self.op(","):
                found.items.append(self._item())
        found.list_end = self.last_end if found.items else found.list_start
        if self.is_word("into"):
            raise Unreadable("SELECT INTO")
        if self.is_word("from"):
            found.from_start = self.token.start
            self.at += 1
            found.sources = [self._source()]
            while self.op(","):
                found.sources.append(self._source())
        if self.word("where"):
            found.where = self.expression()
        found.rows_end = self.last_end
        if self.word("group"):
            self._group(found)
            found.group_end = self.last_end
        if self.word("having"):
            found.having = self.expression()
        if self.word("window"):
            self._windows(found)
        found.end = self.last_end
        return found

    def _windows(self, found: Select) -> None:
        while True:
            name = self.name()
            self.need("as")
            found.windows[name] = self.window()
            if not self.op(","):
                return

    def _item(self) -> Item:
        start = self.token.start
        if self.is_op("*"):
            self.at += 1
            return Item(Expr("star", start, self.last_end, "*"), None, start, self.last_end)
        expr = self.expression()
        alias: str | None = None
        if self.word("as"):
            alias = self.name(label=True)
        elif self.token.kind == "quoted" or (self.token.kind == "word" and self.token.text not in NEEDS_AS):
            alias = self.name(label=True)
        return Item(expr, alias, start, self.last_end)

    def _group(self, found: Select) -> None:
        self.need("by")
        found.grouped = True
        if self.word("distinct"):
            found.grouping = True
        else:
            self.word("all")
        while True:
            if self.is_word("grouping") and self.peek().text == "sets":
                self.at += 2
                found.grouping = True
            elif self.is_word("rollup", "cube") and self.peek().text == "(":
                self.at += 1
                found.grouping = True
            if self.is_op("(") and self.peek().text == ")":
                self.at += 2
                found.grouping = True
            elif found.grouping and self.is_op("("):
                found.group += self._grouping_set()
            else:
                found.group.append(self.expression())
            if not self.op(","):
                return

    def _grouping_set(self) -> list[Expr]:
        self.need("(")
        found: list[Expr] = []
        while not self.is_op(")"):
            if self.is_word("grouping") and self.peek().text == "sets":
                self.at += 2
            elif self.is_word("rollup", "cube") and self.peek().text == "(":
                self.at += 1
            if self.is_op("("):
                found += self._grouping_set()
            else:
                found.append(self.expression())
            if not self.op(","):
                break
        self.need(")")
        return found

    # -- FROM

    def _source(self) -> Source:
        left = self._single()
        while True:
            if self.word("cross", "join"):
                right = self._single()
                left = Source("join", left.start, right.end, join="cross", left=left, right=right)
                continue
            mark = self.at
            natural = self.word("natural")
            how = "inner"
            if self.is_word("left", "right", "full"):
                how = self.token.text
                self.at += 1
                self.word("outer")
            else:
                self.word("inner")
            if not self.word("join"):
                self.at = mark
                return left
            left = self._join(left, how, natural)

    def _join(self, left: Source, how: str, natural: bool) -> Source:
        right = self._single() if natural else self._joined_right()
        found = Source("join", left.start, right.end, join=how, left=left, right=right, natural=natural)
        if not natural:
            if self.word("on"):
                found.condition = self.expression()
            else:
                self.need("using")
                found.using = self._names()
                if self.word("as"):
                    found.using_alias = self.name()
        found.end = self.last_end
        return found

    def _joined_right(self) -> Source:
        """The right side of a join: ``a JOIN b JOIN c ON ... ON ...`` nests."""
        right = self._single()
        while self.is_word("join", "inner", "left", "right", "full", "cross", "natural"):
            if self.word("cross", "join"):
                other = self._single()
                right = Source("join", right.start, other.end, join="cross", left=right, right=other)
                continue
            natural, how = self.word("natural"), "inner"
            if self.is_word("left", "right", "full"):
                how = self.token.text
                self.at += 1
                self.word("outer")
            else:
                self.word("inner")
            self.need("join")
            right = self._join(right, how, natural)
        return right

    def _single(self) -> Source:
        start = self.token.start
        if self.is_op("("):
            query = self._derived()
            if query is not None:
                found = Source("query", start, self.last_end, query=query)
            else:
                self.need("(")
                found = self._source()
                self.need(")")
                found.start, found.end = start, self.last_end
                if not self._has_alias():
                    return found
            return self._alias(found)
        if self.word("lateral"):
            found = self._single()
            found.start, found.lateral = start, True
            return found
        return self._table(start)

    def _derived(self) -> Query | None:
        """A query in parentheses; None, and nothing taken, if it is a join that begins with one."""
        if not self.starts_query():
            return None
        mark, depth, levels = self.at, self.depth, self.levels
        try:
            return self.paren().query
        except Unreadable:
            if self.peek(mark - self.at + 1).text != "(":
                raise
            self.at, self.depth, self.levels = mark, depth, levels
            return None

    def _table(self, start: int) -> Source:
        only = self.word("only")
        inside = only and self.op("(")
        if self.is_word("rows") and self.peek().text == "from":
            raise Unreadable("ROWS FROM")
        if self.token.kind == "word" and self.token.text in ("xmltable", "json_table"):
            raise Unreadable(self.token.text)
        if self.is_word("current_date", "current_user", "current_timestamp"):
            raise Unreadable("FROM")
        name_start, names = self.token.start, [self.name(label=self.token.text in ("left", "right"))]
        while self.op("."):
            names.append(self.name(label=True))
        if self.is_op("(") and not only:
            call = self.call(name_start, tuple(names))
            found = Source("function", start, call.end, calls=[call])
            self.word("with", "ordinality")
            return self._alias(found, columns=True)
        found = Source("table", start, self.last_end, tuple(names), name_start, self.last_end, only=only)
        if inside:
            self.need(")")
        if self.op("*"):
            found.name_end = found.end = self.last_end
        found = self._alias(found)
        if self.word("tablesample"):
            found.sampled = True
            self.name()
            self.need("(")
            self.expressions()
            self.need(")")
            if self.word("repeatable"):
                self.need("(")
                self.expression()
                self.need(")")
            found.end = self.last_end
        return found

    def _name_of_table(self) -> Source:
        start, only = self.token.start, self.word("only")
        inside = only and self.op("(")
        name_start, names = self.token.start, self._any_name()
        found = Source("table", start, self.last_end, tuple(names), name_start, self.last_end, only=only)
        if inside:
            self.need(")")
        elif self.op("*"):
            found.name_end = self.last_end
        found.end = self.last_end
        return found

    def _has_alias(self) -> bool:
        return self.is_word("as") or self.token.kind == "quoted" or (
            self.token.kind == "word" and self.token.text not in RESERVED)

    def _alias(self, found: Source, columns: bool = False) -> Source:
        if self._has_alias():
            explicit = self.word("as")
            if not (columns and explicit and self.is_op("(")):
                found.alias = self.name()
        elif columns and found.calls:
            found.alias = found.calls[0].name
        if self.is_op("("):
            found.alias_columns = self._definitions() if columns else self._names()
        found.end = self.last_end
        return found

    def _definitions(self) -> tuple[str, ...]:
        """Columns behind a function: names, or names with types."""
        self.need("(")
        names: list[str] = []
        while True:
            names.append(self.name(label=True))
            if not self.is_op(",", ")"):
                self.type_name()
            if not self.op(","):
                break
        self.need(")")
        return tuple(names)
