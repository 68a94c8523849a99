"""SET and SHOW of the proxy's own settings, which are kept on the server like any other.

Invariant: a text sent in place of a client's has the same effect wherever in a pipeline or transaction it stands.
"""

from __future__ import annotations

import re
from typing import Any

from shardproxy.router import flags as f

from . import wire
from .sql_error import raising

__all__ = ["CONSISTENCIES", "TOKEN", "own_setting"]

CONSISTENCIES = ("database", "session", "strong", "eventual")
TOKEN = re.compile(r"([0-9]{1,10}):([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
TOKEN_SQL = (
    "SELECT (('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int)::text"
    " || ':' || pg_catalog.pg_current_wal_insert_lsn()::text AS \"shardproxy.token\""
)
CONSISTENCY_SQL = (  # asked of the server: drivers prepare SHOW once, and run it after a SET
    "SELECT coalesce(nullif(pg_catalog.current_setting('shardproxy.consistency', true), ''), {})"
    ' AS "shardproxy.consistency"'
)

DEFAULT_KEY_SQL = ("SELECT coalesce(pg_catalog.current_setting('shardproxy.default_key', true), '')"
                   ' AS "shardproxy.default_key"')
KNOWN = "known are consistency, token, default_key"


def own_setting(default: str, route: Any, sql: bytes) -> bytes:
    """What to send for SET or SHOW of a setting of the proxy. ``default``: the database's consistency."""
    name = str(route.names[0]).lower()
    if route.flags & f.PROXY_SHOW:
        if name == "token":
            return TOKEN_SQL.encode()
        if name == "consistency":
            return CONSISTENCY_SQL.format(wire.quote_literal(default)).encode()
        if name == "default_key":
            return DEFAULT_KEY_SQL.encode()
        return raising(
            "42704", f'unrecognized configuration parameter "shardproxy.{name}"', KNOWN
        )
    value = str(route.names[1]) if len(route.names) > 1 and route.names[1] is not None else ""
    if name == "consistency" and value.lower() not in (*CONSISTENCIES, "default", ""):
        return raising("22023", f'invalid value for parameter "shardproxy.consistency": "{value}"',
                       "use database, session, strong or eventual")  # fmt: skip
    if name == "token" and value and value.lower() != "default" and not TOKEN.fullmatch(value):
        return raising(
            "22023",
            f'invalid value for parameter "shardproxy.token": "{value}"',
            "use what SHOW shardproxy.token gave",
        )
    if name not in ("consistency", "token", "default_key"):
        return raising(
            "42704", f'unrecognized configuration parameter "shardproxy.{name}"', KNOWN
        )
    return sql
