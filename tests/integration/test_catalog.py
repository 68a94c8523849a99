"""Facts read from a real catalog, and what the router makes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shardproxy import dialects
from shardproxy.catalog.facts import Facts, slot_of
from shardproxy.dialects import facts as bits
from shardproxy.dialects.flags import MAYBE_READ, describe
from shardproxy.router.router_cy import Router
from shardproxy.tools.cluster import Cluster, Node

SCHEMA = (Path(__file__).parents[1] / "fixtures" / "schema.sql").read_text()
NAMES = {value: name for name, value in vars(bits).items() if name.isupper() and isinstance(value, int)}


def words(value: int) -> set[str]:
    return {name for bit, name in NAMES.items() if value & bit}


class Loaded:
    """Facts of the schema, as JSON and as an object, and the OIDs of its tables."""

    def __init__(self, data: dict[str, Any], oids: dict[str, int]) -> None:
        self.data, self.oids = data, oids
        self.facts = Facts(data)
        self.router = Router(dialects.get("postgres"))
        self.router.set_facts(data, 1)

    def slots(self, *names: str) -> tuple[int, ...]:
        return tuple(sorted(slot_of(self.oids[name]) for name in names))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(pg: Node) -> AsyncIterator[Loaded]:
    await pg.sql("create database catalog_test")
    await pg.sql(SCHEMA, dbname="catalog_test")
    async with pg.connection("catalog_test") as connection:
        data = await dialects.get("postgres").catalog_load(connection)
        assert data == await dialects.get("postgres").catalog_load(connection)
        again = await dialects.get("postgres").catalog_load(connection, ["no_such_function"])
        assert data == again, "equal catalogs give equal facts"
        rows = await connection.fetch("select case when relnamespace = 'public'::regnamespace then '' else 's2.' end "
                                      "|| relname as name, oid from pg_class where oid >= 16384")
    yield Loaded(data, {row["name"]: row["oid"] for row in rows})
    await pg.sql("drop database catalog_test with (force)")


RELATIONS = [
    ("t", {"READABLE", "DEFAULTS"}, ("t", "s2.t"), ("t", "s2.t")),
    ("plain", {"READABLE"}, ("plain",), ("plain",)),
    ("related", {"READABLE"}, ("related",), ("related",)),
    ("parent", {"READABLE"}, ("parent",), ("parent", "child", "grandchild")),
    ("child", {"READABLE"}, ("child",), ("child", "grandchild")),
    ("part", {"READABLE"}, ("part",), None), ("part1", {"READABLE"}, ("part",), None),
    ("part21", {"READABLE"}, ("part",), None),
    ("unlog", set(), ("unlog",), ("unlog",)),
    ("mv", {"READABLE"}, ("mv",), ("mv",)),
    ("inh_a", {"READABLE", "WRITE_SESSION", "SEQUENCES"}, ("inh_a",), ("inh_a",)),
    ("inh_c", {"READABLE", "WRITE_SESSION", "SEQUENCES"}, ("inh_a",), ("inh_a",)),
    ("v_plain", {"READABLE", "DEFAULTS"}, ("t", "plain"), None),
    ("v_of_view", {"READABLE", "DEFAULTS"}, ("t", "plain"), None),
    ("v_random", set(), ("plain",), None), ("v_backend", set(), ("plain",), None),
    ("v_stable", set(), ("plain",), None), ("v_imm", {"READABLE"}, ("plain",), None),
    ("v_stat", set(), (), None), ("v_sequence", set(), (), None),
    ("v_catalog", {"READABLE"}, (), None), ("v_information", {"READABLE"}, (), None),
    ("v_set", {"READ_SESSION"}, ("plain",), None), ("v_far", {"READ_SESSION"}, (), None),
    ("touched", {"READABLE"}, ("touched",), ("touched",)),
    ("audited", {"READABLE"}, ("audited",), None),
    ("temps", {"READABLE", "WRITE_SESSION", "SEQUENCES"}, ("temps",), ("temps",)),
    ("calm", {"READABLE"}, ("calm",), ("calm",)),
    ("cascades_to_temps", {"READABLE", "WRITE_SESSION", "SEQUENCES"}, ("cascades_to_temps",),
     ("cascades_to_temps", "temps_child")),
    ("defaults", {"READABLE", "WRITE_SESSION"}, ("defaults",), ("defaults",)),
    ("checks", {"READABLE", "WRITE_SESSION"}, ("checks",), ("checks",)),
    ("domains", {"READABLE", "WRITE_SESSION"}, ("domains",), ("domains",)),
    ("ruled", {"READABLE", "SEQUENCES"}, ("ruled",), None),
    ("secured", {"READABLE"}, ("secured",), ("secured",)),
    ("secured_badly", set(), ("secured_badly",), ("secured_badly",)),
    ("secured_by_plain", {"READABLE"}, ("secured_by_plain", "plain"), ("secured_by_plain",)),
    ("not_secured", {"READABLE"}, ("not_secured",), ("not_secured",)),
    ("moods", set(), ("moods",), ("moods",)), ("feelings", {"READABLE"}, ("feelings",), ("feelings",)),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "expected", "reads", "writes"), RELATIONS)
async def test_relations(loaded: Loaded, name: str, expected: set[str], reads: tuple[str, ...],
                         writes: tuple[str, ...] | None) -> None:
    found = loaded.facts.relation(name)
    assert found is not None
    assert words(found.bits) == expected
    assert found.read_slots == loaded.slots(*reads)
    assert found.write_slots == (bits.UNKNOWN_TABLE if writes is None else loaded.slots(*writes))


FUNCTIONS = [
    ("f_set", {"CHANGES_SESSION"}), ("f_setlocal", set()), ("f_hidden", {"CHANGES_SESSION", "HIDES"}),
    ("f_imm", {"HARMLESS"}), ("f_stable", set()), ("f_volatile", set()), ("f_calls", {"CHANGES_SESSION"}),
    ("f_dynamic", {"CHANGES_SESSION", "WRITES", "HIDES", "SEQUENCES"}),
    ("f_search", {"CHANGES_SESSION", "WRITES", "SEQUENCES"}),
    ("f_atomic", {"CHANGES_SESSION"}), ("f_row", set()), ("f_insert", {"WRITES"}), ("f_lock", {"CHANGES_SESSION"}),
    ("f_load", {"CHANGES_SESSION", "STAYS"}), ("f_temp", {"CHANGES_SESSION", "SEQUENCES"}),
    ("f_ddl", {"CHANGES_SESSION", "WRITES", "CHANGES_CATALOG"}), ("f_reads_view", {"CHANGES_SESSION"}),
    ("p_insert", {"WRITES"}), ("p_calm", set()), ("agg_pure", {"HARMLESS"}), ("agg_set", {"CHANGES_SESSION"}),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "expected"), FUNCTIONS)
async def test_functions(loaded: Loaded, name: str, expected: set[str]) -> None:
    found = loaded.facts.function(name)
    assert found is not None
    assert words(found) == expected


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_called_without_a_name(loaded: Loaded) -> None:
    assert set(loaded.facts.risky_operators) == {"###"}
    assert set(loaded.facts.risky_types) == {"mood"}
    assert set(loaded.facts.risky_attributes) == {"f_row"}
    assert loaded.facts.settings == {"x.y"}
    assert not loaded.facts.event_triggers


STATEMENTS = """
READ              | select * from v_of_view
READ              | select f_imm(2), agg_pure(a) from plain group by 1
READ              | select * from secured
READ              | select 1 @@@@ 2
READ              | select * from part1 union all select * from part
                  | select * from v_random
                  | select f_stable(1)
                  | select f_setlocal()
                  | select p.f_row from plain p
                  | select 1 ### 2
                  | select m::int from moods
                  | select * from secured_badly
                  | insert into audited values (1)
                  | update touched set id = 2
                  | delete from parent
                  | call p_calm()
                  | call p_insert()
PROBE             | select f_set()
PROBE             | select s from v_set
PROBE             | select * from v_far
PROBE             | insert into defaults values (default)
PROBE             | insert into domains values (1)
PROBE|ADVANCES    | delete from cascades_to_temps
PROBE|ADVANCES    | select f_temp()
PROBE             | select agg_set(a) from plain
PROBE|HIDDEN      | select f_hidden('x.q')
PROBE|FOREVER     | select f_load()
PROBE|DDL|ADVANCES | select f_ddl()
UNPIN|ADVANCES    | drop table unknown_one
UNPIN|DDL|ADVANCES | drop table t
"""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("line", STATEMENTS.strip("\n").splitlines(), ids=lambda line: line.rpartition("| ")[2])
async def test_routes(loaded: Loaded, line: str) -> None:
    expected, _, sql = line.rpartition(" | ")
    found = describe(loaded.router.route(sql.encode()).flags & ~MAYBE_READ)
    assert set(found.split("|")) == {name.strip() for name in expected.split("|")}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_function_declared_harmless(pg: Node, loaded: Loaded) -> None:
    async with pg.connection("catalog_test") as connection:
        data = await dialects.get("postgres").catalog_load(connection, ["public.f_stable", "unheard_of"])
    assert Facts(data).function("f_stable") == bits.HARMLESS
    view = Facts(data).relation("v_stable")
    assert view is not None and view.bits & bits.READABLE


@pytest.mark.asyncio(loop_scope="module")
async def test_event_triggers(pg: Node, loaded: Loaded) -> None:
    async with pg.connection("catalog_test") as connection, _undone(connection):
        await connection.execute("create function e() returns event_trigger language plpgsql as 'begin end'; "
                                 "create event trigger e on ddl_command_end execute function e()")
        assert (await dialects.get("postgres").catalog_load(connection))["event_triggers"] is True


class _undone:  # noqa: N801
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *exc_info: object) -> None:
        await self.connection.execute("drop event trigger e; drop function e()")


EXTENSIONS = [
    ("pg_trgm", "select 'abc' % 'abd', similarity('a', 'b')", "READ"),
    ("pg_trgm", "select set_limit(0.2)", "PROBE"),
    ("hstore", "select hstore('a', 'b') -> 'a'", "READ"),
    ("citext", "select 'A'::citext = 'a'", "READ"),
    ("dblink", "select dblink_connect('x')", "PROBE|FOREVER"),
    ("isn", "select isn_weak(true)", "PROBE|FOREVER"),
]


@pytest.mark.parametrize(("extension", "sql", "expected"), EXTENSIONS)
async def test_extensions(pg: Node, database: str, extension: str, sql: str, expected: str) -> None:
    if not await pg.value("select count(*) from pg_available_extensions where name = $1", extension):
        pytest.skip(f"this server has no {extension}")
    async with pg.connection(database) as connection:
        await connection.execute(f"create extension {extension}")
        router = Router(dialects.get("postgres"))
        router.set_facts(await dialects.get("postgres").catalog_load(connection), 1)
    assert set(expected.split("|")) <= set(describe(router.route(sql.encode()).flags).split("|"))


@pytest.mark.asyncio(loop_scope="session")
async def test_every_proven_read_runs_on_a_standby(cluster: Cluster) -> None:
    await cluster.primary.sql("create database catalog_reads")
    try:
        await cluster.primary.sql(SCHEMA, dbname="catalog_reads")
        async with cluster.primary.connection("catalog_reads") as connection:
            router = Router(dialects.get("postgres"))
            router.set_facts(await dialects.get("postgres").catalog_load(connection), 1)
        await cluster.caught_up()
        async with cluster.replicas[0].connection("catalog_reads") as replica:
            await replica.execute("set app.id = 1")
            proven = [name for name, *_ in RELATIONS
                      if "READ" in describe(router.route(f"select * from {name}".encode()).flags).split("|")]
            assert len(proven) > 20
            for name in proven:
                await replica.fetch(f"select * from {name}")
    finally:
        await cluster.primary.sql("drop database catalog_reads with (force)")
