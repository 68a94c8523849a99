"""The console's tables and commands, over a state with two workers' figures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shardproxy.config.model import Config
from shardproxy.config.reload import Reload, diff
from shardproxy.errors import ConfigError, ControlError, Mistake
from shardproxy.server.admin import SHOWS, Admin
from shardproxy.server.figures import COUNTERS, connection_id
from shardproxy.server.metrics import render
from shardproxy.server.permits import Permits
from shardproxy.server.show_pools import limit_of
from shardproxy.server.state import State
from shardproxy.server.stats import Stats
from shardproxy.server.status import page
from shardproxy.topology.view import DatabaseView, ServerView, TopologyView

PRIMARY = ServerView("shop/main/main/0", 0, "db1", 5432, "shop", role="primary", healthy=True, timeline=3)
REPLICA = ServerView("shop/main/main/1", 1, "db2", 5432, "shop", role="replica", healthy=True, sync="async")
CONFIG = Config.model_validate({
    "auth": {"admin_users": ["root"], "stats_users": ["watcher"],
             "users": {"root": {"password": "hunter2"}, "watcher": {"password": "hunter2"},
                       "app": {"password": "hunter2", "pool_size": 5}}},
    "databases": {"shop": {"primary": "db1:5432/shop", "replicas": ["db2:5432/shop"]}}})


class TwoWorkers:
    """Answers as two workers would, and remembers what they were told."""

    processes: Sequence[tuple[int, int, float, int]] = ((0, 100_000_001, 5.0, 0), (1, 100_000_002, 5.0, 2))

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.broken = False

    async def call(self, index: int, method: str, /, timeout: float | None = 10, **params: Any) -> Any:
        if self.broken:
            raise ControlError("worker 0 is not running")
        self.told.append((method, params))
        return params.get("client_id") == connection_id(1, 7)

    async def broadcast(self, method: str, /, timeout: float | None = 10, **params: Any) -> list[Any]:
        return [await self.call(index, method, **params) for index in (0, 1)][:1]

    async def show(self, what: str) -> list[tuple[int, dict[str, Any]]]:
        await asyncio.sleep(0)
        pool = {"database": "shop", "user": "app", "cl_active": 3, "sv_idle": 1, "maxwait_us": 2_500_000,
                "pool_mode": "transaction"}
        stats = {"database": "shop", **dict.fromkeys(COUNTERS, 10), "xact_time_us": 500}
        client = {"id": connection_id(1, 7), "user": "app", "database": "shop", "state": "active",
                  "addr": "127.0.0.1", "port": 5, "connect_time": 1.5e9, "link": connection_id(1, 9)}
        server = {**client, "id": connection_id(1, 9), "server": REPLICA.id, "state": "new", "link": 0}
        route = {"database": "shop", "digest": "d", "text": "SELECT ?", "kind": "SELECT", "target": "read",
                 "why": "", "hits": 4}
        counts = {"clients": 4, "login_clients": 1, "servers": 2}
        rows: dict[str, dict[str, Any]] = {"counts": counts, "pools": pool, "stats": stats, "clients": client,
                                           "servers": server, "routes": route}
        return [(index, dict(rows[what])) for index in (0, 1) if what in rows]


class Recorded:
    """Actions that are only written down."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.config = CONFIG

    async def reload(self) -> Reload:
        raise ConfigError([Mistake("p.toml", "pool.size", "is 0", "write 1 or more")])

    async def apply(self, config: Config) -> Reload:
        result, self.config = diff(self.config, config), config
        return result

    def shut_down(self, mode: str, grace_s: float | None) -> None:
        self.done.append((mode, grace_s))

    async def drain(self, server_id: str, on: bool) -> None:
        self.done.append(("drain", server_id, on))

    async def ban(self, server_id: str, seconds: float | None) -> None:
        self.done.append(("ban", server_id, seconds))

    async def unban(self, server_id: str) -> None:
        self.done.append(("unban", server_id))


class Desk:
    """A console with everything behind it."""

    def __init__(self) -> None:
        self.workers, self.actions = TwoWorkers(), Recorded()
        permits = Permits(lambda pool: limit_of(CONFIG, pool), lambda worker, pool: None)
        permits.acquire(0, ("shop", REPLICA.id, "app"))
        self.state = State(CONFIG, (), permits, Stats(), self.workers, self.actions)
        self.state.view = TopologyView(1, {"shop": DatabaseView("shop", 0, False, PRIMARY.id, (PRIMARY, REPLICA))})
        self.state.servers_seen = lambda: [{
            "database": "shop", "server_id": server.id, "host": server.host, "port": server.port,
            "role": server.role, "healthy": True, "draining": False, "banned": False, "weight": 1.0, "zone": "",
            "sync": server.sync, "timeline": 3, "lag_bytes": lag, "lag_ms": lag, "latency_us": 250, "fresh_ms": lag,
            "position": "0/1", "system": "", "error": "", "checked_ms": 5} for server, lag in ((PRIMARY, -1),
                                                                                           (REPLICA, 42))]
        self.admin = Admin(self.state)

    async def run(self, sql: str, user: str = "root") -> dict[str, Any]:
        return await self.admin.run(sql, user)

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        answer = await self.run(sql)
        assert "error" not in answer, answer
        return [dict(zip([name for name, _ in answer["columns"]], row, strict=True)) for row in answer["rows"]]

    async def error(self, sql: str, user: str = "root") -> tuple[str, str, str]:
        state, message, hint = (await self.run(sql, user))["error"]
        return state, message, hint


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("name", SHOWS)
async def test_every_table_has_whole_rows(desk: Desk, name: str) -> None:
    answer = await desk.run(f"show {name.lower()};", "watcher")
    assert answer["tag"] == "SHOW"
    assert answer["columns"]
    types = {"text": str, "int8": int, "float8": float, "bool": bool}
    for row in answer["rows"]:
        for (column, kind), value in zip(answer["columns"], row, strict=True):
            assert value is None or type(value) is types[kind], (column, value)
    assert "hunter2" not in str(answer)


async def test_help_names_every_command(desk: Desk) -> None:
    commands = [row["command"] for row in await desk.rows("SHOW HELP")]
    for word in ("SHOW POOLS", "SHOW LAG", "PAUSE [database]", "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]"):
        assert word in commands


async def test_pools_are_added_up(desk: Desk) -> None:
    (pool,) = await desk.rows("SHOW POOLS")
    assert (pool["cl_active"], pool["sv_idle"], pool["maxwait"], pool["maxwait_us"]) == (6, 2, 2, 500_000)


async def test_stats_have_pgbouncers_columns(desk: Desk) -> None:
    (row,) = await desk.rows("SHOW STATS")
    assert row["total_xact_count"] == 20
    assert {"total_received", "total_sent", "total_xact_time", "total_wait_time", "avg_recv", "avg_sent",
            "avg_xact_time", "avg_query_time", "avg_wait_time", "total_client_parse_count"} <= set(row)
    (totals,) = await desk.rows("SHOW STATS_TOTALS")
    assert {"xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time", "query_time",
            "wait_time"} <= set(totals)
    assert {row["name"] for row in await desk.rows("SHOW TOTALS")} >= {"total_xact_count", "avg_recv"}


async def test_databases_and_users(desk: Desk) -> None:
    (row,) = await desk.rows("SHOW DATABASES")
    assert (row["host"], row["port"], row["database"], row["pool_size"], row["current_connections"],
            row["current_client_connections"], row["paused"]) == ("db1", 5432, "shop", 20, 1, 6, 0)
    users = {row["name"]: row for row in await desk.rows("SHOW USERS")}
    assert (users["app"]["pool_size"], users["app"]["current_connections"]) == (5, 1)
    assert users["app"]["current_client_connections"] == 6
    lists = {row["list"]: row["items"] for row in await desk.rows("SHOW LISTS")}
    assert (lists["used_clients"], lists["login_clients"], lists["used_servers"]) == (8, 2, 4)


async def test_lag_and_servers(desk: Desk) -> None:
    primary, replica = await desk.rows("SHOW LAG")
    assert (primary["role"], primary["lag_bytes"]) == ("primary", None)
    assert (replica["role"], replica["lag_bytes"], replica["sync"], replica["connections"]) == (
        "replica", 42, "async", 1)
    (server, _) = await desk.rows("SHOW SERVERS")
    assert (server["type"], server["role"], server["server"]) == ("S", "replica", REPLICA.id)
    states = {row["state"] for row in await desk.rows("SHOW SOCKETS")}
    assert states == {"cl_active", "sv_login"}


async def test_config_and_set(desk: Desk) -> None:
    config = {row["key"]: row for row in await desk.rows("SHOW CONFIG")}
    assert config["max_client_conn"]["value"] == "10000"
    assert config["max_user_connections"]["value"] == "0"
    assert config["default_pool_size"]["changeable"] == "yes"
    assert config["listen.workers"]["changeable"] == "no"
    assert config["auth.users.root.password"]["value"] == "********"
    for sql in ("SET query_wait_timeout = 30", "SET query_wait_timeout TO '30s'"):
        assert (await desk.run(sql))["tag"] == "SET"
        assert desk.actions.config.pool.query_wait_timeout == 30
    assert (await desk.run("SET databases.shop.consistency = eventual"))["tag"] == "SET"
    assert desk.actions.config.databases["shop"].consistency == "eventual"
    assert (await desk.run("SET log_connections = 0"))["tag"] == "SET"
    assert desk.actions.config.log.connections is False
    assert (await desk.error("SET query_wait_timout = 3"))[2] == "did you mean query_wait_timeout?"
    assert (await desk.error("SET default_pool_size = none"))[0] == "22023"
    assert (await desk.error("SET listen.workers = 4"))[0] == "55P02"
    assert (await desk.error("SET auth.users.root.password = x"))[0] == "42501"
    assert "hunter2" not in str(await desk.error("SET auth.method = nonsense"))


async def test_who_may_do_what(desk: Desk) -> None:
    assert (await desk.error("SHOW POOLS", "app"))[0] == "42501"
    assert (await desk.error("PAUSE", "watcher"))[0] == "42501"
    assert not desk.workers.told


async def test_pause_and_resume(desk: Desk) -> None:
    assert (await desk.run("PAUSE shop"))["tag"] == "PAUSE"
    assert (await desk.rows("SHOW DATABASES"))[0]["paused"] == 1
    assert (await desk.run("RESUME shop"))["tag"] == "RESUME"
    assert (await desk.run("PAUSE"))["tag"] == "PAUSE"
    assert {row["key"]: row["value"] for row in await desk.rows("SHOW STATE")}["paused"] == "yes"
    assert (await desk.error("RESUME shop"))[0] == "55000"
    assert (await desk.run("RESUME"))["tag"] == "RESUME"
    assert (await desk.error("PAUSE shpo"))[:1] == ("3D000",)
    assert (await desk.error("PAUSE shpo"))[2] == "did you mean shop?"


async def test_kill(desk: Desk) -> None:
    assert (await desk.run(f"KILL {connection_id(1, 7)}"))["tag"] == "KILL"
    assert (await desk.run(f"KILL CLIENT {connection_id(1, 7)}"))["tag"] == "KILL"
    assert (await desk.run(f"KILL_CLIENT {connection_id(1, 7)}"))["tag"] == "KILL"
    assert (await desk.error("KILL 4"))[0] == "42704"
    assert (await desk.error("KILL CLIENT shop"))[0] == "22023"
    desk.workers.told.clear()
    assert (await desk.run("KILL shop"))["tag"] == "KILL"
    assert list(dict.fromkeys(method for method, _ in desk.workers.told)) == ["pause", "kill_database"]
    assert "shop" in desk.state.paused


async def test_servers_are_named_by_id_or_address(desk: Desk) -> None:
    assert (await desk.run("DRAIN shop/main/main/1"))["tag"] == "DRAIN"
    assert (await desk.run("UNDRAIN db2:5432"))["tag"] == "UNDRAIN"
    assert (await desk.run("BAN db2:5432 60"))["tag"] == "BAN"
    assert (await desk.run("UNBAN db2:5432"))["tag"] == "UNBAN"
    assert desk.actions.done == [("drain", REPLICA.id, True), ("drain", REPLICA.id, False),
                                 ("ban", REPLICA.id, 60.0), ("unban", REPLICA.id)]
    assert (await desk.error("DRAIN shop/main/main/2"))[0] == "42704"


async def test_shutdown(desk: Desk) -> None:
    for sql in ("SHUTDOWN", "shutdown wait_for_servers;", "SHUTDOWN WAIT_FOR_CLIENTS"):
        assert (await desk.run(sql))["tag"] == "SHUTDOWN"
    assert desk.actions.done == [("now", 0.0), ("servers", None), ("clients", None)]
    assert (await desk.error("SHUTDOWN WAIT_FOR_CLIENT"))[2] == "did you mean WAIT_FOR_CLIENTS?"


async def test_errors_say_what_to_do(desk: Desk) -> None:
    assert await desk.error("SHOW POOL") == ("42704", "SHOW does not know POOL", "did you mean POOLS?")
    assert (await desk.error("PUASE"))[2] == "did you mean PAUSE?"
    assert (await desk.error("SELECT * FROM orders"))[0] == "42601"
    state, message, _ = await desk.error("RELOAD")
    assert state == "F0000"
    assert "pool.size: is 0 (write 1 or more)" in message
    desk.workers.broken = True
    assert (await desk.error("RECONNECT"))[0] == "58000"


@pytest.mark.parametrize("sql", ["SET datestyle = 'ISO'", "SET SESSION extra_float_digits TO 3", "BEGIN", "COMMIT",
                                 "SHOW standard_conforming_strings", "SELECT 1", "SHOW transaction_isolation", ""])
async def test_what_drivers_send_by_themselves(desk: Desk, sql: str) -> None:
    assert "error" not in await desk.run(sql, "watcher")


async def test_metrics_and_page(desk: Desk) -> None:
    text = (await render(desk.state)).decode()
    for line in ('shardproxy_transactions_total{database="shop"} 20.0',
                 'shardproxy_reads_total{database="shop",role="replica"} 20.0',
                 'shardproxy_pool_clients{database="shop",state="active",user="app"} 6.0',
                 f'shardproxy_server_lag_bytes{{database="shop",server="{REPLICA.id}"}} 42.0',
                 'shardproxy_worker_restarts_total{worker="1"} 2.0'):
        assert line in text
    html = await page(desk.state)
    assert REPLICA.id in html
    assert "hunter2" not in html + text
