"""/metrics: the figures of SHOW in Prometheus form, names shardproxy_*, base units (seconds, bytes).

Invariant: one scrape asks each worker once per kind of figure; nothing is cached and nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from shardproxy import __version__
from shardproxy.server import console_recovery
from shardproxy.server.show_pools import POOL_FIGURES, limit_of, pool_rows
from shardproxy.server.show_process import memory_of
from shardproxy.server.show_topology import server_rows
from shardproxy.server.state import State
from shardproxy.server.stats import Totals
from shardproxy.topology.view import DOWN, FENCED, PRIMARY, REPLICA

__all__ = ["CONTENT_TYPE", "render"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_COUNTERS: Mapping[str, tuple[str, float, str]] = {
    "xact_count": ("transactions", 1, "Transactions."),
    "query_count": ("queries", 1, "Statements."),
    "server_assignment_count": ("server_assignments", 1, "Times a server connection was given to a client."),
    "bytes_received": ("received_bytes", 1, "Bytes received from clients."),
    "bytes_sent": ("sent_bytes", 1, "Bytes sent to clients."),
    "xact_time_us": ("transaction_seconds", 1e-6, "Time that server connections were held by transactions."),
    "query_time_us": ("query_seconds", 1e-6, "Time that servers were executing statements."),
    "wait_time_us": ("client_wait_seconds", 1e-6, "Time that clients waited for a server connection."),
    "client_parse_count": ("client_parses", 1, "Statements prepared by clients."),
    "server_parse_count": ("server_parses", 1, "Statements prepared on servers."),
    "bind_count": ("binds", 1, "Prepared statements bound."),
    "primary_writes": ("writes", 1, "Statements not proven to be reads."),
    "retried_reads": ("retried_reads", 1, "Reads run again because a server failed before the first byte."),
    "held_statements": ("held_statements", 1, "Statements that waited for a failover."),
    "route_hits": ("route_cache_hits", 1, "Statements whose route was known."),
    "route_misses": ("route_cache_misses", 1, "Statements that had to be analysed."),
    "client_errors": ("client_errors", 1, "Errors that the proxy itself told clients."),
    "slow_statements": ("slow_statements", 1, "Statements slower than slow_statement_ms."),
}
_ROLES = (PRIMARY, REPLICA, DOWN, FENCED)


@dataclass(frozen=True, slots=True)
class _Figures:
    """Everything one scrape shows, gathered before anything is formatted."""

    state: State
    totals: Totals
    pools: Mapping[tuple[str, str], Mapping[str, Any]]
    servers: list[dict[str, Any]]


async def render(state: State) -> bytes:
    """All metrics now."""
    await state.totals()
    figures = _Figures(state, state.stats.totals(), await pool_rows(state), server_rows(state))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, figures: _Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from _process(self._figures.state)
        yield from _databases(self._figures.state)
        yield from _counters(self._figures.totals)
        yield from _pools(self._figures.pools)
        yield from _permits(self._figures.state)
        yield from _servers(self._figures.servers)
        yield from console_recovery.metrics(self._figures.state)


def _process(state: State) -> Iterator[Metric]:
    yield InfoMetricFamily("shardproxy", "The proxy.", value={"version": __version__})
    yield _gauge("start_time_seconds", "When the proxy was started, since 1970.", (), [((), state.started)])
    yield _gauge("draining", "1 while the proxy ends.", (), [((), state.draining)])
    yield _gauge("max_client_connections", "Limit max_client_conn.", (),
                 [((), state.config.pool.max_client_conn)])
    workers = [((str(index),), pid, restarts) for index, pid, _, restarts in state.workers.processes]
    yield _gauge("worker_up", "1 if the worker process runs.", ("worker",),
                 [(label, bool(pid)) for label, pid, _ in workers])
    yield _gauge("worker_memory_bytes", "Resident memory of a worker.", ("worker",),
                 [(label, memory_of(pid)) for label, pid, _ in workers if pid])
    yield _counter("worker_restarts", "Times a worker was replaced because it ended.", ("worker",),
                   [(label, restarts) for label, _, restarts in workers])


def _databases(state: State) -> Iterator[Metric]:
    views = state.databases()
    yield _gauge("database_primary_up", "1 if the database has a primary that can be written to.", ("database",),
                 [((view.name,), view.primary is not None and not view.hold) for view in views])
    yield _gauge("database_replicas_up", "Replicas that reads may go to.", ("database",),
                 [((view.name,), len(view.replicas)) for view in views])
    yield _gauge("database_paused", "1 while PAUSE is in effect.", ("database",),
                 [((view.name,), state.is_paused(view.name)) for view in views])
    yield _gauge("database_disabled", "1 while DISABLE is in effect.", ("database",),
                 [((view.name,), view.name in state.disabled) for view in views])


def _counters(totals: Totals) -> Iterator[Metric]:
    for counter, (name, unit, text) in _COUNTERS.items():
        yield _counter(name, text, ("database",),
                       [((database,), found[counter] * unit) for database, found in totals.items()])
    yield _counter("reads", "Statements proven to be reads, by the role of the server they went to.",
                   ("database", "role"),
                   [((database, role), found[f"{role}_reads"])
                    for database, found in totals.items() for role in (PRIMARY, REPLICA)])


def _pools(pools: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[Metric]:
    for prefix, name, text in (("cl_", "pool_clients", "Clients of a pool, by state."),
                               ("sv_", "pool_servers", "Server connections of a pool, by state.")):
        states = [figure for figure in POOL_FIGURES if figure.startswith(prefix)]
        yield _gauge(name, text, ("database", "user", "state"),
                     [((*key, figure.removeprefix(prefix)), pool[figure])
                      for key, pool in pools.items() for figure in states])
    yield _gauge("pool_max_wait_seconds", "How long the first waiting client has waited.", ("database", "user"),
                 [(key, pool["maxwait_us"] * 1e-6) for key, pool in pools.items()])


def _permits(state: State) -> Iterator[Metric]:
    labels = ("database", "server", "user")
    held = state.permits.pools()
    yield _gauge("server_connections", "Server connections open or being opened.", labels, held.items())
    yield _gauge("server_connections_max", "Limit of server connections.", labels,
                 [(pool, limit_of(state.config, pool).size) for pool in held])


def _servers(rows: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ("database", "server")
    servers = [((row["database"], row["server"]), row) for row in rows]
    yield _gauge("server_up", "1 if the last health check of the server was good.", labels,
                 [(key, row["healthy"]) for key, row in servers])
    yield _gauge("server_role", "1 for the role that the server has now.", (*labels, "role"),
                 [((*key, role), row["role"] == role) for key, row in servers for role in _ROLES])
    yield _gauge("server_lag_bytes", "How far a replica is behind.", labels,
                 [(key, row["lag_bytes"]) for key, row in servers if row["lag_bytes"] is not None])
    yield _gauge("server_lag_seconds", "How far a replica is behind, in time.", labels,
                 [(key, row["lag_ms"] * 1e-3) for key, row in servers if row["lag_ms"] is not None])
    yield _gauge("server_latency_seconds", "Moving average of a round trip.", labels,
                 [(key, row["latency_us"] * 1e-6) for key, row in servers])


_Samples = Iterable[tuple[Iterable[str], float]]


def _gauge(name: str, text: str, labels: Iterable[str], samples: _Samples) -> Metric:
    metric = GaugeMetricFamily(f"shardproxy_{name}", text, labels=list(labels))
    for values, sample in samples:
        metric.add_metric(list(values), float(sample))
    return metric


def _counter(name: str, text: str, labels: Iterable[str], samples: _Samples) -> Metric:
    metric = CounterMetricFamily(f"shardproxy_{name}", text, labels=list(labels))
    for values, sample in samples:
        metric.add_metric(list(values), float(sample))
    return metric
