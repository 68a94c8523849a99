"""What the tests of session isolation share: a database of their own, and a comparison with a direct connection."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest_asyncio

from shardproxy.tools.cluster import Node
from tests.fixtures.proxy import Proxy
from tests.fixtures.raw import B, C, E, Message, P, Q, Raw, S, errors, kinds, ready_count, statuses

FUNCTIONS = """
create function change(text) returns text language plpgsql as $$
begin perform set_config('work_mem', $1, false); set my.own = 'changed'; return $1; end $$;
create function own(text) returns text language sql as $$ select set_config('my.own', $1, false) $$;
create function local(text, text) returns text language sql as $$ select set_config($1, $2, true) $$;
create function scoped() returns text language sql set work_mem = '7MB' as $$ select current_setting('work_mem') $$;
create function dynamic(n text) returns text language plpgsql as
$$ begin return set_config('my.' || n, 'secret', false); end $$;
"""

DISTURBANCE = Q(
    "set application_name = 'disturber'; set work_mem = '123kB'; set search_path = pg_catalog; "
    "set my.own = 'disturbed'; set statement_timeout = 12345; set role other"
)
AGAIN = P("", "select 'disturbed'") + C("S", "a") + P("a", "select 'disturbed'") + B("", "a") + E() + S
"""What another client does before and between the steps: all of it would be seen if anything of a session leaked."""

Step = bytes | tuple[bytes, str]


@dataclass
class Arena:
    """A database and two ways to it. ``compare`` runs the same steps on both."""

    proxy: Proxy
    pg: Node
    control: psycopg.Connection[Any]
    name: str = "arena"

    def session(
        self, user: str = "postgres", **parameters: str
    ) -> contextlib.AbstractAsyncContextManager[Raw]:
        """Through the proxy."""
        return Raw.session(self.proxy.port, user, self.name, **parameters)

    def direct(
        self, user: str = "postgres", **parameters: str
    ) -> contextlib.AbstractAsyncContextManager[Raw]:
        """Past the proxy."""
        return Raw.session(self.pg.port, user, self.name, **parameters)

    async def fresh(self, setup: str = "") -> None:
        """An empty schema, and ``setup`` in it."""
        self.control.execute(
            "drop schema if exists s cascade; create schema s; grant all on schema s to public; "
        )
        if setup:
            self.control.execute(setup)

    async def disturb_once(self, user: str = "postgres") -> None:
        """Another client of the pool leaves its traces, if it can."""
        async with self.session(user) as other:
            assert not errors(await other.ask(DISTURBANCE))
            assert kinds(await other.ask(AGAIN)) == "1312DCZ"

    async def compare(
        self, *steps: Step, setup: str = "", disturb: bool = True, user: str = "postgres", **parameters: str
    ) -> list[Message]:
        """Both give the same replies to ``steps``; between two of them another client uses the pool of one.

        A step is messages, or (messages, kind of the reply that ends the step). Returns all replies.
        """
        async with Raw.session(self.pg.port, user, self.name, **parameters) as client:
            await self.fresh(setup)
            direct = await self._run(client, steps)
        async with self.session(user) as other, self.session(user, **parameters) as client:
            await self.fresh(setup)
            if disturb:
                replies = await other.ask(DISTURBANCE)
                assert not errors(replies), errors(replies)
            proxied = await self._run(client, steps, other if disturb else None)
        for number, (expected, got) in enumerate(zip(direct, proxied, strict=True)):
            assert readable(got) == readable(expected), f"step {number}: {steps[number]!r}"
        return [reply for replies in proxied for reply in replies]

    async def _run(self, client: Raw, steps: Sequence[Step], other: Raw | None = None) -> list[list[Message]]:
        found = []
        for step in steps:
            data, until = step if isinstance(step, tuple) else (step, "")
            client.send(data)
            replies = await client.read(
                0 if until == "-" else max(ready_count(data), len(until)), until, timeout=10
            )
            found.append(replies)
            if other is not None and statuses(replies)[-1:] == "I":
                assert kinds(await other.ask(AGAIN)) == "1312DCZ"
        return found


def readable(replies: Sequence[Message]) -> list[tuple[str, str]]:
    """Replies to compare: without parameters, table numbers and places in the server's source."""
    found = []
    for kind, payload in replies:
        if kind in ("S", "K"):
            continue
        if kind == "T":
            payload = _without_tables(payload)
        if kind in "EN":
            payload = b"\0".join(part for part in payload.split(b"\0") if part[:1] not in (b"F", b"L", b"R"))
        found.append((kind, payload.decode("utf-8", "replace")))
    return found


def _without_tables(payload: bytes) -> bytes:
    (count,) = struct.unpack_from("!h", payload)
    found, pos = [], 2
    for _ in range(count):
        end = payload.index(b"\0", pos)
        found.append(payload[pos:end] + payload[end + 7 : end + 19])
        pos = end + 19
    return b",".join(found)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def arena(proxy: Proxy, pg: Node) -> AsyncIterator[Arena]:
    """A database of these tests, through the proxy (a pool of one) and directly."""
    await pg.sql("create database arena")
    await pg.sql("alter database arena set search_path = s, public")
    await pg.sql("grant other to plain")
    with psycopg.connect(pg.dsn("arena"), autocommit=True) as control:
        control.execute(FUNCTIONS)
        made = Arena(proxy, pg, control)
        await _functions_known(made)
        yield made


async def _functions_known(arena: Arena) -> None:
    """Until the proxy knows what the functions do: one that it does not know may do anything, and pins."""
    for _ in range(100):
        async with arena.session("two") as client:
            await client.query("select change('1MB')")
            rows = await arena.proxy.admin("SHOW CLIENTS")
            if not any("unknown names" in str(row["pinned"]) for row in rows):
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the functions of the database are not known")
