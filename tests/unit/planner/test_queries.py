"""Which way a query takes, and that what is sent to servers is SQL with the columns that the client asked for."""

from __future__ import annotations

import pglast
import pytest

from shardproxy.planner.plan import NOW, Gather, Refusal, Scatter, Select, Single, Value, settled
from tests.unit.planner.shop import keys, plan, targets, texts, tier
from tests.unit.planner.tpch import LAYOUT, QUERIES, TABLES

TIERS = [
    # one place
    ("select 1", "one"),
    ("select now()", "one"),
    ("select * from local join countries on id = a", "one"),
    ("select * from other.orders", "one"),
    ("with orders as (select 1 as x) select * from orders", "one"),
    # rows as they come
    ("select * from orders", "scatter"),
    ("select * from ONLY orders", "scatter"),
    ("select * from orders tablesample system (10)", "scatter"),
    ("select count(*) from orders tablesample system (10) o join customers c on c.id = o.id", "refused"),
    ("select count(*) from only orders o join customers c on c.id = o.id", "gather"),
    ("select o.*, c.code from orders o join customers c on c.id = o.customer_id", "scatter"),
    ("select o.id from orders o left join customers c on c.id = o.customer_id and c.code = 'x'", "scatter"),
    ("select o.id from orders o left join customers c on c.code = o.note", "gather"),
    ("select o.id from orders o join customers c on c.id = o.id", "gather"),
    ("select * from orders o full join customers c on c.id = o.customer_id", "scatter"),
    ("select * from orders o full join customers c on c.id = o.customer_id where o.customer_id = 4", "scatter"),
    ("select * from customers c join countries n on n.id = c.country", "scatter"),
    ("select * from customers c left join countries n on n.id = c.country", "scatter"),
    ("select * from countries n left join customers c on n.id = c.country", "gather"),
    ("select * from customers c right join countries n on n.id = c.country", "gather"),
    ("select * from customers c full join countries n on n.id = c.country", "gather"),
    ("select * from customers c join local on local.a = c.country", "gather"),
    ("select * from items i join items j on i.tenant = j.tenant", "gather"),
    ("select * from items i join items j using (tenant, n)", "scatter"),
    ("select * from items i join orders o on i.tenant = o.customer_id", "gather"),
    # subqueries
    ("select * from customers c where exists (select 1 from orders o where o.customer_id = c.id)", "scatter"),
    ("select * from customers c where not exists (select 1 from orders o where o.customer_id = c.id)", "scatter"),
    ("select * from customers c where exists (select 1 from orders o where o.note = c.code)", "gather"),
    ("select * from customers where id in (select customer_id from orders)", "scatter"),
    ("select * from customers where id not in (select customer_id from orders)", "gather"),
    ("select * from customers where id in (select customer_id from orders) or code = 'x'", "gather"),
    ("select * from customers where id in (select customer_id from orders limit 3)", "gather"),
    ("select * from customers where id in (select customer_id from orders group by 1 having count(*) > 2)", "scatter"),
    ("select * from customers where country in (select id from countries where name = 'x')", "scatter"),
    ("select (select max(total) from orders o where o.customer_id = c.id) from customers c", "scatter"),
    ("select * from orders where total > (select avg(total) from orders)", "gather"),
    ("select * from customers c cross join lateral (select * from orders o where o.customer_id = c.id limit 1) x",
     "scatter"),
    ("select * from (select * from orders limit 5) x", "gather"),
    ("select * from (select customer_id, sum(total) from orders group by 1) x", "scatter"),
    ("select * from (select note, sum(total) from orders group by 1) x", "gather"),
    ("with x as (select * from orders) select * from x join customers c on c.id = x.customer_id", "scatter"),
    ("with x as (select * from orders) select * from x a join x b on a.customer_id = b.customer_id", "scatter"),
    ("with x as (select * from orders) select * from x a join x b on a.id = b.id", "gather"),
    ("with recursive x as (select id from orders union select id + 1 from x where id < 5) select * from x", "gather"),
    ("with x as (delete from orders returning *) select * from x", "refused"),
    # windows, DISTINCT, set operations
    ("select row_number() over (partition by customer_id order by id) from orders", "scatter"),
    ("select sum(total) over w from orders window w as (partition by note, customer_id)", "scatter"),
    ("select row_number() over (order by id) from orders", "gather"),
    ("select distinct customer_id, note from orders", "scatter"),
    ("select distinct note from orders", "partial"),
    ("select distinct on (note) * from orders order by note, id", "gather"),
    ("select distinct on (customer_id) * from orders order by customer_id, id", "scatter"),
    ("select id from customers union all select customer_id from orders", "scatter"),
    ("select id from customers union select customer_id from orders", "scatter"),
    ("select id from customers except select id from orders", "gather"),
    ("select id from customers union all select id from countries", "gather"),
    # aggregates
    ("select count(*), sum(id), min(total), max(note) from orders", "fold"),
    ("select count(distinct customer_id) from orders", "fold"),
    ("select count(distinct note) from orders", "partial"),
    ("select avg(total), count(*) + 1 from orders", "partial"),
    ("select note, count(*) from orders group by note order by 2 desc limit 3", "partial"),
    ("select customer_id, array_agg(id order by id) from orders group by customer_id", "scatter"),
    ("select note, array_agg(id) from orders group by note", "gather"),
    ("select note, count(*) from orders group by rollup (note)", "partial"),
    ("select median(total) from orders", "gather"),
    ("select stddev(total) from orders", "partial"),
    ("select max(name) from customers", "partial"),
    # order
    ("select * from orders order by total desc, id limit 5 offset 2", "scatter"),
    ("select * from customers order by name", "gather"),
    ("select * from customers order by code", "scatter"),
    ("select id from orders order by lower(note)", "gather"),
    ("select id from orders order by id using <", "gather"),
    ("select id from orders order by total fetch first 3 rows with ties", "gather"),
    ("select id from orders limit (select 3)", "gather"),
    # one value for all shards
    ("select now(), id from orders", "gather"),
    ("select current_date, id from orders", "gather"),
    ("select id from orders where at > timestamptz 'today'", "gather"),
    ("select id from orders where at > '2020-01-01'::timestamptz", "scatter"),
    ("select random(), id from orders", "scatter"),
    ("select nextval('s'), id from orders", "gather"),
    ("select pg_backend_pid(), id from orders", "gather"),
    ("select pure(id) from orders", "scatter"),
    ("select touching(id) from orders", "refused"),
    ("select dynamic() from orders", "refused"),
    # what has no meaning over shards
    ("select ctid from orders", "refused"),
    ("select tableoid::regclass from orders", "refused"),
    ("select o from orders o", "scatter"),
    ("select row_to_json(o) from orders o", "scatter"),
    ("select x::orders from local x, orders", "refused"),
    # locks
    ("select * from orders for update", "scatter"),
    ("select * from orders limit 3 for update skip locked", "scatter"),
    ("select * from orders order by id limit 3 for update skip locked", "refused"),
    ("select * from orders o join local on a = id for update of o", "refused"),
    # views
    ("select * from big where id > 5", "scatter"),
    ("select count(*) from bigger", "fold"),
    ("select * from leaked", "refused"),
    # not understood
    ("select * from orders, xmltable('/a' passing '<a/>' columns b int)", "refused"),
]


@pytest.mark.parametrize(("text", "expected"), TIERS)
def test_tiers(text: str, expected: str) -> None:
    assert tier(plan(text)) == expected, plan(text)


@pytest.mark.parametrize("text", [text for text, expected in TIERS if expected not in ("one", "refused")])
def test_texts_are_sql_with_the_same_columns(text: str) -> None:
    found = plan(text)
    assert isinstance(found, Select)
    for one in texts(found):
        pglast.parse_sql(one)
    names = targets(text)
    for spread in (found.spread, getattr(found.spread, "otherwise", None)):
        if isinstance(spread, Scatter):
            made = targets(settled(spread.text).decode())
            assert (made[:-spread.hidden] if spread.hidden else made) == names
        elif isinstance(spread, Gather):
            made = targets(next(one for one in texts(Select(None, spread))))
            assert [name for name, asked in zip(made, names, strict=True) if asked is not None] == [
                asked for asked in names if asked is not None]


KEYS = [
    ("select * from orders where customer_id = 5", ["5"]),
    ("select * from orders where 5 = customer_id", ["5"]),
    ("select * from orders where (customer_id) = ((5))", ["5"]),
    ("select * from orders where customer_id = -5", ["-5"]),
    ("select * from orders where customer_id = '5'", ["5"]),
    ("select * from orders where customer_id = '5'::bigint", ["5"]),
    ("select * from orders where customer_id = cast($1 as int)", ["$1"]),
    ("select * from orders where customer_id = $1 and total > $2", ["$1"]),
    ("select * from orders where customer_id in (1, 2, $3)", ["$3", "1", "2"]),
    ("select * from orders where customer_id = any($1)", ["$1"]),
    ("select * from orders where customer_id = any($1::bigint[])", ["$1"]),
    ("select * from orders where customer_id = any(array[1, 2])", ["1", "2"]),
    ("select * from orders where customer_id = 1 or customer_id = 2 and note = 'x'", ["1", "2"]),
    ("select * from orders where customer_id in (1, 2) and customer_id = 2", ["2"]),
    ("select * from orders where customer_id = 1 and customer_id = 2", []),
    ("select * from orders where customer_id is null", ["None"]),
    ("select * from orders where (customer_id, id) = (3, 4)", ["3"]),
    ("select * from orders where (customer_id, id) in ((3, 4), (5, 6))", ["3", "5"]),
    ("select * from items where tenant = 1 and n = 2", ["1/2"]),
    ("select * from items where tenant = 1 and n in (2, 3)", ["1/2", "1/3"]),
    ("select * from items where (n, tenant) in ((2, 1), (3, 1))", ["1/2", "1/3"]),
    ("select * from items where (tenant = 1 and n = 2) or (tenant = 3 and n = 4)", ["1/2", "3/4"]),
    ("select * from orders o join customers c on c.id = o.customer_id where c.id = 7", ["7"]),
    ("select * from orders o left join customers c on c.id = o.customer_id where o.customer_id = 7", ["7"]),
    ("select * from orders o join customers c on c.id = 7 and o.customer_id = 7", ["7"]),
    ("select * from customers c where id = 7 and exists (select 1 from orders o where o.customer_id = c.id)", ["7"]),
    ("select * from customers c where id = 7 and id in (select customer_id from orders)", ["7"]),
    ("with x as (select * from orders) select * from x where customer_id = 7", ["7"]),
    ("select * from (select customer_id, sum(total) from orders group by 1) x where customer_id = 7", ["7"]),
    ("select count(*), avg(total), now() from orders where customer_id = 7", ["7"]),
    ("select touching(id), ctid, o from orders o where customer_id = 7", ["7"]),
    ("select * from orders where customer_id = 7 union all select * from orders where customer_id = 7", ["7"]),
    # all shards, or no one shard: in doubt more, never fewer
    ("select * from orders where customer_id = 5.0", None),
    ("select * from orders where customer_id = 5::numeric", None),
    ("select * from orders where customer_id::text = '5'", None),
    ("select * from orders where customer_id + 0 = 5", None),
    ("select * from orders where not customer_id = 5", None),
    ("select * from orders where customer_id <> 5", None),
    ("select * from orders where customer_id = 5 or note = 'x'", None),
    ("select * from orders where customer_id = 5 is null", None),
    ("select * from orders where (customer_id = 5) is not true", None),
    ("select * from orders where customer_id = 5 || '1'", None),
    ("select * from orders where customer_id not in (5)", None),
    ("select * from orders where customer_id <> any($1)", None),
    ("select * from orders where customer_id = all($1)", None),
    ("select * from orders where case when customer_id = 5 then true else false end", None),
    ("select * from orders o where id = 5", None),
    ("select * from items where tenant = 1", None),
    ("select * from orders o left join customers c on c.id = o.customer_id and c.id = 7", None),
    ("select * from orders o left join customers c on c.id = o.customer_id where c.id is null", None),
    ("select * from customers c where exists (select 1 from orders o where o.customer_id = 7)", None),
    ("with x as (select * from orders) select * from x, x y where x.customer_id = 7", None),
    ("select * from (select * from orders limit 3) x where customer_id = 7", None),
    ("select * from (select *, row_number() over () from orders) x where customer_id = 7", None),
    ("select * from orders where customer_id = 7 union all select * from orders", None),
    ("select * from orders, local where customer_id = 7", None),
    ("select nextval('s') from orders where customer_id = 7", None),
    ("select o.at from other.orders o2, orders o where o2.id = 5 and id = 5", None),
]


@pytest.mark.parametrize(("text", "expected"), KEYS)
def test_keys(text: str, expected: list[str] | None) -> None:
    assert keys(plan(text)) == expected, plan(text)


def spread_of(text: str) -> Scatter | Gather | Refusal:
    found = plan(text)
    assert isinstance(found, Select)
    return found.spread


def test_limit_and_hidden_columns() -> None:
    found = spread_of("select note from orders order by total desc nulls last limit $1 offset $2 -- é")
    assert isinstance(found, Scatter)
    assert settled(found.text).decode() == (
        "select note, total from orders order by total desc nulls last LIMIT ($1)::bigint + ($2)::bigint -- é")
    assert (found.hidden, found.limit, found.offset) == (1, Value(1), Value(2))
    assert [(key.column, key.type_oid, key.descending, key.nulls_first) for key in found.order] == [
        (1, 1700, True, False)]
    found = spread_of("select * from orders limit 5 offset 2")
    assert isinstance(found, Scatter)
    assert found.text == b"select * from orders LIMIT 7"
    assert spread_of("select * from orders limit all").text == b"select * from orders limit all"  # type: ignore[union-attr]


def test_locks_with_a_limit_go_shard_by_shard() -> None:
    found = spread_of("select * from orders limit 3 for update skip locked")
    assert isinstance(found, Scatter)
    assert found.serial
    assert found.otherwise is None


def test_gather_pulls_what_it_needs() -> None:
    found = spread_of("select public.orders.note from public.orders join local on a = orders.id "
                      "where total > 5 and orders.at < now() and 'é' <> note")
    assert isinstance(found, Gather)
    (pull,) = found.pulls
    assert pull.columns == ("id", "total", "note", "at")
    assert pull.text == (b"SELECT id, total, note, at FROM public.orders WHERE (total > 5\n) AND (orders.at < (", NOW,
                         "::timestamptz)\n) AND ('é' <> note\n)".encode())
    text = "".join("t" if isinstance(part, int) else part.decode() for part in found.text)
    assert text == ("select orders.note from  t AS orders join local on a = orders.id "
                    "where total > 5 and orders.at < now() and 'é' <> note")


def test_gather_does_not_push_through_outer_joins() -> None:
    found = spread_of("select count(distinct o.note) from orders o left join customers c on c.code = o.note "
                      "and c.country = 1 where c.id is null and o.total > 1")
    assert isinstance(found, Gather)
    orders, customers = found.pulls
    assert b"WHERE (o.total > 1\n)" in settled(orders.text)
    assert settled(customers.text).endswith(b"WHERE (c.country = 1\n)")


def test_partial_aggregates_keep_names() -> None:
    found = spread_of("select note, count(*), avg(total) as mean, sum(id) / count(*) from orders "
                      "group by note having count(*) > 1 order by 2")
    assert isinstance(found, Gather)
    final = next(texts(Select(None, found)))
    assert targets(final) == ["note", "count", "mean", "?column?"]
    assert found.pulls[0].types == ("text", "bigint", "numeric", "bigint", "numeric", "bigint", "bigint")


def test_views_are_replaced_by_their_queries() -> None:
    found = spread_of("select b.id from bigger b")
    assert isinstance(found, Scatter)
    assert b"public.orders" in found.text
    assert isinstance(plan("with big as (select 1 as id) select * from big"), Single)


@pytest.mark.parametrize("number", QUERIES)
def test_tpch(number: int) -> None:
    found = plan(QUERIES[number], LAYOUT, TABLES)
    assert tier(found) in ("scatter", "partial", "gather")
    for text in texts(found):
        pglast.parse_sql(text)
    if isinstance(found, Select) and isinstance(found.spread, Gather):
        final = next(texts(found))
        assert len(targets(final)) == len(targets(QUERIES[number]))


@pytest.mark.parametrize(("text", "expected"), [
    ("select * from orders where customer_id between 3 and $1", ["+3", "-$1"]),
    ("select * from orders where 3 <= customer_id and customer_id < 7", ["+3", "-7"]),
    ("select * from orders o join customers c on c.id = o.customer_id where c.id > 5", ["+5"]),
    ("select * from orders o left join customers c on c.id = o.customer_id where c.id > 5", []),
    ("select * from orders where customer_id not between 3 and 5", []),
    ("select * from orders where customer_id > null", []),
    ("select * from orders where customer_id > 3 or note = 'x'", []),
    ("select * from items where tenant > 3", []),
])
def test_bounds_of_the_key(text: str, expected: list[str]) -> None:
    found = spread_of(text)
    assert isinstance(found, Scatter)
    assert [("+" if bound.low else "-") + (f"${bound.value.value.param}" if bound.value.value.param else str(
        bound.value.value.text)) for bound in found.filter.bounds] == expected


def test_columns_of_views_with_their_schema() -> None:
    found = plan("select public.big.id, public.big.* from public.big where public.big.total > 3")
    assert isinstance(found, Select)
    assert found.text == (b"select big.id, big.* from  (SELECT orders.id, orders.total FROM public.orders WHERE "
                          b"orders.total > 100\n) AS big where big.total > 3")
