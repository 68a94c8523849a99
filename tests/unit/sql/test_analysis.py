"""Statements -> flags, slots and names."""

from __future__ import annotations

import pytest

from shardproxy.catalog.facts import slot_of
from shardproxy.dialects.base import Analysis
from shardproxy.dialects.facts import UNKNOWN_TABLE
from shardproxy.dialects.flags import MAYBE_READ, describe
from shardproxy.dialects.postgres.digest_cy import digest
from shardproxy.dialects.postgres.sql.analysis import NO_SQL, UNSCANNED, analyse
from tests.fixtures.facts import FACTS

T, A, USERS, T2 = (slot_of(oid) for oid in (16400, 16401, 16402, 16500))


def look(sql: str) -> Analysis:
    return analyse(digest(sql.encode()), FACTS)


def flags_of(sql: str) -> str:
    return describe(look(sql).flags & ~MAYBE_READ)


READS = [
    ("select 1", ()),
    ("SELECT * FROM t WHERE id = 5", (T,)),
    ("select * from T, a where t.id in (1, 2, 3)", (T, A)),
    ("select * from public.t", (T,)),
    ("select * from v", (T, A)),
    ("table t", (T,)),
    ("values (1), (2)", ()),
    ("select pure(1), length('x') from t", (T,)),
    ("select now(), count(*), current_user from t group by 1", (T,)),
    ("with x as (select * from t), y (z) as materialized (select 1) select * from x, y, a", (T, A)),
    ("with recursive n (i) as (values (1) union all select i + 1 from n) select * from n, t", (T,)),
    ("select * from t where exists (select 1 from a) and id not in (select id from users)", (T, A, USERS)),
    ("(select * from t) union (select * from a) order by 1 limit 3", (T, A)),
    ("select 1 from t except table a intersect select 2 from users", (T, A, USERS)),
    ("select * from t x (b, c) cross join lateral (select b from s.t2) y", (T, T2)),
    ("select * from generate_series(1, 3) with ordinality as g (i, o)", ()),
    ("select coalesce(a, 1), extract(year from now()), substring(b from 1 for 2), a in (1, 2) from t", (T,)),
    ("select sum(x) filter (where y) over (partition by z order by w) from t", (T,)),
    ("select x::numeric(10, 2), cast(y as varchar(10)) from t", (T,)),
    ("select array(select id from a), row(1, 2), array[1, 2] from t", (T, A)),
    ("select date '2020-01-01', interval '1 day' from t", (T,)),
    ("select trim(both from x), x is distinct from y from t", (T,)),
    ("select relname from pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace", ()),
    ("select table_name from information_schema.tables", ()),
    ("select current_setting('app.user') from t", (T,)),
    ("select $1::int, \"t\".id from \"t\"", (T,)),
    ("declare c cursor for select * from t", (T,)),
    ("select 1; select * from t", (T,)),
    ("select * from twice", tuple(sorted((slot_of(16801), slot_of(16802))))),
    ("select * from one.twice", (slot_of(16801),)),
    ("select * from three.half", (slot_of(16803),)),
    ("select 'x' /* insert into t */ -- delete\n from t", (T,)),
    ("select $$insert into t values (nextval('x'))$$ from t", (T,)),
]


@pytest.mark.parametrize(("sql", "slots"), READS)
def test_reads(sql: str, slots: tuple[int, ...]) -> None:
    found = look(sql)
    assert describe(found.flags & ~MAYBE_READ) in ("READ", "READ|MULTI"), found
    assert found.read_slots == tuple(sorted(slots))
    assert found.write_slots == ()


@pytest.mark.parametrize("sql", [sql for sql, _ in READS])
def test_nothing_is_a_read_without_facts(sql: str) -> None:
    assert "READ" not in describe(analyse(digest(sql.encode()), None).flags & ~MAYBE_READ)


NO_READS = """
select * from unknown_table
select * from v_random
select * from half
select * from t, v_random
select report(1)
select writes() from t
select unknown_function(1)
select lower('x')
select random(), * from t
select nextval('s')
select pg_backend_pid()
select version()
select txid_current()
select pg_is_in_recovery()
select * from pg_stat_activity
select * from pg_locks
select * from pg_settings
select current_setting('search_path')
select current_setting($1)
select * from t for update
select * from t for no key update of t skip locked
select * from t for key share
with x as (select * from t for share) select * from x
with x as (insert into t values (1) returning *) select * from x
with x as (delete from t returning *) select * from x
select * into x from t
select t.computed from t
select 1 ### 2
select x::odd from t
select * from pg_temp.t
select pg_advisory_xact_lock(1)
select query_to_xml('x', true, true, '')
select u&"t".x from t
select * from t tablesample unknown_method (1)
select * from t where x = any (select writes())
explain select * from t
explain analyze select * from t
show search_path
fetch 5 from c
execute p
prepare p as select 1
declare c cursor with hold for select * from t
select 1; insert into t values (1)
copy t to '/tmp/x'
copy t from stdin
lock t
notify x
"""


@pytest.mark.parametrize("sql", NO_READS.strip().splitlines())
def test_no_reads(sql: str) -> None:
    assert "READ" not in flags_of(sql).split("|")


FLAGS = """
                                     | insert into t values (1, now())
                                     | insert into t (a, b) values (1, $$x$$) on conflict (a) do update set b = 1
ADVANCES                             | update t set a = nextval('s') where id = $1
                                     | delete from only s.t2 using a where a.id = t2.id
                                     | merge into t using a on t.id = a.id when matched then delete
                                     | select * from t for update
                                     | select random(), gen_random_uuid(), clock_timestamp(), pg_sleep(1)
                                     | savepoint x
                                     | release savepoint x
                                     | rollback to savepoint x
                                     | rollback work to x
                                     | set local search_path = x
                                     | set transaction isolation level read committed
                                     | set constraints all deferred
                                     | set local role joe
                                     | select set_config('app.user', '42', true)
                                     | select set_config($1, $2, true)
                                     | select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(1)
                                     | select pg_notify('x', 'y')
                                     | explain select * from t
                                     | explain (costs off) insert into t values (1)
                                     | show all
                                     | fetch all from c
                                     | move 3 in c
                                     | lock table t in share mode
                                     | notify x, 'y'
                                     | vacuum analyze t
                                     | checkpoint
                                     | truncate t
                                     | grant select on t to joe
                                     | comment on table t is 'x'
                                     | create role joe password 'secret'
                                     | alter system set work_mem = '1MB'
                                     | discard plans
                                     | call calm_proc(1)
                                     | select writes()
ADVANCES                             | refresh materialized view v
BEGIN                                | begin
BEGIN                                | start transaction isolation level repeatable read, read write
BEGIN|BEGIN_READ_ONLY                | begin transaction read only
BEGIN|BEGIN_READ_ONLY|PRIMARY        | begin isolation level serializable, read only, deferrable
COMMIT                               | commit and chain
COMMIT                               | end
COMMIT                               | prepare transaction 'gid'
COMMIT                               | commit prepared 'gid'
ROLLBACK                             | rollback
ROLLBACK                             | abort work
                                     | rollback prepared 'gid'
PRIMARY                              | set transaction snapshot '00000003-0000001B-1'
PRIMARY                              | set transaction isolation level serializable
PRIMARY                              | select pg_export_snapshot()
PROBE                                | set search_path = x
PROBE                                | set session role joe
PROBE                                | set role joe
PROBE                                | set session authorization joe
PROBE                                | set time zone 'UTC'
PROBE                                | set session characteristics as transaction read only
PROBE                                | select set_config('app.user', '42', false)
PROBE                                | select set_config('app.user', '42', $1)
PROBE|HIDDEN                         | select set_config($1, $2, false)
PROBE|HIDDEN                         | select hides()
PROBE                                | select "set_config"('app.user', '42', 't')
PROBE                                | select pg_advisory_lock(1)
PROBE                                | select pg_catalog.pg_try_advisory_lock_shared(1) from t
PROBE                                | listen x
PROBE                                | create temp table x (a int) on commit drop
PROBE                                | create temporary view x as select 1
PROBE                                | create temp sequence x
PROBE                                | select * into temp x from t
PROBE                                | with x as (select 1) select * into temporary table y from x
PROBE                                | declare c cursor with hold for select * from t
PROBE                                | select sets()
PROBE                                | select json_array(1)
PROBE|HIDDEN|ADVANCES                | select unknown_function(1)
PROBE                                | insert into setting values (1)
PROBE                                | select * from v_set
PROBE                                | select t.computed from t
PROBE|HIDDEN|ADVANCES                | select t.pg_restore_relation_stats from t
PROBE                                | select * from pg_temp.x
PROBE|HIDDEN|ADVANCES                | select pg_temp.f()
PROBE                                | call loud_proc(1)
PROBE|HIDDEN|ADVANCES                | call unknown_proc(1)
PROBE                                | insert into t select sets()
PROBE                                | with x as (select sets()) delete from t using x
PROBE|FOREVER                        | set seed to 0.5
PROBE|FOREVER                        | select setseed(0.5)
PROBE|FOREVER                        | select set_config('seed', '0.5', true)
PROBE|FOREVER                        | load 'auto_explain'
PROBE|FOREVER                        | select stays()
PROBE|FOREVER                        | select dblink_connect('x')
PROBE|UNPIN                          | reset all
PROBE|UNPIN                          | reset search_path
PROBE|UNPIN                          | discard temp
PROBE|UNPIN|DEALLOCATE_ALL|ADVANCES  | discard all
UNPIN|ADVANCES                       | discard sequences
UNPIN                                | unlisten *
UNPIN                                | close all
UNPIN                                | select pg_advisory_unlock(1)
UNPIN                                | select pg_advisory_unlock_all()
UNPIN|ADVANCES                       | drop table unknown_table, pg_temp.x
UNPIN|DDL|ADVANCES                   | drop table if exists t cascade
UNPIN|DDL|ADVANCES                   | drop function f(int)
UNPIN|DEALLOCATE_ALL                 | deallocate prepare all
UNPIN|PREPARED_SQL                   | deallocate p
PROBE|PREPARED_SQL                   | prepare p (int) as select $1
PROBE|PREPARED_SQL|ADVANCES          | execute p (1)
PROBE|PREPARED_SQL|ADVANCES          | explain analyze execute p
PREPARED_SQL                         | explain execute p
PREPARED_SQL                         | select name from pg_prepared_statements
PROBE|DDL|ADVANCES                   | create table x (a int default nextval('s'))
DDL|ADVANCES                         | create table public.x (a int)
PROBE|DDL|ADVANCES                   | create or replace function f() returns int language sql return 1
DDL|ADVANCES                         | create unique index concurrently i on t (lower(a))
DDL|ADVANCES                         | create schema x
DDL|ADVANCES                         | create extension if not exists hstore
DDL|ADVANCES                         | alter table t add column x int
PROBE|DDL|ADVANCES                   | alter table pg_temp.t add column x int
PROBE|DDL|ADVANCES                   | alter table t add column x int default sets()
PROBE|DDL|ADVANCES                   | create table public.x as select sets()
PROBE|DDL|PREPARED_SQL|ADVANCES      | create table public.x as execute p
PROBE|DDL|ADVANCES                   | select * into x from t
PROBE|DDL|ADVANCES                   | select makes()
DDL|ADVANCES                         | import foreign schema x from server y into z
PROBE|UNPIN|ADVANCES                 | do $$ begin perform 1; end $$
PROBE|UNPIN|FOREVER|ADVANCES         | do $$ begin load 'x'; end $$
PROBE|UNPIN|FOREVER|ADVANCES         | do $$ begin perform setseed(0.1); end $$
PROBE|UNPIN|DDL|ADVANCES             | do $$ begin create table x (a int); end $$
PROBE|UNPIN|DDL|ADVANCES             | do language plpgsql $$ begin execute 'select 1'; end $$
SEQUENCE_STATE                       | select currval('s'), lastval()
SEQUENCE_STATE                       | insert into t values (currval('s'))
ADVANCES                             | select nextval('s'), setval('s', 5)
SEQUENCE_STATE|ADVANCES              | select nextval('s'), currval('s')
ADVANCES                             | insert into serial (a) values (1)
COPY_IN|ADVANCES                     | copy serial (a) from stdin
ADVANCES                             | merge into serial using a on serial.id = a.id when matched then delete
ADVANCES                             | update serial set id = default
                                     | update serial set a = 1 where id = 2
                                     | delete from serial
ADVANCES                             | delete from numbered
ADVANCES                             | insert into unknown_table values (1)
ADVANCES                             | select * from v_next
ADVANCES                             | select numbers(1)
ADVANCES                             | select * from unknown_view
                                     | select * from v_random, pg_stat_activity
TERMINATE                            | select pg_terminate_backend(pid) from pg_stat_activity
COPY_IN                              | copy t (a, b) from stdin with (format csv)
READ|COPY_OUT                        | copy t to stdout
READ|COPY_OUT                        | copy (select * from t) to stdout csv header
COPY_OUT                             | copy (delete from t returning *) to stdout
COPY_OUT                             | copy (select report()) to stdout
                                     | copy t from program 'cat'
PROXY_SET                            | set shardproxy.consistency = strong
PROXY_SET                            | reset shardproxy.consistency
PROXY_SHOW                           | show shardproxy.token
MULTI                                | begin_not_a_command_is_below; select 1
"""


@pytest.mark.parametrize("line", FLAGS.strip("\n").splitlines()[:-1], ids=lambda line: line.split("|")[-1].strip()[:60])
def test_flags(line: str) -> None:
    flags, _, sql = line.rpartition(" | ")
    assert flags_of(sql) == describe(sum(_bit(name) for name in flags.strip().split("|") if name)), look(sql)


def _bit(name: str) -> int:
    from shardproxy.dialects import flags

    return int(getattr(flags, name.strip()))


@pytest.mark.parametrize("sql", ["selct 1", "frobnicate t", "with", "(", ")", "insert into", "update",
                                 "copy", "explain", "declare", "set", "show", "create", "drop", "truncate", "call",
                                 "deallocate", "prepare", "execute", "'x'", "1", "$1", "* from t", "from", "do",
                                 "truncate ,", "delete from", "merge into (", "commit prepared", "copy (select 1"])
def test_nonsense_is_no_read_and_does_not_raise(sql: str) -> None:
    assert "READ" not in flags_of(sql).split("|")


@pytest.mark.parametrize(("sql", "slots"), [
    ("insert into t values (1)", (T,)),
    ("with x as (update a set b = 1 returning *) insert into s.t2 select * from x", (A, T2)),
    ("delete from parent", (slot_of(16600), slot_of(16601))),
    ("insert into audited values (1)", UNKNOWN_TABLE),
    ("insert into v values (1)", UNKNOWN_TABLE),
    ("insert into unknown_table values (1)", UNKNOWN_TABLE),
    ("insert into t values (writes())", UNKNOWN_TABLE),
    ("insert into t values (unknown_function())", UNKNOWN_TABLE),
    ("select writes()", UNKNOWN_TABLE),
    ("select lo_create(0)", UNKNOWN_TABLE),
    ("truncate t, only a *", (T, A)),
    ("truncate t cascade", UNKNOWN_TABLE),
    ("copy t from stdin", (T,)),
    ("execute p", UNKNOWN_TABLE),
    ("drop table t", UNKNOWN_TABLE),
    ("create temp table x as select * from t", ()),
    ("create temp table x as select writes()", UNKNOWN_TABLE),
    ("explain insert into t values (1)", ()),
    ("explain analyze insert into t values (1)", (T,)),
    ("update only (t) set a = 1", (T,)),
    ("update t as x set a = 1", (T,)),
    ("select * from t for update", ()),
    ("commit", ()), ("commit prepared 'x'", UNKNOWN_TABLE),
    ("insert into twice values (1)", (slot_of(16801), slot_of(16802))),
    ("insert into t values (1); update a set b = 1", (T, A)),
    ("do $$ begin end $$", UNKNOWN_TABLE),
    ("refresh materialized view v", UNKNOWN_TABLE),
    ("call calm_proc()", ()), ("call loud_proc()", UNKNOWN_TABLE),
])
def test_write_slots(sql: str, slots: tuple[int, ...]) -> None:
    assert look(sql).write_slots == tuple(sorted(slots))


@pytest.mark.parametrize(("sql", "names"), [
    ("execute p", ("p",)), ('execute "P x"(1)', ("P x",)), ("deallocate P", ("p",)),
    ("prepare foo(int) as select 1", ("foo",)), ("explain execute p", ("p",)),
    ("create table x as execute p(1)", ("p",)), ("select * from pg_prepared_statements", ()),
    ("execute p; execute q", ("p", "q")), ("execute p; select * from pg_prepared_statements", ()),
    ("set shardproxy.consistency = 'strong'", ("consistency", "strong")),
    ("SET SESSION shardproxy.Consistency TO Eventual", ("consistency", "eventual")),
    ("set local shardproxy.token = '0/1''2'", ("token", "0/1'2", "local")),
    ('set "shardproxy.token" to E\'a\\\'b\'', ("token", "a'b")),
    ("set shardproxy.x = $$y$$", ("x", "y")), ("set shardproxy.x = 5, 'z'", ("x", "5,z")),
    ("set shardproxy.x to default", ("x", "default")), ("reset shardproxy.x", ("x", "default")),
    ("show shardproxy.consistency", ("consistency",)),
])
def test_names(sql: str, names: tuple[str, ...]) -> None:
    assert look(sql).names == names


@pytest.mark.parametrize(("sql", "names"), [
    ("set app.user = '1'", ("app.user",)), ("SET SESSION App.User TO x", ("app.user",)), ("set local app.user = 1", ()),
    ("set search_path = x", ()), ("reset app.user", ("app.user",)), ("reset all", ()),
    ("select set_config('App.X', '1', false)", ("app.x",)), ("select set_config('app.x', '1', true)", ()),
    ("select set_config('search_path', '1', false)", ()), ("select sets()", ("app.user",)), ("select 1", ()),
    ("set a.b = 1; set c.d = 2", ("a.b", "c.d")), ("set shardproxy.consistency = x", ("shardproxy.consistency",)),
    ("do $$ begin set x.y = 1; perform set_config('v.w', 'z', false); end $$", ("app.user", "v.w", "x.y")),
])
def test_settings_that_no_server_lists(sql: str, names: tuple[str, ...]) -> None:
    assert look(sql).settings == names


@pytest.mark.parametrize(("sql", "kind"), [
    ("select 1", "SELECT"), ("with x as (select 1) insert into t select * from x", "INSERT"),
    ("(values (1))", "SELECT"), ("start transaction", "BEGIN"), ("end", "COMMIT"), ("abort", "ROLLBACK"),
    ("prepare transaction 'x'", "PREPARE TRANSACTION"), ("create table x ()", "CREATE"),
    ("copy t from stdin", "COPY"), ("deallocate x", "DEALLOCATE"), ("select 1; begin", "SELECT"),
])  # fmt: skip
def test_kinds(sql: str, kind: str) -> None:
    assert look(sql).kind == kind


@pytest.mark.parametrize(("sql", "count"), [
    ("", 0), (" ; ;-- x", 0), ("select 1", 1), ("select 1;", 1), ("select 1; select 2;;", 2), ("select ';'", 1),
    ("create function f() returns int begin atomic select 1; select case when true then 1 end; end; select 1", 2),
    ("create rule r as on insert to t do (select 1; select 2)", 1), ("do $$ begin; end; $$", 1),
    ('select ";" from t', 1),
])
def test_statements_are_counted(sql: str, count: int) -> None:
    assert look(sql).statements == count


def test_multi_is_of_all_statements() -> None:
    assert flags_of("begin; set x = 1; select * from t; commit") == "BEGIN|COMMIT|PROBE|MULTI"
    assert look("select * from t; select * from a").read_slots == tuple(sorted((T, A)))


def test_empty() -> None:
    assert flags_of("") == flags_of("/* x */;") == "EMPTY"


@pytest.mark.parametrize("sql", ["select 'x", 'select "x', "select $$x", "select /* x", "select 1x", "select E'\\'"])
def test_what_ends_within_a_token_is_no_sql(sql: str) -> None:
    assert look(sql) == NO_SQL


def test_control_characters_make_a_text_opaque() -> None:
    assert look('select "\1"') == UNSCANNED


def test_event_triggers_make_ddl_change_the_session() -> None:
    from shardproxy.catalog.facts import Facts
    from tests.fixtures.facts import DATA

    facts = Facts({**DATA, "event_triggers": True})
    assert "PROBE" in describe(analyse(digest(b"alter table t add column x int"), facts).flags)


def test_without_facts_functions_are_suspected() -> None:
    def flags(sql: str) -> str:
        return describe(analyse(digest(sql.encode()), None).flags & ~MAYBE_READ)

    assert flags("insert into t values (1, now(), nextval('s'))") == "ADVANCES"
    assert flags("select mystery(1)") == "PROBE|HIDDEN|ADVANCES"
    assert analyse(digest(b"insert into t values (1)"), None).write_slots == UNKNOWN_TABLE


@pytest.mark.parametrize(("sql", "expected"), [
    ("select report()", True), ("select * from v_random", True), ("select unknown_function()", True),
    ("select * from t", True), ("insert into t values (1)", False), ("select nextval('s')", False),
    ("select * from t for update", False), ("select set_config('a', 'b', false)", False), ("begin", False),
    ("with x as (delete from t returning 1) select 1", False), ("select pg_advisory_lock(1)", False),
    ("select report(); select 1", True), ("select report(); delete from t", False),
])
def test_maybe_reads(sql: str, expected: bool) -> None:
    assert bool(look(sql).flags & MAYBE_READ) is expected
