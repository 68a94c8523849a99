"""DDL through a proxy on tables that are being moved: refused with the name of the transfer, in a block and outside."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from shardproxy.tools.transfer.fleet import Fleet

from .test_switch import town
from .town import TABLES, Town

__all__ = ["town"]

REFUSED = (
    "alter table accounts add column color text",
    'ALTER TABLE IF EXISTS "accounts" rename to others',
    "alter table public.entries alter column delta type numeric",
    "drop table accounts, entries",
    "create index on accounts (name)",
    "create table children (id int primary key, account bigint references accounts)",
    "create materialized view copies as select * from accounts",
    "create trigger t before insert on entries for each row execute function suppress_redundant_updates_trigger()",
    "grant select on accounts to public",
    "comment on table accounts is 'moved'",
    "drop schema public cascade",
    "create table others (id int); alter table entries drop column delta",
)
ALLOWED = (
    "create table others (id int primary key, accounts_id int, note text default 'accounts')",
    "create view names as select id, name from accounts",
    "create schema elsewhere",
    "create table elsewhere.accounts (id int)",
    "drop table elsewhere.accounts",
    "analyze accounts",
    "truncate entries",
    "drop view names",
)


async def _known(town: Town, client: Any, wanted: bool) -> None:
    """Until the proxy refuses, or does not any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.execute("comment on table accounts is null")
                refused = False
            except asyncpg.ObjectInUseError:
                refused = True
            if refused == wanted:
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_ddl_on_moved_tables(town: Town) -> None:
    async with town.direct() as there, town.client() as client, town.client(1) as other:
        await client.execute("alter table accounts add column extra int")
        fleet = Fleet(there, "away")
        await fleet.announce(TABLES, "federate")
        await fleet.all_know(10)
        await _known(town, client, True)
        await _known(town, other, True)
        for sql in REFUSED:
            with pytest.raises(asyncpg.ObjectInUseError, match="being moved by the transfer \"away\"") as refused:
                await client.execute(sql)
            assert "shardproxy federate complete away" in str(refused.value.hint)
        for sql in ALLOWED:
            await client.execute(sql)
        with pytest.raises(asyncpg.ObjectInUseError):
            async with other.transaction():
                await other.execute("update accounts set name = 'in the block' where id = 2")
                await other.execute("alter table accounts drop column extra")
        assert await other.fetchval("select name from accounts where id = 2") == "name 2"
        await there.execute("delete from shardproxy.holds")
        await fleet.notify()
        await _known(town, client, False)
        await client.execute("alter table accounts drop column extra")
        assert await client.fetchval("select count(*) from accounts") == 50
