"""``function = "lookup"``: a table of the coordinator says where keys are; writes add to it, reads use it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

from .test_writes import outcome

PLACES = ("looked", "looked_a", "looked_b", "looked_c", "looked_plain")
SCHEMA = ("create table t (k text, id int, v text, primary key (k, id))",
          "create table o (k text primary key, n int default 3, at timestamptz default now())")
STATEMENTS = (
    "insert into t values ('anna', 1, 'x')",
    "insert into t values ('anna', 2, 'x'), ('bert', 1, 'y'), ('cleo', 1, 'z'), (lower('DORA'), 1, 'd') returning *",
    "insert into o (k) values ('anna'), ('emil')",
    "insert into t select 'key' || i % 20, i, 'v' || i from generate_series(1, 100) i",
    "insert into o (k, n) select k, count(*) from t where k like 'key%' group by k",
    "insert into t (k, id, v) select k, 900, n from o",
    "insert into t values ('anna', 1, 'again')",
    "insert into t values ('anna', 1, 'again'), ('fritz', 1, 'f') on conflict (k, id) do update set v = excluded.v",
    "select * from t where k = 'anna' order by id",
    "select * from t where k in ('anna', 'bert', 'nobody') order by k, id",
    "select count(*) from t where k = 'nobody'",
    "select t.k, o.n, t.v from t join o using (k) where t.k = 'key7' order by t.id",
    "select t.k, count(*) from t join o using (k) group by t.k order by t.k",
    "select * from t order by k, id limit 7",
    "update t set v = 'moved', k = 'gina' where k = 'bert'",
    "update t set k = k || '!' where id = 900",
    "update t set v = upper(v) where k = 'anna' returning v",
    "update o set n = 0 where k = 'nobody'",
    "merge into o using t on o.k = t.k and t.id = 1 when matched then update set n = 77 "
    "when not matched and t.id = 1 then insert (k, n) values (t.k, 88)",
    "merge into o using (values ('anna', 5), ('hugo', 6)) as x(k, n) on o.k = x.k when matched then delete "
    "when not matched then insert (k, n) values (x.k, x.n)",
    "with gone as (delete from t where id = 900 returning *) insert into o (k, n) select 'was ' || k, id from gone",
    "with x as (insert into t values ('iris', 1, 'i') returning *) select * from x",
    "delete from t where k = 'anna' returning id",
    "insert into t values ('anna', 1, 'back')",
    "select * from t order by k, id",
    "select k, n from o order by k",
)


@pytest.fixture(scope="module")
def looked(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with psycopg.connect(sharded_node.dsn(), autocommit=True) as control:
        for place in PLACES:
            control.execute(f'create database "{place}"')
    for place in ("looked_a", "looked_b", "looked_c"):           # rows that were there before the proxy
        with psycopg.connect(sharded_node.dsn(place), autocommit=True) as server:
            server.execute("create table old (k numeric primary key, place text)")
            server.execute("insert into old values (%s, %s)", (len(place) + ord(place[-1]) / 8, place))
    proxy = _proxy(sharded_node, tmp_path_factory.mktemp("looked"), ("a", "b", "c"))
    try:
        yield proxy
    finally:
        proxy.stop()


def _proxy(node: Node, folder: Path, names: tuple[str, ...]) -> Proxy:
    shards = {name: {"primary": f"{node.host}:{node.port}/looked_{name}"} for name in names}
    main = {"shards": {"main": {"primary": f"{node.host}:{node.port}/looked"}}}
    space = {"function": "lookup", "slots": 16, "shards": shards, "lists": {"c": ["anna"]},
             "tables": {"t": {"key": "k"}, "o": {"key": "k"}, "old": {"key": "k"},
                        "named": {"key": "k", "unique": ["email", ["a", "b"]]}}}
    return Proxy(folder, [], databases={"looked": {
        "server_user": "postgres", "default_keyspace": "main", "keyspaces": {"main": main, "by_key": space}}}).start()


def _client(proxy: Proxy, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(f"postgresql://postgres@127.0.0.1:{proxy.port}/looked", autocommit=True, connect_timeout=20,
                           **more)


def _there(node: Node, place: str, sql: str) -> list[Any]:
    with psycopg.connect(node.dsn(place), autocommit=True) as server:
        return [row[0] for row in server.execute(sql).fetchall()]


@pytest.mark.parametrize("prepared", [False, True])
def test_as_in_one_database(looked: Proxy, sharded_node: Node, prepared: bool) -> None:
    with psycopg.connect(sharded_node.dsn("looked_plain"), autocommit=True) as plain, _client(looked) as client:
        for connection in (plain, client):
            connection.execute("drop table if exists t, o")
            for sql in SCHEMA:
                connection.execute(sql)
        for statement in STATEMENTS:
            assert outcome(client, statement, prepared) == outcome(plain, statement, prepared), statement
    rows = [set(_there(sharded_node, f"looked_{name}", "select k from t union select k from o")) for name in "abc"]
    assert "anna" in rows[2] and all(rows)
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    known = _there(sharded_node, "looked", "select convert_from(key, 'utf8') from shardproxy.lookup")
    assert set.union(*rows) <= set(known)


def test_rows_that_were_there(looked: Proxy, sharded_node: Node) -> None:
    with _client(looked) as client:
        rows = client.execute("select k, place from old order by k").fetchall()
        assert len(rows) == 3
        for key, place in rows:
            assert client.execute("select place from old where k = %s", (key,)).fetchall() == [(place,)]
            assert client.execute("insert into old values (%s, 'other') on conflict do nothing", (key,)).rowcount == 0
            plan = "\n".join(row[0] for row in client.execute(f"explain select * from old where k = {key}"))
            assert "Route to by_key/" + place[-1] in plan


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy_places_new_keys(looked: Proxy, sharded_node: Node, form: str) -> None:
    with _client(looked) as client:
        client.execute("delete from t where k like 'copy %'")
        with client.cursor().copy(f"copy t from stdin (format {form})") as copy:
            copy.set_types(["text", "int4", "text"])
            for number in range(3000):
                if form == "csv":
                    copy.write(f"copy {form} {number % 300},{number},\n")
                else:
                    copy.write_row((f"copy {form} {number % 300}", number, None))
        found = client.execute("select count(*), count(distinct k) from t where k like 'copy %'").fetchone()
        assert found == (3000, 300)
        assert client.execute(f"select count(*) from t where k = 'copy {form} 7'").fetchone() == (10,)
    assert all(_there(sharded_node, f"looked_{name}", "select count(*) from t where k like 'copy %'") != [0]
               for name in "abc")


def test_what_is_rolled_back_is_not_remembered(looked: Proxy, sharded_node: Node) -> None:
    with _client(looked) as client:
        with client.transaction(force_rollback=True):
            client.execute("insert into t values ('gone', 1, 'x')")
            assert client.execute("select v from t where k = 'gone'").fetchall() == [("x",)]
            client.execute("savepoint one")
            client.execute("insert into t values ('gone', 2, 'x'), ('later', 1, 'x')")
            client.execute("rollback to one")
            client.execute("insert into t values ('later', 2, 'y')")
        assert client.execute("select count(*) from t where k in ('gone', 'later')").fetchone() == (0,)
        client.execute("begin")
        client.execute("savepoint one")
        client.execute("insert into t values ('again', 1, 'x')")
        client.execute("rollback to one")
        client.execute("insert into t values ('again', 1, 'y')")
        client.execute("commit")
        assert client.execute("select v from t where k = 'again'").fetchall() == [("y",)]
    known = _there(sharded_node, "looked", "select convert_from(key, 'utf8') from shardproxy.lookup")
    assert "again" in known and not {"gone", "later"} & set(known)


def test_two_clients_and_one_new_key(looked: Proxy, sharded_node: Node) -> None:
    with _client(looked) as first, _client(looked) as second:
        first.execute("begin")
        first.execute("insert into t values ('raced', 1, 'first')")
        done: list[Any] = []
        other = threading.Thread(target=lambda: done.append(second.execute(
            "insert into t values ('raced', 2, 'second')").rowcount))
        other.start()
        first.execute("commit")
        other.join(30)
        assert done == [1]
        assert first.execute("select v from t where k = 'raced' order by id").fetchall() == [("first",), ("second",)]
    assert _there(sharded_node, "looked", "select count(*) from shardproxy.lookup where key = 'raced'") == [1]


def test_one_shard_notes_its_keys(sharded_node: Node, tmp_path: Path) -> None:
    proxy = _proxy(sharded_node, tmp_path, ("c",))
    try:
        with _client(proxy) as client:
            client.execute("insert into o (k) values ('only one') on conflict do nothing")
            client.execute("insert into o (k) select 'also one' on conflict do nothing")
    finally:
        proxy.stop()
    known = _there(sharded_node, "looked", "select convert_from(key, 'utf8') from shardproxy.lookup")
    assert {"only one", "also one"} <= set(known)


def test_unique_as_the_configuration_says(looked: Proxy) -> None:
    with _client(looked) as client:
        client.execute("create table named (k text, email text, a int, b int, c int, unique (a, b))")
        client.execute("alter table only named add constraint mails unique (email)")
        client.execute("insert into named select 'k' || i, 'mail' || i, i, i from generate_series(1, 20) i")
        for values in ("'other', 'mail7', 100, 100", "'other', 'new', 8, 8"):
            with pytest.raises(psycopg.errors.UniqueViolation):
                client.execute(f"insert into named values ({values})")
        client.execute("insert into named values ('other', 'new', 8, 9)")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute("alter table named add unique (c)")


def test_a_user_without_rights_learns_nothing(looked: Proxy, sharded_node: Node) -> None:
    with psycopg.connect(sharded_node.dsn("looked"), autocommit=True) as server:
        server.execute("drop role if exists nosy")
        server.execute("create role nosy login")
        server.execute("set session authorization nosy")
        asked = "select count(*) from shardproxy.keys_placed('t'::regclass, 'by_key', array['again'::bytea])"
        assert server.execute(asked).fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            server.execute("select shardproxy.place_keys('t', 'by_key', array['mine'::bytea], array[1])")
