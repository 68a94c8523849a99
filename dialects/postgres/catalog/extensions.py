"""Extensions whose functions in C were looked at, as data: what PostgreSQL ships, and a few widely used ones."""

from __future__ import annotations

from shardproxy.dialects.facts import CHANGES_SESSION, STAYS, WRITES

__all__ = ["CALM", "EXCEPTIONS", "STABLE_IS_HARMLESS"]

CALM = frozenset((
    "amcheck", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance",
    "fuzzystrmatch", "hstore", "intagg", "intarray", "isn", "ltree", "pageinspect", "pg_buffercache", "pg_freespacemap",
    "pg_stat_statements", "pg_trgm", "pg_visibility", "pg_walinspect", "pgcrypto", "pgrowlocks", "pgstattuple", "seg",
    "sslinfo", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "postgis", "postgis_topology",
    "postgis_raster", "vector", "moddatetime", "insert_username", "autoinc", "tcn",
))
"""Their functions leave nothing behind in the session and change no other table."""

EXCEPTIONS = {
    ("isn", "isn_weak"): CHANGES_SESSION | STAYS,
    ("pg_trgm", "set_limit"): CHANGES_SESSION,
    ("dblink", "dblink_connect"): CHANGES_SESSION | STAYS | WRITES,
    ("dblink", "dblink_connect_u"): CHANGES_SESSION | STAYS | WRITES,
    ("dblink", "dblink_open"): CHANGES_SESSION | STAYS | WRITES,
}

STABLE_IS_HARMLESS = CALM - {"amcheck", "pageinspect", "pg_buffercache", "pg_freespacemap", "pg_stat_statements",
                             "pg_visibility", "pg_walinspect", "pgrowlocks", "pgstattuple", "sslinfo"}
"""Their stable functions answer on a replica what they would on the primary."""
