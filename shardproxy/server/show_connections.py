"""SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, TRANSACTIONS: one row for each connection.

The first columns, their names and order are PgBouncer's; ours follow.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from shardproxy.server.console_recovery import in_doubt_rows
from shardproxy.server.state import State
from shardproxy.server.table import BOOL, INT, TEXT, Reply

__all__ = ["active_sockets", "clients", "servers", "sockets", "transactions"]

_COMMON = (("type", TEXT), ("user", TEXT), ("database", TEXT), ("replication", TEXT), ("state", TEXT),
           ("addr", TEXT), ("port", INT), ("local_addr", TEXT), ("local_port", INT),
           ("connect_time", TEXT), ("request_time", TEXT), ("wait", INT), ("wait_us", INT),
           ("close_needed", INT), ("ptr", TEXT), ("link", TEXT), ("remote_pid", INT), ("tls", TEXT),
           ("application_name", TEXT), ("prepared_statements", INT), ("id", INT))
_BUFFERS = tuple((name, INT) for name in ("recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain",
                                          "pkt_avail", "send_avail"))
_LOGIN = "new"


async def clients(state: State) -> Reply:
    """One row for each client."""
    rows = [[*_common("C", row), row.get("pinned", ""), row.get("consistency", ""), worker]
            for worker, row in await state.workers.show("clients")]
    return Reply(columns=[*_COMMON, ("pinned", TEXT), ("consistency", TEXT), ("worker", INT)], rows=rows)


async def servers(state: State) -> Reply:
    """One row for each server connection, with the role of its server."""
    rows = []
    for worker, row in await state.workers.show("servers"):
        server = state.server(row.get("server", ""))
        role, sync = (server.role, server.sync) if server is not None else ("", "")
        rows.append([*_common("S", row), row.get("server", ""), role, sync, row.get("pinned", ""), worker])
    columns = [*_COMMON, ("server", TEXT), ("role", TEXT), ("sync", TEXT), ("pinned", TEXT), ("worker", INT)]
    return Reply(columns=columns, rows=rows)


async def sockets(state: State) -> Reply:
    """Clients and server connections in one table."""
    rows = [[*_common("C", row, "cl_"), *(0 for _ in _BUFFERS)]
            for _, row in await state.workers.show("clients")]
    rows += [[*_common("S", row, "sv_"), *(0 for _ in _BUFFERS)]
             for _, row in await state.workers.show("servers")]
    return Reply(columns=[*_COMMON, *_BUFFERS], rows=rows)


async def active_sockets(state: State) -> Reply:
    """SOCKETS without those that are idle."""
    reply = await sockets(state)
    reply.rows = [row for row in reply.rows if row[4] not in ("cl_idle", "sv_idle", "sv_used")]
    return reply


async def transactions(state: State) -> Reply:
    """One row for each transaction that is open now, or in doubt."""
    now = time.time()
    rows = [[row.get("client", 0), row.get("user", ""), row.get("database", ""), row.get("server", ""),
             row.get("state", ""), _moment(row.get("begin_time", 0)),
             int((now - row["begin_time"]) * 1e6) if row.get("begin_time") else 0,
             _moment(row.get("request_time", 0)), bool(row.get("read_only", False)), row.get("remote_pid", 0), ""]
            for _, row in await state.workers.show("transactions")]
    rows += in_doubt_rows(state)
    rows.sort(key=lambda row: -row[6])
    columns = (("client_id", INT), ("user", TEXT), ("database", TEXT), ("server", TEXT), ("state", TEXT),
               ("begin_time", TEXT), ("age_us", INT), ("request_time", TEXT), ("read_only", BOOL),
               ("remote_pid", INT), ("gid", TEXT))
    return Reply(columns=columns, rows=rows)


def _common(kind: str, row: Mapping[str, Any], prefix: str = "") -> list[Any]:
    wait = int(row.get("wait_us", 0))
    state = row.get("state", "")
    if prefix == "sv_" and state == _LOGIN:
        state = "login"
    return [kind, row.get("user") or "(nouser)", row.get("database") or "(nodb)",
            row.get("replication") or "none", prefix + state, row.get("addr", ""),
            row.get("port", 0), row.get("local_addr", ""), row.get("local_port", 0),
            _moment(row.get("connect_time", 0)), _moment(row.get("request_time", 0)),
            wait // 1_000_000, wait % 1_000_000, int(row.get("close_needed", False)),
            _pointer(row.get("id", 0)), _pointer(row.get("link", 0)), row.get("remote_pid", 0),
            row.get("tls", ""), row.get("application_name", ""), row.get("prepared_statements", 0),
            row.get("id", 0)]


def _pointer(connection: int) -> str:
    """PgBouncer shows memory addresses here, to match `link` with `ptr`; the id serves as well."""
    return f"{connection:#x}" if connection else ""


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else ""
