"""The parser of queries: what binds tighter, what stands where, what is not understood."""

from __future__ import annotations

import pytest

from shardproxy.dialects.postgres.sql.query_parse import Unreadable, parse_query
from shardproxy.planner.nodes import Expr, Select


def condition(text: str) -> Expr:
    body = parse_query(f"select 1 from t where {text}").body
    assert isinstance(body, Select)
    assert body.where is not None
    return body.where


def shape(expr: Expr) -> str:
    """With all parentheses that precedence means."""
    if expr.kind in ("column", "const", "param"):
        return expr.name or str(expr.value) or f"${expr.param}"
    return f"{expr.name}({', '.join(shape(one) for one in expr.args)})"


@pytest.mark.parametrize(("text", "expected"), [
    ("a = b and c or d", "or(and(=(a, b), c), d)"),
    ("not a = b", "not(=(a, b))"),
    ("a = b is null", "null(=(a, b))"),
    ("a = 1 || 'x'", "=(a, ||(1, x))"),
    ("a <-> b < 2 + 3 * 4", "<(<->(a, b), +(2, *(3, 4)))"),
    ("a = -1::int", "=(a, -(int(1)))"),
    ("a in (1, 2) = true", "=(in(a, 1, 2), true)"),
    ("a between 1 and 2 and b", "and(between(a, 1, 2), b)"),
    ("a not like 'x' escape 'y' or b", "or(like(a, x, y), b)"),
    ("2 ^ a * b", "*(^(2, a), b)"),
    ("a ->> 'x' = 'y'", "=(->>(a, x), y)"),
    ("a = any(array[1, 2])", "= any(a, array(1, 2))"),
    ("a--b\n=/* = 2 and */1", "=(a, 1)"),
    ("a = $$it's$$", "=(a, it's)"),
    ('"A""b" = \'it\'\'s\'', "=(A\"b, it's)"),
    ("date '2020-01-01' < a", "<(date(2020-01-01), a)"),
])
def test_precedence(text: str, expected: str) -> None:
    assert shape(condition(text)) == expected


@pytest.mark.parametrize("text", [
    "select a as b, c d, \"E\" from x y join (z natural join w) on true where q group by 1 having 2 order by 3 limit 4",
    "select * from ((select 1) a join b on true) left join lateral f(1) with ordinality g (h, i) on true",
    "(select 1) union all (select 2 limit 1) order by 1",
    "with a (b) as materialized (values (1), (2)) select sum(b) filter (where b > 1) over (order by b) from a",
    "select extract(year from a), trim(both 'x' from b), position('a' in b), substring(c from 1 for 2) from t",
    "select a::timestamp(3) with time zone, cast(b as character varying(3)[]), interval '1' day, x[1:2], (y).z from t",
    "select percentile_cont(0.5) within group (order by a desc nulls last), f(a => 1, variadic b) from t",
    "select 1 where (a, b) in (select 1, 2) and exists (select) and (select 1) = all (select 2)",
])
def test_places(text: str) -> None:
    query = parse_query(text)
    assert (query.start, query.end) == (0, len(text))
    body = query.body
    if isinstance(body, Select) and body.items:
        assert text[body.list_start:body.list_end] == text[body.items[0].start:body.items[-1].end]
        for item in body.items:
            assert text[item.end:].lstrip()[:1] in ("", ",", "f", "w", "F")


@pytest.mark.parametrize("text", ["", "select", "select 1 from", "select (1", "insert into t values (1)", "select 'a",
                                  "select 1; select 2", "select * from xmltable('/a' passing b columns c int)",
                                  'select U&"\\0061" from t', "select /* ", "select " + "(" * 500])
def test_not_understood(text: str) -> None:
    if text == "select":
        assert parse_query(text).body is not None          # a query without columns is one
        return
    with pytest.raises(Unreadable):
        parse_query(text)
