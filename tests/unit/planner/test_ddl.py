"""Where DDL runs, cut apart by place, and what a sharded table may not become."""

from __future__ import annotations

import pytest

from shardproxy.catalog.tables import Column, Function, Table, Tables
from shardproxy.dialects.postgres.sharded.ddl_plan import plan_ddl
from shardproxy.planner.ddl import DdlPlan
from shardproxy.planner.plan import Refusal
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout

S0, S1 = "shop/s0", "shop/s1"
ALL = ("", S0, S1)


def sharded(name: str, *key: str) -> TableLayout:
    return TableLayout("public", name, "shop", key, not key)


LAYOUT = Layout(1, "main", {"shop": KeyspaceLayout("shop", ("s0", "s1"), "hash", 4, (0, 0, 1, 1), (
    sharded("customers", "id"), sharded("orders", "customer"), sharded("items", "customer"), sharded("countries")))})


def table(name: str, *columns: str, key: tuple[str, ...] = (), shell: bool = True, kind: str = "r") -> Table:
    return Table(hash(name) % 10000, "public", name, kind, tuple(
        Column(one, 20, "bigint", sequence=f"public.{name}_id_seq" if one == "id" else "") for one in columns), key,
        shell=shell, indexes=(f"{name}_i",))


TABLES = Tables([
    table("customers", "id", "name", key=("id",)), table("orders", "id", "customer", "note", key=("customer", "id")),
    table("items", "customer", "order", key=("customer", "order")),
    table("countries", "code", key=("code",), shell=False),
    table("plain", "id", "x", shell=False), table("seen", "id", shell=False, kind="v"),
], {"f_touch": Function("v", ("plpgsql",), frozenset({"orders"})),
    "f_dynamic": Function("v", ("plpgsql",), opaque=True), "f_calm": Function("v", ("plpgsql",))})


def planned(sql: str, key: str = "") -> DdlPlan | Refusal | None:
    return plan_ddl(sql, LAYOUT, TABLES, ("public",), key)


def steps(sql: str) -> list[tuple[tuple[str, ...], str]]:
    found = planned(sql)
    assert isinstance(found, DdlPlan), (sql, found)
    return [(step.places, step.text.decode()) for step in found.steps]


COORDINATOR = """
create table other (id int primary key, country text references countries)
create table other as select * from orders
create temp table scratch (id int)
create view v as select * from orders
create sequence q
create materialized view m as select * from plain
create index on plain (x)
create unique index on plain (x)
create trigger t after insert on plain for each statement execute function f_touch()
alter table plain add column y serial
alter table plain add foreign key (x) references countries
alter view seen rename to seen2
alter sequence customers_id_seq restart
drop view seen
drop table plain, other cascade
drop index plain_i
truncate plain
lock table plain
vacuum plain
reindex table plain
grant select on plain, seen to someone
grant usage on sequence customers_id_seq to someone
comment on column plain.x is 'x'
create function f() returns setof plain language sql as 'select * from plain'
create function f() returns bigint begin atomic select count(*) from plain; end
create database d
refresh materialized view m
"""


@pytest.mark.parametrize("sql", COORDINATOR.strip().splitlines())
def test_what_the_coordinator_alone_does(sql: str) -> None:
    assert planned(sql) is None


EVERYWHERE = """
create schema s
create type mood as enum ('a')
create domain d as int check (value > 0)
create extension if not exists pg_trgm
create function f() returns int language sql as 'select x from plain'
alter type mood add value 'b'
drop schema s cascade
grant usage on schema s to someone
grant select on all tables in schema s to someone
revoke execute on function f() from public
comment on type mood is 'x'
alter default privileges grant select on tables to someone
create index on orders (note)
create unique index i on orders using btree (note, customer)
create index i on only orders ((lower(note)))
create trigger t before update of note on orders for each row execute function f_calm()
create policy p on orders using (customer = 1)
create statistics st (dependencies) on customer, note from orders
alter table orders add column d uuid default gen_random_uuid()
alter table orders add unique (customer, note), drop column note
alter table only public.orders add constraint c check (note <> 'x') not valid
alter table orders add foreign key (customer, note) references items (customer, "order")
alter table orders add foreign key (customer) references customers on delete cascade
alter table orders add foreign key (note) references countries
alter table orders alter note add generated always as identity
alter index orders_i rename to j
comment on table orders is 'x'
comment on column public.orders.note is 'x'
comment on index orders_i is 'x'
comment on constraint c on orders is 'x'
drop trigger t on orders
drop policy if exists p on orders
drop index orders_i
grant select on orders to someone
grant select (note) on table orders to someone
create user someone
alter role someone set work_mem = '1MB'
grant a to b
reassign owned by a to b
"""


@pytest.mark.parametrize("sql", EVERYWHERE.strip().splitlines())
def test_what_happens_everywhere(sql: str) -> None:
    assert steps(sql) == [(ALL, sql)]


REFUSED = """
create table customers (id bigint, name text unique)              | UNIQUE on sharded table "customers"
create table orders (id bigint primary key, customer bigint)      | PRIMARY KEY on sharded table "orders"
create table orders (id bigint, customer bigint, exclude using gist (id with =, customer with <>)) | EXCLUDE
create table orders (customer bigint, p int references plain)     | not on the shards
create table orders (customer bigint, p int references items)     | without the sharding key
create table orders as select 1 as customer                       | CREATE TABLE AS
create table orders (customer bigint) partition by hash (customer) | PARTITION BY
create table orders (note text)                                   | is not a column
create table orders (customer json)                               | of type json
create table new (id int, foreign key (id) references customers)  | which is sharded
create table new () inherits (orders)                             | inheritance
create table new partition of orders for values in (1)            | partition of a sharded
create table countries (code text references customers)           | from a reference table
create unique index on orders (id)                                | UNIQUE index
create unique index on orders (lower(note), (customer))           | UNIQUE index
create trigger t after insert on orders for each statement execute function f_calm() | FOR EACH STATEMENT
create trigger t after insert on orders execute function f_calm() | FOR EACH STATEMENT
create trigger t after insert on orders for each row execute function f_touch()     | may read or write sharded
create trigger t after insert on orders for each row execute function f_dynamic()   | may read or write sharded
create policy p on orders using (exists (select from countries))  | reads tables
create rule r as on insert to orders do nothing                   | a rule
alter table plain add foreign key (x) references orders (id)      | which is sharded
alter table plain inherit orders                                  | inheritance
alter table orders drop column customer                           | the sharding key
alter table orders drop customer cascade                          | the sharding key
alter table orders add x int, alter column customer type int      | the sharding key
alter table orders alter customer set data type text              | the sharding key
alter table orders add column n serial                            | made for each
alter table orders add n timestamptz default now()                | made for each
alter table orders add column n int generated always as identity  | made for each
alter table orders add n text unique                              | UNIQUE
alter table orders add foreign key (customer) references customers on delete set null | ON DELETE SET
alter table orders disable trigger shardproxy_no_write            | the trigger that keeps
alter table orders attach partition plain default                 | inheritance
truncate countries cascade                                        | TRUNCATE CASCADE
create schema s create table t (id int)                           | CREATE SCHEMA
reindex database shop                                             | REINDEX DATABASE
create user u password E'a'                                       | a password
alter table countries add column y serial                         | made for each
alter table orders add "                                          | could not be understood
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_what_is_refused(line: str) -> None:
    sql, _, wanted = line.rpartition("|")
    found = planned(sql.strip())
    assert isinstance(found, Refusal) and wanted.strip() in found.construct, found
    assert found.sqlstate == "0A000"


SPLIT = [
    ("drop table if exists plain, orders, countries cascade;", [
        (("",), "drop table if exists plain, orders, countries cascade;"),
        ((S0, S1), "drop table if exists orders, countries cascade;")]),
    ("truncate only orders, plain, countries", [(("",), "truncate plain, countries"),
                                                ((S0, S1), "truncate only orders, countries")]),
    ("truncate orders", [((S0, S1), "truncate orders")]),
    ("truncate customers restart identity", [((S0, S1), "truncate customers restart identity"),
                                             (("",), "ALTER SEQUENCE public.customers_id_seq RESTART")]),
    ("lock table orders, plain in share mode nowait", [(("",), "lock table plain in share mode nowait"),
                                                       ((S0, S1), "lock table orders in share mode nowait")]),
    ("grant all on plain, public.orders to x with grant option", [
        (("",), "grant all on plain, public.orders to x with grant option"),
        ((S0, S1), "grant all on public.orders to x with grant option")]),
    ("vacuum (verbose, analyze) orders (note), plain", [(("",), "vacuum (verbose, analyze) plain"),
                                                       ((S0, S1), "vacuum (verbose, analyze) orders (note)")]),
    ("analyze", [(("",), 'analyze\n"public"."countries", "public"."plain"'), ((S0, S1), "analyze")]),
    ("vacuum;", [(("",), "vacuum"), ((S0, S1), "vacuum")]),
    ("cluster orders using i", [((S0, S1), "cluster orders using i")]),
    ("reindex index orders_i", [((S0, S1), "reindex index orders_i")]),
    ("alter table orders disable trigger all", [((S0, S1), "alter table orders disable trigger all")]),
    ("drop index plain_i, orders_i", [(("",), "drop index plain_i, orders_i"), ((S0, S1), "drop index orders_i")]),
]


@pytest.mark.parametrize(("sql", "wanted"), SPLIT)
def test_lists_are_cut_apart_by_place(sql: str, wanted: list[tuple[tuple[str, ...], str]]) -> None:
    assert steps(sql) == wanted


def plan(sql: str, key: str = "") -> DdlPlan:
    found = planned(sql, key)
    assert isinstance(found, DdlPlan), found
    return found


def test_a_new_table_is_declared_by_a_hint_or_the_default_key() -> None:
    found = plan("/* shardproxy: key=Tenant */ create table new (id bigserial, tenant int, primary key (tenant, id))")
    assert found.declare == (TableLayout("public", "new", "shop", ("tenant",)),)
    assert found.closed == (("public", "new"),)
    found = plan("create table new (id int, tenant int)", "tenant")
    assert found.declare == (TableLayout("public", "new", "shop", ("tenant",)),)
    assert planned("create table new (id int)", "tenant") is None
    found = plan("create table new (id int primary key) /* shardproxy: reference */")
    assert found.declare == (TableLayout("public", "new", "shop", (), True),) and not found.closed
    assert isinstance(planned("create table new (a int, id int primary key) /* shardproxy: key=a */"), Refusal)


def test_a_listed_table_is_not_declared_again() -> None:
    found = plan("create table if not exists orders (customer bigint, id bigserial, primary key (customer, id), "
                 "parent bigint, foreign key (customer, parent) references orders (customer, id))")
    assert found.declare == () and found.closed == (("public", "orders"),) and found.places == ALL


def test_the_layout_follows_names() -> None:
    found = plan("alter table orders rename to bills")
    assert found.declare == (TableLayout("public", "bills", "shop", ("customer",)),)
    assert (found.undeclare, found.opened, found.closed) == (
        (("public", "orders"),), (("public", "orders"),), (("public", "bills"),))
    found = plan("alter table orders rename column customer to owner")
    assert found.declare == (TableLayout("public", "orders", "shop", ("owner",)),) and not found.undeclare
    found = plan("drop table orders, countries")
    assert found.undeclare == (("public", "orders"), ("public", "countries"))
    assert found.opened == (("public", "orders"),)
    assert plan("drop schema public cascade").gone


@pytest.mark.parametrize(("sql", "outside"), [
    ("create index concurrently i on orders (note)", True), ("drop index concurrently orders_i", True),
    ("vacuum orders", True), ("analyze orders", False), ("analyze", True), ("reindex table concurrently orders", True),
    ("reindex (verbose, concurrently) table orders", True), ("reindex table orders", False),
    ("alter system set work_mem = '1MB'", True), ("create index on orders (note)", False)])
def test_what_cannot_run_in_a_block(sql: str, outside: bool) -> None:
    assert plan(sql).outside is outside


def test_roles_get_one_verifier_and_are_made_once_for_each_server() -> None:
    found = plan("create role someone login password 'it''s'")
    assert found.once and found.steps[0].duplicates
    text = found.steps[0].text.decode()
    assert text.startswith("create role someone login password 'SCRAM-SHA-256$") and "it''s" not in text
    hashed = "alter role someone password 'SCRAM-SHA-256$4096:x$y:z'"
    assert plan(hashed).steps[0].text.decode() == hashed
    assert plan("lock table orders").needs_block
