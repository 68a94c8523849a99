"""Materialized views over sharded tables: filled from the shards, all or nothing, and shells stay unreadable."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.sharded import Deployment, System, sharded_node

__all__ = ["sharded_node"]

KEYS = {"people": (("id", "bigint"),), "visits": (("person", "bigint"),), "places": ()}
SCHEMA = """
create type mood as enum ('calm', 'loud');
create table places (code text primary key, name text);
create table people (id bigint primary key, name text not null check (name <> ''), m mood,
                     shout text generated always as (upper(name)) stored, at text references places,
                     seen timestamptz not null default now());
create table visits (person bigint references people, n int, cost numeric(9, 2), primary key (person, n));
create table local (code text, weight int);
create view visited as select p.name, v.cost from people p join visits v on v.person = p.id;
"""
ROWS = """
insert into places values ('a', 'Aa'), ('b', 'Bb');
insert into people (id, name, m, at) select g, 'name ' || g, case g % 3 when 0 then 'loud' end::mood,
    case g % 2 when 0 then 'a' else 'b' end from generate_series(1, 60) g;
insert into visits select 1 + g % 60, g, g * 0.5 from generate_series(1, 300) g;
insert into local values ('a', 10), ('b', 20)
"""


class Bounded(Deployment):
    """A gather of few rows only."""

    def _database(self, system: System) -> dict[str, Any]:
        return {**super()._database(system), "gather": {"max_rows": 5000}}


@pytest.fixture(scope="module")
def system(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = Bounded(sharded_node, "stored", KEYS, [3])
    made.create()
    try:
        made.start(tmp_path_factory.mktemp("stored"))
        with made.systems[3].client() as client:
            for sql in (SCHEMA + ROWS).split(";\n"):
                client.execute(sql)
        yield made.systems[3]
    finally:
        made.close()


@pytest.fixture
def client(system: System) -> Iterator[psycopg.Connection[Any]]:
    with system.client() as client:
        yield client
        client.execute("drop materialized view if exists m cascade")


def value(client: psycopg.Connection[Any], sql: str) -> Any:
    row = client.execute(sql).fetchone()
    return row[0] if row else None


def shells_raise(system: System) -> None:
    """A direct session reads no shell, and only the child that guards it is a child of it."""
    direct = system.direct(system.name)
    for table in ("people", "visits"):
        with pytest.raises(psycopg.Error) as caught:
            direct.execute(f"select count(*) from {table}")
        assert caught.value.sqlstate == "55000"
        rows = direct.execute("select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass",
                              [table]).fetchall()
        assert len(rows) == 1 and rows[0][0].startswith("pg_shardproxy.shell_"), rows
    assert direct.execute("select count(*) from pg_attribute a join pg_class c on c.oid = a.attrelid where "
                          "c.relkind = 'f' and a.attnum > 0 and a.attislocal").fetchone() == (0,)


QUERIES = [
    "select count(*), min(name), max(shout) from people",
    "select p.at, x.name, l.weight, count(*), sum(v.cost) from people p join visits v on v.person = p.id "
    "join places x on x.code = p.at join local l on l.code = p.at group by 1, 2, 3",
    "select name, sum(cost) over (order by name) from visited",
    "select a.id, b.id as other from people a join people b on b.id = a.id + 1",
    "with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select n, m from r "
    "join people on id = n",
    "select people from people where id < 5",
    "select m, count(*) from people where exists (select from visits where person = id and cost > 100) group by m",
]


@pytest.mark.parametrize("query", QUERIES)
def test_it_has_the_rows_of_its_query(system: System, client: psycopg.Connection[Any], query: str) -> None:
    right = sorted(map(repr, client.execute(query).fetchall()))
    made = client.execute(f"create materialized view m as {query}")
    assert made.statusmessage == f"SELECT {len(right)}"
    assert sorted(map(repr, client.execute("select * from m").fetchall())) == right
    assert client.execute("refresh materialized view m with no data").statusmessage == "REFRESH MATERIALIZED VIEW"
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        client.execute("select * from m")
    client.execute("refresh materialized view m")
    assert sorted(map(repr, client.execute("select * from m").fetchall())) == right
    shells_raise(system)


def test_its_definition_is_the_query_over_the_real_names(client: psycopg.Connection[Any]) -> None:
    client.execute("create materialized view m as select name, cost from visited where cost > 10")
    definition = value(client, "select definition from pg_matviews where matviewname = 'm'")
    assert definition.split() == ["SELECT", "visited.name,", "visited.cost", "FROM", "visited", "WHERE",
                                  "(visited.cost", ">", "(10)::numeric);"]
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        client.execute("drop table visits")
    client.execute("alter materialized view m rename to m2")
    client.execute("refresh materialized view m2")
    client.execute("alter materialized view m2 rename to m")


def test_all_or_nothing(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create materialized view m as select count(*) n, sum(100 / (1000 - id)) s from people")
    with client.transaction(force_rollback=True):
        client.execute("insert into people (id, name) values (1001, 'new')")
        client.execute("refresh materialized view m")
        assert value(client, "select n from m") == 61
        client.execute("create index on m (n)")
        assert value(client, "select count(*) from people") == 61
    assert value(client, "select n from m") == 60
    assert value(client, "select count(*) from pg_indexes where tablename = 'm'") == 0
    client.execute("insert into people (id, name) values (1000, 'zero')")
    with pytest.raises(psycopg.errors.DivisionByZero):
        client.execute("refresh materialized view m")
    assert value(client, "select n from m") == 60
    with client.transaction():
        client.execute("savepoint s")
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("refresh materialized view m")
        client.execute("rollback to s")
        client.execute("delete from people where id = 1000")
        client.execute("refresh materialized view m")
    assert value(client, "select n from m") == 60
    shells_raise(system)


def test_concurrently(client: psycopg.Connection[Any]) -> None:
    client.execute("create materialized view m as select id, name from people")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        client.execute("refresh materialized view concurrently m")
    client.execute("create unique index on m (id)")
    client.execute("update people set name = 'changed' where id = 7")
    client.execute("refresh materialized view concurrently m")
    assert value(client, "select name from m where id = 7") == "changed"
    client.execute("update people set name = 'name 7' where id = 7")


def test_others_go_on_meanwhile_and_never_read_an_empty_shell(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create materialized view m as select count(*) from people")
    found: list[Any] = []

    def read() -> None:
        with psycopg.connect(system.node.dsn(system.name), autocommit=True) as direct:
            try:
                found.append(direct.execute("select count(*) from people").fetchone())
            except psycopg.Error as error:
                found.append(error.sqlstate)

    with client.transaction():
        client.execute("refresh materialized view m")
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        with system.client() as other:
            other.execute("set statement_timeout = '10s'")
            assert value(other, "select count(*) as never_planned_before from people") == 60
            assert value(other, "select name from people where id = 3 /* new */") == "name 3"
        time.sleep(0.5)
        assert not found, "they wait"
    for reader in readers:
        reader.join(20)
    assert found == ["55000"] * 3
    shells_raise(system)


def test_two_refreshes_at_once(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create materialized view m as select count(*) n from people join visits on person = id")
    client.execute("create materialized view n as select count(*) n from visits join people on person = id")
    failures: list[BaseException] = []

    def again(name: str) -> None:
        try:
            with system.client() as one:
                for _ in range(5):
                    one.execute(f"refresh materialized view {name}")
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=again, args=(name,)) for name in ("m", "n", "m")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and value(client, "select n from m") == value(client, "select n from n") == 300
    client.execute("drop materialized view n")
    shells_raise(system)


def test_refused(system: System, client: psycopg.Connection[Any]) -> None:
    for query, why in (("select * from only people", "ONLY"), ("select p.ctid::text c from people p", "CTID"),
                       ("select id from people tablesample system (50)", "TABLESAMPLE")):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match=why):
            client.execute(f"create materialized view m as {query}")
    for sql in ("create role reader login", "grant select on people to reader",
                "grant create on schema public to reader"):
        client.execute(sql)
    dsn = f"postgresql://reader@127.0.0.1:{system.port}/{system.name}"
    with psycopg.connect(dsn, autocommit=True) as other:
        for table in ("people", "visits"):
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="another owner"):
                other.execute(f"create materialized view r as select * from {table}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        client.execute("refresh materialized view absent")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        client.execute("create materialized view m as select nothing from people")
    made = client.execute("create materialized view if not exists m as select 1 from people")
    assert made.statusmessage == "SELECT 60"
    assert client.execute("create materialized view if not exists m as select n from visits").statusmessage == (
        "CREATE MATERIALIZED VIEW")
    shells_raise(system)


def test_only_temporary_tables_of_the_session_are_lent(system: System) -> None:
    direct = system.direct(system.name)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        direct.execute("select shardproxy.lend_shell('people', 'local')")
    shells_raise(system)


def test_a_gather_that_is_too_large(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("insert into visits select 1 + g % 60, g, 1 from generate_series(1001, 6001) g")
    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        client.execute("create materialized view m as select count(*) from visits")
    client.execute("delete from visits where n > 1000")
    shells_raise(system)
