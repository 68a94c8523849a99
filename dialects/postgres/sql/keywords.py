"""Words that PostgreSQL's grammar takes for itself where a function name could stand, as data (15 to 18)."""

from __future__ import annotations

__all__ = ["NOT_FUNCTIONS"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RESERVED = _set("""
    all analyse analyze and any array as asc asymmetric between bigint bit boolean both case cast char character check
    coalesce collate column constraint create current_catalog current_date current_role current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except exists extract
    false fetch float for foreign from grant greatest group grouping having in initially inout int integer intersect
    interval into lateral leading least limit localtime localtimestamp national nchar none normalize not null nullif
    numeric offset on only or order out overlay placing position precision primary real references returning row
    select session_user setof smallint some substring symmetric table then time timestamp to trailing treat trim true
    union unique user using values varchar variadic when where window with xmlattributes xmlconcat xmlelement
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
""")
"""Reserved, or no name of a function, in every version."""

_NEWER = _set("""
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value merge_action system_user
""")
"""Reserved so in later versions; before, they are functions only if the user made such."""

_BEFORE_PARENTHESIS = _set("""
    authorization begin by columns conflict content cross cube day delete do document escape exclude filter
    first freeze full groups hour ilike include inner insert is isnull join keep key left like materialized
    minute month natural nested next no notnull options ordinality outer over overlaps partition passing path
    range recursive right rollup rows second set sets similar start tablesample uescape update value varying
    verbose view within year zone
""")
"""May stand before a parenthesis in a query without being called; some are also built-in, harmless functions."""

NOT_FUNCTIONS = _RESERVED | _NEWER | _BEFORE_PARENTHESIS
"""Words that call nothing of the user's, unless the user has a function of that name."""
