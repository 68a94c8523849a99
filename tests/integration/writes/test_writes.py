"""Writes over three shards end as they end in one database: tags, rows of RETURNING, errors, contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment

TABLES = ("t", "s", "d", "n", "r", "u")

FILL = (
    "insert into t (id, k, v) select i, i % 20, 'v' || i from generate_series(1, 60) i",
    "insert into s (k, w) select i, 'w' || i from generate_series(0, 29) i",
    "insert into r (id, name) values (1, 'one'), (2, 'two'), (3, 'three')",
    "insert into u (id, k, v) values (1, 5, 'u5'), (2, 6, 'u6')",
)

STATEMENTS = Path(__file__).with_name("statements.sql").read_text().splitlines()


def state(client: psycopg.Connection[Any]) -> dict[str, list[Any]]:
    """All rows; the time is told apart from NULL only, an identity's values are counted only."""
    found: dict[str, list[Any]] = {}
    for table in TABLES:
        rows = client.execute(f"select * from {table}").fetchall()
        found[table] = sorted(repr([type(cell) if hasattr(cell, "tzinfo") else cell for cell in row]) for row in rows)
    return found


def outcome(client: psycopg.Connection[Any], statement: str, prepared: bool = False) -> Any:
    """Tag, columns and rows, or the error."""
    try:
        cursor = client.execute(statement, prepare=prepared)
    except psycopg.Error as error:
        return error.sqlstate, str(error.diag.message_primary)
    rows = [tuple(type(cell) if hasattr(cell, "tzinfo") else cell for cell in row)
            for row in cursor.fetchall()] if cursor.description else None
    ordered = rows if rows is None or statement.startswith("insert") else sorted(rows, key=repr)
    return cursor.statusmessage, [column.name for column in cursor.description or ()], ordered


def emptied(client: psycopg.Connection[Any]) -> None:
    for table in TABLES:
        client.execute(f"delete from {table}")
    client.execute("alter sequence u_id_seq restart with 10")
    for statement in FILL:
        client.execute(statement)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_as_in_one_database(deployed: Deployment, statement: str) -> None:
    system = deployed.systems[3]
    with deployed.plain.client() as plain, system.client() as client:
        for connection in (plain, client):
            emptied(connection)
        wanted, found = outcome(plain, statement), outcome(client, statement)
        assert found == wanted
        assert state(client) == state(plain)
