"""COPY over three shards: what went in, what comes out, and which line an error names."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment

from .test_writes import TABLES, emptied, state

IN = {
    "text": ("copy t (id, k, v) from stdin", b"1\t5\ta\\tb\n2\t\\N\t\\\\N\n".replace(b"\\N\t", b"3\t")
             + b"3\t7\tx\\\ny\n4\t-8\t\\N\n\\.\n"),
    "returns": ("copy t (v, id, k) from stdin", b"a\t1001\t1\r\nb\t1002\t2\r\n"),
    "csv": ("copy t (k, v, id) from stdin (format csv, header)",
            b'k,v,id\n1,"a,\n""b""",10\n"2",,11\n3,"",12\n'),
    "csv options": ("copy s (k, w) from stdin with csv delimiter ';' quote '''' escape '\\' null 'nil' "
                    "force not null w", b"1001;'it\\'s';\n".replace(b";\n", b"\n") + b"1002;nil\n1003;'nil'\n"),
    "dates": ("copy d from stdin", b"2024-01-01\t1\n01/02/2024\t2\n2024-03-01\t3\n"),
    "rounded keys": ("copy n (k, b) from stdin", b"1.005\t\\\\x00\n2.5\t\\N\n1e2\t\n"),
    "reference": ("copy r (id, name, at) from stdin", b"50\tfifty\t2024-01-01 00:00:00+00\n51\t\\N\t\\N\n"),
    "unsharded": ("copy u (k, v) from stdin", b"1\tone\n2\ttwo\n"),
    "where": ("copy s (k, w) from stdin where k > 2000", b"1999\ta\n2001\tb\n2002\tc\n"),
    "empty": ("copy s from stdin", b""),
    "no last newline": ("copy s (k) from stdin", b"4000\n4001"),
}

BAD = {
    "value": ("copy s (k, w) from stdin", b"3000\ta\n3001\tb\nx\tc\n3003\td\n"),
    "too short": ("copy s (w, k) from stdin", b"a\t3000\nb\n"),
    "too long": ("copy s (k, w) from stdin", b"3000\ta\n3001\tb\tc\n"),
    "duplicate": ("copy s (k, w) from stdin", b"3000\ta\n1\tb\n"),
    "column": ("copy s (k, nope) from stdin", b""),
}

OUT = ("copy s (k, w) to stdout", "copy s to stdout (format csv, header)", "copy t (id, v) to stdout csv",
       "copy (select k, w from s order by k) to stdout", "copy (select k from s where k = 3) to stdout",
       "copy r (id) to stdout", "copy (select count(*) from t) to stdout (format csv)", "copy u (id, k) to stdout")


def copied(client: psycopg.Connection[Any], statement: str, data: bytes, size: int = 7) -> Any:
    """Outcome of COPY FROM; the data comes in small pieces."""
    try:
        cursor = client.cursor()
        with cursor.copy(statement) as copy:
            for at in range(0, len(data), size):
                copy.write(data[at:at + size])
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary, error.diag.context
    return cursor.statusmessage


@pytest.mark.parametrize("name", IN)
def test_in(deployed: Deployment, name: str) -> None:
    with deployed.plain.client() as plain, deployed.systems[3].client() as client:
        for connection in (plain, client):
            emptied(connection)
        assert copied(client, *IN[name]) == copied(plain, *IN[name])
        assert state(client) == state(plain)


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_line(deployed: Deployment, name: str) -> None:
    with deployed.plain.client() as plain, deployed.systems[3].client() as client:
        for connection in (plain, client):
            emptied(connection)
        assert copied(client, *BAD[name]) == copied(plain, *BAD[name])
        assert state(client) == state(plain)


def out(client: psycopg.Connection[Any], statement: str) -> Any:
    cursor = client.cursor()
    with cursor.copy(statement) as copy:
        data = b"".join(bytes(part) for part in copy)
    return data, cursor.rowcount


@pytest.mark.parametrize("statement", OUT)
def test_out(deployed: Deployment, statement: str) -> None:
    with deployed.plain.client() as plain, deployed.systems[3].client() as client:
        for connection in (plain, client):
            emptied(connection)
        (wanted, tag), (found, own_tag) = out(plain, statement), out(client, statement)
        assert sorted(found.splitlines()) == sorted(wanted.splitlines())
        assert found.splitlines()[:1] == wanted.splitlines()[:1] or "header" not in statement
        assert own_tag == tag


def test_binary_goes_out_and_in(deployed: Deployment) -> None:
    with deployed.plain.client() as plain, deployed.systems[3].client() as client:
        for connection in (plain, client):
            emptied(connection)
        for table, columns in (("t", "v, k, id"), ("s", "k, w, c"), ("u", "id, k, v")):
            statement = f"copy {table} ({columns}) to stdout (format binary)"
            data, tag = out(client, statement)
            assert tag == out(plain, statement)[1]
            client.execute(f"delete from {table}")
            assert copied(client, f"copy {table} ({columns}) from stdin (format binary)", data) == f"COPY {tag}"
        rows = {table: client.execute(f"select count(*) from {table}").fetchone() for table in TABLES}
        assert rows["t"] == (60,)
        assert rows["s"] == (30,)
        assert sorted(client.execute("select id, k, v from t").fetchall()) == sorted(
            plain.execute("select id, k, v from t").fetchall())


def test_in_a_transaction_that_is_rolled_back(deployed: Deployment) -> None:
    with deployed.systems[3].client() as client:
        emptied(client)
        before = state(client)
        client.autocommit = False
        assert copied(client, "copy s (k, w) from stdin", b"7001\ta\n7002\tb\n7003\tc\n") == "COPY 3"
        assert client.execute("select count(*) from s where k > 7000").fetchone() == (3,)
        client.rollback()
        assert state(client) == before
