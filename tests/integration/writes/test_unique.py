"""Unique constraints without the sharding key: kept over all shards, in whatever way rows come and go."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.sharded import Deployment, System

KEYS = {"people": (("tenant", "integer"),), "members": (("tenant", "integer"),), "plain_one": (("k", "integer"),)}
SCHEMA = (
    "create table people /* shardproxy: lookup */ (tenant int, id int, email text unique, name varchar(20), "
    "n numeric(8,2), primary key (tenant, id), constraint full_name unique (name, n))",
    "create table members (tenant int, id int, nick text, primary key (tenant, id), "
    "foreign key (tenant, id) references people on delete cascade on update cascade)",
    "create unique index nicks /* shardproxy: lookup */ on members (nick)",
    "create table plain_one (k int primary key, v text)",
)
FILL = ("insert into people select i % 10, i, 'mail' || i, 'name', i from generate_series(1, 40) i",
        "insert into members select tenant, id, 'nick' || id from people where id % 2 = 0",
        "insert into plain_one select i, 'mail' || (i + 35) from generate_series(1, 10) i")
STATEMENTS = (
    "insert into people values (1, 100, 'new', 'a', 1)",
    "insert into people values (1, 100, 'mail7', 'a', 1)",
    "insert into people values (1, 100, 'mail11', 'a', 1)",
    "insert into people values (1, 100, null, null, 1), (2, 100, null, null, 1), (3, 100, null, null, null)",
    "insert into people values (1, 100, 'same', 'a', 1), (2, 100, 'same', 'b', 1), (3, 100, 'x', 'c', 1)",
    "insert into people values (1, 100, 'u1', 'name', 100), (2, 100, 'u2', 'name', 7)",
    "insert into people values (1, 100, 'u1', 'name', 7.001)",
    "insert into people values (1, 100, 'u1', 'a', 1), (2, 100, 'u2', 'a', 2), (3, 100, 'u3', 'b', 1) returning email",
    "insert into people select k, 100 + k, v, 'p', k from plain_one where k < 5",
    "insert into people select k, 100 + k, v, 'p', k from plain_one",
    "insert into people values (7, 7, 'mail7', 'x', 1) on conflict (tenant, id) do update set email = 'fresh' "
    "returning email",
    "insert into people values (7, 7, 'z', 'x', 1) on conflict (tenant, id) do update set email = 'mail8'",
    "insert into people values (7, 7, 'z', 'x', 1), (7, 700, 'mail9', 'x', 2) on conflict (tenant, id) do nothing",
    "update people set email = 'changed' where tenant = 3 and id = 3",
    "update people set email = 'mail8' where tenant = 3 and id = 3",
    "update people set email = 'one' where id in (3, 4)",
    "update people set email = email || '!' returning email",
    "update people set name = 'other'",
    "update people set email = email where tenant = 3",
    "update people set email = null where id > 20",
    "update people set tenant = tenant + 20 where id = 5",
    "update people set tenant = 4, id = 500, email = 'mail6' where tenant = 5 and id = 5",
    "update people set email = v from plain_one where k = id and k > 5",
    "delete from people where tenant = 3",
    "delete from people where id = 8",
    "delete from people using plain_one where v = email",
    "delete from people",
    "merge into people p using plain_one o on p.tenant = o.k and p.id = o.k when matched then update set email = o.v "
    "when not matched then insert (tenant, id, email) values (o.k, o.k, o.v)",
    "merge into people p using plain_one o on p.tenant = o.k and p.id = o.k when matched then update set email = 'm' "
    "|| o.v",
    "with gone as (delete from people where id < 9 returning *) insert into people select tenant + 1, id + 1000, "
    "email, name, n from gone",
    "with gone as (delete from people where id < 9 returning *) select count(*) from gone",
    "truncate people cascade",
    "truncate members",
    "select count(*), count(distinct email) from people",
)
AFTERWARDS = (
    "insert into people values (1, 900, 'mail8', 'late', 1)",
    "insert into people values (2, 901, 'mail5', 'late', 2)",
    "insert into people values (3, 902, 'changed', 'late', 3)",
    "insert into people values (4, 903, 'again', 'name', 22)",
    "insert into members values (2, 12, 'nick8')",
)


@pytest.fixture(scope="module")
def unique(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(sharded_node, "unique", KEYS, [1, 3])
    made.create()
    try:
        made.start(tmp_path_factory.mktemp("unique"))
        made.run(SCHEMA)
        yield made
    finally:
        made.close()


def emptied(client: psycopg.Connection[Any]) -> None:
    client.execute("truncate people, members, plain_one")
    for statement in FILL:
        client.execute(statement)


def outcome(client: psycopg.Connection[Any], statement: str, which: bool = True) -> Any:
    """``which``: of several duplicates each server may name another one."""
    try:
        cursor = client.execute(statement)
    except psycopg.Error as error:
        told = error.diag
        detail = (told.message_detail or "") if which else re.sub(r"=\(.*\)", "", told.message_detail or "")
        return told.sqlstate, told.message_primary, detail, told.constraint_name, told.table_name, told.schema_name
    rows = sorted(cursor.fetchall(), key=repr) if cursor.description else None
    return cursor.statusmessage, rows


def state(client: psycopg.Connection[Any]) -> list[list[Any]]:
    return [sorted(client.execute(f"select * from {table}").fetchall(), key=repr) for table in KEYS]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_as_in_one_database(unique: Deployment, statement: str, count: int) -> None:
    with unique.plain.client() as plain, unique.systems[count].client() as client:
        for connection in (plain, client):
            emptied(connection)
        assert outcome(client, statement, False) == outcome(plain, statement, False)
        assert state(client) == state(plain)
        for later in AFTERWARDS:
            assert outcome(client, later) == outcome(plain, later), later
        assert state(client) == state(plain)


@pytest.mark.parametrize("form", ["text", "binary"])
def test_copy(unique: Deployment, form: str) -> None:
    found = []
    for system in (unique.plain, unique.systems[3]):
        with system.client() as client:
            emptied(client)
            for emails in (["copy%s"] * 3000, ["mail7"]):
                try:
                    with client.cursor().copy(f"copy people (tenant, id, email) from stdin (format {form})") as copy:
                        copy.set_types(["int4", "int4", "text"])
                        for number, email in enumerate(emails):
                            copy.write_row((number, number + 1000, email.replace("%s", str(number))))
                except psycopg.errors.UniqueViolation as error:
                    found.append((error.diag.constraint_name, error.diag.message_detail))
            found.append((client.execute("select count(*) from people").fetchone(),
                          outcome(client, "insert into people values (1, 99999, 'copy2999', 'x', 1)")))
    assert found[:2] == found[2:]


def test_in_a_block_with_savepoints(unique: Deployment) -> None:
    found = []
    for system in (unique.plain, unique.systems[3]):
        with system.client() as client:
            emptied(client)
            with client.transaction():
                client.execute("insert into people values (1, 100, 'kept', 'k', 1)")
                client.execute("savepoint one")
                client.execute("delete from people where email = 'mail3'")
                client.execute("insert into people values (2, 100, 'mail3', 'k', 2)")
                client.execute("rollback to one")
                client.execute("savepoint two")
                found.append(outcome(client, "insert into people values (4, 100, 'mail3', 'k', 3)"))
                client.execute("rollback to two")
                found.append(outcome(client, "insert into people values (5, 100, 'kept', 'k', 4)"))
                client.execute("rollback to two")
                client.execute("update people set email = 'kept as well' where tenant = 6 and id = 6")
            found += [outcome(client, "insert into people values (8, 100, 'kept as well', 'k', 5)"),
                      outcome(client, "insert into people values (8, 100, 'mail6', 'k', 6)"), state(client)]
    assert found[:len(found) // 2] == found[len(found) // 2:]


def _insert(client: psycopg.Connection[Any], said: list[Any], tenant: int) -> threading.Thread:
    other = threading.Thread(target=lambda: said.append(outcome(
        client, f"insert into people values ({tenant}, 100, 'wanted', 'w', {tenant})")))
    other.start()
    return other


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_the_second_waits_for_the_first(unique: Deployment, end: str) -> None:
    with unique.systems[3].client() as first, unique.systems[3].client() as second:
        emptied(first)
        first.execute("begin")
        first.execute("insert into people values (1, 100, 'wanted', 'w', 1)")
        said: list[Any] = []
        other = _insert(second, said, 2)
        other.join(1)
        assert other.is_alive() and not said
        first.execute(end)
        other.join(30)
        assert said[0][0] == ("23505" if end == "commit" else "INSERT 0 1")
        assert first.execute("select count(*) from people where email = 'wanted'").fetchone() == (1,)


def test_what_was_there_is_taken_in_or_nothing_changes(unique: Deployment) -> None:
    found = []
    for system in (unique.plain, unique.systems[3]):
        with system.client() as client:
            emptied(client)
            client.execute("insert into plain_one values (100, 'mail40')")
            add = "alter table plain_one add constraint vs unique (v) /* shardproxy: lookup */"
            found += [outcome(client, add), outcome(client, "insert into plain_one values (101, 'mail40')"),
                      outcome(client, "delete from plain_one where k > 50"), outcome(client, add),
                      outcome(client, "insert into plain_one values (101, 'mail40')"),
                      outcome(client, "alter table plain_one rename constraint vs to ws"),
                      outcome(client, "alter table plain_one rename column v to w"),
                      outcome(client, "insert into plain_one values (101, 'mail40')"),
                      outcome(client, "alter table plain_one rename column w to v"),
                      outcome(client, "alter table plain_one drop constraint ws"),
                      outcome(client, "insert into plain_one values (101, 'mail40')"),
                      outcome(client, "delete from plain_one where k > 50"), outcome(client, add),
                      outcome(client, "alter table plain_one drop constraint vs")]
    assert found[:len(found) // 2] == found[len(found) // 2:]


def test_dropped_and_made_again(unique: Deployment) -> None:
    system = unique.systems[3]
    with system.client() as client:
        for _ in range(2):
            client.execute("create table brief /* shardproxy: key=k keyspace=customer lookup */ "
                           "(k int, id int primary key)")
            client.execute("insert into brief select i, i from generate_series(1, 20) i")
            with pytest.raises(psycopg.errors.UniqueViolation):
                client.execute("insert into brief values (100, 7), (200, 70)")
            client.execute("drop table brief")
    kept = system.direct(system.name).execute("select count(*) from pg_class where relname ~ '^unique_' and "
                                              "relnamespace = 'pg_shardproxy'::regnamespace").fetchone()
    assert kept == (3,)


def test_refused(unique: Deployment) -> None:
    with unique.systems[3].client() as client:
        emptied(client)
        for statement in (
                "insert into people values (1, 100, 'mail7', 'a', 1) on conflict do nothing",
                "insert into people values (1, 100, 'mail7', 'a', 1) on conflict (email) do nothing",
                "create unique index on plain_one (v)",
                "create unique index concurrently xs on plain_one (v) /* shardproxy: lookup */",
                "create unique index xs on plain_one (lower(v)) /* shardproxy: lookup */",
                "create unique index xs on plain_one (v) /* shardproxy: lookup */ where k > 3",
                "alter table people alter column email type varchar(100)",
                "alter table people disable trigger all", "alter table people disable trigger user",
                "reindex table concurrently people"):
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                client.execute(statement)
        assert client.execute("select count(*) from people").fetchone() == (40,)


def test_past_the_proxy_nothing_is_written(unique: Deployment) -> None:
    system: System = unique.systems[3]
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        system.direct(system.shards("people")[0]).execute("insert into people values (1, 999, 'direct', 'd', 1)")
    for place in system.shards("people"):
        assert system.direct(place).execute("select count(*) from shardproxy.noted").fetchone() == (0,)


def _writes(system: System, number: int, until: float, done: list[str]) -> None:
    """Rows with values that others want as well come, change, move and go; the connection may be lost."""
    chance = random.Random(number)
    while time.monotonic() < until:
        try:
            with system.client() as client:
                while time.monotonic() < until:
                    tenant, email = chance.randrange(8), f"shared{chance.randrange(12)}"
                    statement = chance.choice((
                        "insert into people (tenant, id, email) values "
                        f"({tenant}, {chance.randrange(10**9)}, '{email}')",
                        f"update people set email = '{email}' where tenant = {tenant} and id % 3 = 0",
                        f"update people set tenant = tenant + 1 where tenant = {tenant} and id % 2 = 0",
                        f"delete from people where tenant = {tenant} and email > '{email}'"))
                    with contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
                        done.append(client.execute(statement).statusmessage or "")
        except psycopg.OperationalError:
            time.sleep(0.1)


def test_a_killed_worker_leaves_rows_and_values_alike(unique: Deployment) -> None:
    system, proxy = unique.systems[3], unique.proxy
    assert proxy is not None
    proxy.expect_errors = True
    with system.client() as client:
        emptied(client)
        client.execute("delete from members")
        client.execute("delete from people")
    done: list[str] = []
    writers = [threading.Thread(target=_writes, args=(system, number, time.monotonic() + 9, done))
               for number in range(4)]
    for one in writers:
        one.start()
    for _ in range(3):
        time.sleep(2)
        for pid in proxy.worker_pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for one in writers:
        one.join(90)
        assert not one.is_alive()
    deadline = time.monotonic() + 60
    while system.direct(system.name).execute("select count(*) from pg_prepared_xacts where database like 'unique3%'"
                                             ).fetchone() != (0,) and time.monotonic() < deadline:
        time.sleep(0.2)
    rows = [email for place in system.shards("people") for (email,) in system.direct(place).execute(
        "select email from people where email is not null")]
    (index,) = system.direct(system.name).execute("select 'people_email_key'::regclass::oid").fetchone() or (0,)
    kept = [email for (email,) in system.direct(system.name).execute(f"select email from pg_shardproxy.unique_{index}")]
    assert sorted(rows) == sorted(kept) and len(set(rows)) == len(rows)
    assert {"INSERT 0 1", "DELETE 1"} <= set(done)
    assert all(system.direct(place).execute("select count(*) from shardproxy.noted").fetchone() == (0,)
               for place in system.shards("people"))
