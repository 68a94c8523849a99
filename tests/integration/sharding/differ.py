"""Runs cases on the plain database and through the proxy, and tells what is not the same.

An answer is ``equal``, ``refused`` (0A000 where the plain database has none: correct, but to be kept rare), or
``wrong``. Rows are compared in order where the statement orders them, else as a multiset; after a case that writes,
the tables are compared too, and put back as they were.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from tests.fixtures.raw import Q, Raw
from tests.fixtures.sharded import Deployment, System

from .answers import Answer, Asker, Encoder, Result
from .cases import Case, Statement
from .contents import Contents, Judge, mentioned

__all__ = ["Differ", "Report", "compare"]

REFUSED = "0A000"
SHELL = "foreign-data wrapper"
"""Of the error with which the coordinator's empty copy of a sharded table keeps from being read."""
LOST_MAX = 4
TIMEOUT_S = 10.0
Rows = dict[str, list[str] | None]
Outcome = tuple[list[Answer], Rows]


@dataclass
class Report:
    """Counts, refused statements with their reasons, and wrong answers."""

    equal: int = 0
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    lost: int = 0

    def __str__(self) -> str:
        lines = [f"equal {self.equal}, refused {len(self.refused)}, wrong {len(self.wrong)}"]
        lines += [f"REFUSED {name}\n    {sql}\n    {why}" for name, sql, why in self.refused]
        lines += [f"WRONG {name}\n    {sql}\n    {why}" for name, sql, why in self.wrong]
        return "\n".join(lines)

    def add(self, other: Report) -> None:
        """Include another report."""
        self.equal += other.equal
        self.refused += other.refused
        self.wrong += other.wrong


def compare(statement: Statement, right: Answer, got: Answer) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if right.error or got.error:
        if right.error == got.error:
            return "" if right.status == got.status else f"status {got.status}, not {right.status}"
        return (f"got {got.error or 'no error'} {got.message} {_shown(got)}, "
                f"not {right.error or 'an answer'} {right.message} {_shown(right)}")
    if len(right.results) != len(got.results):
        return f"{len(got.results)} results, not {len(right.results)}"
    if right.parameters != got.parameters:
        return f"parameter types {got.parameters}, not {right.parameters}"
    for one, other in zip(right.results, got.results, strict=True):
        if problem := _result(statement, one, other):
            return problem
    return "" if right.status == got.status else f"status {got.status}, not {right.status}"


def _result(statement: Statement, right: Result, got: Result) -> str:
    if right.columns != got.columns:
        return f"columns {got.columns}, not {right.columns}"
    if right.tag != got.tag:
        return f"tag {got.tag!r}, not {right.tag!r}"
    if right.copy != got.copy:
        return f"copy header {got.copy!r}, not {right.copy!r}"
    if Counter(right.rows) != Counter(got.rows):
        return f"rows {_readable(got.rows)}, not {_readable(right.rows)}"
    if statement.ordered and right.rows != got.rows:
        return f"order {_readable(got.rows)}, not {_readable(right.rows)}"
    if Counter(_pieces(right.copied)) != Counter(_pieces(got.copied)):
        return f"copied {got.copied[:8]}, not {right.copied[:8]}"
    if statement.ordered and _pieces(right.copied) != _pieces(got.copied):
        return f"order of copied {got.copied[:8]}, not {right.copied[:8]}"
    return ""


def _pieces(copied: Sequence[bytes]) -> list[bytes]:
    """Lines of COPY data: in which messages they come does not matter."""
    return b"".join(copied).splitlines() if not any(b"PGCOPY" in piece for piece in copied) else list(copied)


def _readable(rows: Sequence[bytes], most: int = 12) -> str:
    shown = [" ".join("NULL" if cell is None else cell.decode(errors="backslashreplace") for cell in _cells(row))
             for row in rows[:most]]
    return f"{len(rows)}: " + " | ".join(shown)


def _cells(row: bytes) -> Iterable[bytes | None]:
    pos = 2
    while pos < len(row):
        size = int.from_bytes(row[pos : pos + 4], "big", signed=True)
        pos += 4
        yield None if size < 0 else row[pos : pos + size]
        pos += max(size, 0)


def _shown(answer: Answer) -> str:
    return "; ".join(f"[{result.tag} {_readable(result.rows, 4)}]" for result in answer.results)


class Differ:
    """One deployment: plain answers are remembered, tables are known as they were."""

    def __init__(self, deployment: Deployment, judge: Judge) -> None:
        self.deployment = deployment
        self.plain = Contents(deployment.plain, judge)
        self.contents = {count: Contents(system, judge) for count, system in deployment.systems.items()}
        self._right: dict[tuple[str, str], Outcome] = {}

    async def run(self, count: int, mode: str, cases: Sequence[Case]) -> Report:
        """All cases on one system in one mode."""
        report = Report()
        for case in cases:
            if case.modes and mode not in case.modes:
                continue
            report.add(await self.case(count, mode, case))
            if sum("no answer" in why for _, _, why in report.wrong) >= LOST_MAX:
                report.wrong.append(("", "", "too many statements without an answer: given up"))
                break
        return report

    async def case(self, count: int, mode: str, case: Case) -> Report:
        """One case: its statements (if it writes, up to the first that is refused or wrong), then the tables."""
        report = Report()
        system = self.deployment.systems[count]
        right, rows = await self._plain(case, mode)
        got = await self._answers(system, case, mode, right)
        for statement, one, other in zip(case.statements, right, got, strict=False):
            where = (f"{case.name} [{mode}, N={count}]", statement.text)
            if one.error != REFUSED and (other.error == REFUSED or SHELL in other.message):
                report.refused.append((*where, other.message))
            elif problem := compare(statement, one, other):
                report.wrong.append((*where, problem))
            else:
                report.equal += 1
        if not case.reads:
            if not report.refused and not report.wrong:
                name = f"{case.name} [{mode}, N={count}]"
                report.wrong += [(name, case.text, line) for line in self.contents[count].problems(rows)]
            await self._finish(system, case)
            self.contents[count].restore(rows)
        return report

    async def _plain(self, case: Case, mode: str) -> Outcome:
        """Right answers and right rows of the touched tables, found once; the plain database is as before then."""
        key = (case.name, mode)
        if key not in self._right:
            system = self.deployment.plain
            answers = await self._answers(system, case, mode, None)
            rows: Rows = {}
            if not case.reads:
                there = set(self.plain.tables(system.name))
                touched = mentioned(case.text, there | set(self.plain.first[system.name]))
                rows = {table: self.plain.rows(system.name, table) if table in there else None for table in touched}
                await self._finish(system, case)
                self.plain.restore(touched)
            self._right[key] = (answers, rows)
        return self._right[key]

    @contextlib.asynccontextmanager
    async def _session(self, system: System, mode: str) -> AsyncIterator[Asker]:
        plain = self.deployment.plain
        async with Raw.session(system.port, "postgres", system.name) as client, \
                Raw.session(plain.port, "postgres", plain.name) as helper:
            yield Asker(client, mode, Encoder(helper))

    async def _answers(self, system: System, case: Case, mode: str, right: Sequence[Answer] | None) -> list[Answer]:
        """Answers to the statements; of a case that writes, up to the first that is not like the right one."""
        found: list[Answer] = []
        while len(found) < len(case.statements):
            try:
                async with self._session(system, mode) as asker:
                    await self._ask(asker, case, right, found)
            except TimeoutError:
                found.append(Answer(error="none", message="no answer to a login", lost=True))
            if not case.reads:
                break
        return found

    @staticmethod
    async def _ask(asker: Asker, case: Case, right: Sequence[Answer] | None, found: list[Answer]) -> None:
        """Statements from where ``found`` ends, as long as the connection lives."""
        for statement in case.statements[len(found) :]:
            found.append(await asker.ask(statement, TIMEOUT_S))
            wrong = right is not None and compare(statement, right[len(found) - 1], found[-1])
            if found[-1].lost or (wrong and not case.reads):
                return

    async def _finish(self, system: System, case: Case) -> None:
        if not case.finally_:
            return
        with contextlib.suppress(TimeoutError):
            async with Raw.session(system.port, "postgres", system.name) as client:
                for text in case.finally_:
                    await client.ask(Q(text), timeout=TIMEOUT_S)
