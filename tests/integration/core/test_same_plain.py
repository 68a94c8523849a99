"""Batches that pass as they came (Parse, Bind, Describe, Execute, Sync without names), and all that is nearly one."""

from __future__ import annotations

import pytest

from tests.fixtures.raw import B, C, D, E, H, P, Q, S

from .conftest import Arena, Step

TABLE = (
    "create table s.t (a int, b text); insert into s.t select i, 'row ' || i from generate_series(1, 10) i;"
)
READ = P("", "select a, b from s.t where a = $1")
WRITE = P("", "insert into s.t values ($1, $2) returning *")
BAD = P("", "select nothing from s.t where a = $1")
RUN = D("P") + E() + S


def one(parse: bytes, *values: str) -> bytes:
    """A plain batch."""
    return parse + B("", "", *values) + RUN


CASES: dict[str, list[Step]] = {
    "again and again": [one(READ, str(i)) for i in range(4)],
    "another text between": [one(READ, "1"), one(WRITE, "11", "x"), one(READ, "11"), one(WRITE, "12", "y")],
    "bound once more": [one(READ, "1"), B("", "", "2") + RUN, one(READ, "3"), B("", "", "4") + E() + S],
    "an error in Bind": [one(READ, "1"), one(READ, "x"), B("", "", "2") + RUN, one(READ, "3")],
    "an error in Execute": [*(one(P("", "select 1 / $1::int"), v) for v in "1011"), B("", "", "1") + RUN],
    "an error in Parse": [one(BAD, "1"), one(BAD, "2"), B("", "", "2") + RUN, one(READ, "1"), one(BAD, "3")],
    "an unnamed statement that is gone": [one(READ, "1"), Q("select 1"), B("", "", "1") + RUN, one(READ, "2")],
    "closed": [one(READ, "1"), C("S", "") + S, B("", "", "1") + RUN, one(READ, "2")],
    "a pipeline": [one(READ, "1") * 3, one(READ, "2") + one(WRITE, "13", "z") + one(READ, "13")],
    "a pipeline with errors": [one(READ, "x") + one(BAD, "2") + one(READ, "3") * 2 + one(BAD, "2") * 2],
    "a Query between": [one(READ, "1") + Q("select 2") + one(READ, "3") + Q("select 4")],
    "named Close before": [one(READ, "1"), C("S", "a") + one(READ, "2"), P("a", "select 5") + one(READ, "3")],
    "in a transaction": [Q("begin"), one(READ, "1"), one(WRITE, "14", "z"), one(BAD, "1"), one(READ, "2"),
                         Q("rollback"), one(READ, "14")],
    "a transaction by batches": [one(P("", "begin")), one(READ, "1"), one(READ, "2"), one(P("", "commit")),
                                 one(READ, "1")],
    "values of many sizes": [one(READ, "1"), *[one(WRITE, "15", "v" * size) for size in (0, 1, 255, 70_000, 300_000)]],
    "other portals": [one(READ, "1"), READ + B("p", "", "2") + D("P", "p") + E("p") + S, one(READ, "3")],
    "two results": [one(READ, "1"), READ + B("", "", "2") + E("", 1) + E() + S, READ + B("", "", "2") + E() + RUN],
    "described first": [one(READ, "1"), READ + D("S") + B("", "", "2") + RUN, READ + D("S") + S,
                        B("", "", "3") + RUN],
    "a Flush": [one(READ, "1"), (READ + D("S") + H, "1tT"), B("", "", "2") + RUN, one(READ, "2")],
    "other types": [one(P("", "select $1", 23), "1"), one(P("", "select $1", 25), "1"),
                    one(P("", "select $1", 23), "x")],
    "session state": [one(P("", "set work_mem = '5MB'")), one(P("", "show work_mem")), one(P("", "show work_mem"))],
    "the table changes": [one(READ, "1"), Q("alter table s.t alter a type bigint"), one(READ, "1"), one(READ, "2")],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_plain(arena: Arena, case: str) -> None:
    """The replies are those of a direct connection, whatever other clients do between."""
    await arena.compare(*CASES[case], setup=TABLE)


@pytest.mark.parametrize("case", CASES)
async def test_plain_alone(arena: Arena, case: str) -> None:
    """The same when nobody else comes between."""
    await arena.compare(*CASES[case], setup=TABLE, disturb=False)
