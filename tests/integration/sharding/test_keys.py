"""Comparison keys against PostgreSQL's own order, for every type, in both formats, under settings that change texts."""

from __future__ import annotations

import itertools

import psycopg
import pytest

from shardproxy.dialects.postgres.sharded.keys_cy import key_of
from shardproxy.tools.cluster import Node

MOMENTS = """array['infinity', '-infinity', '0044-03-15 12:00 BC', '294276-12-31 23:59:59.999999',
    '2024-02-29 00:00:00.1', '2024-02-29 00:00:00.01', '2024-10-27 00:30:00', '2024-10-27 01:30:00.5',
    '2024-10-27 02:30:00', '1850-01-01']"""
RANDOM_MINUTES = "(random() - 0.5) * 100000000 * interval '1 minute' from generate_series(1, 300)"
TEXTS = """array['', 'a', 'ab', 'A', 'ä', '日本', 'a b', 'a' || chr(9) || 'b', 'Z', '~', '😀', chr(65535), chr(1)]"""
CASES = {
    21: "select (random() * 65535 - 32768)::int2 from generate_series(1, 300)",
    23: "select x::int4 from unnest(array[-2147483648, 2147483647, 0, -1, 1, 256, -256, 65536]) x",
    20: "select x::int8 from unnest(array[-9223372036854775808, 9223372036854775807, 0, -1, 256, 4294967296]) x",
    26: "select x from unnest(array[0, 1, 4294967295, 2147483648, 77]::oid[]) x",
    16: "select x from unnest(array[true, false]) x",
    1700: """select x::numeric from unnest(array['NaN', 'Infinity', '-Infinity', '0', '0.00', '-0.0001', '1e100',
        '-1e100', '1.5', '1.50', '10', '9.99', '0.1', '0.01', '0.0012345678', '12345678901234567890.123456789',
        '10000', '9999', '-10000', '-9999', '100000000', '99999999', '1e-10', '1000', '100', '0.001', '1e1000',
        '1e-1000', '-1.5']
        || (select array_agg(((random() - 0.5) * power(10, (random() * 20 - 8)::int))::numeric::text)
            from generate_series(1, 300))) x""",
    701: """select x::float8 from unnest(array['NaN', 'Infinity', '-Infinity', '0', '-0', '1e-300', '-1e-300', '1e308',
        '5e-324', '1.5', '0.1']) x union all select (random() - 0.5) * 1000 from generate_series(1, 100)""",
    700: """select x::float4 from unnest(array['NaN', 'Infinity', '-Infinity', '0', '-0', '1e-30', '1e38', '1e-45',
        '0.1']) x union all select ((random() - 0.5) * 1000)::float4 from generate_series(1, 100)""",
    1082: """select x::date from unnest(array['infinity', '-infinity', '0044-03-15 BC', '4713-01-01 BC',
        '5874897-12-31', '2024-02-29', '2024-03-01', '1900-02-28', '1900-03-01', '0001-01-01', '0001-12-31 BC',
        '2000-12-31']) x
        union all select '2000-01-01'::date + (random() * 700000 - 350000)::int from generate_series(1, 400)""",
    1114: f"select x::timestamp from unnest({MOMENTS}) x union all select '2000-01-01'::timestamp + {RANDOM_MINUTES}",
    1184: f"select (x || '+00')::timestamptz from unnest({MOMENTS}) x where x !~ 'BC|inf' union all "
          f"select x::timestamptz from unnest({MOMENTS}) x where x ~ 'inf|BC' union all "
          f"select '2000-01-01'::timestamptz + {RANDOM_MINUTES}",
    1083: "select x::time from unnest(array['00:00', '24:00:00', '12:34:56.789', '12:34:56.78', '23:59:59.999999']) x",
    2950: "select gen_random_uuid() from generate_series(1, 50)",
    17: r"""select x::bytea from unnest(array['', '\x00', '\x0000', '\x0001', '\xff', '\xff00', '\x5c', '\x01', 'a',
        'ab', 'a\000', '\x0100']) x""",
    25: f'select x collate "C" from unnest({TEXTS}) x',
    1043: f'select x::varchar collate "C" from unnest({TEXTS}) x',
    1042: """select x::bpchar(6) collate "C" from unnest(array['', 'a', 'ab', 'A', 'a ', 'a' || chr(9), 'aä']) x""",
    19: "select x::name from unnest(array['', 'a', 'ab', 'A', 'ä']) x",
    18: r"""select x from unnest(array['a', 'b', '~', chr(1), '', '\']::"char"[] || (-1)::int4::"char") x""",
}
SETTINGS = {
    "plain": "select 1",
    "escape": "set timezone = 'Europe/Berlin'; set bytea_output = 'escape'; set datestyle = 'ISO, DMY'",
    "odd zone": "set timezone = 'Asia/Kathmandu'",
    "odder zone": "set timezone = 'America/St_Johns'",
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("type_oid", CASES)
def test_keys_are_in_the_order_of_the_values(sharded_node: Node, type_oid: int, binary: bool, settings: str) -> None:
    with psycopg.connect(sharded_node.dsn(), autocommit=True) as connection:
        connection.execute(SETTINGS[settings], prepare=False)
        if type_oid == 18 and not binary:
            connection.execute("set client_encoding = 'SQL_ASCII'")     # its bytes are no text
        cursor = connection.cursor(binary=binary)
        cursor.execute(f"select v, rank() over (order by v) from ({CASES[type_oid]}) a(v) order by v", prepare=False)
        result = cursor.pgresult
        assert result is not None
        assert result.ftype(0) == type_oid
        cells = [(result.get_value(row, 0) or b"", result.get_value(row, 1)) for row in range(result.ntuples)]
    keys = [(key_of(type_oid, int(binary), cell), rank, cell) for cell, rank in cells]
    assert len(keys) > 1
    for (key, rank, cell), (other, other_rank, other_cell) in itertools.pairwise(keys):
        assert (key == other) if rank == other_rank else (key < other), (cell, other_cell)


@pytest.mark.parametrize(("type_oid", "cell"), [
    (1082, b"31/01/2024"), (1114, b"Wed Jan 31 10:00:00 2024"), (1700, b""), (1700, b"1,5"), (23, b"x"), (23, b""),
    (701, b"1.5 "), (16, b"yes"), (2950, b"xyz"), (17, b"\\xzz"), (1184, b"2024-01-31")])
def test_what_a_server_does_not_send_has_no_key(type_oid: int, cell: bytes) -> None:
    with pytest.raises(ValueError):
        key_of(type_oid, 0, cell)
