"""Parser of what operators stand between: literals, names, calls, CASE, casts, windows, parentheses.

Invariant: what it does not know raises ``Unreadable``; names that it reports as columns are all that can be columns.
"""

from __future__ import annotations

from shardproxy.planner.nodes import Expr, Query, Sort

from .query_reader import TokenReader
from .query_scan import Unreadable
from .query_words import BARE_CALLS, BINDING, RESERVED, SPECIAL_CALLS, STARTS_QUERY

__all__ = ["PrimaryParser"]

_BETWEEN = BINDING["between"]


class PrimaryParser(TokenReader):
    """``expression`` and what queries are is the subclass's."""

    def primary(self) -> Expr:
        """A literal, a name, a call, something in parentheses."""
        token = self.token
        if token.kind in ("string", "odd", "number", "param"):
            self.at += 1
            if token.kind == "param":
                return Expr("param", token.start, token.end, param=int(token.text))
            return Expr("const", token.start, token.end, value=token.text, how=token.kind)
        if token.kind == "op" and token.text == "(":
            return self.paren()
        if token.kind == "quoted":
            return self._named()
        if token.kind != "word":
            raise Unreadable(f"expression expected at {token.start}")
        return self._keyword() or self._named()

    def paren(self) -> Expr:
        """``(expression)``, ``(a, b)``, ``(query)``."""
        start = self.token.start
        self.need("(")
        if self.is_word(*STARTS_QUERY):
            query = self.query()
            return Expr("sub", start, self.need(")"), "scalar", query=query)
        if self.is_op("(") and self.starts_query():
            first = self.paren()
            if first.kind == "sub" and (self.is_op(")") or self.is_word(
                    "union", "except", "intersect", "order", "limit", "offset", "fetch", "for")):
                query = self.query_after(first)
                return Expr("sub", start, self.need(")"), "scalar", query=query)
            first = self.infix(self.postfix(first), 0)
        else:
            first = self.expression()
        if self.op(","):
            items = [first, *self.expressions()]
            return Expr("row", start, self.need(")"), "row", items)
        return Expr("paren", start, self.need(")"), "", [first])

    def starts_query(self) -> bool:
        """Whether a query is next, behind any number of parentheses."""
        ahead = 0
        while self.peek(ahead).kind == "op" and self.peek(ahead).text == "(":
            ahead += 1
        return self.peek(ahead).kind == "word" and self.peek(ahead).text in STARTS_QUERY

    def _keyword(self) -> Expr | None:
        token, after = self.token, self.peek()
        word, call = token.text, after.kind == "op" and after.text == "("
        if word in ("null", "true", "false"):
            self.at += 1
            return Expr("const", token.start, token.end, value=None if word == "null" else word,
                        how="null" if word == "null" else "bool")
        if word == "case":
            return self._case()
        if word == "cast" and call:
            return self._cast()
        if word in ("exists", "array") and (call or (word == "array" and after.text == "[")):
            return self._exists_or_array(word)
        if word == "row" and call:
            self.at += 2
            items = [] if self.is_op(")") else self.expressions()
            return Expr("row", token.start, self.need(")"), "row", items)
        if word in BARE_CALLS and not call:
            self.at += 1
            return Expr("call", token.start, token.end, word, names=(word,), plain=False)
        if word in ("current_time", "current_timestamp", "localtime", "localtimestamp"):
            self.at += 3
            return Expr("call", token.start, self.need(")"), word, names=(word,), plain=False)
        if word in SPECIAL_CALLS and call:
            return self._special()
        if word == "interval" and (after.kind in ("string", "odd") or call):
            return self._interval()
        if word in RESERVED and not (word in ("left", "right") and call):
            raise Unreadable(f"{word} at {token.start}")
        return self._typed_literal()

    def _exists_or_array(self, word: str) -> Expr:
        start = self.token.start
        self.at += 1
        if word == "array" and self.op("["):
            return self._array(start)
        self.need("(")
        query = self.query()
        return Expr("sub", start, self.need(")"), word, query=query)

    def _array(self, start: int) -> Expr:
        items: list[Expr] = []
        while not self.is_op("]"):
            inner = self.token.start
            items.append(self._array(inner) if self.op("[") else self.expression())
            if not self.op(","):
                break
        return Expr("array", start, self.need("]"), "array", items)

    def _case(self) -> Expr:
        start = self.token.start
        self.at += 1
        args: list[Expr] = []
        if not self.is_word("when"):
            args.append(self.expression())
        while self.word("when"):
            args.append(self.expression())
            self.need("then")
            args.append(self.expression())
        name = "case"
        if self.word("else"):
            args.append(self.expression())
            name = "case else"
        return Expr("case", start, self.need("end"), name, args)

    def _cast(self) -> Expr:
        start = self.token.start
        self.at += 2
        arg = self.expression()
        self.need("as")
        name = self.type_name()
        return Expr("cast", start, self.need(")"), name, [arg])

    def _interval(self) -> Expr:
        start = self.token.start
        self.at += 1
        if self.op("("):
            self.at += 1
            self.need(")")
        literal = self.token
        if literal.kind not in ("string", "odd"):
            raise Unreadable("interval")
        self.at += 1
        self.interval_fields()
        return Expr("const", start, self.last_end, "interval", value=literal.text, how="odd")

    def _typed_literal(self) -> Expr | None:
        """``date '2020-01-01'``: the name of a type and a string; None if it is something else."""
        mark, start = self.at, self.token.start
        try:
            name = self.type_name()
        except Unreadable:
            self.at = mark
            return None
        literal = self.token
        if literal.kind not in ("string", "odd") or self.tokens[self.at - 1].text == "]":
            self.at = mark
            return None
        self.at += 1
        value = Expr("const", literal.start, literal.end, value=literal.text, how=literal.kind)
        return Expr("cast", start, literal.end, name, [value], how="literal")

    def _named(self) -> Expr:
        """A column or a call."""
        start = self.token.start
        names = [self.name(label=self.token.text in ("left", "right"))]
        while self.is_op("."):
            self.at += 1
            if self.op("*"):
                return Expr("star", start, self.last_end, "*", names=tuple(names))
            names.append(self.name(label=True))
        if self.is_op("("):
            return self.call(start, tuple(names))
        return Expr("column", start, self.last_end, names[-1], names=tuple(names))

    def call(self, start: int, names: tuple[str, ...]) -> Expr:
        """A call whose parenthesis is next."""
        found = Expr("call", start, start, names[-1], names=names)
        self.need("(")
        if self.op("*"):
            found.args.append(Expr("star", self.last_end - 1, self.last_end, "*"))
        elif not self.is_op(")"):
            if self.word("distinct"):
                found.distinct = True
            else:
                self.word("all")
            self._arguments(found)
        found.end = self.need(")")
        self._call_tail(found)
        return found

    def _arguments(self, found: Expr) -> None:
        while True:
            if self.word("variadic"):
                found.plain = False
            if self.peek().kind == "op" and self.peek().text in ("=>", ":=") and self.token.kind in ("word", "quoted"):
                self.at += 2
                found.plain = False
            found.args.append(self.expression())
            if not self.op(","):
                break
        found.order = self.order_by()

    def _call_tail(self, found: Expr) -> None:
        if self.word("within", "group"):
            self.need("(")
            found.order = self.order_by()
            found.end, found.plain = self.need(")"), False
        if self.is_word("filter") and self.peek().text == "(":
            self.at += 2
            self.need("where")
            found.filter = self.expression()
            found.end = self.need(")")
        if self.is_word("over"):
            self.at += 1
            start = self.token.start
            if self.is_op("("):
                found.over = self.window()
            else:
                found.over = Expr("window", start, start, self.name())
            found.end = found.over.end = self.last_end

    def window(self) -> Expr:
        """The definition of a window, in its parentheses."""
        found = Expr("window", self.token.start, 0)
        self.need("(")
        if self.token.kind in ("word", "quoted") and not self.is_word(
                "partition", "order", "rows", "range", "groups"):
            found.name = self.name()
        if self.word("partition"):
            self.need("by")
            found.args = self.expressions()
        found.order = self.order_by()
        depth = 0
        while depth or not self.is_op(")"):           # the frame: words and expressions without queries
            if self.token.kind == "end" or self.is_word("select", "with", "values", "table"):
                raise Unreadable("window")
            depth += self.is_op("(") - self.is_op(")")
            self.at += 1
        found.end = self.need(")")
        return found

    def order_by(self) -> list[Sort]:
        """ORDER BY, if it is next."""
        if not self.is_word("order"):
            return []
        self.at += 1
        self.need("by")
        found = [self._sort()]
        while self.op(","):
            found.append(self._sort())
        return found

    def _sort(self) -> Sort:
        expr = self.expression()
        sort = Sort(expr, expr.start, expr.end)
        if self.word("using"):
            sort.using = True
            while self.token.kind == "op" and self.token.text not in (",", ")"):
                self.at += 1
        elif self.word("desc"):
            sort.descending = sort.nulls_first = True
        else:
            self.word("asc")
        if self.word("nulls"):
            sort.nulls_first = self.is_word("first")
            if not self.word("first"):
                self.need("last")
        sort.end = self.last_end
        return sort

    def _special(self) -> Expr:
        """A call with words among its arguments."""
        token = self.token
        found = Expr("call", token.start, 0, token.text, names=(token.text,), plain=False)
        self.at += 2
        if token.text == "extract" and self.peek().text == "from":
            self.at += 2                                    # the field is no column
        elif token.text.startswith(("xml", "json")):
            raise Unreadable(token.text)
        while not self.is_op(")"):
            if self.op(",") or self.word("from") or self.word("for") or self.word("placing") or self.word("in") or (
                    self.word("similar") or self.word("escape") or self.word("both") or self.word("leading")
                    or self.word("trailing")):
                continue
            found.args.append(self.expression(_BETWEEN if token.text == "position" else 0))
        found.end = self.need(")")
        return found

    def expressions(self) -> list[Expr]:
        """A list of them."""
        found = [self.expression()]
        while self.op(","):
            found.append(self.expression())
        return found

    # -- the subclass's

    def expression(self, binding: int = 0) -> Expr:
        """An expression whose operators bind tighter than ``binding``."""
        raise NotImplementedError

    def infix(self, left: Expr, binding: int) -> Expr:
        """What goes on behind ``left``."""
        raise NotImplementedError

    def postfix(self, left: Expr) -> Expr:
        """Casts, subscripts and fields behind ``left``."""
        raise NotImplementedError

    def query(self) -> Query:
        """A query."""
        raise NotImplementedError

    def query_after(self, first: Expr) -> Query:
        """A query that begins with one in parentheses, already read."""
        raise NotImplementedError
