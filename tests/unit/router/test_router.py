"""The router: cache, hints, facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from shardproxy import dialects, limits
from shardproxy.dialects.base import Analysis
from shardproxy.dialects.facts import ANY_TABLE, UNKNOWN_TABLE, FactsView
from shardproxy.router import flags as f
from shardproxy.router import hints
from shardproxy.router.route_cy import Route
from shardproxy.router.router_cy import Router
from tests.fixtures.facts import DATA, FACTS


class Counting:
    """A dialect that digests to the last word and counts analyses."""

    name = "counting"

    def __init__(self) -> None:
        self.analyses: list[bytes] = []

    def digest(self, sql: bytes) -> bytes:
        return sql.split()[-1] if sql.split() else b""

    def analyse(self, key: bytes, facts: FactsView | None) -> Analysis:
        self.analyses.append(key)
        if key == b"fails":
            raise ZeroDivisionError("boom")
        return Analysis(f.READ, "SELECT", (5,))

    def display(self, key: bytes) -> str:
        return key.decode("utf-8", "replace")

    async def catalog_load(self, connection: Any, harmless: Iterable[str] = ()) -> dict[str, Any]:
        return {}


def postgres() -> Router:
    router = Router(dialects.get("postgres"))
    router.set_facts(FACTS, 1)
    return router


def test_a_shape_is_analysed_once() -> None:
    dialect = Counting()
    router = Router(dialect)  # type: ignore[arg-type]
    first = router.route(b"a x")
    assert router.route(b"b x") is first
    assert router.route(b"b x") is first
    assert (dialect.analyses, router.misses, router.hits) == ([b"x"], 1, 2)
    assert (first.flags, first.kind, first.read_slots, first.digest) == (f.READ, "SELECT", (5,), "x")


def test_new_facts_empty_the_cache() -> None:
    router = postgres()
    assert router.route(b"select * from t").flags & f.READ
    router.set_facts(None, 2)
    assert not router.route(b"select * from t").flags & f.READ
    assert router.epoch == 2
    router.set_facts(DATA, 3)
    assert router.route(b"select * from t").flags & f.READ


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    dialect = Counting()
    router = Router(dialect)  # type: ignore[arg-type]
    for i in range(2 * limits.ROUTES_MAX):
        router.route(b"%d" % i)
        router.route(b"%d hot" % i)
    assert len(router.cached()) <= limits.ROUTES_MAX
    assert dialect.analyses.count(b"hot") == 1


def test_the_cache_is_bounded_in_bytes() -> None:
    router = Router(Counting())  # type: ignore[arg-type]
    for i in range(1000):
        router.route((b"%d" % i).zfill(60_000))
    assert 0 < sum(len(route.digest) for route in router.cached()) < 20 * 1024 * 1024


def test_a_kept_route_shows_that_it_is_out_of_date() -> None:
    router = postgres()
    route = router.route(b"select 1")
    assert route.generation == router.generation
    router.set_facts(FACTS, 2)
    assert route.generation != router.generation
    assert router.route(b"select 1").generation == router.generation


def test_long_texts_and_no_sql_are_not_cached() -> None:
    router = postgres()
    router.route(b"select * from t where " + b" or ".join(b"a%d = 1" % i for i in range(20_000)))
    router.route(b"select 'x")
    assert router.cached() == []


def test_it_never_raises() -> None:
    router = Router(Counting())  # type: ignore[arg-type]
    route = router.route(b"fails")
    assert route.flags == router.opaque.flags
    assert route.write_slots == UNKNOWN_TABLE
    assert "boom" in route.note


def test_the_opaque_route_proves_nothing() -> None:
    opaque = postgres().opaque
    assert opaque.flags & f.PROBE and opaque.flags & f.DDL and opaque.flags & f.UNPARSED
    assert not opaque.flags & f.READ
    assert opaque.write_slots == UNKNOWN_TABLE


@pytest.mark.parametrize(("sql", "hint", "read"), [
    (b"select * from t", None, True),
    (b"/* shardproxy: primary */ select * from t", "primary", False),
    (b"select * from t /*shardproxy:primary*/", "primary", False),
    (b"/* shardproxy: replica */ select * from t", "replica", True),
    (b"/* shardproxy: replica */ select report()", "replica", True),
    (b"/* shardproxy: REPLICA */ select * from v_random", "replica", True),
    (b"/* shardproxy: replica */ insert into t values (1)", "replica", False),
    (b"/* shardproxy: replica */ select nextval('s')", "replica", False),
    (b"/* shardproxy: replica */ select pg_export_snapshot()", "replica", False),
    (b"/* shardproxy: replica, primary */ select report()", "primary", False),
    (b"/* another: replica */ select report()", None, False),
    (b"-- shardproxy: replica\n select report()", None, False),
    (b"select '/* shardproxy: replica */', report()", None, False),
])
def test_hints(sql: bytes, hint: str | None, read: bool) -> None:
    route = postgres().route(sql)
    assert (route.hint, bool(route.flags & f.READ)) == (hint, read)
    assert bool(route.flags & f.PRIMARY) is (hint == "primary" or b"export" in sql)


def test_a_read_by_hint_waits_for_any_write() -> None:
    assert postgres().route(b"/* shardproxy: replica */ select report()").read_slots == ANY_TABLE


def test_hints_that_are_not_obeyed_are_noted() -> None:
    assert hints.parse(["/* shardproxy: shard=s1 */"]) == (None, "hint shard=s1 is only for sharded databases")
    assert hints.parse(["/* shardproxy: repilca */"]) == (None, "unknown hint repilca")
    assert "shard=s1" in postgres().route(b"/* shardproxy: shard=s1 */ select 1").note


def test_routes_cannot_be_changed_by_accident_when_compiled() -> None:
    route = Route(f.READ, kind="SELECT")
    assert "SELECT READ" in repr(route)
    assert (route.rewrite, route.hint, route.names, route.statements) == (None, None, (), 1)


def test_names_of_flags() -> None:
    assert f.describe(f.READ | f.MULTI) == "READ|MULTI"
    assert len(f.NAMES) == len({name for name in f.__all__ if name.isupper()} - {"NAMES"})
    assert max(f.NAMES) < 1 << 30
