"""What several servers say of themselves, put together: sums of counters, rows of activity.

Invariant: a process of another server than the coordinator's has a pid that no process of the coordinator's server can
have, so nothing that is done with it there hits another process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

__all__ = ["Cells", "Seen", "activity", "figures", "statistics"]

Cells = Sequence[Sequence[bytes | None]]
SERVER_BITS = 22
"""Of a pid: Linux gives numbers up to 4,194,304 (``kernel.pid_max``); the bits above tell the server, 0 for the
coordinator's."""
PIDS = ("pid", "leader_pid")
NAMES = frozenset(("relid", "indexrelid", "schemaname", "relname", "indexrelname"))
SUMS = 10


class Seen:
    """Which places are on one server, and in one database.

    ``servers``: the first place on each server but the coordinator's. ``databases``: one place for each database that
    is not the coordinator's. ``names``: of shards' databases, by place that stands for their server ("" the
    coordinator's).
    """

    def __init__(self, coordinator: Cells) -> None:
        server, self.database = _texts(coordinator[0])
        self._first = {server: ""}
        self._databases = {(server, self.database)}
        self.numbers: dict[str, int] = {}
        self.databases: list[str] = []
        self.names: dict[str, list[str]] = {"": []}
        self._met = 0

    @property
    def servers(self) -> list[str]:
        """See the class."""
        return list(self.numbers)

    def add(self, place: str, who: Cells) -> None:
        """A place, in the order of the layout, which numbers the servers."""
        self._met += 1
        server, database = _texts(who[0])
        if server not in self._first:
            self._first[server] = place
            self.numbers[place] = self._met
            self.names[place] = []
        if (server, database) not in self._databases:
            self._databases.add((server, database))
            self.databases.append(place)
            self.names[self._first[server]].append(database)


def _texts(row: Sequence[bytes | None]) -> tuple[str, str]:
    return (row[0] or b"").decode(), (row[1] or b"").decode()


def figures(answers: Sequence[Cells]) -> list[dict[str, str]]:
    """Sums over the shards, by schema, name and part."""
    found: dict[tuple[bytes | None, ...], list[float | int | None]] = {}
    for rows in answers:
        for row in rows:
            sums = found.setdefault(tuple(row[:3]), [None] * SUMS)
            for number, cell in enumerate(row[3:]):
                if cell is None:
                    continue
                value = float(cell) if number == SUMS - 3 else int(cell)
                before = sums[number]
                unknown = before is None or before < 0         # -1 tuples: never counted
                sums[number] = value if unknown else before if value < 0 else before + value  # type: ignore[operator]
    return [{"schema": _text(schema), "name": _text(name), "part": _text(part),
             "cells": ",".join("" if one is None else repr(one) for one in sums)}
            for (schema, name, part), sums in found.items()]


def _text(cell: bytes | None) -> str:
    return (cell or b"").decode("utf-8", "surrogateescape")


def statistics(answers: Sequence[Cells]) -> dict[str, Any]:
    """{view: {schema: {name: {column: value}}}}: counters are summed, of times the last counts."""
    found: dict[str, Any] = {}
    for rows in answers:
        for view, schema, name, row in rows:
            kept = found.setdefault(_text(view), {}).setdefault(_text(schema), {}).setdefault(_text(name), {})
            for column, value in json.loads(row or b"{}").items():
                if column not in NAMES and value is not None:
                    kept[column] = value if column not in kept else _joined(kept[column], value)
    return found


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, str):
        return max(one, other, key=datetime.fromisoformat)
    return one + other


def activity(seen: Seen, answers: Sequence[Cells]) -> dict[str, Any]:
    """Rows of other servers as the client's database would have them, and what to rename in the coordinator's own."""
    found = []
    for place, rows in zip(seen.servers, answers, strict=True):
        for (cell,) in rows:
            row = json.loads(cell or b"{}")
            for column in PIDS:
                if row.get(column) is not None:
                    row[column] += seen.numbers[place] << SERVER_BITS
            for column in ("datname", "database"):
                if row.get(column) in seen.names[place]:
                    row[column] = seen.database
            found.append(row)
    return {"rows": found, "names": seen.names[""]}
