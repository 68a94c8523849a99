#!/usr/bin/env python3
"""What routing costs: nanoseconds for a statement shape seen before, microseconds for a new one.

    .venv/bin/python benchmarks/router.py            compiled, if the hot modules are
    SHARDPROXY_EXT=no .venv/bin/python benchmarks/router.py
"""

from __future__ import annotations

import timeit

from shardproxy import _compiled, dialects
from shardproxy.catalog.facts import VERSION, Facts
from shardproxy.dialects.facts import READABLE
from shardproxy.router.router_cy import Router

TABLES = ("pgbench_accounts", "pgbench_branches", "customer", "orders", "lineitem", "t")
STATEMENTS = {
    "point select": b"SELECT abalance FROM pgbench_accounts WHERE aid = 1234567;",
    "prepared select": b"SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    "update": b"UPDATE pgbench_accounts SET abalance = abalance + 123 WHERE aid = 12345;",
    "begin": b"BEGIN",
    "join, 380 bytes": b"""select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue,
        o_orderdate, o_shippriority
        from customer, orders, lineitem where c_mktsegment = 'BUILDING' and c_custkey = o_custkey
        and l_orderkey = o_orderkey and o_orderdate < date '1995-03-15' and l_shipdate > date '1995-03-15'
        group by l_orderkey, o_orderdate, o_shippriority order by revenue desc, o_orderdate limit 10""",
    "insert, 100 rows": b"INSERT INTO t (a, b) VALUES " + b", ".join(b"(%d, 'name')" % i for i in range(100)),
}


def best(call: object, number: int) -> float:
    """Seconds for one call, the best of seven series."""
    return min(timeit.repeat(call, number=number, repeat=7)) / number  # type: ignore[arg-type]


def main() -> None:
    dialect = dialects.get("postgres")
    facts = Facts({"version": VERSION, "event_triggers": False, "settings": [], "functions": {}, "operators": {},
                   "types": {}, "attributes": {},
                   "relations": [["public", name, READABLE, [16384 + i], [16384 + i]]
                                 for i, name in enumerate(TABLES)]})  # fmt: skip
    router = Router(dialect)
    router.set_facts(facts, 1)
    print(_compiled.summary())
    print(f"{'statement':<18} {'bytes':>6} {'digest ns':>10} {'hit ns':>8} {'miss us':>8}  route")
    for name, sql in STATEMENTS.items():
        route, key = router.route(sql), dialect.digest(sql)
        number = 20_000 if len(sql) < 1000 else 500
        digest_s = best(lambda sql=sql: dialect.digest(sql), number)
        hit_s = best(lambda sql=sql: router.route(sql), number)
        miss_s = best(lambda key=key: dialect.analyse(key, facts), 200)
        print(f"{name:<18} {len(sql):>6} {digest_s * 1e9:>10.0f} {hit_s * 1e9:>8.0f} {miss_s * 1e6:>8.0f}  {route}")


if __name__ == "__main__":
    main()
