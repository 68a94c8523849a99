"""currval and lastval: a client's own values or PostgreSQL's error, never another client's, whatever it runs on."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from tests.fixtures.raw import B, D, E, P, Q, Raw, S, errors, rows

from .conftest import Arena

SETUP = """
create sequence q; create sequence other_q;
create table t (id serial primary key, a int);
create table ident (id int generated always as identity, a int);
create table plain (a int);
create table log (id serial, a int);
create table watched (a int);
create function note() returns trigger language plpgsql as
$$ begin insert into log (a) values (new.a); return new; end $$;
create trigger note after insert on watched for each row execute function note();
create function next_of() returns bigint language sql as $$ select nextval('q') $$;
create function last_of() returns bigint language sql as $$ select lastval() $$;
create view numbered as select nextval('q') as n;
create domain numbers as bigint default nextval('q');
create table domained (n numbers, a int);
"""
NOT_YET = 'currval of sequence "q" is not yet defined in this session'
NO_LAST = "lastval is not yet defined in this session"


async def fresh(arena: Arena, setup: str) -> None:
    """A new schema. The proxy may be reading the catalog of the one before."""
    for _ in range(20):
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            await arena.fresh(setup)
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the schema cannot be made")


async def start(arena: Arena) -> None:
    """A new schema, which the proxy knows: what it does not know may advance any sequence."""
    await fresh(arena, SETUP)
    async with arena.session() as client, arena.session() as other:    # on one connection
        await client.query("create table s.new (a int)")
        for _ in range(200):
            await client.query("select nextval('q')")
            await other.query("select * from plain; insert into plain values (1)")
            if not errors(await client.query("select currval('q')")):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the relations are not known")
    arena.control.execute("alter sequence q restart; delete from plain")


async def asked(client: Raw, sql: str, extended: bool) -> tuple[list[tuple[str | None, ...]], list[tuple[str, str]]]:
    """Rows, and (code, message) of errors."""
    replies = await client.ask(P("", sql) + D("S", "") + B("", "") + E() + S if extended else Q(sql))
    return rows(replies), [(fields["C"], fields["M"]) for fields in errors(replies)]


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("user", ["postgres", "two"])
async def test_a_stranger_sees_nothing(arena: Arena, user: str, extended: bool) -> None:
    await start(arena)
    async with arena.session(user) as owner, arena.session(user) as stranger:
        for _ in range(3):
            (row,), _ = await asked(owner, "select nextval('q')", extended)
            assert await asked(stranger, "select currval('q')", extended) == ([], [("55000", NOT_YET)])
            assert await asked(stranger, "select lastval()", extended) == ([], [("55000", NO_LAST)])
            assert await asked(stranger, "insert into plain values (1)", extended) == ([], [])
            assert await asked(stranger, "select lastval(), currval('q')", extended) == ([], [("55000", NO_LAST)])
            for sql in ("select currval('q')", "select lastval()", "insert into plain values (lastval()) returning a"):
                found, failed = await asked(owner, sql, extended)
                # Its own value; or none, if the pool had no other connection for the stranger. Never another one.
                assert found == [row] or {code for code, _ in failed} == {"55000"}, (sql, found, failed)


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("advance", [
    "insert into t (a) values (1)", "insert into t values (default, 1)", "insert into ident (a) values (1)",
    "insert into watched values (1)", "select next_of()", "select n from numbered", "select setval('q', 77)",
    "insert into domained (a) values (1)", "do $$ begin perform nextval('q'); end $$",
    "merge into t using plain on true when not matched then insert (a) values (plain.a)",
    "alter table plain add column n serial", "update plain set a = nextval('q')", "truncate log, t restart identity"])
async def test_what_may_advance_starts_anew(arena: Arena, advance: str, extended: bool) -> None:
    """In a pool of one: the last to advance has its own values as on a direct connection, and none of the other's."""
    for asks in ("select lastval()", "select currval('q')", "select last_of()"):
        await fresh(arena, SETUP + "insert into plain values (1);")
        async with arena.direct() as client:
            await asked(client, advance, extended)
            expected = await asked(client, asks, extended)
        await fresh(arena, SETUP + "insert into plain values (1);")
        async with arena.session() as owner, arena.session() as client:
            await asked(owner, "select nextval('other_q'), nextval('other_q'), nextval('q')", extended)
            arena.control.execute("alter sequence q restart")
            await asked(client, advance, extended)
            assert await asked(client, asks, extended) == expected


async def test_in_blocks(arena: Arena) -> None:
    await fresh(arena, SETUP)
    async with arena.session() as owner, arena.session() as client:
        value = await owner.value("select nextval('q')")
        assert await owner.value("begin; select currval('q'); commit") == value
        await owner.query("begin")
        assert await owner.value("select lastval()") == value
        await owner.query("rollback")
        await client.query("begin")
        assert await asked(client, "select lastval()", True) == ([], [("55000", NO_LAST)])
        await client.query("rollback; begin; insert into t (a) values (1)")
        assert await asked(client, "select lastval(), currval('t_id_seq')", True) == ([("1", "1")], [])
        await client.query("commit")
        assert await client.value("select currval('t_id_seq')") == "1"
        assert await asked(owner, "select currval('q')", False) == ([], [("55000", NOT_YET)])


async def test_a_client_keeps_to_its_values(arena: Arena) -> None:
    """In a pool of two, others come and go: who advances again does so where it did before."""
    await start(arena)
    async with arena.session("two") as first, arena.session("two") as second, arena.session("two") as reader:
        await reader.query("begin")
        await first.query("insert into t (a) values (1)")
        await reader.query("rollback")
        for number in range(2, 20, 2):
            await second.query(f"insert into t (a) values ({number})")
            await reader.query("set work_mem = '5MB'; select count(*) from t")
            await first.query(f"insert into t (a) values ({number})")
            assert await second.value("select lastval()") == str(number)
            assert await first.value("select currval('t_id_seq')") == str(number + 1)


async def test_parameters_of_what_is_not_defined(arena: Arena) -> None:
    """Any parameters in any format; the portal's error, and the statement stays what it is."""
    await fresh(arena, SETUP)
    async with arena.session() as owner, arena.session() as client:
        await owner.query("select nextval('q')")
        sql = "select currval('q'), $1::text, $2::int, $3::bytea"
        replies = await client.ask(P("s", sql) + D("S", "s") + S)
        described = [payload for kind, payload in replies if kind in "tT"]
        binds = [B("", "s", "x\\", "5", "\\x00"), B("", "s", b"x", b"\0\0\0\5", b"\xff\0", binary=True)]
        for bind in binds:
            replies = await client.ask(bind + D("P", "") + E() + S)
            assert [(one["C"], one["M"]) for one in errors(replies)] == [("55000", NOT_YET)]
            assert [p for k, p in await client.ask(D("S", "s") + S) if k in "tT"] == described
        assert await client.value("select count(*) from pg_prepared_statements") == "1"
        await client.query("select nextval('q')")
        replies = await client.ask(binds[0] + E() + S)
        assert not errors(replies) and rows(replies)[0][0] == "2"


async def test_discarded(arena: Arena) -> None:
    await fresh(arena, SETUP)
    async with arena.session("two") as client, arena.session("two") as other:
        for extended in (False, True):
            for discard in ("discard sequences", "discard all"):
                await other.query("select nextval('other_q')")
                await client.query("select nextval('q')")
                assert await asked(client, discard, extended) == ([], [])
                assert await asked(client, "select currval('q')", extended) == ([], [("55000", NOT_YET)])


async def test_names_of_sequences(arena: Arena) -> None:
    """The error is as PostgreSQL writes it."""
    await fresh(arena, SETUP + 'create sequence "Odd \'\'name"; create schema if not exists s2;')
    async with arena.session() as owner, arena.session() as client, arena.direct() as direct:
        await owner.query("select nextval('q')")
        for sql in ("select currval('s.q')", "select currval('\"Odd ''name\"')", "select currval('none')",
                    "select currval(pg_get_serial_sequence('t', 'id'))", "select pg_catalog.lastval()"):
            assert await asked(client, sql, False) == await asked(direct, sql, False)
