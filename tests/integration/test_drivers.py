"""What applications' drivers do, through a pool of one server connection (two for the user ``two``).

The drivers' own suites run with ``tests/drivers/run.py``; here is what they found, and what each must be able to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.fixtures.proxy import Proxy


@pytest.fixture
def connection(proxy: Proxy, database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(proxy.dsn(database), autocommit=True) as connection:
        yield connection


def _sync(connection: psycopg.Connection) -> None:
    connection.execute("create table items(id serial primary key, name text)")
    with connection.cursor() as cursor:
        cursor.executemany("insert into items(name) values (%s) returning id", [["a"], ["b"]], returning=True)
        with cursor.copy("copy items(name) from stdin") as copy:
            copy.write_row(["c"])
    with connection.transaction(), connection.cursor(name="portal") as portal:
        portal.itersize = 1
        assert [row[0] for row in portal.execute("select name from items order by id")] == ["a", "b", "c"]
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select * from missing")
    # a pipeline whose second statement asks for prepared statements by name: the first one's answer is not lost
    with connection.pipeline():
        first = connection.execute("select %s::int", [10], prepare=True)
        second = connection.execute(
            "select statement from pg_prepared_statements where statement ~ '[$]1::int$'"
        )
    assert (first.fetchone(), second.fetchone()) == ((10,), ("select $1::int",))


async def test_psycopg(connection: psycopg.Connection) -> None:
    await asyncio.to_thread(_sync, connection)


async def test_psycopg_async_hears_of_its_own_notifications(proxy: Proxy, database: str) -> None:
    async with proxy.psycopg(database) as client:
        heard: list[psycopg.Notify] = []
        client.add_notify_handler(heard.append)
        await client.execute("listen news")
        await client.execute("notify news, 'x'")
        assert [(one.payload, one.pid) for one in heard] == [("x", client.info.backend_pid)]
        row = await (await client.execute("select pg_backend_pid()")).fetchone()
        assert row == (client.info.backend_pid,)
        async with proxy.client(database, "two") as other, proxy.psycopg(database, "two") as listener:
            listener.add_notify_handler(heard.append)
            await listener.execute("listen news")
            await other.execute("notify news, 'y'")
            await listener.execute("select 1")
            assert (heard[-1].payload, heard[-1].pid) == ("y", other.get_server_pid())
        await client.execute("unlisten *")


@pytest.mark.parametrize("where", [None, "postgres"])
async def test_a_client_is_ended_by_its_process_id(proxy: Proxy, database: str, where: str | None) -> None:
    async with proxy.psycopg(database, "two") as victim, proxy.psycopg(where or database, "two") as other:
        pid = victim.info.backend_pid
        answer = await other.execute("select pg_terminate_backend(%s)", [pid])
        assert await answer.fetchone() == (True,)
        with pytest.raises(psycopg.errors.AdminShutdown):
            await victim.execute("select 1")
        assert victim.broken
        assert await (await other.execute("select 1")).fetchone() == (1,)


async def test_an_idle_client_is_not_ended_by_a_cancel(proxy: Proxy, database: str) -> None:
    async with proxy.psycopg(database, "two") as target, proxy.psycopg(database, "two") as other:
        await other.execute(f"select pg_cancel_backend({target.info.backend_pid})")
        assert await (await target.execute("select 1")).fetchone() == (1,)


async def test_asyncpg(proxy: Proxy, database: str) -> None:
    async with proxy.client(database) as one, proxy.client(database) as two:
        await one.execute("create table items(id int primary key, name text)")
        await one.copy_records_to_table("items", records=[(i, f"n{i}") for i in range(50)])
        for client in (one, two) * 3:
            assert await client.fetchval("select name from items where id = $1", 7) == "n7"
        async with two.transaction():
            found = [row["id"] async for row in two.cursor("select id from items order by id", prefetch=7)]
        assert found == list(range(50))
        with pytest.raises(asyncpg.UniqueViolationError):
            await one.executemany("insert into items values($1, $2)", [(100, "x"), (7, "y")])
        assert await two.fetchval("select count(*) from items") == 50
        # a text too long for its statement cache, with types that it must look up in between
        assert await one.fetchval(f"select $1::int[], '{'a' * 20000}'", [1, 2]) == [1, 2]


async def test_a_database_is_dropped_although_it_was_just_used(proxy: Proxy) -> None:
    async with proxy.client() as client:
        async with proxy.client("template1") as other:  # what a new database is copied from
            assert await other.fetchval("select 1") == 1
        await client.execute("create database dropped")
        async with proxy.client("dropped") as other:
            assert await other.fetchval("select 1") == 1
        await client.execute("drop database dropped")


async def test_startup_parameters_and_the_servers_defaults(proxy: Proxy, database: str) -> None:
    settings = {"datestyle": "Postgres, MDY", "intervalstyle": "postgres_verbose"}
    async with proxy.client(database, server_settings=settings) as client:

        async def style() -> str:
            return str(await client.fetchval("show datestyle"))

        assert await style() == "Postgres, MDY"
        await client.execute("set datestyle to iso")  # just what the server has by default
        assert await style() == "ISO, MDY"
        await client.execute("reset datestyle")
        assert await style() == "Postgres, MDY"
        assert await client.fetchval("show intervalstyle") == "postgres_verbose"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_sqlalchemy_core(proxy: Proxy, database: str, driver: str) -> None:
    engine = create_async_engine(
        proxy.dsn(database).replace("postgresql:", f"postgresql+{driver}:"), pool_size=3
    )
    metadata = sa.MetaData()
    items = sa.Table(
        "items", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("tags", sa.JSON)
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            made = await connection.execute(
                items.insert().returning(items.c.id), [{"tags": [i]} for i in range(20)]
            )
            assert len(made.fetchall()) == 20
        for _ in range(3):
            async with engine.connect() as one, engine.connect() as two:
                for connection in (one, two):
                    found = (
                        await connection.execute(sa.select(items.c.tags).where(items.c.id == 3))
                    ).scalar_one()
                    assert found == [2]
                    await connection.rollback()
        async with engine.connect() as connection:
            columns = await connection.run_sync(lambda sync: sa.inspect(sync).get_columns("items"))
        assert [column["name"] for column in columns] == ["id", "tags"]
    finally:
        await engine.dispose()
