"""Columns and parameters of the user's own types, whose OIDs differ from server to server: clients see one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment, System

ROWS = [(number, ("red", "green", "blue")[number % 3], number) for number in range(1, 10)]


@pytest.fixture(scope="module")
def system(deployed: Deployment) -> Iterator[System]:
    """Over three shards, with an enum and a domain of other OIDs everywhere."""
    found = deployed.systems[3]
    for number, place in enumerate(found.places):
        for extra in range(number * 3):
            found.direct(place).execute(f"create type other_{extra} as enum ('x'); drop type other_{extra}")
    with found.client() as client:
        client.execute("create type color as enum ('red', 'green', 'blue')")
        client.execute("create domain positive as int check (value > 0)")
        client.execute("create table colored /* shardproxy: key=id keyspace=customer */ "
                       "(id int primary key, c color, p positive)")
        client.cursor().executemany("insert into colored values (%s, %s, %s)", ROWS)
        yield found
        client.execute("drop table colored; drop type color; drop domain positive")


def types(cursor: psycopg.Cursor[Any]) -> list[int]:
    return [column.type_code for column in cursor.description or ()]


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
@pytest.mark.parametrize("how", ["simple", "extended", "binary"])
@pytest.mark.parametrize("where", ["", "where id = 4", "order by id limit 3", "where id in (1, 2, 3, 4)"])
def test_types_of_rows(system: System, where: str, how: str, block: bool) -> None:
    sql = f"select id, c, p from colored {where}"
    own = system.direct(system.name).execute("select 'color'::regtype::oid::int").fetchall()[0][0]
    with system.client(autocommit=not block) as client:
        cursor = psycopg.ClientCursor(client) if how == "simple" else client.cursor(binary=how == "binary")
        cursor.execute(sql)
        rows = cursor.fetchall()
        assert types(cursor) == [23, own, 23]
        found = sorted((row[0], row[1].decode() if isinstance(row[1], bytes) else row[1], row[2]) for row in rows)
        wanted = {"where id = 4": ROWS[3:4], "": ROWS}
        assert found == wanted.get(where, ROWS[:len(found)]) and found


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("sql", [
    "select id from colored where c = %s", "select id from colored where c = %s and id = 4",
    "update colored set c = %s where id = 4 returning c, id", "update colored set c = %s returning id, c",
    "insert into colored values (400, %s, 5), (401, 'red', 6), (402, 'red', 7) returning c",
    "insert into colored values (403, %s, 5) returning c", "select id, %s::color from colored where id = 4",
    "select max(c) from colored where c < %s", "delete from colored where c = %s and id > 9 returning c"])
def test_parameters(system: System, sql: str, binary: bool, block: bool) -> None:
    """Declared with the OID that the catalog of the coordinator tells, as drivers do."""
    own = system.direct(system.name).execute("select 'color'::regtype::oid::int").fetchall()[0][0]
    sql = sql.replace("%s", "$1")
    with system.client() as client:
        if block:
            client.execute("begin")
        for declared in ([own], [0]):
            result = client.pgconn.exec_params(sql.encode(), [b"green"], declared, [int(binary)], int(binary))
            assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
            assert all(result.ftype(column) in (23, own) for column in range(result.nfields))
            if sql.startswith("insert"):
                client.pgconn.exec_params(b"delete from colored where id >= 400", [])
        client.execute("rollback" if block else "select 1")
