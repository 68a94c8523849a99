"""SHOW POOLS, DATABASES, USERS, LISTS, PERMITS: what is limited, and how much of it is used."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shardproxy.config.model import ADMIN_DATABASE, Config, Database, PoolLimits, User
from shardproxy.server.permits import Limit
from shardproxy.server.state import State
from shardproxy.server.table import INT, TEXT, Reply
from shardproxy.server.worker_api import PoolKey

__all__ = ["client_limits", "databases", "limit_of", "lists", "permits", "pool_rows", "pools", "sessions_of", "users"]

POOL_FIGURES = ("cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active",
                "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login")


async def pool_rows(state: State) -> dict[tuple[str, str], dict[str, Any]]:
    """Figures by (database, user), added up over the workers."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for _, row in await state.workers.show("pools"):
        pool = found.setdefault((row["database"], row["user"]), {
            **dict.fromkeys(POOL_FIGURES, 0), "maxwait_us": 0, "pool_mode": row.get("pool_mode", "")})
        for name in POOL_FIGURES:
            pool[name] += int(row.get(name, 0))
        pool["maxwait_us"] = max(pool["maxwait_us"], int(row.get("maxwait_us", 0)))
    return found


async def pools(state: State) -> Reply:
    """One row for each database and user."""
    rows = [[database, user, *(pool[name] for name in POOL_FIGURES), pool["maxwait_us"] // 1_000_000,
             pool["maxwait_us"] % 1_000_000, pool["pool_mode"], None]
            for (database, user), pool in sorted((await pool_rows(state)).items())]
    columns = [("database", TEXT), ("user", TEXT), *((name, INT) for name in POOL_FIGURES), ("maxwait", INT),
               ("maxwait_us", INT), ("pool_mode", TEXT), ("load_balance_hosts", TEXT)]
    return Reply(columns=columns, rows=rows)


async def databases(state: State) -> Reply:
    """One row for each configured database; host and port are those of its primary now."""
    connected: Counter[str] = Counter()
    for (name, _), pool in (await pool_rows(state)).items():
        connected[name] += pool["cl_active"] + pool["cl_waiting"]
    opened: Counter[str] = Counter()
    for (name, _, _), count in state.permits.pools().items():
        opened[name] += count
    rows = []
    for view in state.databases():
        database = state.config.databases[view.name]
        limits = state.config.pool_for(database, "")
        primary = view.primary_server
        server = primary or (view.servers[0] if view.servers else None)
        rows.append([
            view.name, (server.unix or server.host) if server else None, server.port if server else None,
            server.dbname if server else None, None, limits.size, limits.min_size, limits.reserve_size,
            int(limits.server_lifetime), database.pool_mode, None, limits.max_db_connections,
            opened[view.name], limits.max_db_client_connections, connected[view.name],
            int(state.is_paused(view.name)), int(view.name in state.disabled),
            database.consistency, database.balance, primary.id if primary else None, len(view.replicas),
            int(view.hold), limits.reserve_size])
    columns = (("name", TEXT), ("host", TEXT), ("port", INT), ("database", TEXT), ("force_user", TEXT),
               ("pool_size", INT), ("min_pool_size", INT), ("reserve_pool_size", INT),
               ("server_lifetime", INT), ("pool_mode", TEXT), ("load_balance_hosts", TEXT),
               ("max_connections", INT), ("current_connections", INT), ("max_client_connections", INT),
               ("current_client_connections", INT), ("paused", INT), ("disabled", INT),
               ("consistency", TEXT), ("balance", TEXT), ("primary", TEXT), ("replicas", INT), ("hold", INT),
               ("reserve_pool", INT))  # the name before PgBouncer 1.22; exporters still look for it
    return Reply(columns=columns, rows=rows)


async def users(state: State) -> Reply:
    """One row for each configured user, and each other one that is connected."""
    connected: Counter[str] = Counter()
    for (_, name), pool in (await pool_rows(state)).items():
        connected[name] += pool["cl_active"] + pool["cl_waiting"]
    opened: Counter[str] = Counter()
    for (_, _, user), count in state.permits.pools().items():
        opened[user] += count
    rows = []
    everywhere = Database()  # without overrides of its own
    for name in dict.fromkeys([*state.config.auth.users, *sorted(set(connected) - {""})]):
        own = state.config.user(name) or User()
        limits, on_server = state.config.pool_for(everywhere, name), own.server_user or name
        rows.append([name, own.pool_size, None, own.pool_mode, limits.max_user_connections, opened[on_server],
                     limits.max_user_client_connections, connected[on_server]])
    columns = (("name", TEXT), ("pool_size", INT), ("reserve_pool_size", INT), ("pool_mode", TEXT),
               ("max_user_connections", INT), ("current_connections", INT),
               ("max_user_client_connections", INT), ("current_client_connections", INT))
    return Reply(columns=columns, rows=rows)


async def lists(state: State) -> Reply:
    """How many there are of each kind."""
    counts: Counter[str] = Counter()
    for _, row in await state.workers.show("counts"):
        counts.update(row)
    items = {"databases": len(state.config.databases), "users": len(state.config.auth.users), "peers": 0,
             "pools": len(await pool_rows(state)), "peer_pools": 0, "free_clients": 0,
             "used_clients": counts["clients"], "login_clients": counts["login_clients"], "free_servers": 0,
             "used_servers": counts["servers"], "dns_names": 0, "dns_zones": 0, "dns_queries": 0,
             "dns_pending": 0}
    return Reply(columns=(("list", TEXT), ("items", INT)), rows=[list(item) for item in items.items()])


async def permits(state: State) -> Reply:
    """Server connections that may be opened, and those that are, exact over all workers."""
    rows = []
    for pool, held in sorted(state.permits.pools().items()):
        limit = limit_of(state.config, pool)
        rows.append([*pool, held, limit.size, limit.reserve, limit.database, limit.user])
    columns = (("database", TEXT), ("server", TEXT), ("user", TEXT), ("held", INT), ("size", INT),
               ("reserve", INT), ("max_db_connections", INT), ("max_user_connections", INT))
    return Reply(columns=columns, rows=rows)


def limit_of(config: Config, pool: PoolKey) -> Limit:
    """The limits of one pool of server connections."""
    name, _, user = pool
    database = config.entry_for(name)
    if database is None:  # removed by a reload, or the console: what is open may go on, nothing new
        return Limit(size=0 if name != ADMIN_DATABASE else 1)
    limits: PoolLimits = config.pool_for(database, _client_of(config, user))
    return Limit(limits.size, limits.reserve_size if limits.reserve_timeout else 0,
                 limits.max_db_connections, limits.max_user_connections)


def sessions_of(config: Config, pool: PoolKey) -> Limit:
    """How many sessions of a user may hold connections of several pools at once: so many that one of them can always
    have all that it needs, whatever the others hold."""
    name, _, user = pool
    database = config.entry_for(name)
    if database is None:
        return Limit(size=0)
    limits = config.pool_for(database, _client_of(config, user))
    places = max(sum(len(space.shards) for space in entry.keyspace_map.values())
                 for entry in (database, *config.databases.values()))
    most = max(1, (limits.max_user_connections - 1) // max(1, places - 1)) if limits.max_user_connections else 0
    return Limit(limits.size, 0, limits.max_db_connections, most)


def client_limits(config: Config, database: str, user: str) -> tuple[int, int]:
    """How many clients a database and a user may have; 0: no limit."""
    entry = config.database_for(database)
    if entry is None:
        return 0, 0
    limits = config.pool_for(entry, user)
    return limits.max_db_client_connections, limits.max_user_client_connections


def _client_of(config: Config, server_user: str) -> str:
    """The client user whose settings hold for a user of the servers."""
    own = config.user(server_user)
    if own is not None and own.server_user in (None, server_user):
        return server_user
    return next((name for name, user in config.auth.users.items() if user.server_user == server_user),
                server_user)
