"""Writes with parameters, in text and binary format, in transactions, and many rows at once."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment

from .test_writes import emptied, state

CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("insert into s (k, w) values (%s, %s), (%s, %s) returning k, w", (900, "a", 901, None)),
    ("insert into s (k, w) values (%s, %s) on conflict (k) do update set w = excluded.w returning w", (3, "up")),
    ("insert into t (id, k, v) values (%s, %s, %s), (%s, %s, upper(%s))", (1, 800, "x", 2, 801, "y")),
    ("update t set v = %s where k = %s returning id", ("p", 4)),
    ("update t set v = %s, n = n + %s where k = any(%s)", ("p", 2, [4, 5, 6])),
    ("update t set k = %s where k = %s", (700, 4)),
    ("update s set w = (select max(v) from t where k > %s) where w <> %s", (3, "w3")),
    ("delete from t where k in (%s, %s) and v like %s", (4, 5, "v%")),
    ("insert into r (id, name) values (%s, %s)", (70, "seventy")),
    ("insert into n (k, b) values (%s, %s), (%s, %s)", (1.005, b"\x00\xff'\\", 2, None)),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("call", CALLS, ids=[call[0][:40] for call in CALLS])
def test_parameters(deployed: Deployment, call: tuple[str, tuple[Any, ...]], binary: bool) -> None:
    text, values = call
    found: list[Any] = []
    for system in (deployed.plain, deployed.systems[3]):
        with system.client() as client:
            emptied(client)
            cursor = client.cursor(binary=binary)
            cursor.execute(text.replace("%s", "%b") if binary else text, values, prepare=True)
            rows = sorted(cursor.fetchall(), key=repr) if cursor.description else None
            found.append((cursor.statusmessage, rows, state(client)))
    assert found[1] == found[0]


def test_own_writes_are_seen_and_undone(deployed: Deployment) -> None:
    with deployed.systems[3].client(autocommit=False) as client:
        client.rollback()
        client.autocommit = True
        emptied(client)
        before = state(client)
        client.autocommit = False
        client.execute("insert into s (k, w) values (900, 'a'), (901, 'b'), (902, 'c')")
        client.execute("savepoint a")
        client.execute("update s set w = w || '!' where k >= 900")
        client.execute("rollback to a")
        client.execute("update s set k = k + 100 where k = 901")
        rows = client.execute("select k, w from s where k >= 900 order by k").fetchall()
        assert rows == [(900, "a"), (902, "c"), (1001, "b")]
        with pytest.raises(psycopg.errors.UniqueViolation):
            client.execute("insert into s (k, w) values (903, 'd'), (1, 'dup')")
        client.rollback()
        client.autocommit = True
        assert state(client) == before


def test_now_is_one_moment_over_all_shards(deployed: Deployment) -> None:
    with deployed.systems[3].client() as client:
        emptied(client)
        client.execute("update t set at = now()")
        assert client.execute("select count(distinct at) from t").fetchone() == (1,)
        client.execute("insert into t (id, k) values (1, 901), (2, 902), (3, 903), (4, 904)")
        assert client.execute("select count(distinct at) from t where k > 900").fetchone() == (1,)


def test_many_rows(deployed: Deployment) -> None:
    with deployed.systems[3].client() as client:
        emptied(client)
        rows = ", ".join(f"({number}, 'w{number}')" for number in range(1000, 6000))
        assert client.execute(f"insert into s (k, w) values {rows}").statusmessage == "INSERT 0 5000"
        cursor = client.execute("insert into s (k, w) select k + 10000, w from s where k >= 1000 returning k")
        assert len({row[0] for row in cursor.fetchall()}) == 5000
        assert client.execute("delete from s where k >= 1000").statusmessage == "DELETE 10000"
