"""currval and lastval of rows whose numbers the coordinator gave, and whose shards are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.sharded import Deployment, System

NOT_YET = 'currval of sequence "tickets_id_seq" is not yet defined in this session'


@pytest.fixture(scope="module")
def system(deployed: Deployment) -> Iterator[System]:
    """The database over three shards, with tables that number their rows."""
    found = deployed.systems[3]
    with found.client() as client:
        client.execute("create table tickets /* shardproxy: key=id keyspace=customer */ "
                       "(id serial primary key, v text)")
        client.execute("create table notes /* shardproxy: key=k keyspace=customer */ "
                       "(k int, n bigint generated always as identity, primary key (k, n))")
        yield found
        client.execute("drop table tickets, notes")


INSERTS = [
    "insert into tickets (v) values ('a') returning id",
    "insert into tickets (v) values ('a'), ('b'), ('c') returning id",
    "insert into tickets (v) select 'x' from generate_series(1, 5) returning id",
    "insert into notes (k) values (1), (2), (3), (4) returning n",
    "insert into notes (k) values (7) returning n",
    "insert into u (k) values (1) returning id",
]


@pytest.mark.parametrize("block", [False, True], ids=["alone", "in a block"])
@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
@pytest.mark.parametrize("sql", INSERTS)
def test_last_values(system: System, sql: str, prepared: bool, block: bool) -> None:
    table = sql.split()[2]
    column = "n" if table == "notes" else "id"
    with system.client(autocommit=not block) as client, system.client() as stranger:
        for _ in range(3):
            values = [row[0] for row in client.execute(sql, prepare=prepared)]
            asked = f"select currval(pg_get_serial_sequence('{table}', '{column}')), lastval()"
            with pytest.raises(psycopg.Error) as caught:
                stranger.execute("select lastval()", prepare=prepared)
            assert caught.value.sqlstate == "55000"
            assert client.execute(asked, prepare=prepared).fetchall() == [(max(values), max(values))]
            if block:
                client.commit()
                assert client.execute("select lastval()", prepare=prepared).fetchall() == [(max(values),)]


def test_others_start_anew(system: System) -> None:
    """Two clients by turns, on what may be one connection: the last sees its own, the other its own or an error."""
    with system.client() as one, system.client() as two:
        for number in range(6):
            (given,) = [row[0] for row in one.execute("insert into tickets (v) values ('1') returning id")]
            two.execute("insert into notes (k) values (5)")
            for client, sequence in ((one, "notes_n_seq"), (two, "tickets_id_seq")):
                with pytest.raises(psycopg.Error) as caught:
                    client.execute(f"select currval('{sequence}')", prepare=bool(number % 2))
                assert caught.value.sqlstate == "55000"
            assert two.execute("select lastval() = currval('notes_n_seq')").fetchall() == [(True,)]
            assert two.execute("select max(n) = lastval() from notes").fetchall() == [(True,)]
            try:
                assert one.execute("select currval('tickets_id_seq')").fetchall() == [(given,)]
            except psycopg.errors.ObjectNotInPrerequisiteState as error:
                assert error.diag.message_primary == NOT_YET
