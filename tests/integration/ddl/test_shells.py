"""Shells on a real server: what may be asked of one, and that no rows are never mistaken for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from shardproxy.dialects.base import PlaceError
from shardproxy.dialects.postgres.sharded.bootstrap import prepare_place
from shardproxy.dialects.postgres.sharded.shells import close_sql, open_sql, shell_sql
from shardproxy.tools.cluster import Node

USERS = ("postgres", "shell_owner", "shell_plain")
REFUSED = "55000"

SETUP = """
create table audit(id int primary key, of bigint);
create table countries(code text primary key);
create table orders(id bigserial primary key, customer int not null default 3, at timestamptz default now(),
                    country text references countries on delete cascade, note text);
insert into audit values (1, 1);
insert into countries values ('at');
create view seen as select id, note from orders;
create view mine with (security_invoker) as select id from orders;
create function f_sql() returns bigint language sql as 'select count(*) from orders';
create function f_atomic() returns bigint begin atomic select count(*) from orders; end;
create function f_plpgsql() returns bigint language plpgsql as
    'declare n bigint; begin select count(*) into n from orders; return n; end';
create function f_dynamic() returns bigint language plpgsql as
    'declare n bigint; begin execute ''select count(*) from orders'' into n; return n; end';
create table watched(id int);
insert into watched values (1);
alter table watched enable row level security;
alter table watched force row level security;
create policy p on watched using (exists (select from orders));
grant all on all tables in schema public to shell_plain;
"""


@pytest_asyncio.fixture
async def shells(pg: Node, database: str) -> AsyncIterator[str]:
    """A database with a shell ``orders`` that belongs to a plain role."""
    await pg.sql("do $$ begin create role shell_owner login; exception when duplicate_object then end $$; "
                 "do $$ begin create role shell_plain login; exception when duplicate_object then end $$")
    await pg.sql(f"grant create on database {database} to shell_owner; grant all on schema public to shell_owner, "
                 "shell_plain", dbname=database)
    async with pg.connection(database) as connection:
        assert await prepare_place(connection, True)
        await connection.execute(f"set session authorization shell_owner; {SETUP}")
        for sql in shell_sql("public", "orders"):
            await connection.execute(sql)
    yield database


async def refused(connection: Any, sql: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute(sql)
    assert caught.value.sqlstate == REFUSED, (sql, str(caught.value))


READS = [
    "select * from orders", "select count(*) from orders", "select 1 from orders limit 0", "table orders",
    "select * from orders where id = 1", "select * from seen", "select f_sql()", "select f_atomic()",
    "select f_plpgsql()", "select f_dynamic()", "do 'begin perform f_plpgsql(); end'",
    "select * from audit where exists (select from orders where orders.id = audit.of)",
    "insert into audit select id, id from orders", "with x as (select * from orders) select * from x",
    "select * from orders for update", "copy (select * from orders) to stdout",
    "create table made as select * from orders",
    "declare c cursor for select * from orders", "explain select * from orders", "merge into audit using orders o on "
    "o.id = audit.of when matched then delete", "delete from audit using orders where orders.id = audit.of",
]
WRITES = [
    "insert into orders(note) values ('x')", "insert into orders(id) values (1) on conflict do nothing",
    "update orders set note = ''", "delete from orders where id = 1", "truncate orders", "truncate orders, audit",
    "merge into orders using audit on orders.id = audit.of when not matched then insert (id) values (1)",
]


@pytest.mark.parametrize("user", USERS)
async def test_reading_and_writing_a_shell_raises(pg: Node, shells: str, user: str) -> None:
    async with pg.connection(shells) as connection:
        await connection.execute(f"set session authorization {user}")
        for sql in READS + WRITES:
            if sql.startswith("create") and user == "shell_plain":
                continue
            async with _undone(connection):
                await refused(connection, sql)
        if user == "shell_plain":
            await refused(connection, "select * from watched")
        await refused(connection, "select * from mine")
        assert await connection.fetchval("select count(*) from audit") == 1


async def test_a_policy_that_reads_a_shell_raises_for_the_owner(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        await connection.execute("set session authorization shell_owner")
        await refused(connection, "select * from watched")


async def test_plans_made_before_the_table_became_a_shell(pg: Node, database: str) -> None:
    async with pg.connection(database) as connection, pg.connection(database) as other:
        await prepare_place(connection, True)
        await connection.execute("create table t(id int primary key); create view v as select * from t; "
                                 "create function f() returns bigint language plpgsql as "
                                 "'declare n bigint; begin select count(*) into n from t; return n; end'")
        await other.execute("prepare p as select * from t; prepare q as select * from v; set plan_cache_mode = "
                            "force_generic_plan")
        for _ in range(3):
            assert await other.fetchval("select f()") == 0
            await other.execute("execute p; execute q")
        await connection.execute(close_sql("public", "t"))
        for sql in ("select f()", "execute p", "execute q"):
            await refused(other, sql)


async def test_parse_and_describe_work(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        select = await connection.prepare("select id, note from orders where id = $1 and customer = any($2)")
        assert [one.name for one in select.get_parameters()] == ["int8", "int4[]"]
        assert [one.name for one in select.get_attributes()] == ["id", "note"]
        insert = await connection.prepare("insert into orders(customer, note) values ($1, $2) returning id")
        assert [one.name for one in insert.get_parameters()] == ["int4", "text"]
        assert [one.type.name for one in insert.get_attributes()] == ["int8"]
        for sql in ("update orders set note = $1 where id = $2 returning *", "delete from orders where id = $1",
                    "select * from seen where id = $1", "select * from orders o join audit a on a.of = o.id"):
            await connection.prepare(sql)


ALTERS = [
    "drop view seen",
    "alter table orders add column d uuid not null default gen_random_uuid()", "alter table orders add column e int",
    "alter table orders drop column e", "alter table orders alter note type varchar(20) using note || 'x'",
    "alter table orders alter customer drop default, alter customer set statistics 10",
    "alter table orders add constraint c check (customer > 0) not valid", "alter table orders validate constraint c",
    "alter table orders add column n int generated always as identity", "alter table orders rename note to remark",
    "alter table orders enable row level security", "alter table orders set (fillfactor = 50)",
    "alter table orders add foreign key (customer) references audit(id)", "alter table orders replica identity full",
    "create unique index concurrent_not on orders(id, customer)", "create policy mine on orders using (true)",
    "create statistics st on id, customer from orders", "comment on table orders is 'of customers'",
    "reindex table orders", "cluster orders using orders_pkey", "alter table orders rename to bills",
    "alter table bills owner to shell_plain",
]


async def test_ddl_on_an_open_shell(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        name = "orders"
        for sql in ALTERS:
            async with connection.transaction():
                await connection.execute("grant shell_plain to shell_owner; set local role shell_owner")
                await connection.execute(open_sql("public", name))
                await connection.execute(sql)
                name = "bills" if "bills" in sql else name
                await connection.execute(close_sql("public", name))
            await refused(connection, f"select * from {name}")
            await refused(connection, f"insert into {name}(customer) values (1)")
        async with connection.transaction():
            await connection.execute(open_sql("public", "bills"))
            await connection.execute("drop view mine; drop function f_atomic(); drop policy p on watched")
            await connection.execute("drop table bills")
        assert await connection.fetchval("select count(*) from pg_foreign_table") == 0


async def test_nobody_reads_a_shell_while_it_is_open(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection, pg.connection(shells) as reader:
        change = connection.transaction()
        await change.start()
        await connection.execute(open_sql("public", "orders"))
        reading = asyncio.create_task(refused(reader, "select * from orders"))
        await pg.until("select count(*) = 1 from pg_locks where not granted and pid = $1", reader.get_server_pid(),
                       dbname=shells)
        await connection.execute(close_sql("public", "orders"))
        await change.commit()
        await reading


async def test_what_a_shell_must_not_disturb(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        await connection.execute("insert into countries values ('de')")
        assert await connection.execute("delete from countries") == "DELETE 2", "the cascade has no rows here"
        await connection.execute("vacuum")
        assert await connection.fetchval("select nextval('orders_id_seq')") == 1


async def test_values_of_an_identity_need_the_right_to_insert_alone(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        await connection.execute("create table made(id int generated always as identity, x int); "
                                 "grant insert (x) on made to shell_plain; set session authorization shell_plain")
        sql = "select shardproxy.next_identity('made'::regclass, $1)"
        assert [await connection.fetchval(sql, "id") for _ in range(2)] == [1, 2]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval(sql, "x")
        await connection.execute("reset session authorization; revoke all on made from shell_plain; "
                                 "revoke insert (x) on made from shell_plain; set session authorization shell_plain")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval(sql, "id")


async def test_only_the_owner_opens_a_shell_and_rows_are_never_hidden(pg: Node, shells: str) -> None:
    async with pg.connection(shells) as connection:
        await connection.execute("create table full_one(id int); insert into full_one values (1)")
        await refused(connection, close_sql("public", "full_one"))
        for login in ("set session authorization shell_plain", "set role shell_plain"):
            await connection.execute(f"reset session authorization; {login}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(open_sql("public", "orders"))


async def test_preparing_is_repeatable_and_two_may_do_it_at_once(pg: Node, database: str) -> None:
    async with pg.connection(database) as one, pg.connection(database) as two:
        assert sorted(await asyncio.gather(prepare_place(one, True), prepare_place(two, True))) == [False, True]
        with pytest.raises(asyncpg.DependentObjectsStillExistError):
            await one.execute("drop foreign data wrapper shardproxy_shell cascade")
        await one.execute("alter extension plpgsql drop server shardproxy_shell; "
                          "alter extension plpgsql drop foreign data wrapper shardproxy_shell; "
                          "drop foreign data wrapper shardproxy_shell cascade")
        assert await prepare_place(one, True)
        assert not await prepare_place(one, False), "a coordinator's database has all that a shard's has"
        await one.execute(f"create table t(i int); {close_sql('public', 't')}")
        await refused(two, "select * from t")


async def test_rights_that_are_missing_are_told(pg: Node, database: str) -> None:
    await pg.sql("do $$ begin create role shell_weak login; exception when duplicate_object then end $$")
    async with pg.connection(database, user="shell_weak") as connection:
        with pytest.raises(PlaceError, match="may not make schema") as caught:
            await prepare_place(connection, False)
        await pg.sql(caught.value.remedy, dbname=database)
        assert await prepare_place(connection, False)
        with pytest.raises(PlaceError, match="not a superuser"):
            await prepare_place(connection, True)


class _undone:  # noqa: N801
    def __init__(self, connection: Any) -> None:
        self._transaction = connection.transaction()

    async def __aenter__(self) -> None:
        await self._transaction.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self._transaction.rollback()
