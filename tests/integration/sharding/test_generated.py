"""Statements that nobody thought of, on rows that nobody chose: equal to one plain database, or refused.

SHARDPROXY_TEST_EXAMPLES: how many scripts (default 30, always the same ones; with it, others each time). What fails is
shrunk and printed as JSON; put into ``saved/NAME.json`` it is run again at every test.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fixtures.sharded import Deployment, System

from .cases import is_ordered
from .grammar import TABLES, Script, scripts

EXAMPLES = int(os.environ.get("SHARDPROXY_TEST_EXAMPLES", "0"))
SAVED = sorted(Path(__file__).with_name("saved").glob("*.json"))
REFUSED = "0A000"
_STATE = "select t::text from {} t"
Outcome = tuple[str, Any, Any]


class Runner:
    """Connections to the plain database and the systems, kept for all scripts; counts what was compared."""

    def __init__(self, shop: Deployment) -> None:
        self.shop = shop
        self.plain = self.connect(shop.plain)
        self.systems = {count: self.connect(system) for count, system in shop.systems.items()
                        if EXAMPLES or count in (0, 2, 3)}
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    @staticmethod
    def connect(system: System) -> psycopg.Connection[Any]:
        """With a limit, so that a statement without an answer fails."""
        return system.client(options="-c statement_timeout=20s")

    def run(self, script: Script) -> None:
        """Compare a script on all systems."""
        right = [self._outcome(self.plain, statement, False) for statement in self._filled(self.plain, script)]
        for count in self.systems:
            self._compare(count, script, right)

    def _filled(self, connection: psycopg.Connection[Any], script: Script) -> list[str]:
        """Put the rows in; what is to be run and asked: each statement, and after a write the tables."""
        for table in TABLES:
            connection.execute(f"delete from {table}")
            if script.rows.get(table):
                connection.execute(
                    f"insert into {table} values {', '.join(script.rows[table])}")
        found = []
        for statement in script.statements:
            found.append(statement)
            if not statement.startswith("select"):
                found += [_STATE.format("ga"), _STATE.format("gb")]
        return found

    def _compare(self, count: int, script: Script, right: list[Outcome]) -> None:
        connection = self.systems[count]
        for number, statement in enumerate(self._filled(connection, script)):
            for binary in (False, True) if statement.startswith("select") else (False,):
                got = self._outcome(connection, statement, binary)
                wanted = self._outcome(self.plain_again(script, number), statement, True) if binary else right[number]
                if got[0] == REFUSED and wanted[0] != REFUSED:
                    self.counts["refused"] += 1
                    self.reasons[str(got[1])] += 1
                    if not statement.startswith("select"):
                        return      # the rest depends on it
                    continue
                self.counts["equal"] += 1
                assert got == wanted, self._told(count, script, statement, got, wanted)

    def plain_again(self, script: Script, number: int) -> psycopg.Connection[Any]:
        """The plain database in the state before a statement; only scripts without writes are asked twice."""
        if any(not statement.startswith("select") for statement in script.statements):
            written = self._filled(self.plain, script)[:number]
            for statement in written:
                if not statement.startswith("select"):
                    self._outcome(self.plain, statement, False)
        return self.plain

    @staticmethod
    def _outcome(connection: psycopg.Connection[Any], statement: str, binary: bool) -> Outcome:
        try:
            cursor = connection.execute(statement, binary=binary)
        except psycopg.Error as error:
            if connection.closed:
                raise
            return error.sqlstate or "", str(error) if error.sqlstate == REFUSED else "", ""
        if cursor.description is None:
            return "", cursor.statusmessage, None
        rows = [tuple(map(repr, row)) for row in cursor.fetchall()]
        columns = [(column.name, column.type_code) for column in cursor.description]
        return "", columns, rows if is_ordered(statement) else sorted(rows)

    def _told(self, count: int, script: Script, statement: str, got: Outcome, wanted: Outcome) -> str:
        saved = json.dumps({"rows": script.rows, "statements": script.statements}, indent=1, ensure_ascii=False)
        return f"N={count}: {statement}\n  got    {got}\n  wanted {wanted}\n{saved}"

    def close(self) -> None:
        """Leave the tables empty, as they were."""
        for connection in (self.plain, *self.systems.values()):
            for table in TABLES:
                connection.execute(f"delete from {table}")
            connection.close()


@pytest.fixture(scope="module")
def runner(shop: Deployment) -> Iterator[Runner]:
    """One for all scripts."""
    made = Runner(shop)
    yield made
    made.close()
    print(made.counts, made.reasons.most_common(20))


@given(script=scripts())
@settings(max_examples=EXAMPLES or 30, deadline=None, database=None, derandomize=not EXAMPLES,
          suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), print_blob=False)
def test_generated(runner: Runner, script: Script) -> None:
    runner.run(script)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved(runner: Runner, path: Path) -> None:
    """What was wrong once."""
    found = json.loads(path.read_text())
    runner.run(Script(found["rows"], found["statements"]))
