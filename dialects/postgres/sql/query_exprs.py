"""Parser of expressions: PostgreSQL's grammar and its precedence of operators.

Invariant: what it does not know raises ``Unreadable``; it never guesses. Names that it reports as columns are all the
names that can be columns.
"""

from __future__ import annotations

from shardproxy.planner.nodes import Expr

from .query_primaries import PrimaryParser
from .query_scan import Unreadable
from .query_words import BINDING

__all__ = ["ExpressionParser"]

_OTHER, _SIGN, _BETWEEN = 7, 13, BINDING["between"]
_TRUTHS = ("null", "true", "false", "unknown", "document", "normalized", "nfc", "nfd", "nfkc", "nfkd")


class ExpressionParser(PrimaryParser):
    """Operators between primaries. Queries are the subclass's."""

    def expression(self, binding: int = 0) -> Expr:
        """An expression whose operators bind tighter than ``binding``."""
        self.depth += 1
        if self.depth > 200:
            raise Unreadable("nested too deep")
        found = self.infix(self.prefix(), binding)
        self.depth -= 1
        return found

    def prefix(self) -> Expr:
        token = self.token
        if token.kind == "word" and token.text == "not":
            self.at += 1
            return self._unary("not", token.start, BINDING["not"])
        if token.kind == "op" and token.text not in ("(", ")", "[", "]", ",", ";", ".", ":", "::", ":=", "=>", ".."):
            self.at += 1
            return self._unary(token.text, token.start, _SIGN if token.text in "+-" else _OTHER)
        return self.postfix(self.primary())

    def _unary(self, name: str, start: int, binding: int) -> Expr:
        arg = self.expression(binding)
        return Expr("op", start, arg.end, name, [arg])

    def infix(self, left: Expr, binding: int) -> Expr:
        """What goes on behind ``left``."""
        while True:
            token = self.token
            if token.kind not in ("word", "op"):
                return left
            word, negated = token.text, False
            if token.kind == "word":
                if word == "not" and self.peek().kind == "word" and self.peek().text in (
                        "in", "between", "like", "ilike", "similar"):
                    word, negated = self.peek().text, True
                elif word == "operator" and self.peek().text == "(":
                    pass
                elif word not in BINDING or word == "not":
                    return left
            elif word in ("(", ")", "[", "]", ",", ";", ".", ":", "::", ":=", "=>", ".."):
                return left
            strength = BINDING.get(word, _OTHER)
            if strength <= binding:
                return left
            self.at += 1 + negated
            left = self._combine(left, word, token.kind, strength, negated)

    def _combine(self, left: Expr, word: str, kind: str, strength: int, negated: bool) -> Expr:
        if kind == "word":
            if word in ("isnull", "notnull"):
                return Expr("is", left.start, self.last_end, "null", [left], negated=word == "notnull")
            if word == "is":
                return self._is(left)
            if word == "in":
                return self._in(left, negated)
            if word == "between":
                return self._between(left, negated)
            if word == "collate":
                self._any_name()
                return Expr("other", left.start, self.last_end, "collate", [left])
            if word == "at":
                return self._at_zone(left)
            if word in ("like", "ilike", "similar"):
                return self._like(left, word, negated)
            if word == "operator":
                return self._named_operator(left)
        if self.is_word("any", "some", "all"):
            return self._quantified(left, word)
        right = self.expression(strength)
        if kind == "word" and word in ("and", "or") and left.kind == "op" and left.name == word:
            left.args.append(right)
            left.end = right.end
            return left
        return Expr("op", left.start, right.end, word, [left, right])

    def _is(self, left: Expr) -> Expr:
        negated = self.word("not")
        if self.word("distinct", "from"):
            right = self.expression(BINDING["is"])
            return Expr("is", left.start, right.end, "distinct", [left, right], negated=negated)
        if self.is_word(*_TRUTHS):
            name = self.token.text
            self.at += 1
            self.word("normalized")
            return Expr("is", left.start, self.last_end, name, [left], negated=negated)
        raise Unreadable("IS")

    def _in(self, left: Expr, negated: bool) -> Expr:
        self.need("(")
        if self.starts_query():
            query = self.query()
            return Expr("sub", left.start, self.need(")"), "in", [left], query=query, negated=negated)
        items = self.expressions()
        return Expr("in", left.start, self.need(")"), "in", [left, *items], negated=negated)

    def _between(self, left: Expr, negated: bool) -> Expr:
        symmetric = self.word("symmetric")
        if not symmetric:
            self.word("asymmetric")
        low = self.expression(_BETWEEN)
        self.need("and")
        high = self.expression(_BETWEEN)
        return Expr("between", left.start, high.end, "symmetric" if symmetric else "between", [left, low, high],
                    negated=negated)

    def _at_zone(self, left: Expr) -> Expr:
        if self.word("local"):
            return Expr("call", left.start, self.last_end, "timezone", [left], ("timezone",), plain=False)
        self.need("time")
        self.need("zone")
        right = self.expression(BINDING["at"])
        return Expr("call", left.start, right.end, "timezone", [left, right], ("timezone",), plain=False)

    def _like(self, left: Expr, word: str, negated: bool) -> Expr:
        if word == "similar":
            self.need("to")
        if self.is_word("any", "some", "all"):
            return self._quantified(left, word)
        args = [left, self.expression(_BETWEEN)]
        if self.word("escape"):
            args.append(self.expression(_BETWEEN))
        return Expr("op", left.start, args[-1].end, word, args, negated=negated)

    def _named_operator(self, left: Expr) -> Expr:
        self.need("(")
        while not self.is_op(")"):
            if self.token.kind == "end":
                raise Unreadable("OPERATOR")
            self.at += 1
        self.need(")")
        if self.is_word("any", "some", "all"):
            return self._quantified(left, "operator")
        right = self.expression(_OTHER)
        return Expr("op", left.start, right.end, "operator", [left, right])

    def _quantified(self, left: Expr, operator: str) -> Expr:
        how = "all" if self.token.text == "all" else "any"
        self.at += 1
        self.need("(")
        if self.starts_query():
            query = self.query()
            return Expr("sub", left.start, self.need(")"), how, [left], query=query, how=operator)
        arg = self.expression()
        return Expr("other", left.start, self.need(")"), f"{operator} {how}", [left, arg])

    # -- what stands behind a primary

    def postfix(self, left: Expr) -> Expr:
        """Casts, subscripts and fields behind ``left``."""
        while True:
            if self.op("::"):
                name = self.type_name()
                left = Expr("cast", left.start, self.last_end, name, [left])
            elif self.op("["):
                left = self._subscript(left)
            elif self.is_op(".") and left.kind in ("paren", "index", "field", "sub", "param", "row"):
                self.at += 1
                if self.op("*"):
                    raise Unreadable("expansion of a row")
                field = self.name(label=True)
                left = Expr("field", left.start, self.last_end, field, [left])
            else:
                return left

    def _subscript(self, left: Expr) -> Expr:
        args = [left]
        if not self.is_op(":", "]"):
            args.append(self.expression())
        if self.op(":") and not self.is_op("]"):
            args.append(self.expression())
        return Expr("index", left.start, self.need("]"), "", args)
