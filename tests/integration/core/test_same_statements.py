"""Prepared statements, portals and pipelines: the replies are those of a direct connection, message by message."""

from __future__ import annotations

import pytest

from tests.fixtures.raw import B, C, D, E, F, H, P, Q, S, kinds, rows

from .conftest import Arena, Step

TABLE = (
    "create table s.t (a int, b text); insert into s.t select i, 'row ' || i from generate_series(1, 10) i;"
)
ONE = P("a", "select 'mine'")
USE = B("", "a") + E() + S

CASES: dict[str, list[Step]] = {
    "twice": [ONE + S, USE, USE, D("S", "a") + S],
    "unknown": [
        USE,
        D("S", "a") + S,
        B("", "") + E() + S,
        D("S") + S,
        E() + S,
        E("nothing") + S,
        C("S", "a") + S,
    ],
    "taken name": [ONE + S, P("a", "select 2") + S, USE, ONE + S, Q("select 1"), P("a", "select 3") + S, USE],
    "taken name in the same batch": [ONE + P("a", "select 2") + USE, USE],
    "closed and prepared anew": [
        ONE + S,
        C("S", "a") + P("a", "select 'new'") + USE,
        USE,
        C("S", "a") + S,
        USE,
    ],
    "closed only": [
        ONE + S,
        C("S", "a") + S,
        ONE + S,
        C("S", "a") + C("S", "a") + C("P", "x") + S,
        USE,
        ONE + S,
        USE,
    ],
    "closed after an error": [ONE + S, E("no") + C("S", "a") + S, USE, P("a", "select 2") + S],
    "unnamed over syncs": [P("", "select 'one'") + S, B() + E() + S, D("S") + S, B() + E() + S],
    "unnamed is gone after a query": [P("", "select 'one'") + S, Q("select 2"), B() + E() + S, D("S") + S],
    "unnamed closed": [P("", "select 'one'") + S, C("S") + S, B() + E() + S],
    "unnamed that fails": [P("", "select 'one'") + S, P("", "selec") + S, B() + E() + S],
    "unnamed restored in a batch with an error": [
        P("", "select 'one'") + S,
        E("no") + B() + E() + S,
        B() + E() + S,
    ],
    "restored in a batch with an error": [ONE + S, E("no") + USE, USE, D("S", "a") + E("no") + S, USE],
    "parse error": [P("a", "selec") + USE, USE, ONE + USE],
    "parse error in the middle": [
        ONE + B("", "a") + E() + P("b", "select nothing_at_all") + P("c", "select 'c'") + USE,
        USE,
        B("", "c") + E() + S,
        P("c", "select 'c2'") + S,
        B("", "c") + E() + S,
    ],
    "parse error, and the name at once for another": [
        P("a", "selec") + USE + ONE + USE,
        USE,
        P("a", "select 'taken'") + S + P("a", "selec") + S + USE,
    ],
    "closed after a parse error, and the same again at once": [
        P("a", "select * from t2")
        + S
        + C("S", "a")
        + Q("create table t2 ()")
        + P("a", "select * from t2")
        + S,
        USE,
    ],
    "unnamed after one that fails, at once": [
        P("", "selec") + S + P("", "select 'one'") + S,
        B() + E() + S,
        D("S") + S,
    ],
    "describe first": [
        P("a", "select a, b from t where a = $1 and b like $2") + D("S", "a") + S,
        B("", "a", "3", "row%") + D("P") + E() + S,
    ],
    "types": [
        P("a", "select $1::int4 + $2", 0, 23) + D("S", "a") + S,
        B("", "a", "3", "4") + E() + S,
        B("", "a", "3") + E() + S,
        B("", "a", "x", "4") + E() + S,
        P("b", "select $1", 25) + D("S", "b") + S,
    ],
    "binary": [
        P("a", "select $1::int4 + 1, $2::text") + S,
        B("", "a", b"\0\0\0\7", "text", binary=True) + E() + S,
    ],
    "no data": [
        P("a", "insert into t values ($1)") + D("S", "a") + B("", "a", "11") + D("P") + E() + S,
        B("", "a", "12") + E() + S,
        P("e", "") + B("", "e") + D("P") + E() + S,
    ],
    "two batches at once": [ONE + USE + USE + P("b", "select 'b'") + S + B("", "b") + E() + S],
    "DDL between": [
        P("a", "select * from t where a = 1") + USE,
        Q("alter table t add c int"),
        USE,
        P("n", "select * from t where a = 1") + S,
        B("", "n") + E() + S,
        C("S", "a") + S,
        P("a", "select * from t where a = 1") + USE,
    ],
    "texts that are not scanned": [
        ONE + S,
        Q("set standard_conforming_strings = off"),
        USE,
        Q("begin"),
        USE,
        Q("select 1") + P("b", "select 'it\\'s'") + B("", "b") + E() + S,
        USE,
        Q("commit"),
        USE,
        Q("begin"),
        P("", "deallocate all") + B() + E() + S,
        USE,
        Q("rollback"),
        USE,
        ONE + USE,
        Q("begin") + Q("deallocate /* */ all") + USE + Q("rollback"),
        ONE + USE,
    ],
    "deallocate": [
        ONE + P("b", "select 'b'") + S,
        Q("deallocate a"),
        USE,
        B("", "b") + E() + S,
        Q("deallocate a"),
        Q("deallocate b"),
        B("", "b") + E() + S,
        ONE + USE,
    ],
    "deallocate through the protocol": [
        ONE + P("d", "deallocate a") + S,
        B("", "d") + E() + S,
        USE,
        ONE + USE,
        B("", "d") + E() + S,
        USE,
        B("", "d") + E() + S,
    ],
    "deallocate all": [
        ONE + S,
        Q("deallocate all"),
        USE,
        ONE + USE,
        P("", "deallocate all") + B() + E() + S,
        USE,
    ],
    "deallocate all in a block": [
        ONE + S,
        Q("begin"),
        Q("deallocate all"),
        USE,
        Q("rollback"),
        USE,
        ONE + USE,
    ],
    "deallocate all in a failed block": [ONE + S, Q("begin; x"), Q("deallocate all"), Q("rollback"), USE],
    "deallocate all skipped": [ONE + USE, E("no") + P("", "deallocate all") + B() + E() + S, USE],
    "deallocate all prepared": [
        ONE + P("d", "deallocate all") + S,
        USE,
        B("", "d") + E() + S,
        USE,
        B("", "d") + E() + S,
        P("d", "deallocate all") + ONE + B("", "d") + E() + S,
        USE,
    ],
    "discard all": [
        ONE + S,
        Q("discard all"),
        USE,
        ONE + USE,
        P("d", "discard all") + S,
        B("", "d") + E() + S,
        USE,
    ],
    "deallocate all in a function": [
        ONE + USE,
        Q("do $$ begin execute 'deallocate all'; end $$"),
        P("c", "select 'c'") + S,
        B("", "c") + E() + S,
        ONE + S,
    ],
    "view": [
        ONE + P("b", "select $1::int", 23) + S,
        Q("select name, statement, parameter_types, from_sql from pg_prepared_statements order by 1"),
        P("v", "select name from pg_prepared_statements order by 1") + S,
        B("", "v") + E() + S,
        Q("begin"),
        Q("select count(*) from pg_prepared_statements"),
        USE,
        Q("commit"),
        USE,
    ],
    "execute": [
        P("a", "select $1::int + 1", 23) + S,
        Q("execute a(1)"),
        Q("explain (costs off) execute a(2)"),
        P("x", "execute a(3)") + D("S", "x") + S,
        B("", "x") + D("P") + E() + S,
        B("", "x") + E() + S,
        Q("begin; execute a(4); commit"),
        B("", "a", "5") + E() + S,
    ],
    "execute in a pipeline": [
        ONE + P("", "insert into t values (99)") + B() + E() + P("", "execute a") + B() + E() + S,
        Q("select count(*) from t"),
    ],
    "execute in a pipeline with an error": [
        ONE + P("", "insert into t values (99)") + B() + E() + P("", "execute nothing") + B() + E() + S,
        Q("select count(*) from t"),
        USE,
    ],
    "portals": [
        Q("begin"),
        P("a", "select a from t order by a") + B("p", "a") + E("p", 3) + S,
        E("p", 3) + S,
        E("p", 0) + S,
        E("p", 3) + S,
        C("P", "p") + S,
        E("p", 3) + S,
        Q("rollback"),
        USE,
    ],
    "portals end with the transaction": [
        ONE + B("p", "a") + E("p", 1) + S,
        E("p", 1) + S,
        Q("begin"),
        B("p", "a") + B("q", "a") + S,
        Q("commit"),
        E("p") + S,
    ],
    "row limit": [
        P("a", "select a from t order by a") + B("", "a") + E("", 2) + E("", 3) + H + S,
        B("", "a") + E("", 0) + S,
        B("", "a") + E("", 100) + S,
    ],
    "cursors": [
        Q("begin; declare c cursor for select a from t order by a"),
        Q("fetch 2 from c"),
        B("", "c") + S,
        E("c", 2) + S,
    ],
    "savepoints": [
        Q("begin"),
        ONE + S,
        Q("savepoint x"),
        E("no") + S,
        USE,
        Q("rollback to x"),
        USE,
        Q("commit"),
        USE,
    ],
    "flush": [
        (ONE + D("S", "a") + H, "T"),
        B("", "a") + E() + S,
        (B("", "a") + E() + H, "C"),
        (D("P") + H, "T"),
        S,
        USE,
    ],
    "flush after an error": [(P("a", "selec") + H, "E"), B("", "a") + E() + S, ONE + USE],
    "only flush and sync": [H + S, S, S + S + H + S, H + ONE + H + S],
    "many syncs": [S + S + (P("", "select 1") + B() + E() + S) * 20 + S],
    "errors in a pipeline": [
        (P("", "select 1") + B() + E() + S + P("", "select 1/0") + B() + E() + S + E("no") + S) * 5
    ],
    "implicit transactions": [
        P("", "insert into t values (100)") + B() + E() + P("", "select 1/0") + B() + E() + S,
        Q("select count(*) from t"),
        P("", "insert into t values (100)") + B() + E() + S + P("", "select 1/0") + B() + E() + S,
        Q("select count(*) from t"),
    ],
    "blocks in a pipeline": [
        P("", "begin") + B() + E() + P("", "insert into t values (1)") + B() + E() + S + Q("rollback"),
        Q("begin") + Q("select 1/0") + Q("select 1") + Q("rollback") + Q("select 2"),
        Q("select count(*) from t"),
    ],
    "simple among extended": [ONE + Q("select 'simple'") + USE + Q("select 1/0") + USE, USE],
    "empty": [
        Q(""),
        Q(";"),
        Q("-- nothing"),
        P("", "") + B() + E() + S,
        P("", "-- no") + B() + D("P") + E() + S,
    ],
    "several": [
        Q("select 1; select 2; select 3"),
        Q("select 1; select 1/0; select 3"),
        Q("begin; select 1"),
        Q("; commit; select 2"),
        Q("insert into t values (5); select count(*) from t; x"),
        Q("select count(*) from t"),
        P("", "select 1; select 2") + S,
    ],
    "functions": [
        F(1389, b"\0" * 8),
        F(0),
        F(177, b"\0\0\0\1", b"\0\0\0\2"),
        Q("begin"),
        F(177, b"\0\0\0\1"),
        F(177),
        Q("rollback"),
    ],
    "notices": [
        Q("do $$ begin raise notice 'n'; raise warning 'w'; end $$"),
        Q("drop table if exists nothing_at_all"),
        Q(
            "do $$ begin raise exception using errcode = 'AB123', message = 'm', detail = 'd', hint = 'h', "
            "column = 'c', constraint = 'k', table = 't', schema = 's', datatype = 'y'; end $$"
        ),
    ],
    "sequences": [
        Q("create sequence q"),
        Q("select nextval('q')"),
        Q("select currval('q'), lastval()"),
        Q("begin"),
        Q("select nextval('q')"),
        Q("select currval('q')"),
        Q("commit"),
    ],
    "snapshots": [
        Q("begin isolation level repeatable read"),
        Q("select count(*) from t"),
        Q("commit"),
        Q("commit"),
        Q("rollback"),
    ],
    "prepared transactions": [
        Q("begin; insert into t values (7)"),
        Q("prepare transaction 'gid'"),
        Q("select count(*) from t"),
        Q("commit prepared 'gid'"),
        Q("select count(*) from t"),
        Q("rollback prepared 'gid'"),
    ],
}


@pytest.mark.parametrize("name", CASES)
async def test_statements(arena: Arena, name: str) -> None:
    await arena.compare(*CASES[name], setup=TABLE)


@pytest.mark.parametrize(
    "name", ["twice", "view", "deallocate", "taken name", "execute", "unnamed over syncs"]
)
async def test_statements_without_others(arena: Arena, name: str) -> None:
    """The same when nobody uses the server connection in between."""
    await arena.compare(*CASES[name], setup=TABLE, disturb=False)


async def test_a_new_statement_never_meets_an_old_plan(arena: Arena) -> None:
    """Who prepares after a schema change does not hear that a cached plan must not change its result type."""
    await arena.fresh(TABLE)
    text = "select * from t where a = 1"
    async with arena.session() as first, arena.session() as second:
        assert kinds(await first.ask(P("x", text) + B("", "x") + E() + S)) == "12DCZ"
        await first.query("alter table t add c int default 5")
        replies = await second.ask(P("y", text) + B("", "y") + E() + S)
        assert rows(replies) == [("1", "row 1", "5")]
        replies = await first.ask(C("S", "x") + P("x", text) + B("", "x") + E() + S)
        assert rows(replies) == [("1", "row 1", "5")]


async def test_more_statements_than_a_server_keeps(arena: Arena) -> None:
    await arena.fresh()
    async with arena.session() as first, arena.session() as second:
        for client, word in ((first, "one"), (second, "two")):
            await client.ask(b"".join(P(f"n{i}", f"select '{word}', {i}") for i in range(600)) + S)
        for i in range(0, 600, 7):
            for client, word in ((first, "one"), (second, "two")):
                assert rows(await client.ask(B("", f"n{i}") + E() + S)) == [(word, str(i))]
        names = await first.rows("select count(*) from pg_prepared_statements where name like 'n%'")
        assert names == [("600",)]
        assert rows(await second.ask(B("", "n5") + E() + S)) == [("two", "5")]
