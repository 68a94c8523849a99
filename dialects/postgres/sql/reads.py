"""Prove that a query is a read that a replica answers as the primary would.

The functions have been looked at before (``effects``). Here sqlglot parses the query, and every relation it names must
be known and readable. Invariant: what sqlglot does not understand, or sees otherwise than the tokens say, is no
proof. The tree is only read; the text that it is made from has one plain literal for each slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from shardproxy.dialects.facts import ANY_TABLE, READABLE, FactsView

from . import builtins
from .calls import calls
from .keywords import NOT_FUNCTIONS
from .shape import Name, name_at, word
from .tokens import LITERAL, OPERATOR, QUOTED, SLOT, Token

__all__ = ["Proof", "prove", "text_of"]

TOKENS_MAX = 5000
"""A longer query (lists are folded already) is not parsed: it would hold up a worker for too long."""

DEPTH_MAX = 100
"""Deeper nesting is not parsed: the parser is recursive."""

SLOTS_MAX = 64

_PLAIN_OPERATORS = frozenset("( ) [ ] { } , ; : . .. :: := => * + - / % = < > <= >= <> != ||".split())  # noqa: SIM905

_LITERALS = ("", "1", "1.5", "'x'", "'x'", "'x'", "b'1'", "x'1'")


_OPENERS = frozenset(("from", "join", "only", "table", "lateral"))
_ENDERS = frozenset(("where", "group", "having", "window", "order", "limit", "offset", "fetch", "union", "intersect",
                     "except", "select", "values", "returning"))


class Proof(NamedTuple):
    """``slots``: of the tables that are read, None if it is not proven and ``why`` says the reason. ``unknown``: for
    a relation that the catalog did not have when it was read."""

    slots: tuple[int, ...] | None
    why: str = ""
    unparsed: bool = False
    unknown: bool = False


def prove(tokens: Sequence[Token], facts: FactsView) -> Proof:
    """Whether the query that these tokens are reads only what a replica has."""
    tree = _parse(tokens)
    if tree is None:
        return Proof(None, "not parsed", unparsed=True)
    names = _relations(tree)
    if names is None:
        return Proof(None, "not a plain query", unparsed=True)
    slots: set[int] = set()
    for name in {*names, *_named(tokens, facts)}:
        found = _slots(name, facts)
        if found is None:
            unknown = facts.relation(name.name, name.schema) is None and not name.name.startswith("pg_")
            return Proof(None, f"{name.name}: unknown, or not for replicas", unknown=unknown)
        slots.update(found)
    return Proof(tuple(sorted(slots)) if len(slots) <= SLOTS_MAX else ANY_TABLE)


def text_of(tokens: Sequence[Token]) -> str:
    """SQL for the parser: a plain literal in each slot, one name for all functions, one symbol for rare operators.

    The parser knows what arguments many functions take; lists that the digest has folded would offend it. What the
    functions and operators do has been looked at before.
    """
    texts = list(map(_text, tokens))
    for call in calls(tokens):
        if call.quoted or call.name not in NOT_FUNCTIONS:
            texts[call.at - 1] = "f"
    return " ".join(texts)


def _text(token: Token) -> str:
    kind, text = token
    if kind == SLOT:
        literal = _LITERALS[ord(text[0])]
        return literal if len(text) == 1 else f"{literal}, {literal}"
    if kind == OPERATOR and text not in _PLAIN_OPERATORS:
        return "-"
    if kind == QUOTED:
        return '"' + text.replace('"', '""') + '"'
    return "'x'" if kind == LITERAL and not text[0].isdigit() and text[0] != "." else text


def _parse(tokens: Sequence[Token]) -> Any:
    """sqlglot's tree of one statement, None if there is none."""
    if len(tokens) > TOKENS_MAX or _depth(tokens) > DEPTH_MAX:
        return None
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        trees = sqlglot.parse(text_of(tokens), dialect="postgres")
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, IndexError, KeyError):
        return None
    return trees[0] if len(trees) == 1 else None


def _depth(tokens: Sequence[Token]) -> int:
    depth = deepest = 0
    for kind, text in tokens:
        if kind == OPERATOR and text in ("(", "["):
            depth += 1
            deepest = max(deepest, depth)
        elif kind == OPERATOR and text in (")", "]"):
            depth -= 1
    return deepest


def _relations(tree: Any) -> set[Name] | None:
    """What the tree reads, names of CTEs left out where no relation can be meant; None if it is no plain query."""
    from sqlglot import exp

    if not isinstance(tree, (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)):
        return None
    if next(tree.find_all(exp.Command, exp.Into, exp.Lock, exp.DDL, exp.DML, exp.Merge), None) is not None:
        return None
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    found: set[Name] = set()
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            continue                                        # a function, or a list of functions
        name = Name(table.db or None, table.name)
        if name.schema or name.name not in ctes:
            found.add(name)
    return found


def _named(tokens: Sequence[Token], facts: FactsView) -> Iterator[Name]:
    """Relations that stand where FROM lists stand, by the tokens alone: a check on the parser, and of CTE names."""
    listed = [False]
    for i, (kind, text) in enumerate(tokens):
        if kind == OPERATOR:
            if text == "(":
                inner = listed[-1] and (word(tokens, i - 1) in _OPENERS or tokens[i - 1].text in (",", "("))
                listed.append(inner)
            elif text == ")" and len(listed) > 1:
                listed.pop()
            if not (listed[-1] and text in (",", "(")):
                continue
        elif text in _ENDERS:
            listed[-1] = False
            continue
        elif text not in _OPENERS:
            continue
        else:
            listed[-1] = listed[-1] or text == "from"
        name, _ = name_at(tokens, i + 1)
        if name is not None and _exists(name, facts):
            yield name


def _exists(name: Name, facts: FactsView) -> bool:
    return facts.relation(name.name, name.schema) is not None or (
        name.schema in (None, "pg_catalog") and name.name in builtins.CATALOGS)


def _slots(name: Name, facts: FactsView) -> tuple[int, ...] | None:
    """Slots of a relation that replicas may read, None of any other."""
    if name.schema == "information_schema":
        return ()
    catalog = name.schema in (None, "pg_catalog") and name.name in builtins.CATALOGS
    relation = facts.relation(name.name, name.schema)
    if relation is None:
        return () if catalog else None
    return relation.read_slots if relation.bits & READABLE else None
