"""What CREATE TABLE and ALTER TABLE say of columns and constraints, read from their tokens.

Invariant: a clause that is not understood is not taken for one that is; ``Unreadable`` tells so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shardproxy.planner.nodes import Token

from .query_scan import Unreadable

__all__ = ["Clause", "Cursor", "Reference", "clauses", "index_columns", "read_action", "read_element"]

Name = tuple[str | None, str]

_ENDS_TYPE = frozenset(("constraint", "not", "null", "check", "default", "generated", "unique", "primary", "references",
                        "deferrable", "initially", "collate", "compression", "storage", "using", "options", "with"))
_AFTER_DEFAULT = _ENDS_TYPE - {"not", "null", "using", "with", "default", "collate"}


@dataclass(slots=True)
class Cursor:
    """A place among tokens."""

    tokens: Sequence[Token]
    at: int = 0

    def word(self, ahead: int = 0) -> str:
        """The keyword here; empty if there is none, or a quoted name."""
        token = self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else None
        return token.text if token is not None and token.kind == "word" else ""

    def take(self, *words: str) -> bool:
        """Go behind these keywords if all stand here."""
        if all(self.word(ahead) == word for ahead, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def op(self, text: str) -> bool:
        """Go behind this operator if it stands here."""
        if self.at < len(self.tokens) and self.tokens[self.at].kind == "op" and self.tokens[self.at].text == text:
            self.at += 1
            return True
        return False

    def name(self) -> Name:
        """A name that may be qualified; the last two parts of it."""
        parts = [self.part()]
        while self.op("."):
            parts.append(self.part())
        return (parts[-2] if len(parts) > 1 else None, parts[-1])

    def part(self) -> str:
        """A name without a qualifier."""
        if self.at < len(self.tokens) and self.tokens[self.at].kind in ("word", "quoted"):
            self.at += 1
            return self.tokens[self.at - 1].text
        raise Unreadable("a name is expected")

    def group(self) -> Sequence[Token]:
        """What stands in the parentheses that open here, and go behind them."""
        if not self.op("("):
            raise Unreadable("( is expected")
        start, depth = self.at, 1
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == "op":
                depth += (token.text == "(") - (token.text == ")")
            self.at += 1
            if depth == 0:
                return self.tokens[start:self.at - 1]
        raise Unreadable(") is missing")

    @property
    def done(self) -> bool:
        return self.at >= len(self.tokens) or self.tokens[self.at].kind == "end"


@dataclass(frozen=True, slots=True)
class Reference:
    """``columns`` empty: not named. ``sets``: columns set when the target's row goes; () also stands for all of them if
    ``sets_all``."""

    target: Name
    columns: tuple[str, ...] = ()
    sets_all: bool = False
    sets: tuple[str, ...] = ()


@dataclass(slots=True)
class Clause:
    """``kind``: column, unique, primary, exclude, foreign, like, other; of ALTER also drop, type, rename, rename_to,
    schema, inherit, trigger, attach, index (a constraint from an index), default.

    ``columns``: of the constraint, or the column concerned. ``words``: the keywords and names in a column's default and
    constraints. ``also``: constraints that stand with a column.
    """

    kind: str
    columns: tuple[str, ...] = ()
    type: str = ""
    reference: Reference | None = None
    to: str = ""
    words: frozenset[str] = frozenset()
    also: list[Clause] = field(default_factory=list)


def clauses(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Split at the commas outside parentheses and brackets."""
    found: list[Sequence[Token]] = []
    start = depth = 0
    for i, token in enumerate(tokens):
        if token.kind == "end":
            tokens = tokens[:i]
            break
        if token.kind == "op":
            depth += (token.text in "([") - (token.text in ")]")
            if token.text == "," and depth == 0:
                found.append(tokens[start:i])
                start = i + 1
    found.append(tokens[start:])
    return [one for one in found if one]


def read_element(tokens: Sequence[Token]) -> Clause:
    """One element of CREATE TABLE (...), or what follows ADD in ALTER TABLE."""
    cursor = Cursor(tokens)
    named = cursor.take("constraint")
    if named:
        cursor.part()
    found = _constraint(cursor)
    if found is not None:
        return found
    if named:
        raise Unreadable("a constraint is expected")
    if cursor.take("like"):
        return Clause("like", to=cursor.name()[1])
    return _column(cursor)


def _constraint(cursor: Cursor) -> Clause | None:
    if cursor.take("primary", "key"):
        return _unique(cursor, "primary")
    if cursor.word() == "unique":
        cursor.take("unique")
        return _unique(cursor, "unique")
    if cursor.take("foreign", "key"):
        columns = _names(cursor.group())
        if not cursor.take("references"):
            raise Unreadable("REFERENCES is expected")
        return Clause("foreign", columns, reference=_reference(cursor))
    if cursor.word() == "exclude" and (cursor.word(1) == "using" or _opens(cursor, 1)):
        cursor.take("exclude")
        if cursor.take("using"):
            cursor.part()
        return Clause("exclude", _equal(cursor.group()))
    if cursor.take("check"):
        return Clause("other")
    return None


def _opens(cursor: Cursor, ahead: int) -> bool:
    at = cursor.at + ahead
    return at < len(cursor.tokens) and cursor.tokens[at].kind == "op" and cursor.tokens[at].text == "("


def _unique(cursor: Cursor, kind: str) -> Clause:
    if cursor.take("using", "index"):
        return Clause("index", to=cursor.part())
    _ = cursor.take("nulls", "not", "distinct") or cursor.take("nulls", "distinct")
    return Clause(kind, _names(cursor.group()))


def _names(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(Cursor(one).part() for one in clauses(tokens))


def index_columns(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Plain columns among the items of an index; an expression is none."""
    found = []
    for one in clauses(tokens):
        if one[0].kind in ("word", "quoted") and not (len(one) > 1 and one[1].kind == "op" and one[1].text in "(."):
            found.append(one[0].text)
    return tuple(found)


def _equal(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Columns that EXCLUDE compares with the plain operator =."""
    return tuple(one[0].text for one in clauses(tokens)
                 if len(one) >= 3 and one[0].kind in ("word", "quoted") and one[-1].kind == "op"
                 and one[-1].text == "=" and one[-2].kind == "word" and one[-2].text == "with")


def _reference(cursor: Cursor) -> Reference:
    target = cursor.name()
    columns = _names(cursor.group()) if _opens(cursor, 0) else ()
    sets: tuple[str, ...] = ()
    sets_all = False
    while not cursor.done:
        if cursor.take("on", "delete", "set"):
            cursor.at += 1
            if _opens(cursor, 0):
                sets = _names(cursor.group())
            else:
                sets_all = True
        else:
            cursor.at += 1
    return Reference(target, columns, sets_all, sets)


def _column(cursor: Cursor) -> Clause:
    name = cursor.part()
    start = cursor.at
    while not cursor.done and cursor.word() not in _ENDS_TYPE:
        cursor.at += 1
    found = Clause("column", (name,), " ".join(token.text for token in cursor.tokens[start:cursor.at]))
    words: set[str] = set()
    while not cursor.done:
        if cursor.take("primary", "key"):
            found.also.append(Clause("primary", (name,)))
        elif cursor.take("unique"):
            found.also.append(Clause("unique", (name,)))
        elif cursor.take("references"):
            rest = cursor.at
            found.also.append(Clause("foreign", (name,), reference=_reference(cursor)))
            cursor.at = rest + 1
        elif cursor.take("check") and _opens(cursor, 0):
            cursor.group()
        else:
            if cursor.tokens[cursor.at].kind in ("word", "quoted"):
                words.add(cursor.tokens[cursor.at].text)
            cursor.at += 1
    found.words = frozenset(words)
    return found


def read_action(tokens: Sequence[Token]) -> Clause:
    """One action of ALTER TABLE."""
    cursor = Cursor(tokens)
    if cursor.take("add"):
        _ = cursor.take("column")
        _ = cursor.take("if", "not", "exists")
        return read_element(cursor.tokens[cursor.at:])
    if cursor.take("drop"):
        if cursor.word() == "constraint" and not cursor.done and len(cursor.tokens) > cursor.at + 1:
            return Clause("other")
        _ = cursor.take("column")
        _ = cursor.take("if", "exists")
        return Clause("drop", (cursor.part(),))
    if cursor.take("alter"):
        return _alter(cursor)
    if cursor.take("rename", "constraint"):
        return Clause("other")
    if cursor.take("rename", "to"):
        return Clause("rename_to", to=cursor.part())
    if cursor.take("rename"):
        _ = cursor.take("column")
        old = cursor.part()
        if not cursor.take("to"):
            raise Unreadable("TO is expected")
        return Clause("rename", (old,), to=cursor.part())
    if cursor.take("set", "schema"):
        return Clause("schema", to=cursor.part())
    if cursor.word() in ("inherit", "attach", "detach") or (cursor.word() == "no" and cursor.word(1) == "inherit"):
        return Clause("inherit")
    if cursor.word() in ("enable", "disable"):
        return _enable(cursor)
    return Clause("other")


def _alter(cursor: Cursor) -> Clause:
    if cursor.take("constraint"):
        return Clause("other")
    _ = cursor.take("column")
    name = cursor.part()
    if cursor.take("type") or cursor.take("set", "data", "type"):
        return Clause("type", (name,))
    return Clause("other", (name,))


def _enable(cursor: Cursor) -> Clause:
    cursor.at += 1
    _ = cursor.take("always") or cursor.take("replica")
    if cursor.take("rule"):
        return Clause("rule")
    if cursor.take("trigger"):
        return Clause("trigger", to="" if cursor.word() in ("all", "user") else cursor.part())
    return Clause("other")
