"""Short reads over several shards that are sent again and again: the same answers, errors and end as the first time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy

NAMES = ("quick", "quick_s0", "quick_s1", "quick_s2")
ROWS, TIMES = 300, 4


@pytest.fixture(scope="module")
def quick(sharded_node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A database over three shards, with a pool that all its clients share."""
    node = sharded_node
    with psycopg.connect(node.dsn(), autocommit=True) as control:
        for name in NAMES:
            control.execute(f"create database {name}")
    place = f"{node.host}:{node.port}"
    databases = {"quick": {
        "server_user": "postgres", "default_keyspace": "main",
        "keyspaces": {
            "main": {"shards": {"main": {"primary": f"{place}/quick"}}},
            "rows": {"shards": {f"s{n}": {"primary": f"{place}/quick_s{n}"} for n in range(3)},
                     "tables": {"t": {"key": "id"}}}}}}
    proxy = Proxy(Path(tmp_path_factory.mktemp("quick")), [], databases=databases, pool={"size": 3}).start()
    with psycopg.connect(_dsn(proxy), autocommit=True) as client:
        client.execute("create table t (id int primary key, v int, name text)")
        client.execute("insert into t select g, g % 7, 'name ' || g from "
                       f"generate_series(1, {ROWS}) g")
    yield proxy
    proxy.stop()


def _dsn(proxy: Proxy) -> str:
    return f"postgresql://postgres@{proxy.host}:{proxy.port}/quick"


STATEMENTS = [
    ("select count(*), min(id), max(name) from t", [(ROWS, 1, "name 99")]),
    ("select id from t where v = 3 order by id desc limit 2 offset 1", [(290,), (283,)]),
    ("select id, v from t where id in (1, 2, 3, 4) order by id", [(1, 1), (2, 2), (3, 3), (4, 4)]),
    ("select id from t where id < 0", []),
    ("select count(*) from t where id < 0", [(0,)]),
    ("select v from t where v < 2 order by v limit 1", [(0,)]),
]


@pytest.mark.parametrize(("text", "rows"), STATEMENTS)
@pytest.mark.parametrize("mode", ["simple", "extended", "prepared", "binary"])
def test_again(quick: Proxy, text: str, rows: list[tuple[object, ...]], mode: str) -> None:
    with psycopg.connect(_dsn(quick), autocommit=True) as client:
        if mode == "simple":
            cursor: psycopg.Cursor[tuple[object, ...]] = psycopg.ClientCursor(client)
        else:
            client.prepare_threshold = 0 if mode == "prepared" else None
            cursor = client.cursor(binary=mode == "binary")
        for _ in range(TIMES):
            assert cursor.execute(text).fetchall() == rows
            assert cursor.statusmessage == f"SELECT {len(rows)}"


async def test_parameters(quick: Proxy) -> None:
    client = await asyncpg.connect(_dsn(quick))
    for low in (1, 50, 299, 1000, 1):
        found = await client.fetch("select id from t where id >= $1 and id < $1 + 3 order by id", low)
        assert [row[0] for row in found] == [one for one in range(low, low + 3) if one <= ROWS]
    for limit in (0, 5, 2):
        assert len(await client.fetch("select id from t order by id limit $1", limit)) == limit
    with pytest.raises(asyncpg.PostgresError, match="LIMIT must not be negative"):
        await client.fetch("select id from t order by id limit $1", -1)
    await client.close()


async def test_errors_come_again(quick: Proxy) -> None:
    client = await asyncpg.connect(_dsn(quick))
    for _ in range(TIMES):
        with pytest.raises(asyncpg.DivisionByZeroError):        # on one shard only
            await client.fetch("select 1 / (id - 7) from t where id < 20")
        assert await client.fetchval("select count(*) from t") == ROWS
    await client.close()


async def test_many_rows_after_few(quick: Proxy) -> None:
    """One statement whose answer is small at times and large at others."""
    client = await asyncpg.connect(_dsn(quick))
    for width in (1, 10_000, 1, 3000):
        found = await client.fetch("select id, repeat(name, $1) from t where id < 200 order by id", width)
        assert [row[0] for row in found] == list(range(1, 200))
        assert all(len(row[1]) == width * len(f"name {row[0]}") for row in found)
    await client.close()


async def test_timeout_and_cancel(quick: Proxy) -> None:
    client = await asyncpg.connect(_dsn(quick))
    text = "select count(pg_sleep(v)) from t where id in (1, 2, 3)"
    await client.execute("set statement_timeout = 100")
    for _ in range(3):
        with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
            await client.fetch(text)
    await client.execute("set statement_timeout = 0")
    for _ in range(3):
        task = asyncio.ensure_future(client.fetch("select count(pg_sleep(60)) from t where id < 20"))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        task.cancel()               # the driver sends a cancel request
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.fetchval("select count(*) from t") == ROWS
        assert time.monotonic() - begun < 30
    await client.close()


async def test_clients_that_vanish(quick: Proxy) -> None:
    """Their connections are free again: the pool of three serves whoever comes."""
    for _ in range(6):
        client = await asyncpg.connect(_dsn(quick))
        await client.fetchval("select count(*) from t")
        task = asyncio.ensure_future(client.fetch("select count(pg_sleep(60)) from t where id < 20"))
        await asyncio.sleep(0.1)
        client.terminate()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(30):
        client = await asyncpg.connect(_dsn(quick))
        for _ in range(TIMES):
            assert await client.fetchval("select count(*) from t") == ROWS
    await client.close()


async def test_own_writes_and_settings(quick: Proxy) -> None:
    client = await asyncpg.connect(_dsn(quick))
    for number in range(1, 4):
        await client.execute("insert into t select g, 100 from generate_series(10001, 10009) g")
        assert await client.fetchval("select count(*) from t where v = 100") == 9
        await client.execute("delete from t where v = 100")
        assert await client.fetchval("select count(*) from t where v = 100") == 0
        await client.execute(f"set extra_float_digits = {number % 2}")
        text = "select v + 0.1::float8 as x from t where id < 4 order by v + 0.1::float8"
        assert [round(row[0], 6) for row in await client.fetch(text)] == [1.1, 2.1, 3.1]
    await client.close()


async def test_a_new_column(quick: Proxy) -> None:
    """What is remembered of a statement ends with the catalog that it was remembered of."""
    client = await asyncpg.connect(_dsn(quick))
    other = await asyncpg.connect(_dsn(quick))
    await client.execute("create table grown /* shardproxy: key=id keyspace=rows */ (id int primary key)")
    await client.execute("insert into grown select generate_series(1, 9)")
    for _ in range(TIMES):
        assert len((await other.fetch("select * from grown order by id", record_class=None))[0]) == 1
    await client.execute("alter table grown add column v int default 5")
    await other.reload_schema_state()
    rows = await psycopg_rows(quick, "select * from grown order by id")
    assert rows == [(number, 5) for number in range(1, 10)]
    await client.execute("drop table grown")
    await client.close()
    await other.close()


async def psycopg_rows(proxy: Proxy, text: str) -> list[tuple[object, ...]]:
    """By a client that has prepared nothing."""
    async with await psycopg.AsyncConnection.connect(_dsn(proxy), autocommit=True) as client:
        cursor = psycopg.AsyncClientCursor(client)
        for _ in range(2):
            await cursor.execute(text.encode())
            rows = await cursor.fetchall()
    return rows
