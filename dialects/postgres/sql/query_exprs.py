"""Parser of expressions: PostgreSQL's grammar and its precedence of operators.

Invariant: what it does not know raises ``Unreadable``; it never guesses. Names that it reports as columns are all the
names that can be columns.
"""

from __future__ import annotations

from shardproxy.planner.nodes import Expr, Query, Sort, Token

from .query_scan import Unreadable
from .query_words import (
    BARE_CALLS,
    BINDING,
    INTERVAL_FIELDS,
    RESERVED,
    SPECIAL_CALLS,
    STARTS_QUERY,
    TYPE_WORDS,
)

__all__ = ["ExpressionParser"]

_OTHER, _SIGN, _BETWEEN = 7, 13, 6
_TRUTHS = ("null", "true", "false", "unknown", "document", "normalized", "nfc", "nfd", "nfkc", "nfkd")


class ExpressionParser:
    """Reads from ``tokens`` at ``at``. ``query`` and ``paren_query`` are the subclass's."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    # -- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def last_end(self) -> int:
        return self.tokens[self.at - 1].end

    def peek(self, ahead: int = 1) -> Token:
        """A token further on."""
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def is_word(self, *words: str) -> bool:
        """Whether an unquoted word is next."""
        return self.token.kind == "word" and self.token.text in words

    def is_op(self, *ops: str) -> bool:
        """Whether an operator or a punctuation mark is next."""
        return self.token.kind == "op" and self.token.text in ops

    def word(self, *words: str) -> bool:
        """Take words if they all are next."""
        if all(self.peek(i).kind == "word" and self.peek(i).text == word for i, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def op(self, *ops: str) -> bool:
        """Take one of the operators if it is next."""
        if self.is_op(*ops):
            self.at += 1
            return True
        return False

    def need(self, text: str) -> int:
        """Take a word or an operator that must be next; its end."""
        if not (self.token.text == text and self.token.kind in ("word", "op")):
            raise Unreadable(f"{text} expected at {self.token.start}")
        self.at += 1
        return self.last_end

    def name(self, label: bool = False) -> str:
        """Take a name. ``label``: where keywords are names."""
        token = self.token
        if token.kind == "quoted" or (token.kind == "word" and (label or token.text not in RESERVED)):
            self.at += 1
            return token.text
        raise Unreadable(f"name expected at {token.start}")

    # -- expressions

    def expression(self, binding: int = 0) -> Expr:
        """An expression whose operators bind tighter than ``binding``."""
        self.depth += 1
        if self.depth > 200:
            raise Unreadable("nested too deep")
        found = self.infix(self.prefix(), binding)
        self.depth -= 1
        return found

    def expressions(self) -> list[Expr]:
        """A list of them."""
        found = [self.expression()]
        while self.op(","):
            found.append(self.expression())
        return found

    def prefix(self) -> Expr:
        token = self.token
        if token.kind == "word" and token.text == "not":
            self.at += 1
            return self._unary("not", token.start, BINDING["not"])
        if token.kind == "op" and token.text not in ("(", ")", "[", "]", ",", ";", ".", ":", "::", ":=", "=>", ".."):
            self.at += 1
            return self._unary(token.text, token.start, _SIGN if token.text in "+-" else _OTHER)
        return self._postfix(self.primary())

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

    def _postfix(self, left: Expr) -> Expr:
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

    # -- primaries

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
            first = self.infix(self._postfix(first), 0)
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
        self._interval_fields()
        return Expr("const", start, self.last_end, "interval", value=literal.text, how="odd")

    def _interval_fields(self) -> None:
        while self.is_word(*INTERVAL_FIELDS) or (self.is_word("to") and self.peek().text in INTERVAL_FIELDS):
            self.at += 1
            if self.is_op("(") and self.peek().kind == "number" and self.peek(2).text == ")":
                self.at += 3

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
        while depth or not self.is_op(")"):           # the frame: words and constants
            if self.token.kind == "end":
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

    # -- names of types

    def _any_name(self) -> list[str]:
        names = [self.name(label=True)]
        while self.op("."):
            names.append(self.name(label=True))
        return names

    def type_name(self) -> str:
        """The name of a type, in lower case, words of it joined by one blank."""
        names = self._type_words()
        if self.is_op("("):
            names += self._modifier()
        if names.split("(")[0].rpartition(".")[2] in ("timestamp", "time"):
            for words in (("with", "time", "zone"), ("without", "time", "zone")):
                if self.word(*words):
                    names += " " + " ".join(words)
        while self.is_op("[") or self.is_word("array"):
            self.at += 1
            if self.tokens[self.at - 1].text == "[" or self.op("["):
                if self.token.kind == "number":
                    self.at += 1
                self.need("]")
            names += "[]"
        return names

    def _type_words(self) -> str:
        parts = [self.name()]
        while self.op("."):
            parts.append(self.name(label=True))
        name = ".".join(parts)
        if name == "national" and self.is_word("character", "char"):
            self.at += 1
            name = "character"
        if name in TYPE_WORDS and self.word(TYPE_WORDS[name]):
            name += " " + TYPE_WORDS[name]
        if name == "interval":
            self._interval_fields()
        return name

    def _modifier(self) -> str:
        start = self.at
        self.need("(")
        while not self.is_op(")"):
            if self.token.kind not in ("number", "string", "word") and not self.is_op(",", "-"):
                raise Unreadable("type")
            self.at += 1
        self.need(")")
        return "".join(token.text for token in self.tokens[start:self.at])

    # -- the subclass's

    def query(self) -> Query:
        """A query."""
        raise NotImplementedError

    def query_after(self, first: Expr) -> Query:
        """A query that begins with one in parentheses, already read."""
        raise NotImplementedError
