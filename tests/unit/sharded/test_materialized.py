"""Reading CREATE and REFRESH MATERIALIZED VIEW."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sharded.materialized import Materialized, read_materialized

LONG = 'CREATE MATERIALIZED VIEW IF NOT EXISTS S."M x" (a, "as") USING heap WITH (fillfactor = 70)'


@pytest.mark.parametrize(("text", "found"), [
    ("create materialized view m as select 1",
     Materialized('"m"', "create materialized view m as select 1 WITH NO DATA", "select 1")),
    (f"{LONG} AS TABLE t WITH DATA ;",
     Materialized('"s"."M x"', f"{LONG} AS TABLE t WITH NO DATA", "TABLE t", lenient=True)),
    ("create materialized view m as (select x from t) with no data",
     Materialized('"m"', "create materialized view m as (select x from t) WITH NO DATA", "(select x from t)",
                  filled=False)),
    ("refresh materialized view s.m", Materialized('"s"."m"')),
    ("refresh materialized view concurrently m with data;", Materialized('"m"')),
    ("refresh materialized view m with no data", Materialized('"m"', filled=False)),
    ("create view m as select 1", None), ("create materialized view m", None), ("refresh", None),
    ("alter materialized view m rename to n", None),
])
def test_read(text: str, found: Materialized | None) -> None:
    assert read_materialized(text) == found
