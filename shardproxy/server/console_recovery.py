"""What the console and the metrics say and do about transactions over several places.

Invariant: what is in doubt is shown as long as it is; nothing here decides about it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shardproxy.dialects.replication import LinkError
from shardproxy.errors import ClientError, ControlError
from shardproxy.server.admin_commands import Verb
from shardproxy.server.command import Command, suggest
from shardproxy.server.state import State
from shardproxy.server.table import TEXT, Reply

__all__ = ["VERBS", "in_doubt_rows", "metrics"]


def in_doubt_rows(state: State) -> list[list[Any]]:
    """Participants that wait for recovery, in the columns of SHOW TRANSACTIONS."""
    if state.recovery is None:
        return []
    now = time.time()
    return [[0, one.owner, one.database, one.place or "coordinator", f"in doubt: {one.state}",
             time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now - one.age_s)), int(one.age_s * 1e6), "", False, 0,
             one.gid] for one in state.recovery.in_doubt()]


def metrics(state: State) -> Iterator[Metric]:
    """Distributed transactions that are unfinished, and that recovery finished."""
    figures = state.recovery.figures() if state.recovery is not None else []
    doubt = GaugeMetricFamily("shardproxy_transactions_in_doubt", "Participants of distributed transactions that "
                              "recovery could not finish yet.", labels=["database"])
    unfinished = GaugeMetricFamily("shardproxy_transactions_unfinished", "Distributed transactions that are committed, "
                                   "but not at every server yet.", labels=["database"])
    recovered = CounterMetricFamily("shardproxy_transactions_recovered", "Distributed transactions that were finished "
                                    "by recovery.", labels=["database", "outcome"])
    for database, participants, committed, finished in figures:
        doubt.add_metric([database], float(participants))
        unfinished.add_metric([database], float(committed))
        for outcome in ("commit", "abort"):
            recovered.add_metric([database, outcome], float(finished[outcome]))
    yield from (doubt, unfinished, recovered)


async def _restore_point(state: State, command: Command) -> Reply:
    """RESTORE POINT name [database]: the database may be left out if only one is sharded."""
    words = [word.value for word in command.words]
    if not 2 <= len(words) <= 3 or words[0].upper() != "POINT":
        raise ClientError("42601", "RESTORE POINT needs a name, and perhaps a database",
                          hint="RESTORE POINT before_migration shop")
    if state.recovery is None:
        raise ClientError("55000", "the proxy has not started yet")
    known = state.recovery.databases()
    if len(words) == 2 and len(known) != 1:
        raise ClientError("42601", f"{len(known)} databases are sharded, say which one",
                          hint=f"RESTORE POINT {words[1]} DATABASE; sharded are: {', '.join(known) or 'none'}")
    database = words[2] if len(words) == 3 else known[0]
    if database not in known:
        raise ClientError("3D000", f"{database} is not a sharded database",
                          hint=suggest(database, known, "see SHOW DATABASES"))
    try:
        points = await state.recovery.restore_point(database, words[1])
    except (LinkError, ControlError) as error:
        raise ClientError("55000", f"the restore point was not made everywhere: {error}",
                          hint="commits go on; make one with another name") from error
    return Reply(tag="RESTORE POINT", columns=(("place", TEXT), ("position", TEXT)),
                 rows=[[place or "coordinator", position] for place, position in points])


VERBS: Mapping[str, Verb] = {
    "RESTORE": Verb("RESTORE POINT name [database]",
                    "one consistent point in the logs of all servers of a sharded database", _restore_point),
}
