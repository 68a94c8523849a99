"""Types of expressions, where they can be told for sure.

Invariant: a type that is told is the one that PostgreSQL gives the expression, without its modifier; "" means not sure.
``text`` is told only of expressions under the database's default collation.
"""

from __future__ import annotations

from collections.abc import Callable

from shardproxy.catalog.tables import Column
from shardproxy.planner.nodes import Expr

__all__ = ["OIDS", "type_of"]

OIDS = {"boolean": 16, "bytea": 17, "bigint": 20, "smallint": 21, "integer": 23, "real": 700, "double precision": 701,
        "date": 1082, "timestamp": 1114, "timestamptz": 1184, "numeric": 1700, "uuid": 2950, "text": 25,
        "interval": 1186}
_NAMES = {oid: name for name, oid in OIDS.items()} | {1043: "text"}
_CASTS = {"bool": "boolean", "int8": "bigint", "int2": "smallint", "int4": "integer", "int": "integer",
          "float4": "real", "float8": "double precision", "decimal": "numeric", "dec": "numeric",
          "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz"} | {
              name: name for name in OIDS}
_WHOLE = ("smallint", "integer", "bigint")
_RANKED = (*_WHOLE, "numeric", "real", "double precision")
_TEST = frozenset(("=", "<>", "!=", "<", ">", "<=", ">=", "and", "or", "not", "like", "ilike", "~", "~*", "!~", "!~*"))
_SUMS = {"smallint": "bigint", "integer": "bigint", "bigint": "numeric", "numeric": "numeric", "real": "real",
         "double precision": "double precision", "interval": "interval"}
_SAME = frozenset(("min", "max", "abs", "any_value"))
_STEPS = frozenset(("coalesce", "greatest", "least"))

Lookup = Callable[[Expr], Column | None]


def type_of(expr: Expr, lookup: Lookup) -> str:
    """The type of an expression. ``lookup``: the column of a table that a column of the expression is."""
    if expr.kind == "paren":
        return type_of(expr.args[0], lookup)
    if expr.kind == "column":
        return _column(lookup(expr))
    if expr.kind == "cast":
        name = expr.name.removeprefix("pg_catalog.")
        return _CASTS.get("numeric" if name.startswith(("numeric(", "decimal(")) else name, "")
    if expr.kind == "const":
        return _constant(expr)
    if expr.kind in ("is", "between", "in") or (expr.kind == "op" and expr.name in _TEST) or (
            expr.kind == "sub" and expr.name in ("exists", "in", "any", "all")):
        return "boolean"
    if expr.kind == "op":
        return _operator(expr, lookup)
    if expr.kind == "case":
        return _case(expr, lookup)
    if expr.kind == "call" and expr.names[:-1] in ((), ("pg_catalog",)):
        return _call(expr, lookup)
    return ""


def _column(column: Column | None) -> str:
    if column is None or column.type_kind != "b":
        return ""
    name = _NAMES.get(column.type, "")
    return "" if name == "text" and column.collation not in ("", "default") else name


def _constant(expr: Expr) -> str:
    if expr.name == "interval":
        return "interval"
    if expr.how == "bool":
        return "boolean"
    if expr.how != "number" or expr.value is None:
        return ""
    if not (expr.value.isascii() and expr.value.isdigit()):
        return "numeric" if expr.value.replace(".", "", 1).isdigit() else ""
    return "integer" if int(expr.value) < 2**31 else "bigint" if int(expr.value) < 2**63 else "numeric"


def _operator(expr: Expr, lookup: Lookup) -> str:
    kinds = [type_of(arg, lookup) for arg in expr.args]
    if len(kinds) == 1:
        return kinds[0] if expr.name in "+-" and kinds[0] in _RANKED else ""
    left, right = kinds[0], kinds[1]
    if expr.name in ("+", "-", "*", "/", "%") and left in _RANKED and right in _RANKED:
        if "real" in kinds and kinds != ["real", "real"]:
            return "double precision"
        return _RANKED[max(_RANKED.index(left), _RANKED.index(right))]
    if expr.name == "-" and left == right == "date":
        return "integer"
    if expr.name in "+-" and left == "date" and right in ("integer", "smallint"):
        return "date"
    if expr.name in "+-" and right == "interval" and left in ("date", "timestamp", "timestamptz"):
        return "timestamp" if left == "date" else left
    return ""


def _promoted(kinds: list[str]) -> str:
    """The type that CASE or COALESCE gives expressions of these types."""
    if not kinds or "" in kinds:
        return ""
    if len(set(kinds)) == 1:
        return kinds[0]
    if all(kind in _RANKED for kind in kinds):
        return _RANKED[max(map(_RANKED.index, kinds))]
    return ""


def _case(expr: Expr, lookup: Lookup) -> str:
    args = expr.args
    count = len(args) - (expr.name == "case else")
    results = [args[i] for i in range(1 + count % 2, count, 2)]
    if expr.name == "case else":
        results.append(args[-1])
    return _promoted([type_of(one, lookup) for one in results if one.how != "null"])


def _call(expr: Expr, lookup: Lookup) -> str:
    name, args = expr.name, expr.args
    if name in ("count", "row_number", "rank", "dense_rank"):
        return "bigint"
    if name == "extract":
        return "numeric"
    if name in ("length", "char_length", "octet_length"):
        return "integer"
    if name in ("bool_and", "bool_or", "every"):
        return "boolean"
    if not args or args[0].kind == "star":
        return ""
    if name in _STEPS:
        return _promoted([type_of(one, lookup) for one in args if one.how != "null"])
    if name == "date_trunc" and len(args) == 2:
        kind = type_of(args[1], lookup)
        found = {"date": "timestamptz"}.get(kind, kind)
        return found if found in ("timestamp", "timestamptz", "interval") else ""
    first = type_of(args[0], lookup)
    if name in _SAME:
        return first if first in _RANKED or name in ("min", "max") and first in (
            "date", "timestamp", "timestamptz", "text", "interval") else ""
    if name == "sum":
        return _SUMS.get(first, "")
    if name == "avg":
        return "numeric" if first in (*_WHOLE, "numeric") else (
            "double precision" if first in ("real", "double precision") else "")
    if name in ("round", "floor", "ceil", "trunc"):
        return "numeric" if first == "numeric" else "double precision" if len(args) == 1 and first in _RANKED else ""
    if name in ("lower", "upper", "substring", "substr", "btrim", "ltrim", "rtrim", "trim", "replace", "left", "right"):
        return first if first == "text" else ""
    return ""
