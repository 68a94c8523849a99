"""Migrations as frameworks make them: DDL and rows in one transaction, seen by what follows in it, gone if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.sharded import Deployment, System, sharded_node

__all__ = ["sharded_node"]

sqlalchemy = pytest.importorskip("sqlalchemy")

KEYS = {"author": (("id", "bigint"),), "book": (("author_id", "bigint"),), "genre": (), "kept": (("id", "bigint"),)}
NEW = "/* shardproxy: key=id keyspace=customer */"


@pytest.fixture(scope="module")
def system(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = Deployment(sharded_node, "migrated", KEYS, [2])
    made.create()
    try:
        made.start(tmp_path_factory.mktemp("migrated"))
        yield made.systems[2]
    finally:
        made.close()


@pytest.fixture
def client(system: System) -> Iterator[psycopg.Connection[Any]]:
    with system.client() as client:
        yield client


def only(system: System, table: str) -> list[int]:
    """Rows at each place, the coordinator first."""
    return [system.direct(place).execute(f"select count(*) from only {table}").fetchone()[0]  # type: ignore[index]
            for place in system.places]


def tables() -> Any:
    metadata = sqlalchemy.MetaData()
    column, integer, text = sqlalchemy.Column, sqlalchemy.BigInteger, sqlalchemy.Text
    sqlalchemy.Table("genre", metadata, column("code", text, primary_key=True))
    sqlalchemy.Table("author", metadata, column("id", integer, primary_key=True),
                     column("name", sqlalchemy.String(40), nullable=False, index=True),
                     column("kind", sqlalchemy.Enum("poet", "novelist", name="author_kind")))
    sqlalchemy.Table("book", metadata,
                     column("author_id", integer, sqlalchemy.ForeignKey("author.id"), primary_key=True),
                     column("id", integer, sqlalchemy.Identity(), primary_key=True),
                     column("genre", text, sqlalchemy.ForeignKey("genre.code")), column("title", text))
    sqlalchemy.Table("loose_note", metadata, column("id", integer, primary_key=True), column("text", text))
    return metadata


def test_sqlalchemy_creates_fills_and_reflects(system: System) -> None:
    url = f"postgresql+psycopg://postgres@127.0.0.1:{system.port}/{system.name}"
    engine = sqlalchemy.create_engine(url)
    metadata = tables()
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(metadata.tables["genre"].insert(), [{"code": "epic"}, {"code": "ode"}])
        ids = [connection.execute(metadata.tables["author"].insert().values(name=f"a{n}", kind="poet")
                                  .returning(metadata.tables["author"].c.id)).scalar_one() for n in range(20)]
        connection.execute(metadata.tables["book"].insert(),
                           [{"author_id": one, "genre": "ode", "title": f"of {one}"} for one in ids for _ in range(2)])
        connection.execute(metadata.tables["loose_note"].insert(), [{"text": "x"}])
        count = sqlalchemy.select(sqlalchemy.func.count()).select_from(
            metadata.tables["book"].join(metadata.tables["author"]))
        assert connection.execute(count).scalar_one() == 40
    assert ids == list(range(1, 21))
    assert only(system, "author")[0] == 0 and sum(only(system, "author")) == 20 and 0 not in only(system, "book")[1:]
    assert only(system, "genre") == [2, 2, 2]
    found = sqlalchemy.MetaData()
    found.reflect(engine)
    assert set(found.tables) == {"genre", "author", "book", "loose_note"}
    assert [key.target_fullname for key in found.tables["book"].foreign_keys] == ["author.id", "genre.code"] or {
        key.target_fullname for key in found.tables["book"].foreign_keys} == {"author.id", "genre.code"}
    assert [one.name for one in found.tables["book"].primary_key] == ["author_id", "id"]
    assert {one.name for one in found.tables["author"].indexes} == {"ix_author_name"}
    metadata.drop_all(engine)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(metadata.tables["author"].insert(), [{"name": f"b{n}"} for n in range(20)])
    assert only(system, "author")[0] == 0 and 0 not in only(system, "author")[1:], "what is configured stays sharded"
    metadata.drop_all(engine)
    engine.dispose()


def test_a_migration_sees_its_own_ddl(system: System, client: psycopg.Connection[Any]) -> None:
    with client.transaction():
        client.execute(f"create table step (id bigserial, name varchar(20) not null) {NEW}")
        client.execute("alter table step add constraint step_pkey primary key (id)")
        client.execute("create index on step (name)")
        client.execute("insert into step (name) select 'n' || n from generate_series(1, 50) n")
        client.execute("alter table step add column size int not null default 3")
        client.execute("update step set size = size + id")
        assert client.execute("select count(*), sum(size) from step").fetchone() == (50, 50 * 3 + 1275)
        assert client.execute("select name from step where id = %s", (7,)).fetchone() == ("n7",)
        client.execute("alter table step rename to stage")
        client.execute("alter table stage rename column size to weight")
        assert client.execute("select max(weight) from stage").fetchone() == (53,)
        with system.client() as other, pytest.raises(psycopg.Error) as caught:
            other.execute("select * from stage")
        assert caught.value.sqlstate == "42P01"
    assert only(system, "stage")[0] == 0 and sum(only(system, "stage")) == 50
    with system.client() as other:
        assert other.execute("select count(*) from stage").fetchone() == (50,)
    client.execute("drop table stage")
    client.execute("create table stage (id int)")
    client.execute("insert into stage values (1)")
    assert client.execute("select count(*) from stage").fetchone() == (1,)
    client.execute("drop table stage")


def test_what_is_rolled_back_was_never_laid_out(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create table kept (id bigint primary key)")
    client.execute("insert into kept select generate_series(1, 30)")
    client.execute(f"create table also (id bigint primary key) {NEW}")
    client.execute("insert into also select generate_series(1, 30)")
    for sql in ("drop table kept, also", "alter table also rename to other", "drop schema public cascade"):
        with pytest.raises(ZeroDivisionError), client.transaction():
            client.execute(sql)
            raise ZeroDivisionError
        assert client.execute("select count(*) from kept k join also a on a.id = k.id").fetchone() == (30,)
    with client.transaction():
        client.execute("savepoint one")
        client.execute("drop table also")
        with pytest.raises(psycopg.Error) as caught, client.transaction():
            client.execute("select * from also")
        assert caught.value.sqlstate == "42P01"
        client.execute("rollback to savepoint one")
        assert client.execute("select count(*) from also").fetchone() == (30,)
        client.execute(f"create table brief (id int primary key) {NEW}")
        client.execute("rollback to savepoint one")
    assert client.execute("select count(*) from also").fetchone() == (30,)
    client.execute("create table brief (id int)")
    assert system.direct(system.places[1]).execute("select to_regclass('brief')").fetchone() == (None,)
    client.execute("drop table brief, also, kept")


def test_a_crash_between_commit_and_store_loses_nothing(system: System, client: psycopg.Connection[Any]) -> None:
    """As the proxy leaves it if it dies there: the row is on the coordinator, and nobody has stored it."""
    for place in system.places:
        with psycopg.connect(system.node.dsn(place)) as direct:
            direct.execute("create table orphan (id bigint primary key)")
            if place == system.name:
                direct.execute("select shardproxy.lay_out('public', 'orphan', 'customer', array['id'], false)")
                direct.execute("select shardproxy.close_shell('orphan')")
    left = "select count(*) from shardproxy.layout_changes"
    for _ in range(100):
        if system.direct(system.name).execute(left).fetchone() == (0,):
            break
        client.execute("select pg_sleep(0.2)")
    client.execute("comment on table orphan is 'found'")
    client.execute("insert into orphan select generate_series(1, 30)")
    assert only(system, "orphan")[0] == 0 and sum(only(system, "orphan")) == 30
    client.execute("drop table orphan")


def test_tables_made_of_queries(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create table kept (id bigint primary key, v int)")
    client.execute("insert into kept select n, n % 3 from generate_series(1, 30) n")
    assert client.execute("create table one as select v, count(*) n from kept group by v").statusmessage == "SELECT 3"
    assert client.execute("select * from one order by v").fetchall() == [(0, 10), (1, 10), (2, 10)]
    client.execute("create table if not exists one as select * from kept")
    client.execute("select id into two from kept where v = 1")
    assert client.execute("select count(*) from two").fetchone() == (10,)
    with client.transaction():
        client.execute("create temp table three on commit drop as select k.id, o.n from kept k join one o using (v)")
        assert client.execute("select count(*), sum(n) from three").fetchone() == (30, 300)
    client.execute("create table four (a) as select id from kept where v = 2 with no data")
    assert client.execute("select count(*) from four").fetchone() == (0,)
    for sql in ("create temp table kept (id int)", "create temp table kept as select 1 as id",
                "select 1 into temp kept"):
        with pytest.raises(psycopg.Error) as caught:
            client.execute(sql)
        assert caught.value.sqlstate == "0A000" and caught.value.diag.message_hint
    assert client.execute("create materialized view five as select * from kept").statusmessage == "SELECT 30"
    client.execute("drop table one, two, four, kept cascade")
    assert client.execute("select to_regclass('five')").fetchone() == (None,)


def test_the_session_says_by_which_column_new_tables_are_sharded(system: System,
                                                                 client: psycopg.Connection[Any]) -> None:
    client.execute("set shardproxy.default_key = 'owner'")
    assert client.execute("show shardproxy.default_key").fetchone() == ("owner",)
    client.execute("create table owned (owner int, id int, primary key (owner, id))")
    client.execute("create table unowned (id int primary key)")
    with system.client() as other, other.transaction():
        other.execute("set local shardproxy.default_key = 'id'")
        other.execute("create table by_id (id int primary key)")
    client.execute("create table not_by_id (id int primary key)")
    found = [system.direct(system.places[1]).execute("select to_regclass(%s) is not null", (name,)).fetchone()
             for name in ("owned", "unowned", "by_id", "not_by_id")]
    assert found == [(True,), (False,), (True,), (False,)]
    client.execute("drop table owned, unowned, by_id, not_by_id")


def test_only_reads_what_the_shards_have(system: System, client: psycopg.Connection[Any]) -> None:
    client.execute("create table kept (id bigint primary key, v int)")
    client.execute("create table loose (id int, w int)")
    client.execute("insert into kept select n, n % 4 from generate_series(1, 40) n")
    client.execute("insert into loose select n, n from generate_series(1, 40) n")
    for sql, answer in (
            ("select count(*) from only kept", 40),
            ("select max(id) from only (kept) group by v order by 1 limit 1", 37),
            ("select count(*) from only kept a join only kept b on a.id = b.id + 1", 39),
            ("select count(*) from only kept a join loose l on a.v = l.id", 30),
            ("select count(*) from loose where id in (select v from only kept)", 3),
            ("with x as (select * from only kept) select count(*) from x", 40),
            ("select count(*) from (select * from only kept union all select * from only loose) u", 80)):
        assert client.execute(sql).fetchone() == (answer,), sql
    client.execute("insert into loose select * from only kept where v = 2")
    client.execute("update only kept set v = 9 where id < 5")
    assert client.execute("delete from only kept where v = 9").rowcount == 4
    client.execute("update loose set w = (select count(*) from only kept)")
    assert client.execute("select count(*), max(w) from loose").fetchone() == (50, 36)
    client.execute("drop table kept, loose")
