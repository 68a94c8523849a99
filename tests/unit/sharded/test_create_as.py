"""CREATE TABLE AS and SELECT INTO, cut into what makes the table and what fills it."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.create_as import read_create_as


@pytest.mark.parametrize(("text", "head", "name", "query", "filled"), [
    ("create table t as select 1", "create table t as ", '"t"', "select 1", True),
    ("CREATE TEMP TABLE IF NOT EXISTS \"T x\" (a) ON COMMIT DROP AS TABLE o WITH DATA;",
     'CREATE TEMP TABLE IF NOT EXISTS "T x" (a) ON COMMIT DROP AS ', '"pg_temp"."T x"', "TABLE o", True),
    ("create unlogged table s.t with (fillfactor = 50) as (select 'as' from o) with no data",
     "create unlogged table s.t with (fillfactor = 50) as ", '"s"."t"', "(select 'as' from o)", False),
    ("select a, b into s.t from o where c = 1", 'CREATE TABLE "s"."t" AS ', '"s"."t"',
     "select a, b  from o where c = 1", True),
    ("with x as (select 1) select * into temporary table t from x", 'CREATE TEMPORARY TABLE "t" AS ',
     '"pg_temp"."t"', "with x as (select 1) select *  from x", True)])
def test_it_is_cut(text: str, head: str, name: str, query: str, filled: bool) -> None:
    found = read_create_as(text)
    assert found is not None
    assert (found.head, found.name, found.query, found.filled) == (head, name, query, filled)


@pytest.mark.parametrize("text", [
    "create table t (a int default 1)", "create index on t (a)", "create view v as select 1", "select 1",
    "create table t (a int, check (a > 0)) partition by range (a)", "create table t as execute p",
    "select (select 1 as into_it)", "drop table t"])
def test_it_is_something_else(text: str) -> None:
    assert read_create_as(text) is None
