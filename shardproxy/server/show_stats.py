"""SHOW STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS: counters by database, with PgBouncer's names and units."""

from __future__ import annotations

from collections import Counter

from shardproxy.server.figures import COUNTERS
from shardproxy.server.state import State
from shardproxy.server.table import INT, TEXT, Reply

__all__ = ["reads", "stats", "stats_averages", "stats_totals", "totals"]

_NAMES = {"bytes_received": "received", "bytes_sent": "sent", "xact_time_us": "xact_time",
          "query_time_us": "query_time", "wait_time_us": "wait_time"}
_TOTALS = COUNTERS[:11]
"""The counters that PgBouncer has; in the order of its columns."""

_OURS = COUNTERS[11:]


async def stats(state: State) -> Reply:
    """Totals since the start and averages of the last period."""
    await state.totals()
    totals, averages = state.stats.totals(), state.stats.averages()
    rows = [[name, *(totals[name][counter] for counter in _TOTALS),
             *(averages.get(name, {}).get(counter, 0) for counter in _TOTALS)] for name in _known(state)]
    columns = [("database", TEXT), *((f"total_{_NAMES.get(name, name)}", INT) for name in _TOTALS),
               *((_average_name(name), INT) for name in _TOTALS)]
    return Reply(columns=columns, rows=rows)


async def stats_totals(state: State) -> Reply:
    """Totals since the start."""
    await state.totals()
    totals = state.stats.totals()
    rows = [[name, *(totals[name][counter] for counter in COUNTERS)] for name in _known(state)]
    columns = [("database", TEXT), *((name.removesuffix("_us"), INT) for name in COUNTERS)]
    return Reply(columns=columns, rows=rows)


async def stats_averages(state: State) -> Reply:
    """Averages of the last period."""
    await state.totals()
    averages = state.stats.averages()
    rows = [[name, *(averages.get(name, {}).get(counter, 0) for counter in COUNTERS)]
            for name in _known(state)]
    columns = [("database", TEXT), *((name.removesuffix("_us"), INT) for name in COUNTERS)]
    return Reply(columns=columns, rows=rows)


async def totals(state: State) -> Reply:
    """All databases together, one row for each counter."""
    await state.totals()
    summed: Counter[str] = Counter()
    averages: Counter[str] = Counter()
    for counters in state.stats.totals().values():
        summed.update(counters)
    for average in state.stats.averages().values():
        averages.update(average)
    rows = [[f"total_{_NAMES.get(name, name)}", summed[name]] for name in _TOTALS]
    rows += [[_average_name(name), averages[name]] for name in _TOTALS]
    return Reply(columns=(("name", TEXT), ("value", INT)), rows=rows)


async def reads(state: State) -> Reply:
    """Where statements went, by database."""
    await state.totals()
    summed = state.stats.totals()
    rows = [[name, *(summed[name][counter] for counter in _OURS)] for name in _known(state)]
    return Reply(columns=[("database", TEXT), *((name, INT) for name in _OURS)], rows=rows)


def _known(state: State) -> list[str]:
    """Databases with counters, the configured ones first."""
    known = state.stats.totals()
    return [*(name for name in state.config.databases if name in known),
            *sorted(set(known) - set(state.config.databases))]


def _average_name(counter: str) -> str:
    return {"bytes_received": "avg_recv"}.get(counter, f"avg_{_NAMES.get(counter, counter)}")
