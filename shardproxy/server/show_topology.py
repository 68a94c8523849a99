"""SHOW LAG, ROUTES, PREPARED, TRANSFERS: the servers behind the proxy and how statements reach them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shardproxy.server.figures import ROUTES_SHOWN_MAX
from shardproxy.server.state import State
from shardproxy.server.table import BOOL, FLOAT, INT, TEXT, Reply

__all__ = ["lag", "prepared", "routes", "server_rows", "transfers"]


def server_rows(state: State) -> list[dict[str, Any]]:
    """Every server of every database as the monitor sees it now; what is not known is None."""
    opened: Counter[str] = Counter()
    for (_, server_id, _), count in state.permits.pools().items():
        opened[server_id] += count
    rows = []
    for seen in state.servers_seen():
        row = {**seen, "server": seen["server_id"], "connections": opened[seen["server_id"]]}
        for name in ("lag_bytes", "lag_ms", "fresh_ms", "checked_ms"):
            row[name] = row[name] if row[name] >= 0 else None
        rows.append(row)
    return rows


async def lag(state: State) -> Reply:
    """One row for each server of each database: role, health, how far behind."""
    columns = (("database", TEXT), ("server", TEXT), ("host", TEXT), ("port", INT), ("role", TEXT),
               ("healthy", BOOL), ("sync", TEXT), ("lag_bytes", INT), ("lag_ms", INT), ("fresh_ms", INT),
               ("latency_us", INT), ("position", TEXT), ("timeline", INT), ("draining", BOOL),
               ("banned", BOOL), ("weight", FLOAT), ("zone", TEXT), ("connections", INT),
               ("checked_ms", INT), ("error", TEXT))
    return Reply(columns=columns, rows=[[row[name] for name, _ in columns] for row in server_rows(state)])


async def routes(state: State) -> Reply:
    """Cached routes, the most used first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for _, row in await state.workers.show("routes"):
        known = found.setdefault((row["database"], row["digest"]), {**row, "hits": 0})
        known["hits"] += row.get("hits", 0)
    columns = (("database", TEXT), ("digest", TEXT), ("kind", TEXT), ("target", TEXT), ("why", TEXT),
               ("hits", INT), ("text", TEXT))
    most = sorted(found.values(), key=lambda row: -row["hits"])[:ROUTES_SHOWN_MAX]
    return Reply(columns=columns, rows=[[row.get(name) for name, _ in columns] for row in most])


async def prepared(state: State) -> Reply:
    """Prepared statements that clients share."""
    columns = (("database", TEXT), ("user", TEXT), ("name", TEXT), ("clients", INT), ("servers", INT),
               ("text", TEXT), ("worker", INT))
    rows = [[*(row.get(name) for name, _ in columns[:-1]), worker]
            for worker, row in await state.workers.show("prepared")]
    return Reply(columns=columns, rows=rows)


async def transfers(state: State) -> Reply:
    """Data movements: how far each is, and whether the proxies hold its tables."""
    columns = (("name", TEXT), ("kind", TEXT), ("database", TEXT), ("state", TEXT), ("phase", TEXT),
               ("tables", TEXT), ("rows_copied", INT), ("rows_estimated", INT), ("lag_bytes", INT),
               ("pause_ms", FLOAT), ("proxies", INT), ("holding", INT), ("held", BOOL), ("error", TEXT))
    rows = [] if state.transfers is None else await state.transfers()
    return Reply(columns=columns, rows=[[row.get(name) for name, _ in columns] for row in rows])
