"""What a worker answers to ``show``: see figures.py for the meaning of every key."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Any

from shardproxy.router.flags import PRIMARY, READ, describe
from shardproxy.server.figures import ROUTES_SHOWN_MAX

__all__ = ["show"]


def _clock(at_ns: int) -> float:
    """Time of day of a moment of the monotonic clock; 0 for never."""
    return time.time() - (time.monotonic_ns() - at_ns) / 1e9 if at_ns else 0.0


def _tls(link: Any) -> str:
    if link.tls is None:
        return ""
    cipher = link.tls.cipher()
    return f"{link.tls.version()}/{cipher[0]}" if cipher else str(link.tls.version())


def show(worker: Any, what: str) -> list[dict[str, Any]]:
    """Rows of ``what``; an unknown noun has none."""
    makers = {
        "clients": _clients,
        "servers": _servers,
        "pools": _pools,
        "stats": _stats,
        "routes": _routes,
        "prepared": _prepared,
        "transactions": _transactions,
        "counts": _counts,
    }
    maker = makers.get(what)
    return maker(worker) if maker is not None else []


def _counts(worker: Any) -> list[dict[str, Any]]:
    login = sum(link.session is None for link in worker.links.values())
    servers = sum(
        len(pool.links) for database in worker.databases.values() for pool in database.pools.values()
    )
    return [{"clients": len(worker.links), "login_clients": login, "servers": servers}]


def _client_state(link: Any) -> str:
    if link.session is None:
        return "login"
    if link.server is not None:
        return "active"
    return "waiting" if link.busy else "idle"


def _clients(worker: Any) -> list[dict[str, Any]]:
    now = time.monotonic_ns()
    rows = []
    for link in worker.links.values():
        session, server, arrival = link.session, link.server, link.arrival
        waits = link.busy and server is None
        console = link.console or ("", "")
        rows.append(
            {
                "id": link.id,
                "user": session.user if session else console[0],
                "database": session.database.name if session else console[1],
                "replication": session.replication if session else "none",
                "state": "active" if link.console else _client_state(link),
                "addr": arrival.address or "unix",
                "port": arrival.port,
                "local_addr": arrival.local_address,
                "local_port": arrival.local_port,
                "connect_time": _clock(link.connected_ns),
                "request_time": _clock(link.requested_ns),
                "wait_us": (now - link.requested_ns) // 1000 if waits else 0,
                "link": server.id if server is not None else 0,
                "remote_pid": 0,
                "tls": _tls(link),
                "application_name": link.settings.values.get("application_name", "")
                if link.settings is not None
                else "",
                "prepared_statements": len(link.statements or ()),
                "transaction": bool(server is not None and server.status != 0x49),
                "pinned": ", ".join(server.pins or ()) if server is not None else "",
                "consistency": session.consistency if session else "",
            }
        )
    return rows


def _server_state(server: Any, pool: Any) -> str:
    if server in pool.idle:
        return "idle"
    return "being_canceled" if server.cancels else "active"


def _servers(worker: Any) -> list[dict[str, Any]]:
    rows = []
    for database in worker.databases.values():
        for pool in database.pools.values():
            for server in pool.links:
                host, port, unix = server.address
                local = (
                    server.sock.getsockname()
                    if not server.closed and unix is None and server.tls is None
                    else ("", 0)
                )
                rows.append(
                    {
                        "id": server.id,
                        "user": pool.key[2],
                        "database": database.name,
                        "server": pool.key[1],
                        "replication": server.owner.session.replication if server.owner is not None else "none",
                        "state": _server_state(server, pool),
                        "addr": unix or host,
                        "port": port,
                        "local_addr": local[0],
                        "local_port": local[1],
                        "connect_time": _clock(server.connected_ns),
                        "request_time": _clock(server.linked_ns),
                        "close_needed": server.retiring,
                        "link": server.owner.id if server.owner is not None else 0,
                        "remote_pid": server.backend_pid,
                        "tls": _tls(server),
                        "application_name": server.settings.values.get("application_name", ""),
                        "prepared_statements": len(server.prepared),
                        "pinned": ", ".join(server.pins or ()),
                    }
                )
    return rows


def _pools(worker: Any) -> list[dict[str, Any]]:
    now = time.monotonic_ns()
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def row(database: Any, user: str) -> dict[str, Any]:
        key = (database.name, user)
        if key not in found:
            found[key] = dict.fromkeys(
                (
                    "cl_active",
                    "cl_waiting",
                    "cl_active_cancel_req",
                    "cl_waiting_cancel_req",
                    "sv_active",
                    "sv_active_cancel",
                    "sv_being_canceled",
                    "sv_idle",
                    "sv_used",
                    "sv_tested",
                    "sv_login",
                    "maxwait_us",
                ),
                0,
            )
            found[key].update(
                database=database.name, user=user, pool_mode=worker.config.pool_for(database.entry, user).mode
            )
        return found[key]

    for database in worker.databases.values():
        for session in database.sessions:
            entry = row(database, session.server_user)
            waits = session.link.busy and session.link.server is None
            entry["cl_waiting" if waits else "cl_active"] += 1
            if waits:
                entry["maxwait_us"] = max(entry["maxwait_us"], (now - session.link.requested_ns) // 1000)
        for pool in database.pools.values():
            entry = row(database, pool.key[2])
            entry["sv_idle"] += len(pool.idle)
            entry["sv_active"] += pool.active
            entry["sv_login"] += pool.opening
            entry["sv_being_canceled"] += sum(bool(server.cancels) for server in pool.links)
    return list(found.values())


def _stats(worker: Any) -> list[dict[str, Any]]:
    rows = []
    for database in worker.databases.values():
        counters, extra = database.counters, database.extra
        received = sum(session.link.bytes_in for session in database.sessions)
        sent = sum(session.link.bytes_out for session in database.sessions)
        rows.append(
            {
                "database": database.name,
                "server_assignment_count": sum(pool.assigned for pool in database.pools.values()),
                "xact_count": counters.xact_count,
                "query_count": counters.query_count,
                "bytes_received": counters.bytes_received + received,
                "bytes_sent": counters.bytes_sent + sent,
                "xact_time_us": counters.xact_time_us,
                "query_time_us": counters.query_time_us,
                "wait_time_us": counters.wait_time_us,
                "client_parse_count": counters.client_parse_count,
                "server_parse_count": counters.server_parse_count,
                "bind_count": counters.bind_count,
                "primary_reads": counters.read_count - counters.replica_read_count,
                "replica_reads": counters.replica_read_count,
                "primary_writes": counters.write_count,
                "retried_reads": counters.retry_count,
                "held_statements": extra["held_statements"],
                "route_hits": database.router.hits,
                "route_misses": database.router.misses,
                "client_errors": extra["client_errors"],
                "slow_statements": extra["slow_statements"],
            }
        )
    return rows


def _routes(worker: Any) -> list[dict[str, Any]]:
    routes = [(database.name, route) for database in worker.databases.values() for route in database.router.cached()]
    routes.sort(key=lambda entry: -entry[1].hits)
    return [_route(database, route) for database, route in routes[:ROUTES_SHOWN_MAX]]


def _route(database: str, route: Any) -> dict[str, Any]:
    target = "read" if route.flags & READ else "primary" if route.flags & PRIMARY else "write"
    reasons = (route.hint and f"hint {route.hint}", route.note)
    return {
        "database": database,
        "digest": blake2b(route.digest.encode(errors="replace"), digest_size=6).hexdigest(),
        "text": route.digest[:500],
        "kind": route.kind,
        "target": target,
        "hits": route.hits,
        "why": "; ".join(filter(None, reasons)) or describe(route.flags),
    }


def _prepared(worker: Any) -> list[dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for database in worker.databases.values():
        for session in database.sessions:
            for prepared in (session.link.statements or {}).values():
                statement = prepared.statement
                row = found.setdefault(
                    statement,
                    {
                        "database": database.name,
                        "user": session.server_user,
                        "name": statement.name.decode(),
                        "text": statement.body.split(b"\0", 1)[0][:500].decode("utf-8", "replace"),
                        "clients": 0,
                        "servers": 0,
                    },
                )
                row["clients"] += 1
        for pool in database.pools.values():
            for server in pool.links:
                for statement in server.prepared:
                    if statement in found:
                        found[statement]["servers"] += 1
    return list(found.values())


def _transactions(worker: Any) -> list[dict[str, Any]]:
    rows = []
    for database in worker.databases.values():
        for session in database.sessions:
            server = session.link.server
            if server is None:
                continue
            running = server.awaiting > 0 or server.open_cycle
            state = "active" if running else {0x54: "idle", 0x45: "failed"}.get(server.status, "pinned")
            rows.append(
                {
                    "client": session.link.id,
                    "user": session.user,
                    "database": database.name,
                    "server": server.pool.key[1],
                    "state": state,
                    "begin_time": _clock(server.linked_ns),
                    "request_time": _clock(server.started_ns),
                    "read_only": not server.wrote,
                    "remote_pid": server.backend_pid,
                }
            )
    return rows
