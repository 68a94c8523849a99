"""What needs a session keeps its server connection, exactly as long as it is there."""

from __future__ import annotations

import asyncio

import pytest

from tests.fixtures.raw import B, E, P, Q, Raw, S, codes, kinds, rows, tags

from .conftest import Arena

LOST = "select count(*) from pg_locks where locktype = 'advisory'"


async def pinned(arena: Arena, expected: bool = True) -> bool:
    """Whether a client of the pool of ``two`` is pinned, or not; soon, for it is found out after the reply."""
    for _ in range(100):
        found = [row["pinned"] for row in await arena.proxy.admin("SHOW CLIENTS") if row["user"] == "two"]
        if any(found) == expected:
            return True
        await asyncio.sleep(0.02)
    return False


# name: what pins, what releases
HELD = {
    "temporary table": ("create temp table tt (a int)", "drop table tt"),
    "temporary table as": ("create temporary table tt as select 1 as a", "drop table if exists tt"),
    "select into": ("select 1 as a into temp tt", "drop table tt"),
    "temporary view": ("create temp view tv as select 1", "drop view tv"),
    "temporary sequence": ("create temp sequence ts", "drop sequence ts"),
    "temporary function": (
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "drop function pg_temp.f()",
    ),
    "in pg_temp": ("create table pg_temp.tt (a int)", "drop table pg_temp.tt"),
    "listen": ("listen ch", "unlisten ch"),
    "listen to two": ("listen a; listen b", "unlisten *"),
    "holdable cursor": ("begin; declare c cursor with hold for select 1; commit", "close c"),
    "holdable cursors": ("begin; declare c cursor with hold for select 1; commit", "close all"),
    "prepared": ("prepare p as select 1", "deallocate p"),
    "advisory lock": ("select pg_advisory_lock(42)", "select pg_advisory_unlock(42)"),
    "tried advisory lock": ("select pg_try_advisory_lock(42)", "select pg_advisory_unlock_all()"),
    "shared advisory lock": (
        "select pg_advisory_lock_shared(4, 2)",
        "select pg_advisory_unlock_shared(4, 2)",
    ),
    "all": (
        "create temp table tt (a int); listen ch; prepare p as select 1; select pg_advisory_lock(1)",
        "discard all",
    ),
    "temporary tables": ("create temp table tt (a int)", "discard temp"),
    "in a block": ("do $$ begin create temp table tt (a int); end $$", "do $$ begin drop table tt; end $$"),
    "in a transaction": ("begin; create temp table tt (a int); commit", "begin; drop table tt; commit"),
}
NOT_HELD = {
    "dropped at commit": [
        "begin; create temp table tt (a int) on commit drop; insert into tt values (1); commit"
    ],
    "rolled back": ["begin; create temp table tt (a int); listen x; rollback"],
    "failed": ["begin; create temp table tt (a int); select 1/0"],
    "listen rolled back": ["begin", "listen ch", "rollback"],
    "transaction locks": [
        "select pg_advisory_xact_lock(1)",
        "begin; select pg_advisory_xact_lock(1); commit",
    ],
    "lock and unlock": ["select pg_advisory_lock(1), pg_advisory_unlock(1)"],
    "cursors": ["begin; declare c cursor for select 1; fetch c; commit"],
    "reset settings": ["set work_mem = '1MB'", "reset work_mem"],
}


@pytest.mark.parametrize("name", HELD)
async def test_held_and_released(arena: Arena, name: str) -> None:
    held, released = HELD[name]
    await arena.fresh()
    async with arena.session("two") as client:
        replies = await client.query(held)
        assert not codes(replies), replies
        assert await pinned(arena)
        again = await client.value("select pg_backend_pid()")
        assert await client.value("select pg_backend_pid()") == again
        await client.query("set work_mem = '5MB'")
        assert not codes(
            await client.query(released.split("; ", 1)[0] if released.startswith("begin") else released)
        )
        if released.startswith("begin"):
            assert not codes(await client.query(released.split("; ", 1)[1]))
        assert await pinned(arena, False)
        assert await client.value("show work_mem") == ("4MB" if released == "discard all" else "5MB")


@pytest.mark.parametrize("name", NOT_HELD)
async def test_not_held(arena: Arena, name: str) -> None:
    await arena.fresh()
    async with arena.session("two") as client:
        for sql in NOT_HELD[name]:
            await client.query(sql)
        if name == "failed":
            await client.query("rollback")
        assert await pinned(arena, False)


@pytest.mark.parametrize("name", HELD)
async def test_a_pinned_client_that_vanishes_leaves_nothing(arena: Arena, name: str) -> None:
    """In a pool of one: the next client gets a connection without anything of the last."""
    await arena.fresh()
    async with arena.session() as client:
        await client.query("set work_mem = '7MB'; set my.own = 'x'")
        await client.query(HELD[name][0])
        client.vanish()
    async with arena.session() as other:
        assert await other.rows("select * from pg_listening_channels()") == []
        assert await other.rows("select name from pg_prepared_statements where from_sql") == []
        assert await other.rows("select name from pg_cursors where is_holdable") == []
        assert (
            await other.value("select count(*) from pg_class where relnamespace = pg_my_temp_schema()") == "0"
        )
        assert await other.value(LOST) == "0"
        assert await other.rows("show work_mem; select nullif(current_setting('my.own', true), '')") == [
            ("4MB",),
            (None,),
        ]


@pytest.mark.parametrize("sql", ["load 'auto_explain'", "select setseed(0.5)", "set seed = 0.5"])
async def test_what_cannot_be_read_back_pins_for_good(arena: Arena, sql: str) -> None:
    await arena.fresh()
    async with arena.session("two") as client:
        assert not codes(await client.query(sql))
        assert await pinned(arena)
        assert not codes(await client.query("discard all"))
        assert await pinned(arena)
    async with arena.session(application_name="forever") as client:
        await client.query(sql)
        found = "select pid from pg_stat_activity where application_name = 'forever'"
        (own,) = arena.control.execute(found).fetchone() or (0,)
        assert own
    async with arena.session() as other:
        await other.query("select 1")
        gone = arena.control.execute("select from pg_stat_activity where pid = %s", (own,)).fetchone()
        assert gone is None, "the connection ends with the session that made it unusable for others"


async def test_settings_of_unknown_names_pin(arena: Arena) -> None:
    async with arena.session("two") as client, arena.session("two") as other, arena.session("two") as third:
        await client.query("select dynamic('hidden')")
        assert await pinned(arena)
        for one in (other, third, other):
            assert await one.value("select nullif(current_setting('my.hidden', true), '')") is None
        assert await client.value("select current_setting('my.hidden')") == "secret"
        client.vanish()
        for one in (other, third, other):
            assert await one.value("select nullif(current_setting('my.hidden', true), '')") is None


async def test_setting_named_by_a_parameter(arena: Arena) -> None:
    async with arena.session("two") as client, arena.session("two") as other:
        await client.ask(
            P("s", "select set_config($1, $2, false)") + B("", "s", "my.param", "mine") + E() + S
        )
        await other.query("select 1")
        assert await other.value("select nullif(current_setting('my.param', true), '')") is None
        assert await client.value("select current_setting('my.param')") == "mine"


async def test_notifications_arrive_while_idle(arena: Arena) -> None:
    async with arena.session("two") as listener, arena.session("two") as sender:
        await listener.query("listen ch")
        await sender.query("notify ch, 'hello'")
        kind, payload = await listener.message()
        assert (kind, payload[4:]) == ("A", b"ch\0hello\0")
        await sender.query("begin; select pg_notify('ch', '2'); select pg_notify('ch', '3'); commit")
        assert [(await listener.message())[1][4:] for _ in range(2)] == [b"ch\0" + b"2\0", b"ch\0" + b"3\0"]
        await listener.query("notify ch, 'own'")
        replies = await listener.query("unlisten ch")
        await sender.query("notify ch, 'late'")
        assert tags(replies) == ["UNLISTEN"]
        assert kinds(await listener.query("select 1")) == "TDCZ"


async def test_temporary_tables_are_ones_own(arena: Arena) -> None:
    async with arena.session("two") as first, arena.session("two") as second:
        for client, word in ((first, "one"), (second, "two")):
            assert not codes(await client.query(f"create temp table tt as select '{word}' as word"))
        for client, word in ((first, "one"), (second, "two"), (first, "one")):
            assert await client.value("select word from tt") == word
            replies = await client.ask(P("a", "select word from tt") + B("", "a") + E() + S)
            assert (codes(replies), rows(replies)) == ([], [(word,)]), replies
            assert not codes(await client.query("deallocate a"))


async def test_a_full_pool_of_pinned_clients_says_so(arena: Arena) -> None:
    async with arena.session() as client:
        await client.query("listen ch")
        async with arena.session() as other:
            other.send(Q("select 1"))
            await asyncio.sleep(0.2)
            await client.query("unlisten ch")
            assert kinds(await other.read()) == "TDCZ"


async def test_roles_do_not_leak(arena: Arena) -> None:
    """Also not when their client fails or vanishes, in any state."""
    states = [
        "set role other",
        "set session authorization plain",
        "begin; set role other",
        "begin; set local role other; x",
        "set role other; create temp table tt (a int)",
        "begin; set role other; select pg_sleep(0.2)",
    ]
    for sql in states:
        async with arena.session() as client:
            client.send(Q(sql))
            if "sleep" not in sql:
                await client.read()
            else:
                await asyncio.sleep(0.05)
            client.vanish()
        async with arena.session() as other:
            assert await other.rows("select current_user, session_user") == [("postgres", "postgres")], sql


async def test_parameters_are_told_when_they_change(arena: Arena) -> None:
    """ParameterStatus comes for a change of the client's own value, and for nothing that others do."""
    async with (
        arena.session(application_name="first") as client,
        arena.session(application_name="second") as other,
    ):
        assert client.parameters["application_name"] == "first"
        for _ in range(3):
            await other.query("set datestyle = 'German'; set timezone = 'Asia/Tokyo'")
            await client.query("select 1")
            assert client.told == []
        await client.query("set application_name = 'third'")
        assert client.told == [("application_name", "third")]
        await other.query("select 1")
        assert [name for name, _ in other.told] == ["DateStyle", "TimeZone"]
        assert other.parameters["application_name"] == "second"
        await client.query("begin; set timezone = 'UTC'; set timezone = 'Asia/Tokyo'; rollback")
        assert client.parameters["TimeZone"] == (await client.value("show timezone"))
        await client.query("discard all")
        await client.query("select 1")
        assert client.parameters["application_name"] == "first"


async def test_application_name_is_passed_on(arena: Arena) -> None:
    async with arena.session(application_name="näme 'x'") as client:
        own = "select application_name from pg_stat_activity where pid = pg_backend_pid()"
        assert await client.value(own) == await client.value("show application_name")
        await arena.disturb_once()
        assert await client.value(own) == await client.value("show application_name")


async def test_sequences_belong_to_their_session(arena: Arena) -> None:
    """In a pool of two: currval is the client's own or an error, never another client's."""
    await arena.fresh("create sequence q;")
    async with arena.session("two") as first, arena.session("two") as second, arena.session("two") as third:
        for _ in range(10):
            own = await first.value("select nextval('q')")
            other = await second.value("select nextval('q')")
            for client, value in ((first, own), (second, other)):
                replies = await client.query("select currval('q'), lastval()")
                assert codes(replies) in ([], ["55000"])
                assert rows(replies) in ([], [(value, value)])
            assert codes(await third.query("select currval('q')")) == ["55000"]
            replies = await third.ask(P("c", "select currval('q')") + B("", "c") + E() + S)
            assert rows(replies) == [] and codes(replies)
            await third.query("deallocate all")


async def test_session_mode_of_a_user(arena: Arena) -> None:
    """A pinned client in transaction mode and a pool in session mode come to the same: see ``start_proxy`` tests."""
    async with arena.session("two") as client:
        assert isinstance(client, Raw)
        await client.query("listen x")
        assert await client.value("select pg_backend_pid()") == await client.value("select pg_backend_pid()")
