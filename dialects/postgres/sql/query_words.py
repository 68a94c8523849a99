"""Words of PostgreSQL's grammar that the parser of queries needs, as data."""

from __future__ import annotations

__all__ = ["BARE_CALLS", "BINDING", "INTERVAL_FIELDS", "NEEDS_AS", "RESERVED", "SPECIAL_CALLS", "STARTS_QUERY",
           "TYPE_WORDS"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESERVED = _set("""
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral
    leading limit localtime localtimestamp not null offset on only or order placing primary references returning
    select session_user some symmetric system_user table then to trailing true union unique user using variadic when
    where window with
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left
    like natural notnull outer overlaps right similar tablesample verbose
""")
"""No alias of a table, and no column by itself."""

NEEDS_AS = _set("""
    array as char character create day except fetch filter for from grant group having hour intersect into isnull
    limit minute month notnull offset on order over overlaps precision returning second to union varying where
    window with within without year
    and or not is in between like ilike similar collate at operator escape asc desc using
    nulls cross inner left right full natural join
""")
"""No alias of an output column without AS. (Some could be one; then the text is not understood.)"""

BARE_CALLS = _set("""
    current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user system_user user
""")

SPECIAL_CALLS = _set("""
    extract overlay position substring trim normalize xmlelement xmlforest xmlparse xmlpi xmlroot xmlserialize
    xmlexists json_object json_array json_objectagg json_arrayagg json json_scalar json_serialize json_query
    json_value json_exists xmlconcat
""")
"""Words stand among their arguments."""

INTERVAL_FIELDS = _set("year month day hour minute second")

TYPE_WORDS = {"double": "precision", "character": "varying", "char": "varying", "bit": "varying",
              "nchar": "varying"}

STARTS_QUERY = _set("select values with table")

BINDING = {"or": 1, "and": 2, "not": 3, "is": 4, "isnull": 4, "notnull": 4,
           "<": 5, ">": 5, "=": 5, "<=": 5, ">=": 5, "<>": 5, "!=": 5,
           "between": 6, "in": 6, "like": 6, "ilike": 6, "similar": 6, "overlaps": 6,
           "+": 8, "-": 8, "*": 9, "/": 9, "%": 9, "^": 10, "at": 11, "collate": 12}
"""How tight an operator binds; all others 7. A sign binds with 13, subscripts, fields and ``::`` tighter still."""
