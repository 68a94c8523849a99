"""The truth about a session, asked of the server; and how a connection is brought to a client's settings.

Invariants:
* After a probe, ``Truth.settings`` are exactly the parameters that differ from what a new connection of this user has,
  ``role`` and ``session_authorization`` among them, and ``Truth.pins`` names everything else that a session holds.
  Settings that an application made up are known only if the probe was given their names.
  (Server connections are opened without parameters, so RESET leads to the same value for every client.)
* ``sync_sql`` sets every parameter under the session's own first user, who may set what that user had set before;
  role and session authorization come last.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from shardproxy.session.settings import Settings, difference

from .wire import quote_ident, quote_literal

__all__ = ["FOREVER_PIN", "HIDDEN_PIN", "Truth", "probe_sql", "read_truth", "sync_sql"]

_SETTINGS = """SELECT 's', name, setting FROM pg_catalog.pg_settings
WHERE source = 'session' AND (setting IS DISTINCT FROM reset_val{also}) AND name NOT LIKE 'transaction\\_%'
"""
_CUSTOM = """UNION ALL SELECT 'c', n, pg_catalog.current_setting(n, true)
FROM pg_catalog.unnest(ARRAY[{names}]::text[]) n
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings g WHERE pg_catalog.lower(g.name) = n)
"""
_OTHERS = """UNION ALL SELECT 'n', pg_catalog.count(*)::text, ''
FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql
UNION ALL SELECT 'r', pg_catalog.current_setting('role'), session_user::text
UNION ALL SELECT 'p', 'LISTEN', l FROM pg_catalog.pg_listening_channels() l
UNION ALL SELECT 'p', 'PREPARE', name FROM pg_catalog.pg_prepared_statements WHERE from_sql
UNION ALL SELECT 'p', 'cursor', name FROM pg_catalog.pg_cursors WHERE is_holdable
UNION ALL SELECT 'p', 'advisory lock', coalesce(l.objid::text, '') FROM pg_catalog.pg_locks l
WHERE l.locktype = 'advisory' AND l.pid = pg_catalog.pg_backend_pid()
UNION ALL SELECT 'p', 'temporary', c.relname FROM pg_catalog.pg_class c
WHERE pg_catalog.pg_my_temp_schema() <> 0 AND c.relnamespace = pg_catalog.pg_my_temp_schema()
UNION ALL SELECT 'p', 'temporary', p.proname FROM pg_catalog.pg_proc p
WHERE pg_catalog.pg_my_temp_schema() <> 0 AND p.pronamespace = pg_catalog.pg_my_temp_schema()
UNION ALL SELECT 'p', 'temporary', t.typname FROM pg_catalog.pg_type t
WHERE pg_catalog.pg_my_temp_schema() <> 0 AND t.typnamespace = pg_catalog.pg_my_temp_schema()"""
_PLAIN = (_SETTINGS.format(also="") + _OTHERS).encode()

FOREVER_PIN = "session state that cannot be read back"
"""Not even DISCARD ALL undoes it: the connection ends with the session."""
HIDDEN_PIN = "settings of unknown names"

FOREVER_SETTINGS = frozenset({"seed"})
"""Settings that cannot be read back: the session keeps its connection."""


@dataclass(slots=True)
class Truth:
    """What a probe found."""

    settings: dict[str, str] = field(default_factory=dict)
    pins: list[str] = field(default_factory=list)
    prepared: int = 0
    """How many statements were prepared through the protocol."""


def probe_sql(custom: Collection[str] = (), explicit: Collection[str] = ()) -> bytes:
    """The question. ``custom``: made-up settings to ask for; ``explicit``: settings of which it matters that the
    session has set them, though to the server's own value (others are as good as not set)."""
    if not custom and not explicit:
        return _PLAIN
    also = f" OR pg_catalog.lower(name) IN ({_literals(explicit)})" if explicit else ""
    text = _SETTINGS.format(also=also)
    if custom:
        text += _CUSTOM.format(names=_literals(custom))
    return (text + _OTHERS).encode("utf-8", "surrogateescape")


def _literals(names: Collection[str]) -> str:
    return ", ".join(map(quote_literal, sorted(names)))


def _text(cell: bytes | None) -> str:
    return "" if cell is None else cell.decode("utf-8", "surrogateescape")


def read_truth(rows: list[list[bytes | None]], login_user: str) -> Truth:
    """From the rows of a probe. ``login_user``: as whom the connection was opened."""
    truth = Truth()
    for kind, first, second in rows:
        if kind == b"s":
            name = _text(first).lower()
            if name in FOREVER_SETTINGS:
                truth.pins.append(f"setting {name}")
            else:
                truth.settings[name] = _text(second)
        elif kind == b"c":
            if second:  # made up and reset, or never set: both read as empty
                truth.settings[_text(first)] = _text(second)
        elif kind == b"n":
            truth.prepared = int(_text(first))
        elif kind == b"r":
            if _text(first) not in ("", "none"):
                truth.settings["role"] = _text(first)
            if _text(second) != login_user:
                truth.settings["session_authorization"] = _text(second)
        else:
            truth.pins.append(f"{_text(first)} {_text(second)}".strip())
    return truth


_LAST = ("session_authorization", "role")


def sync_sql(have: Settings, want: Settings) -> str:
    """Statements that turn a connection with ``have`` into one with ``want``; empty if they are equal."""
    to_set, to_reset = difference(have, want)
    if not to_set and not to_reset:
        return ""
    parts: list[str] = []
    identities = [name for name in _LAST if name in have.values or name in want.values]
    if "role" in have.values:
        parts.append("RESET ROLE")
    if "session_authorization" in have.values:
        parts.append("RESET SESSION AUTHORIZATION")
    parts += [f"RESET {'.'.join(map(quote_ident, name.split('.')))}" for name in to_reset if name not in _LAST]
    calls = [f"pg_catalog.set_config({quote_literal(name)}, {quote_literal(value)}, false)"
             for name, value in to_set.items() if name not in _LAST]  # fmt: skip
    if calls:
        parts.append("SELECT " + ", ".join(calls))
    for name in identities:
        if name in want.values:
            parts.append(f"SELECT pg_catalog.set_config('{name}', {quote_literal(want.values[name])}, false)")
    return "; ".join(parts)
