"""What an expression of a statement is, by its lexemes: a constant that a key may have, or work that a shard may do.

Invariant: what is not understood is no constant, and may do anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Flag, auto

from shardproxy.catalog.tables import Column, Tables

from .knowledge import Knowledge
from .lexemes import Lexeme, close_of, is_op, strip, word
from .nodes import Expr
from .plan import NOW, STATEMENT_NOW, KeyValue, Parts, Value

__all__ = ["Hazard", "Judge", "assigned", "constant", "hazards", "keeps_key", "span", "storable_as_given",
           "with_clocks"]


class Hazard(Flag):
    """Why an expression may give another answer on a shard than it would in one database."""

    NONE = 0
    QUERY = auto()
    """It has a query in it."""
    CLOCK = auto()
    """The time of the transaction or statement: one for the whole statement, but each shard has its own."""
    CLOCK_WITHIN = auto()
    """The same, where it cannot be put in as a constant."""
    VOLATILE = auto()
    """Another value at each call; good wherever it is evaluated, once."""
    SEQUENCE = auto()
    """Sequences live on the coordinator."""
    UNKNOWN = auto()
    """A function whose body may do anything."""


_CLOCK_WORDS = {"current_timestamp": "timestamptz", "current_time": "timetz", "current_date": "date",
                "localtime": "time", "localtimestamp": "timestamp"}
_CLOCK_CALLS = {"now": NOW, "transaction_timestamp": NOW, "statement_timestamp": STATEMENT_NOW}
_CLOCK_STRINGS = frozenset(("now", "today", "tomorrow", "yesterday"))
_VOLATILE_CALLS = frozenset((
    "random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "clock_timestamp", "timeofday",
    "uuid_generate_v4", "uuid_generate_v1", "gen_random_bytes", "gen_salt"))
_QUERY_WORDS = frozenset(("select", "with", "values", "table"))

_NO_CALLS = frozenset(re.findall(r"\w+", """
    in any all some exists and or not as over filter within values on using when then else case from where set row
    rows array cast coalesce nullif greatest least grouping between like ilike similar is default position substring
    trim overlay extract treat normalize xmlelement xmlforest xmlparse xmlconcat xmlpi xmlroot xmlserialize xmlexists
    varchar char character numeric decimal dec float bit varying timestamp time interval timestamptz timetz bpchar
    precision nchar int integer returning conflict do into update constraint escape collate limit offset by having
    group order union intersect except select distinct join inner left right full cross natural lateral only with
    recursive materialized fetch first next asc desc matched merge insert delete nothing key materialised cube rollup
    sets partition window tablesample ordinality
"""))
"""Words that a parenthesis may follow without a call. COALESCE and the like are calls of what is in them only."""

_FAMILIES = (
    ("int2", "smallint", "int4", "int", "integer", "int8", "bigint", "serial", "bigserial"),
    ("text", "varchar", "character varying"),
    ("bool", "boolean"), ("timestamptz", "timestamp with time zone"), ("timestamp", "timestamp without time zone"),
    ("uuid",), ("date",), ("bytea",), ("numeric", "decimal"), ("bpchar",),
)
_FAMILY = {name: family[0] for family in _FAMILIES for name in family}

_MODIFIED = frozenset((1043, 1700, 1114, 1184, 1083, 1266, 1560, 1562))
"""Types whose modifier changes values as they are stored: varchar(n), numeric(p, s), timestamp(p), ..."""


def storable_as_given(column: Column) -> bool:
    """Whether the value that is stored in a key column is the value that the text shows."""
    return column.typmod < 0 or column.type not in _MODIFIED


def keeps_key(cast: str, column: Column) -> bool:
    """Whether a cast to the type ``cast`` changes no value of this key column."""
    if not cast:
        return True
    given, own = (_FAMILY.get(name, name) for name in (cast, column.type_name.partition("(")[0].strip()))
    return given == own


def assigned(lexemes: Sequence[Lexeme], start: int, end: int, column: Column) -> KeyValue | None:
    """The constant in this range, if the column stores it as it stands: 4.0 is stored as 4 where integers are."""
    found = constant(lexemes, start, end)
    if found is None or not keeps_key(found.cast, column):
        return None
    text = (found.value.text or "").lstrip("-")
    own = column.type_name.partition("(")[0].strip()
    kinds = {one.kind if one.text not in ("true", "false") else one.text for one in lexemes[start:end]}
    if "number" in kinds and not _is_type_number(lexemes, start, end):
        whole = _FAMILY.get(own) == "int2" and text.isdigit()
        return found if whole or _FAMILY.get(own) == "numeric" else None
    return found if not kinds & {"true", "false"} or _FAMILY.get(own) == "bool" else None


def _is_type_number(lexemes: Sequence[Lexeme], start: int, end: int) -> bool:
    """Whether the numbers in this range are modifiers of a type: the value is a string or a parameter."""
    return any(one.kind in ("string", "param") for one in lexemes[start:end])


def constant(lexemes: Sequence[Lexeme], start: int, end: int) -> KeyValue | None:
    """The literal, parameter or cast of one of them that stands in this range; None if it is anything else."""
    start, end = strip(lexemes, start, end)
    if (cast := _cast_form(lexemes, start, end)) is not None:
        return cast
    for i in range(start + 1, end):                         # x::type
        if is_op(lexemes, i, "::"):
            inner, name = constant(lexemes, start, i), _type_name(lexemes, i + 1, end)
            return None if inner is None or inner.cast or not name else KeyValue(inner.value, cast=name)
    value = _value(lexemes, start, end)
    return None if value is None else KeyValue(value)


def _cast_form(lexemes: Sequence[Lexeme], start: int, end: int) -> KeyValue | None:
    """CAST(x AS type), or ``type 'literal'``."""
    if word(lexemes, start) == "cast" and is_op(lexemes, start + 1, "(") and close_of(lexemes, start + 1) == end - 1:
        for i in range(start + 2, end - 1):
            if word(lexemes, i) == "as":
                inner, name = constant(lexemes, start + 2, i), _type_name(lexemes, i + 1, end - 1)
                return None if inner is None or inner.cast or not name else KeyValue(inner.value, cast=name)
    if end - start >= 2 and lexemes[end - 1].kind == "string" and lexemes[start].kind == "word":
        name = _type_name(lexemes, start, end - 1)
        if name in _FAMILY:
            return KeyValue(Value(text=lexemes[end - 1].text), cast=name)
    return None


def _type_name(lexemes: Sequence[Lexeme], start: int, end: int) -> str:
    """The name of a type without modifier or array brackets; empty if it is more than that."""
    words = lexemes[start:end]
    if any(one.kind != "word" for one in words):
        return ""
    return " ".join(one.text for one in words)


def _value(lexemes: Sequence[Lexeme], start: int, end: int) -> Value | None:
    sign = ""
    if end - start == 2 and lexemes[start].text in ("-", "+") and lexemes[start + 1].kind == "number":
        sign, start = lexemes[start].text.strip("+"), start + 1
    if end - start != 1:
        return None
    one = lexemes[start]
    if one.kind == "string":
        return None if one.text.strip().lower() in _CLOCK_STRINGS else Value(text=one.text)
    if one.kind == "number":
        plain = one.text.replace("_", "")
        return Value(text=sign + (plain.lstrip("0") or "0" if plain.isdigit() else plain)) if plain.isascii() and (
            plain.isdigit() or "." in plain and "e" not in plain.lower()) else None
    if one.kind == "param":
        return Value(param=int(one.text[1:]))
    if one.kind == "word" and one.text in ("null", "true", "false"):
        return Value(text=None if one.text == "null" else one.text)
    return None


class Judge:
    """What functions do, by what the dialect and the catalog know of them."""

    def __init__(self, knowledge: Knowledge, tables: Tables) -> None:
        self.knowledge, self.tables = knowledge, tables

    def call(self, name: str) -> Hazard:
        """What a call of a function of this name may do."""
        if name in _CLOCK_CALLS:
            return Hazard.CLOCK
        if name == "age":                   # of one argument: since midnight
            return Hazard.CLOCK_WITHIN
        own = self.tables.functions.get(name)
        kind = self.knowledge.function(Expr("call", 0, 0, name, names=(name,)))
        if own is not None:
            harmless = own.volatility == "i" and not own.opaque and not own.touches
            return Hazard.NONE if harmless and kind in ("unknown", "immutable") else Hazard.UNKNOWN
        return _KINDS.get(kind, Hazard.VOLATILE if name in _VOLATILE_CALLS else Hazard.UNKNOWN)


_KINDS = {"immutable": Hazard.NONE, "stable": Hazard.NONE, "clock": Hazard.CLOCK_WITHIN, "volatile": Hazard.VOLATILE,
          "sequence": Hazard.SEQUENCE}


def hazards(lexemes: Sequence[Lexeme], start: int, end: int, judge: Judge) -> Hazard:
    """What this range may do."""
    found = Hazard.NONE
    for i in range(start, end):
        one = lexemes[i]
        if one.kind == "string" and one.text.strip().lower() in _CLOCK_STRINGS:
            found |= Hazard.CLOCK_WITHIN
        elif one.kind in ("word", "quoted"):
            if one.kind == "word" and one.text in _QUERY_WORDS and (i == start or is_op(lexemes, i - 1, "(")):
                found |= Hazard.QUERY
            if one.kind == "word" and one.text in _CLOCK_WORDS:
                found |= Hazard.CLOCK
            elif is_op(lexemes, i + 1, "(") and not (one.kind == "word" and one.text in _NO_CALLS):
                found |= judge.call(one.text)
    return found


def span(text: str, lexemes: Sequence[Lexeme], start: int, end: int) -> str:
    """The text of a range."""
    return text[lexemes[start].start:lexemes[end - 1].end] if start < end else ""


def with_clocks(text: str, lexemes: Sequence[Lexeme], start: int, end: int) -> Parts:
    """The text of a range with holes in the place of the clock functions; see ``NOW`` in plan.py."""
    if start >= end:
        return ()
    parts: list[bytes | int] = []
    at = lexemes[start].start
    i = start
    while i < end:
        clock, behind = _clock(text, lexemes, i, end)
        if clock:
            parts += [text[at:lexemes[i].start].encode("utf-8", "surrogateescape"), *clock]
            at = lexemes[behind - 1].end
            i = behind
        else:
            i += 1
    parts.append(text[at:lexemes[end - 1].end].encode("utf-8", "surrogateescape"))
    return tuple(part for part in parts if part != b"")


def _clock(text: str, lexemes: Sequence[Lexeme], i: int, end: int) -> tuple[tuple[bytes | int, ...], int]:
    """What stands for the clock function at ``i``, and the index behind that; () if there is none."""
    one = lexemes[i]
    if one.kind == "word" and one.text in _CLOCK_WORDS:
        behind, modifier = i + 1, ""
        if is_op(lexemes, behind, "(") and behind < end and close_of(lexemes, behind) == behind + 2:
            modifier = span(text, lexemes, behind, behind + 3)
            behind += 3
        return (b"(", NOW, f"::{_CLOCK_WORDS[one.text]}{modifier})".encode()), behind
    if one.text in _CLOCK_CALLS and is_op(lexemes, i + 1, "(") and is_op(lexemes, i + 2, ")"):
        return (b"(", _CLOCK_CALLS[one.text], b")"), i + 3
    return (), i
