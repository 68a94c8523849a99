"""DDL through a proxy over two shards: what the coordinator and the shards have afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.fixtures.sharded import Deployment, System, sharded_node

from shardproxy.tools.cluster import Node

__all__ = ["sharded_node"]

KEYS = {"customers": (("id", "bigint"),), "orders": (("customer", "bigint"),), "countries": ()}
COLUMNS = """select string_agg(attname, ',' order by attnum) from pg_attribute
             where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"""


@pytest.fixture(scope="module")
def ddl(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = Deployment(sharded_node, "ddl", KEYS, [2])
    made.create()
    try:
        made.start(tmp_path_factory.mktemp("ddl"))
        yield made.systems[2]
    finally:
        made.close()


@pytest.fixture
def client(ddl: System) -> Iterator[psycopg.Connection[Any]]:
    with ddl.client() as client:
        yield client


def at(system: System, sql: str, *args: Any) -> list[Any]:
    """The first value of a query at every place, the coordinator first."""
    found = []
    for place in system.places:
        row = system.direct(place).execute(sql, args or None).fetchone()  # type: ignore[call-overload]
        found.append(row[0] if row else None)
    return found


def state(error: pytest.ExceptionInfo[psycopg.Error]) -> str | None:
    return error.value.sqlstate


def test_tables_are_everywhere_and_shells_raise(ddl: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create table countries (code text primary key)")
    client.execute("create table customers (id bigserial primary key, name text, country text references countries)")
    client.execute("create table orders (customer bigint references customers, id bigint, primary key (customer, id))")
    client.execute("create table plain (id int primary key, country text references countries)")
    assert at(ddl, COLUMNS, "customers") == ["id,name,country"] * 3
    assert at(ddl, COLUMNS, "plain") == ["id,country", None, None]
    with pytest.raises(psycopg.Error) as caught:
        ddl.direct(ddl.name).execute("select * from customers")
    assert state(caught) == "55000"
    client.execute("insert into countries values ('at'), ('de')")
    client.execute("insert into customers(name, country) values ('a', 'at'), ('b', 'de'), ('c', null)")
    assert client.execute("select count(*), max(id) from customers").fetchone() == (3, 3)
    assert sum(at(ddl, "select count(*) from only customers")) == 3
    client.execute("alter table customers add column vip boolean default false, alter name type varchar(50)")
    client.execute("alter table customers rename name to label")
    client.execute("create index by_label on customers (label)")
    client.execute("comment on table customers is 'they pay'")
    assert at(ddl, COLUMNS, "customers") == ["id,label,country,vip"] * 3
    assert at(ddl, "select to_regclass('by_label') is not null") == [True] * 3
    assert client.execute("select label, vip from customers order by id").fetchall() == [
        ("a", False), ("b", False), ("c", False)]


def test_what_fails_at_one_place_happens_at_none(ddl: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create schema everywhere")
    ddl.direct(ddl.places[2]).execute("create schema only_here")
    with pytest.raises(psycopg.Error) as caught:
        client.execute("create schema only_here")
    assert state(caught) == "42P06"
    assert at(ddl, "select count(*) from pg_namespace where nspname = 'only_here'") == [0, 0, 1]
    assert at(ddl, "select count(*) from pg_namespace where nspname = 'everywhere'") == [1, 1, 1]


def test_a_block_is_one_transaction(ddl: System, client: psycopg.Connection[Any]) -> None:
    with pytest.raises(ZeroDivisionError), client.transaction():
        client.execute("create type mood as enum ('a')")
        raise ZeroDivisionError
    assert at(ddl, "select count(*) from pg_type where typname = 'mood'") == [0, 0, 0]
    with client.transaction():
        client.execute("create type mood as enum ('a')")
        client.execute("create function answer() returns int language sql as 'select 42 from plain'")
    assert at(ddl, "select count(*) from pg_type where typname = 'mood'") == [1, 1, 1]
    assert at(ddl, "select count(*) from pg_proc where proname = 'answer'") == [1, 1, 1]


def test_a_declared_table_is_sharded_at_once(ddl: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create table notes (customer bigint, id int, note text, primary key (customer, id)) "
                   "/* shardproxy: key=customer keyspace=customer */")
    for number in range(20):
        client.execute("insert into notes values (%s, %s, 'x')", (number, number))
    counts = at(ddl, "select count(*) from only notes")
    assert counts[0] == 0 and sum(counts) == 20 and 0 not in counts[1:]
    client.execute("alter table notes rename to remarks")
    assert client.execute("select count(*) from remarks").fetchone() == (20,)
    client.execute("truncate remarks")
    assert sum(at(ddl, "select count(*) from only remarks")) == 0
    client.execute("drop table remarks")
    assert at(ddl, "select to_regclass('remarks')::text") == [None] * 3
    client.execute("create table remarks (id int)")
    assert at(ddl, "select to_regclass('remarks')::text") == ["remarks", None, None], "it is forgotten"


def test_refusals_change_nothing(ddl: System, client: psycopg.Connection[Any]) -> None:
    for sql in ("alter table orders drop column customer", "create unique index on orders (id)",
                "create trigger t after insert on orders execute function answer()"):
        with pytest.raises(psycopg.Error) as caught:
            client.execute(sql)                                             # type: ignore[call-overload]
        assert state(caught) == "0A000"


def test_outside_of_transactions(ddl: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create index concurrently later on orders (id)")
    assert at(ddl, "select to_regclass('later') is not null") == [True] * 3
    client.execute("vacuum analyze orders")
    client.execute("analyze")
    client.execute("vacuum")
    ddl.direct(ddl.places[2]).execute("drop index later")
    with pytest.raises(psycopg.Error) as caught:
        client.execute("drop index concurrently later")
    assert "s1" in str(caught.value.diag.message_detail)
    with pytest.raises(psycopg.Error) as caught, client.transaction():
        client.execute("vacuum orders")
    assert state(caught) == "25001"


def test_roles_are_made_once(ddl: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create role ddl_someone login password 'secret'")
    client.execute("grant select on orders, plain to ddl_someone")
    assert at(ddl, "select has_table_privilege('ddl_someone', 'orders', 'select')") == [True] * 3
    client.execute("revoke all on orders, plain from ddl_someone")
    client.execute("drop role ddl_someone")


def test_lock_table(ddl: System, client: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.Error) as caught:
        client.execute("lock table orders")
    assert state(caught) == "25P01"
    with client.transaction():
        client.execute("lock table orders, plain in exclusive mode")
        for place in ddl.places[1:]:
            with pytest.raises(psycopg.Error) as caught:
                ddl.direct(place).execute("do $$ begin lock table orders in share mode nowait; end $$")
            assert state(caught) == "55P03"
