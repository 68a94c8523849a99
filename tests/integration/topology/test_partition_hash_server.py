"""The partition hash against ``satisfies_hash_partition`` of a server, for generated values in both formats."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import strategies as st

from shardproxy import dialects
from shardproxy.tools.cluster import Node

OIDS = {"int2": 21, "int4": 23, "int8": 20, "text": 25, "varchar": 1043, "bpchar": 1042, "uuid": 2950, "numeric": 1700,
        "date": 1082, "timestamp": 1114, "timestamptz": 1184, "bytea": 17, "bool": 16}
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)
DATES = st.dates(datetime.date(1, 1, 1), datetime.date(9999, 12, 31))
TIMES = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
VALUES: dict[str, st.SearchStrategy[str]] = {
    "int2": st.integers(-2**15, 2**15 - 1).map(str), "int4": st.integers(-2**31, 2**31 - 1).map(str),
    "int8": st.one_of(st.integers(-2**63, 2**63 - 1), st.integers(-10**6, 10**6)).map(str),
    "text": TEXT, "varchar": TEXT,
    "bpchar": st.tuples(TEXT, st.integers(0, 5)).map(lambda pair: pair[0] + " " * pair[1]),
    "uuid": st.uuids().map(str),
    "numeric": st.one_of(st.decimals(allow_nan=False, allow_infinity=False, places=9), st.integers().map(Decimal),
                         st.decimals(-1, 1, allow_nan=False).filter(lambda value: abs(value.adjusted()) < 900),
                         st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("0.000"),
                                          Decimal("1e40"), Decimal("-1e-40")])).map(str),
    "date": st.one_of(DATES.map(str), st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"])),
    "timestamp": st.one_of(TIMES.map(str), st.sampled_from(["infinity", "-infinity", "0044-03-15 01:02:03 BC"])),
    "timestamptz": st.one_of(st.tuples(TIMES, st.sampled_from(["Z", "+00", "-03:30", "+05:30:20", "+14"])).map(
        lambda pair: str(pair[0]) + pair[1]), st.just("infinity")),
    "bytea": st.binary(max_size=40).map(lambda value: "\\x" + value.hex()),
    "bool": st.sampled_from(["t", "f", "yes", "off"])}
MODULUS = 65536


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Values of a strategy, outside of a test function of its own: one round trip asks about all of them."""
    from hypothesis import HealthCheck, Phase, given, settings

    found: list[Any] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


async def agrees(connection: asyncpg.Connection, parent: str, names: Sequence[str], rows: list[Sequence[Any]]) -> None:
    """Each row's slot is the one that the server would choose; from its text and from its binary form."""
    dialect = dialects.get("postgres")
    oids = [OIDS[name] for name in names]
    columns = ", ".join(f"v[{number}]::{name}" for number, name in enumerate(names, 2))
    sent = ", ".join(f"{_sender(name)}send(v[{number}]::{name})" for number, name in enumerate(names, 2))
    hashes = [dialect.partition_hash(oids, [None if value is None else value.encode() for value in row])
              for row in rows]
    assert None not in hashes, rows[hashes.index(None)]
    slots = [found % MODULUS for found in hashes if found is not None]
    texts = ["\1".join(["", *("\2" if value is None else value for value in row)]) for row in rows]
    wrong = await connection.fetch(
        "select v from (select string_to_array(t, chr(1), chr(2)) v, slot from unnest($1::text[], $2::int[]) u(t, slot)"
        f") r where not satisfies_hash_partition('{parent}'::regclass, {MODULUS}, slot, {columns})", texts, slots)
    assert not wrong, wrong[:3]
    binary = await connection.fetch(
        f"select array[{sent}] b from (select string_to_array(t, chr(1), chr(2)) v from unnest($1::text[]) u(t)) r",
        texts)
    again = [dialect.partition_hash(oids, [None if value is None else (bytes(value), 1) for value in row["b"]])
             for row in binary]
    assert again == hashes


def _sender(name: str) -> str:
    return name + "_" if name in ("uuid", "numeric", "date", "timestamp", "timestamptz") else name


@pytest.fixture
async def connection(database: str, pg: Node) -> Any:
    made = await asyncpg.connect(host=pg.host, port=pg.port, user="postgres", database=database)
    yield made
    await made.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(VALUES))
async def test_one_column(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(f"create table p (k {name}) partition by hash (k)")
    safe = VALUES[name].filter(lambda value: not {"\1", "\2"} & set(value))
    await agrees(connection, "p", [name], [(value,) for value in examples(safe, 200)])


@pytest.mark.asyncio
async def test_composite_keys_with_nulls(connection: asyncpg.Connection) -> None:
    names = ["int8", "text", "uuid", "timestamptz"]
    await connection.execute(f"create table p ({', '.join(f'k{n} {name}' for n, name in enumerate(names))})"
                             " partition by hash (k0, k1, k2, k3)")
    safe = [st.one_of(st.none(), VALUES[name].filter(lambda value: not {"\1", "\2"} & set(value))) for name in names]
    rows = examples(st.tuples(*safe), 200)
    await agrees(connection, "p", names, [*rows, (None, None, None, None), (None, None, None, None)])


@pytest.mark.asyncio
async def test_ints_of_any_width_and_uuids_from_a_driver(connection: asyncpg.Connection) -> None:
    await connection.execute("create table p (a int8, b uuid) partition by hash (a, b)")
    dialect, key = dialects.get("postgres"), uuid.UUID("018f4b8e-37f0-7cc4-b5f2-0f62d09ca662")
    found = dialect.partition_hash((20, 2950), (((-7).to_bytes(4, "big", signed=True), 1), (key.bytes, 1)))
    assert found is not None
    assert await connection.fetchval("select satisfies_hash_partition('p'::regclass, 1000, $1, -7::int8, $2::uuid)",
                                     found % 1000, key)
