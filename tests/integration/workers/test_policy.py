"""What is set for statements and transactions: refused by the statement that goes beyond it, which changes nothing."""

from __future__ import annotations

import asyncpg
import pytest

from .conftest import MakeSpread

REFUSED = "transactions that write to several servers"


async def test_transactions_refuse_at_the_statement(spread: MakeSpread) -> None:
    made = await spread(database={"transactions": "2pc"})
    made.proxy.configure(databases={made.name: {"transactions": "refuse"}})
    await made.proxy.admin("RELOAD")
    client = await made.client()
    (a, b), (c, _) = await made.keys(2)
    take = "update account set money = money + 1 where id = {}"
    await client.execute(f"begin; {take.format(a)}; {take.format(b)}; commit")
    await client.execute(f"begin; {take.format(a)}")
    assert await client.fetchval("select sum(money) from account") == 6003
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=REFUSED) as caught:
        await client.execute(take.format(c))
    assert "customer/s0" in (caught.value.detail or "") and "customer/s1" in (caught.value.detail or "")
    await client.execute("rollback")
    for several in (f"update account set money = 0 where id in ({a}, {c})", "delete from account",
                    f"insert into account values ({a + 1000}), ({a + 1001}), ({a + 1002}), ({a + 1003})",
                    "insert into account select id + 1000 from account", "insert into kind values (1, 'x')",
                    f"{take.format(a)}; {take.format(c)}", "update account set money = 1 where money < 0"):
        with pytest.raises(asyncpg.FeatureNotSupportedError, match=REFUSED):
            await client.execute(several)
    await client.execute(f"begin; {take.format(a)}")
    assert await client.fetchval("select count(distinct money) from account") == 3, "gathering is no writing"
    await client.execute(f"{take.format(b)}; commit")
    assert await client.fetch("select count(*), sum(money) from account") == [(60, 6004)]
    assert await client.fetchval("select count(*) from kind") == 0


async def test_what_was_written_through_the_relay_counts(spread: MakeSpread) -> None:
    made = await spread(database={"transactions": "2pc"})
    client = await made.client()
    await client.execute("create table note (text text)")
    made.proxy.configure(databases={made.name: {"transactions": "refuse"}})
    await made.proxy.admin("RELOAD")
    ((a,), _) = await made.keys()
    await client.execute("begin")
    await client.execute("insert into note values ('here')")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=REFUSED):
        await client.execute(f"update account set money = 0 where id = {a}")
    await client.execute("rollback")
    await client.execute(f"begin; update account set money = 0 where id = {a}")
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=REFUSED):
        await client.execute("insert into note values ('there')")
    await client.execute("rollback")
    assert await client.fetchval("select count(*) from note") == 0
    assert await client.fetchval("select sum(money) from account") == 6000


async def test_max_fanout_bounds_every_statement(spread: MakeSpread) -> None:
    made = await spread(shards=3)
    client = await made.client()
    await client.execute("create table other (id int primary key, v int)")
    made.proxy.configure(databases={made.name: {"max_fanout": 2}})
    await made.proxy.admin("RELOAD")
    (a,), (b,), (c,) = await made.keys()
    two, three = f"({a}, {b})", f"({a}, {b}, {c})"
    assert await client.fetchval(f"select count(*) from account where id in {two}") == 2
    assert await client.fetchval(f"select count(distinct money) from account where id in {two}") == 1
    assert await client.execute(f"update account set money = money + 1 where id in {two}") == "UPDATE 2"
    await client.execute("insert into kind values (1, 'every shard has it')")
    await client.execute("insert into kind select 2, 'and this'")
    for wide in (f"select count(*) from account where id in {three}", "select count(distinct money) from account",
                 "select a.id from account a join account b on a.money = b.id", "copy account to stdout",
                 f"update account set money = 0 where id in {three}", "delete from account",
                 "update account set money = 1 where money > (select avg(money) from account)",
                 f"insert into account values ({a + 1000}), ({a + 1001}), ({a + 1002}), ({a + 1003}), ({a + 1004})",
                 "insert into account select g from generate_series(1000, 1040) g",
                 "declare c cursor for select id from account order by id"):
        with pytest.raises(asyncpg.ProgramLimitExceededError, match="more than max_fanout = 2"):
            await client.execute(f"begin; {wide}" if "declare" in wide else wide)
        await client.execute("rollback")
    assert await made.everywhere("select count(*) from kind") == [2, 2, 2, 2]
    await client.execute("alter table account add column note text")
    assert await client.fetchval("select count(*) from account where id = $1", a) == 1
    made.proxy.configure(databases={made.name: {"max_fanout": 0}})
    await made.proxy.admin("RELOAD")
    assert await client.fetch("select count(*), sum(money) from account") == [(60, 6002)]
