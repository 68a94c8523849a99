"""What the planner of queries over shards must know of PostgreSQL: types, functions, names of columns.

Invariant: only what is known is said. A function that is not in these lists is ``unknown``; a type that is in none
has no family and no order.
"""

from __future__ import annotations

from collections.abc import Callable

from shardproxy.catalog.tables import Column
from shardproxy.planner.nodes import Expr, Query, Select
from shardproxy.planner.plan import NOW, STATEMENT_NOW

from . import builtins
from .expression_types import OIDS, type_of
from .query_parse import parse_query
from .query_scan import Unreadable
from .query_words import RESERVED

__all__ = ["KNOWLEDGE", "PostgresKnowledge"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FAMILIES = {
    16: "bool", 17: "bytea", 20: "int", 21: "int", 23: "int", 25: "text", 1043: "text", 1042: "bpchar", 1700: "numeric",
    1082: "date", 1114: "timestamp", 1184: "timestamptz", 2950: "uuid",
}
_NAMED = {
    "bool": "bool", "boolean": "bool", "bytea": "bytea", "int8": "int", "bigint": "int", "int2": "int",
    "smallint": "int", "int4": "int", "int": "int", "integer": "int", "text": "text", "varchar": "text",
    "character varying": "text", "numeric": "numeric", "decimal": "numeric", "dec": "numeric", "date": "date",
    "timestamp": "timestamp", "timestamp without time zone": "timestamp", "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz", "uuid": "uuid",
}
_RANGED = frozenset(("int", "numeric", "date", "timestamp", "timestamptz", "uuid"))
_SORTED = frozenset((16, 17, 20, 21, 23, 700, 701, 1082, 1114, 1184, 1700, 2950))
_TEXTS = frozenset((25, 1043))

_TYPE_NAMES = {"int": "int4", "integer": "int4", "bigint": "int8", "smallint": "int2", "boolean": "bool",
               "decimal": "numeric", "dec": "numeric", "real": "float4", "double precision": "float8",
               "character varying": "varchar", "character": "bpchar", "char": "bpchar",
               "timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp",
               "time with time zone": "timetz", "time without time zone": "time"}

_CLOCK = _set("""now transaction_timestamp statement_timestamp age current_date current_time current_timestamp localtime
    localtimestamp""")
_OF_ROWS = _set("to_json to_jsonb row_to_json json_agg jsonb_agg count")
_CLOCK_TYPES = {"current_timestamp": "timestamptz", "current_date": "date", "current_time": "timetz",
                "localtime": "time", "localtimestamp": "timestamp"}
_CLOCK_WORDS = frozenset(("now", "today", "tomorrow", "yesterday"))
_SEQUENCE = _set("nextval currval lastval setval pg_sequence_last_value")
_VOLATILE = _set("""random random_normal gen_random_uuid uuidv4 uuidv7 clock_timestamp timeofday""")
_CONSTRUCTS = _set("extract substring trim position overlay normalize coalesce nullif greatest least grouping timezone")
_SESSION_STABLE = _set("""
    current_database current_catalog current_setting col_description obj_description shobj_description format_type
    oidvectortypes mxid_age has_any_column_privilege has_column_privilege has_database_privilege
    has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege has_largeobject_privilege
    has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege
    has_tablespace_privilege has_type_privilege to_regclass to_regcollation to_regnamespace to_regoper to_regoperator
    to_regproc to_regprocedure to_regrole to_regtype to_regtypemod row_security_active timezone_abbrevs
""")
_WORDS = _set("current_user current_role session_user user current_schema")

_AGGREGATES = _set("""
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist dense_rank
    every json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict
    jsonb_object_agg_unique jsonb_object_agg_unique_strict max min mode percent_rank percentile_cont percentile_disc
    range_agg range_intersect_agg rank regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
    regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg grouping
""")


class PostgresKnowledge:
    """See ``Knowledge``."""

    def parse(self, text: str) -> Query | None:
        """The query that a text is."""
        try:
            return parse_query(text)
        except (Unreadable, RecursionError):
            return None

    def function(self, expr: Expr) -> str:
        """Among PostgreSQL's own functions, what a call is."""
        name = expr.name
        if len(expr.names) > 2 or (len(expr.names) == 2 and expr.names[0] != "pg_catalog"):
            return "unknown"
        if name in _CLOCK:
            return "stable" if name == "age" and len(expr.args) == 2 else "clock"
        if name in _SEQUENCE:
            return "sequence"
        if name in _VOLATILE:
            return "volatile"
        if name in _SESSION_STABLE or (name.startswith("pg_") and name not in builtins.IMMUTABLE):
            return "session"
        if name in builtins.IMMUTABLE or name in _CONSTRUCTS:
            return "immutable"
        if name in builtins.STABLE or name in _WORDS or name in _AGGREGATES:
            return "stable"
        return "session" if name in builtins.CALM or name in builtins.EFFECTS else "unknown"

    def aggregate(self, expr: Expr) -> bool:
        """Whether a call is an aggregate (or a hypothetical-set function, which needs WITHIN GROUP)."""
        return expr.kind == "call" and expr.name in _AGGREGATES and (
            len(expr.names) == 1 or expr.names[:-1] == ("pg_catalog",))

    def reads_columns(self, expr: Expr) -> bool:
        """Conversion to JSON, and counting."""
        return expr.name in _OF_ROWS and expr.names[:-1] in ((), ("pg_catalog",)) and not expr.distinct

    def clock_hole(self, expr: Expr) -> tuple[int, str] | None:
        """``now()`` and its like, ``current_date`` and the like without a precision."""
        if expr.args or expr.names[:-1] not in ((), ("pg_catalog",)):
            return None
        if expr.name in _CLOCK_TYPES and expr.end - expr.start == len(expr.name):
            return NOW, _CLOCK_TYPES[expr.name]
        hole = {"now": NOW, "transaction_timestamp": NOW, "statement_timestamp": STATEMENT_NOW}.get(expr.name)
        return None if hole is None else (hole, "timestamptz")

    def clock_literal(self, expr: Expr) -> bool:
        """``'now'``, ``'today'`` and the like, whatever type they will get."""
        if expr.kind != "const" or expr.how not in ("string", "odd") or not expr.value:
            return False
        words = expr.value.strip(" \t\n'eE").lower().split()
        return any(word in _CLOCK_WORDS for word in words[:2])

    def family(self, type_oid: int) -> str:
        """Types that compare and hash alike."""
        return _FAMILIES.get(type_oid, "")

    def named_family(self, type_name: str) -> str:
        """The same by name; a type with a modifier may cut the value."""
        return _NAMED.get(type_name.removeprefix("pg_catalog."), "")

    def ranged(self, family: str) -> bool:
        """Not text: that is in an order of its collation."""
        return family in _RANGED

    def takes(self, family: str, how: str, text: str | None) -> bool:
        """Whether a bare literal becomes a value of the family without a change."""
        if how in ("string", "null"):
            return True
        if how == "bool":
            return family == "bool"
        if how != "number" or text is None:
            return False
        digits = text.lstrip("-")
        if family == "int":
            return digits.isascii() and digits.isdigit()
        return family == "numeric" and digits.isascii() and digits.replace(".", "", 1).isdigit()

    def sort_type(self, column: Column) -> int:
        """OID that is compared; 0 if the proxy cannot."""
        oid = column.base or column.type
        if column.type_kind not in ("b", "d"):
            return 0
        if oid in _SORTED:
            return oid
        return oid if oid in _TEXTS and column.bytewise and column.deterministic else 0

    def type_of(self, expr: Expr, lookup: Callable[[Expr], Column | None]) -> str:
        """SQL name of an expression's type."""
        return type_of(expr, lookup)

    def column_type(self, column: Column) -> str:
        """SQL type with collation; types that users made are left to the shell."""
        if column.type_kind != "b" or column.type >= 16384:
            return ""
        if column.collation in ("", "default"):
            return column.type_name
        known = column.collation in ("C", "POSIX", "ucs_basic")
        return f'{column.type_name} COLLATE pg_catalog."{column.collation}"' if known else ""

    def sort_type_of(self, expr: Expr, lookup: Callable[[Expr], Column | None]) -> int:
        """OID that is compared; text of a computed expression is not: its collation is not sure."""
        oid = OIDS.get(type_of(expr, lookup), 0)
        return oid if oid in _SORTED else 0

    def folds(self, name: str, column: Column | None) -> tuple[str, int]:
        """How an aggregate of all rows comes from those of the shards' rows."""
        if name == "count":
            return "sum", 20
        if column is None:
            return "", 0
        oid = self.sort_type(column)
        if name == "sum" and oid in (20, 21, 23, 1700):
            return "sum", 20 if oid in (21, 23) else 1700
        if name in ("min", "max") and oid not in (0, 16, 17, 2950):
            return name, 25 if oid == 1043 else oid
        if oid == 16:
            return {"bool_and": "and", "every": "and", "bool_or": "or"}.get(name, ""), 16
        return "", 0

    def result_name(self, expr: Expr) -> str:
        """As PostgreSQL names a column."""
        name, strength = _figure(expr)
        return name if strength else "?column?"

    def row_id(self, alias: str) -> str:
        return f"{self.quote(alias)}.ctid::text"

    def quote(self, name: str) -> str:
        """Quoted, unless it is a plain name."""
        if name.isascii() and name.isidentifier() and name == name.lower() and name not in RESERVED | _KEYWORDS:
            return name
        return '"' + name.replace('"', '""') + '"'


_KEYWORDS = _set("""
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping inout int
    integer interval least national nchar none normalize nullif numeric out overlay position precision real row setof
    smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable json json_array json_object json_scalar json_serialize
    merge_action user day hour minute month second year over filter within without
""")


def _figure(expr: Expr) -> tuple[str, int]:
    """Name, and how sure it is: 0 none, 1 from a type, 2 from a name."""
    kind = expr.kind
    if kind in ("column", "field"):
        return expr.name, 2
    if kind == "index" or kind == "paren" or (kind == "other" and expr.name == "collate"):
        return _figure(expr.args[0])
    if kind == "call":
        return _function_name(expr), 2
    if kind == "cast":
        found = _figure(expr.args[0])
        if found[1]:
            return found
        name = expr.name.removesuffix("[]").split("(")[0]
        return _TYPE_NAMES.get(name.removeprefix("pg_catalog."), name.rpartition(".")[2]), 1
    if kind == "const" and expr.how == "bool":
        return "bool", 1
    if kind == "const" and expr.name == "interval":
        return "interval", 1
    if kind == "case":
        found = _figure(expr.args[-1]) if expr.name == "case else" else ("", 0)
        return found if found[1] else ("case", 1)
    if kind in ("array", "row"):
        return kind, 2
    if kind == "sub":
        return _subquery_name(expr)
    return "", 0


def _function_name(expr: Expr) -> str:
    if expr.name == "trim":
        return "btrim" if len(expr.args) else ""
    if expr.name == "user":
        return "user"
    return expr.name


def _subquery_name(expr: Expr) -> tuple[str, int]:
    if expr.name in ("exists", "array"):
        return expr.name, 2
    if expr.name == "scalar" and expr.query is not None:
        body = expr.query.body
        while isinstance(body, Query):
            body = body.body
        if isinstance(body, Select) and body.items:
            item = body.items[0]
            return (item.alias, 2) if item.alias is not None else _figure(item.expr)
    return "", 0


KNOWLEDGE = PostgresKnowledge()
