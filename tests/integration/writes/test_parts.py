"""Statements whose WITH writes, over three shards, end as in one database; or are refused, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.sharded import Deployment

from .test_writes import emptied, outcome, state

STATEMENTS = Path(__file__).with_name("parts.sql").read_text().splitlines()

REFUSED = (
    "with a as (update s set w = 'a' where k < 5 returning k) update s set w = 'b' from a where s.k = a.k + 1",
    "with a as (insert into s (k) values (90) returning k) update s set w = 'x' from a where s.k = a.k",
    "with a as (insert into r (id) values (90), (91) returning id) select count(*) from r, a, t",
    "with x as (select k, random() from s), a as (delete from t using x where x.k = t.k returning t.id) "
    "select * from a, x",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_as_in_one_database(deployed: Deployment, statement: str) -> None:
    with deployed.plain.client() as plain, deployed.systems[3].client() as client:
        for connection in (plain, client):
            emptied(connection)
        wanted, found = outcome(plain, statement), outcome(client, statement)
        assert found == wanted
        assert state(client) == state(plain)


@pytest.mark.parametrize("statement", REFUSED)
def test_without_a_right_order(deployed: Deployment, statement: str) -> None:
    with deployed.systems[3].client() as client:
        emptied(client)
        before = state(client)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute(statement)
        assert state(client) == before


def test_with_parameters(deployed: Deployment) -> None:
    text = ("with gone as (delete from t where id < %b returning *), kept as (insert into s (k, w) "
            "select id + %b, v from gone returning k) select k, %t::text from kept order by k limit %b")
    for binary in (False, True):
        found: list[Any] = []
        for system in (deployed.plain, deployed.systems[3]):
            with system.client() as client:
                emptied(client)
                with client.cursor(binary=binary) as cursor:
                    for _ in range(2):
                        found.append(cursor.execute(text, (9, 2000, "x", 3), prepare=True).fetchall())
                        client.execute("delete from s where k > 1999")
                found.append(state(client))
        assert found[:3] == found[3:]


def test_in_a_block(deployed: Deployment) -> None:
    found = []
    for system in (deployed.plain, deployed.systems[3]):
        with system.client() as client:
            emptied(client)
            with client.transaction():
                client.execute("insert into s (k, w) values (77, 'mine')")
                client.execute("savepoint one")
                client.execute("with a as (delete from s where k > 20 returning *) insert into t (id, k) "
                               "select 1, k from a")
                client.execute("rollback to one")
                rows = client.execute("with a as (delete from s where k > 25 returning *) select k, w from a "
                                      "order by k").fetchall()
                client.execute("with a as (update s set c = 1 where k = 3 returning c, k) insert into r (id, name) "
                               "select k + 40, c from a")
            found.append((rows, state(client)))
    assert found[0] == found[1]


def test_explained(deployed: Deployment) -> None:
    with deployed.systems[3].client() as client:
        for text, wanted in (
                ("with gone as (delete from t returning *) insert into s (k, w) select id + 5000, v from gone",
                 ("A part of WITH at a time", "DELETE on each shard", "its rows are kept as", "Insert rows that")),
                ("with up as (update t set v = 'x' returning k) select up.k, s.w from up join s using (k)",
                 ("A part of WITH at a time", "Pull 0: public.s", "UPDATE on each shard"))):
            shown = "\n".join(row[0] for row in client.execute(f"explain {text}"))
            assert all(one in shown for one in wanted), shown


def test_values_that_their_text_does_not_hold(deployed: Deployment) -> None:
    with deployed.systems[3].client() as client:
        client.execute("create table parts_f /* shardproxy: key=k keyspace=customer */ (k int primary key, f float8)")
        client.execute("insert into parts_f values (1, 0.1), (2, 1 / 3.0::float8)")
        client.execute("insert into t (id, k) values (1, 1), (2, 2) on conflict (k, id) do nothing")
        client.execute("set extra_float_digits = 0")
        for text in ("insert into parts_f select k + 10, f from parts_f order by k limit 5",
                     "update parts_f set k = k + 10", "with a as (delete from parts_f returning f) select * from a"):
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                client.execute(text)
        client.execute("reset extra_float_digits")
        client.execute("set datestyle = 'German'")
        for text in ("insert into t (id, k, at) select 99, k, at from t limit 3",
                     "with a as (delete from t returning at) select * from a"):
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                client.execute(text)
        client.execute("reset datestyle")
        client.execute("update parts_f set k = k + 10")
        assert client.execute("select count(*) from parts_f where f = 1 / 3.0::float8").fetchone() == (1,)
        client.execute("drop table parts_f")
