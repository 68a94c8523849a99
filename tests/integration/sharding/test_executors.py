"""Scatter and gather over real databases, with plans written by hand: what they send, and the state that they leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from shardproxy.catalog.tables import Column, Table, Tables
from shardproxy.dialects.postgres.sharded.errors import PgError
from shardproxy.dialects.postgres.sharded.gather import run_gather
from shardproxy.dialects.postgres.sharded.legs import NO_BIND, Bind
from shardproxy.dialects.postgres.sharded.scatter import run_scatter, scatter
from shardproxy.dialects.postgres.sharded.statement import Statement
from shardproxy.planner.plan import Fold, Gather, Pull, Scatter, ShardFilter, SortKey, Value
from shardproxy.tools.cluster import Node
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout
from tests.fixtures.legs import Direct, run_on_pump

SHARDS = ["k/s0", "k/s1", "k/s2"]
ALL = ShardFilter("k", ("public", "t"))
LAYOUT = Layout(1, "main", {"k": KeyspaceLayout("k", ("s0", "s1", "s2"), "hash", 3, (0, 1, 2),
                                                (TableLayout("public", "t", "k", ("id",)),))})
COLUMNS = (Column("id", 23, "integer", base=23, not_null=True), Column("x", 1700, "numeric(10,2)", base=1700),
           Column("name", 25, "text", base=25, collation="C"), Column("mood", 99999, "mood", type_kind="e", base=99999))
TABLES = Tables([Table(1, "public", "t", "r", COLUMNS, primary_key=("id",), shell=True)])
BOUNDS = SimpleNamespace(gather=SimpleNamespace(max_rows=100_000, max_bytes=1 << 30), max_fanout=0,
                         isolation="per_shard")
SCHEMA = """create type mood as enum ('sad', 'ok', 'glad');
    create table t (id int primary key, x numeric(10,2), name text collate "C", mood mood)"""
ROWS = """insert into t select i, case when i % 7 = 0 then null else i * 1.5 end, 'n' || i || chr(9) || '\\', 'ok'
    from generate_series(1, 3000) i where i % 3 = {}"""

Work = Callable[[Any, Direct], Awaitable[None]]


@pytest.fixture(scope="module")
def addresses(sharded_node: Node) -> Iterator[dict[str, tuple[str, int, str]]]:
    """Places and their databases: a shell, and three shards whose types have different OIDs."""
    places = {"": "exec_main"} | {place: f"exec_{number}" for number, place in enumerate(SHARDS)}
    with psycopg.connect(sharded_node.dsn(), autocommit=True) as control:
        for name in places.values():
            control.execute(f"create database {name}")
    for number, name in enumerate(places.values(), -1):
        with psycopg.connect(sharded_node.dsn(name), autocommit=True) as connection:
            for other in range(number + 1):
                connection.execute(f"create type other{other} as (a int)")
            for text in [*SCHEMA.split(";"), *([ROWS.format(number)] if number >= 0 else [])]:
                connection.execute(text)
    yield {place: (sharded_node.host, sharded_node.port, name) for place, name in places.items()}


@pytest.fixture
def on(addresses: dict[str, tuple[str, int, str]]) -> Callable[[Work], Direct]:
    """Runs a test's work over the places; all connections must be quiet and outside a transaction after it."""

    def run(work: Work) -> Direct:
        made: list[Direct] = []

        async def body(loop: Any) -> None:
            tx = Direct(loop, addresses, BOUNDS)
            made.append(tx)
            try:
                await work(loop, tx)
                for place, server in tx.opened.items():
                    assert not server.closed, place
                    leg = await tx._take(place)
                    assert await leg.run("select 1") == [[b"1"]], place
                    assert server.status == 0x49 or tx.in_block, place
            finally:
                tx.close()

        run_on_pump(body)
        return made[0]

    return run


def statement(text: str, bind: Bind = NO_BIND, formats: tuple[int, ...] = ()) -> Statement:
    return Statement(text.encode(), LAYOUT, TABLES, bind, formats)


def scattered(on: Any, text: str, plan: dict[str, Any] | None = None, bind: Bind = NO_BIND,
              formats: tuple[int, ...] = ()) -> Any:
    async def work(_: Any, tx: Direct) -> None:
        await scatter(tx, Scatter(ALL, text.encode(), **(plan or {})), SHARDS, statement(text, bind, formats), tx.out)

    return on(work).client


def tag(client: Any) -> str:
    return next(bytes(payload).rstrip(b"\0").decode() for kind, payload in client.messages() if kind == "C")


@pytest.mark.parametrize("formats", [(), (1,)])
def test_rows_are_merged(on: Any, formats: tuple[int, ...]) -> None:
    order = (SortKey(1, 1700, True, True), SortKey(0, 23))
    client = scattered(on, "select id, x, id from t order by x desc, id", {"order": order, "hidden": 1},
                       formats=formats)
    cells = client.rows()
    numbers = [int.from_bytes(row[0], "big") if formats else int(row[0]) for row in cells]
    nulls = [i for i in range(1, 3001) if i % 7 == 0]
    assert numbers == nulls + [i for i in range(3000, 0, -1) if i % 7]
    assert {len(row) for row in cells} == {2}
    assert tag(client) == "SELECT 3000"


def test_limit_and_offset(on: Any) -> None:
    plan = {"order": (SortKey(0, 23),), "limit": Value(1), "offset": Value(text="5")}
    bind = Bind((20,), (1,), ((7).to_bytes(8, "big"),))
    client = scattered(on, "select id from t order by id limit $1 + 5", plan, bind)
    assert [row[0] for row in client.rows()] == [str(i).encode() for i in range(6, 13)]
    assert tag(client) == "SELECT 7"


def test_limit_without_order_stops_the_rest(on: Any) -> None:
    client = scattered(on, "select a.id from t a, t b, t c", {"limit": Value(text="5")})
    assert len(client.rows()) == 5


@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_what_cannot_be_merged_is_gathered(on: Any, begin: str) -> None:
    pull = Pull(ALL, b"select mood, id from t where id < 100", ("mood", "id"), ("public", "t"))
    otherwise = Gather((pull,), (b"select mood, id from ", 0, b" order by mood, id"))
    text = "select mood, id from t where id < 100 order by mood, id"

    async def work(_: Any, tx: Direct) -> None:
        tx.begin = begin
        plan = Scatter(ALL, text.encode(), (SortKey(0, 0), SortKey(1, 23)), fallback=otherwise)
        await run_scatter(tx, plan, statement(text), tx.out)
        if begin:
            await tx.rollback()
            tx.begin = ""

    client = on(work).client
    assert [row[1] for row in client.rows()] == [str(i).encode() for i in range(1, 100)]
    assert [kind for kind, _ in client.messages()].count("T") == 1


def test_folds(on: Any) -> None:
    folds = (Fold("sum", 20), Fold("sum", 1700), Fold("min", 25), Fold("max", 23), Fold("or", 16), Fold("sum", 1700))
    text = "select count(*), sum(x), min(name), max(id), bool_or(id = 5), sum(x) filter (where id < 0) from t"
    text_row = scattered(on, text, {"folds": folds}).rows()
    total = sum(i * 150 for i in range(1, 3001) if i % 7)
    assert text_row == [[b"3000", f"{total // 100}.{total % 100:02}".encode(), b"n1\t\\", b"3000", b"t", None]]
    binary = scattered(on, text, {"folds": folds}, formats=(1,)).rows()[0]
    assert int.from_bytes(binary[0], "big") == 3000
    assert binary[4:] == [b"\1", None]


def test_the_first_error_is_told_and_the_rest_stops(on: Any) -> None:
    text = "select case when id = 4 then 1 / (id - 4) end, pg_sleep(case when id % 3 = 1 then 0 else 30 end) from t"

    async def work(_: Any, tx: Direct) -> None:
        with pytest.raises(PgError) as caught:
            await scatter(tx, Scatter(ALL, text.encode()), SHARDS, statement(text), tx.out)
        assert caught.value.sqlstate == "22012"

    on(work)


def test_shards_that_differ_are_told(on: Any, addresses: dict[str, tuple[str, int, str]]) -> None:
    text = "select 1 as a, case when current_database() = 'exec_1' then 2 end as b"

    async def work(_: Any, tx: Direct) -> None:
        leg = await tx.leg("k/s1")
        await leg.run("create temp view v as select 1::int8 as id")
        for place in ("k/s0", "k/s2"):
            await (await tx.leg(place)).run("create temp view v as select 1::int4 as id")
        with pytest.raises(PgError, match="k/s1") as caught:
            await scatter(tx, Scatter(ALL, b"select id from v"), SHARDS, statement(text), tx.out)
        assert caught.value.sqlstate == "55000"

    on(work)


def test_user_types_have_the_coordinators_oids(on: Any) -> None:
    client = scattered(on, "select mood, count(*) over () from t where id = 1")
    described = next(payload for kind, payload in client.messages() if kind == "T")
    seen = int.from_bytes(described[2 + 5 + 6:2 + 5 + 10], "big")

    async def work(_: Any, tx: Direct) -> None:
        assert int((await (await tx.leg("")).run("select 'mood'::regtype::oid"))[0][0] or 0) == seen
        assert int((await (await tx.leg("k/s2")).run("select 'mood'::regtype::oid"))[0][0] or 0) != seen

    on(work)


def test_serial_locks_no_more_than_it_returns(on: Any) -> None:
    text = "select id from t order by id limit 1500 for update skip locked"

    async def work(_: Any, tx: Direct) -> None:
        tx.begin = "BEGIN"
        plan = Scatter(ALL, text.encode(), limit=Value(text="1500"), serial=True)
        await scatter(tx, plan, SHARDS, statement(text), tx.out)
        assert len(tx.client.rows()) == 1500
        other = await tx._take("k/s1")
        await other.run("create extension if not exists pgrowlocks")
        assert await other.run("select count(*) from pgrowlocks('t')") == [[b"500"]]
        assert "k/s2" not in tx.legs
        await tx.rollback()
        tx.begin = ""

    on(work)


def gathered(on: Any, text: tuple[Any, ...], pulls: tuple[Pull, ...], begin: str = "", **options: Any) -> Any:
    async def work(_: Any, tx: Direct) -> None:
        tx.begin = begin
        await run_gather(tx, Gather(pulls, text), statement("", **options), tx.out)
        if begin:
            await tx.rollback()
            tx.begin = ""
        left = await (await tx._take("")).run("select relname from pg_class where relname like 'shardproxy_g%'")
        assert left == []

    return on(work).client


ROWS_OF_T = Pull(ALL, b"select id, x, name from t", ("id", "x", "name"), ("public", "t"))
MOODS = Pull(ALL, b"select id, name, mood from t where id <= $1", ("id", "name", "mood"), ("public", "t"))


@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_gather_has_types_collations_and_keys(on: Any, begin: str) -> None:
    text = (b"select a.id, a.x, a.name from ", 0, b" a group by a.id order by a.name desc limit 2")
    client = gathered(on, text, (ROWS_OF_T,), begin)
    assert [row[2] for row in client.rows()] == [b"n999\t\\", b"n998\t\\"]
    assert tag(client) == "SELECT 2"
    described = next(payload for kind, payload in client.messages() if kind == "T")
    assert b"\x00\x0a\x00\x06" in described         # numeric(10,2)


def test_gather_of_types_with_oids_and_odd_texts(on: Any) -> None:
    text = (b"select max(mood)::text, count(*), min(name) from ", 0, b" where id <= $1")
    client = gathered(on, text, (MOODS,), bind=Bind((23,), (0,), (b"30",)))
    assert client.rows() == [[b"ok", b"30", b"n1\t\\"]]


def test_several_pulls_see_one_snapshot(on: Any) -> None:
    text = (b"select (select count(*) from ", 0, b"), (select count(*) from ", 1, b")")
    assert gathered(on, text, (ROWS_OF_T, ROWS_OF_T)).rows() == [[b"3000", b"3000"]]
    repeatable = "BEGIN ISOLATION LEVEL REPEATABLE READ"
    assert gathered(on, text, (ROWS_OF_T, ROWS_OF_T), repeatable).rows() == [[b"3000", b"3000"]]


def test_in_a_block_several_pulls_are_one_statement(on: Any) -> None:
    counted = Pull(ALL, b"select id % 2, count(*), sum(x) from t group by 1", ("k", "n", "s"),
                   types=("integer", "bigint", "numeric"))
    text = (b"select count(*), sum(a.x), min(a.name), max(a.mood)::text, (select sum(s) from ", 1, b") from ", 0, b" a")
    pull = Pull(ALL, b"select id, x, name, mood from t", ("id", "x", "name", "mood"), ("public", "t"))
    client = gathered(on, text, (pull, counted), "BEGIN")
    total = sum(i * 150 for i in range(1, 3001) if i % 7)
    number = f"{total // 100}.{total % 100:02}".encode()
    assert client.rows() == [[b"3000", number, b"n1\t\\", b"ok", number]]


@pytest.mark.parametrize("head", [b"select", b"with recursive r as (select 1) select"])
def test_in_a_read_only_block_rows_are_inlined(on: Any, head: bytes) -> None:
    counted = Pull(ALL, b"select id % 2, count(*), sum(x) from t group by 1", ("k", "n", "s"),
                   types=("integer", "bigint", "numeric"))
    pull = Pull(ALL, b"select id, x, name, mood from t where id <= 100", ("id", "x", "name", "mood"), ("public", "t"))
    text = (head + b" a.x, a.name, a.mood, (select sum(n) from ", 1, b") from ", 0, b" a order by a.name desc limit 1")
    client = gathered(on, text, (pull, counted), "BEGIN READ ONLY")
    assert client.rows() == [[b"148.50", b"n99\t\\", b"ok", b"3000"]]
    described = next(payload for kind, payload in client.messages() if kind == "T")
    assert b"\x00\x0a\x00\x06" in described         # numeric(10,2)
    none = Pull(ALL, b"select id, x from t where false", ("id", "x"), ("public", "t"))
    assert gathered(on, (b"select id from ", 0), (none,), "BEGIN READ ONLY").rows() == []


def test_computed_rows(on: Any) -> None:
    pull = Pull(ALL, b"select id % 2, count(*), sum(x) from t group by 1", ("k", "n", "s"),
                types=("integer", "bigint", "numeric"))
    client = gathered(on, (b"select k, sum(n), sum(s) from ", 0, b" group by k order by k"), (pull,))
    assert [row[:2] for row in client.rows()] == [[b"0", b"1500"], [b"1", b"1500"]]


def test_bounds_stop_a_gather(on: Any) -> None:
    pull = Pull(ALL, b"select a.id, b.x, a.name from t a, t b", ("id", "x", "name"), ("public", "t"))

    async def work(_: Any, tx: Direct) -> None:
        with pytest.raises(PgError, match="max_rows") as caught:
            await run_gather(tx, Gather((pull,), (b"select 1 from ", 0)), statement(""), tx.out)
        assert caught.value.sqlstate == "54000"
        await tx.rollback()

    on(work)


def test_an_error_on_a_shard_leaves_nothing(on: Any) -> None:
    pull = Pull(ALL, b"select id, 1 / (id - 4), name from t", ("id", "x", "name"), ("public", "t"))

    async def work(_: Any, tx: Direct) -> None:
        with pytest.raises(PgError) as caught:
            await run_gather(tx, Gather((pull, ROWS_OF_T), (b"select 1 from ", 0)), statement(""), tx.out)
        assert caught.value.sqlstate == "22012"
        await tx.rollback()

    on(work)
