"""The status page: databases, servers and pools as plain HTML, without scripts or anything from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

from shardproxy import __version__
from shardproxy.server import show_pools, show_process, show_stats, show_topology
from shardproxy.server.state import State
from shardproxy.server.table import Reply

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #8884; white-space: nowrap; }
th { font-weight: 600; } td.number { text-align: right; }
"""
_TABLES = (
    ("Databases", show_pools.databases, ("name", "primary", "replicas", "hold", "paused", "disabled",
                                         "consistency", "balance", "pool_size", "current_connections",
                                         "current_client_connections")),
    ("Servers", show_topology.lag, ("server", "host", "port", "role", "healthy", "sync", "lag_bytes", "lag_ms",
                                    "latency_us", "draining", "banned", "connections")),
    ("Pools", show_pools.pools, ("database", "user", "pool_mode", "cl_active", "cl_waiting", "sv_active",
                                 "sv_idle", "sv_login", "maxwait")),
    ("Statements", show_stats.stats_totals, ("database", "xact_count", "query_count", "primary_reads",
                                             "replica_reads", "primary_writes", "retried_reads",
                                             "held_statements", "client_errors")),
    ("Workers", show_process.workers, ("worker", "pid", "age_s", "restarts", "clients", "servers",
                                       "memory_bytes")),
)


async def page(state: State) -> str:
    """The whole page."""
    up = int(time.time() - state.started)
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>shardproxy</title>",
             f"<style>{_STYLE}</style><h1>shardproxy {escape(__version__)}</h1>",
             f"<p>Up {up // 86400} d {up // 3600 % 24} h {up // 60 % 60} min"
             f"{', ending' if state.draining else ''}. "
             "<a href=/metrics>metrics</a> <a href=/healthz>healthz</a> <a href=/readyz>readyz</a></p>"]
    for title, show, columns in _TABLES:
        parts += [f"<h2>{title}</h2>", _table(await show(state), columns)]
    return "".join(parts)


def _table(reply: Reply, columns: Sequence[str]) -> str:
    if not reply.rows:
        return "<p>none</p>"
    names = [name for name, _ in reply.columns]
    wanted = [names.index(column) for column in columns]
    head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(_cell(row[index]) for index in wanted)}</tr>" for row in reply.rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td>&ndash;</td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, (int, float)):
        return f"<td class=number>{value:,}</td>"
    return f"<td>{escape(str(value))}</td>"
