"""Random and broken message sequences against a running proxy, and random bytes against every decoder."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardproxy.dialects.postgres import login, wire
from shardproxy.errors import ShardproxyError
from shardproxy.server.proxy_header import SIGNATURE, Peer, parse_text, parse_v2
from tests.fixtures.raw import CD, CF, B, C, D, E, F, H, P, Q, Raw, S, X, done_copy

from .conftest import Arena

SECONDS = 6
SQL = [
    "select 1",
    "select 1/0",
    "begin",
    "commit",
    "rollback",
    "select pg_sleep(0.001)",
    "set work_mem = '1MB'",
    "reset all",
    "",
    "select set_config('my.own', 'fuzz', false)",
    "create temp table if not exists tt (a int)",
    "drop table if exists tt",
    "listen x",
    "unlisten *",
    "copy f from stdin",
    "copy f to stdout",
    "deallocate all",
    "discard all",
    "prepare p as select 1",
    "execute p",
    "select * from pg_prepared_statements",
    "set role other",
    "reset role",
    "savepoint s",
    "rollback to s",
    "select repeat('x', 100000)",
    "insert into f values (1)",
    "declare c cursor with hold for select 1",
    "close all",
    "x",
    "select 1; select 2",
    "begin; select 1",
    "deallocate a",
    "execute a",
    "select $1",
]
NAMES = ["", "a", "b"]


def some_message(dice: random.Random) -> bytes:
    """One message, mostly well-formed."""
    name, sql = dice.choice(NAMES), dice.choice(SQL)
    made = dice.choice(
        [
            Q(sql),
            Q(sql),
            P(name, sql),
            P(name, sql),
            B(name, dice.choice(NAMES)),
            B("", name),
            D("S", name),
            D("P", name),
            E(name, dice.choice([0, 1])),
            E(),
            C("S", name),
            C("P", name),
            S,
            S,
            S,
            H,
            CD(b"1\n"),
            CD(b"x\n"),
            done_copy,
            CF(),
            F(1),
            X,
        ]
    )
    roll = dice.random()
    if roll < 0.03:
        made = made[: dice.randrange(len(made) + 1)]
    elif roll < 0.06:
        broken = bytearray(made)
        broken[dice.randrange(len(broken))] = dice.randrange(256)
        made = bytes(broken)
    return made


@contextlib.contextmanager
def told(what: Callable[[], str]) -> Iterator[None]:
    """Whatever fails here, the report says with which seed."""
    try:
        yield
    except BaseException as error:
        error.add_note(what())
        raise


async def test_message_sequences(arena: Arena) -> None:
    """Whatever clients send, the proxy lives, its log has no internal error, and the pool of one serves others."""
    await arena.fresh("create table s.f (a int); grant all on s.f to public")
    deadline = time.monotonic() + SECONDS
    rounds = 0

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        one = await Raw.open(arena.proxy.port)
        await one.log_in({"user": dice.choice(["postgres", "two"]), "database": arena.name})
        for _ in range(dice.randrange(1, 25)):
            one.send(some_message(dice))
            if dice.random() < 0.2:
                await asyncio.sleep(dice.random() * 0.01)
                one.reader._buffer.clear()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            await asyncio.wait_for(one.writer.drain(), 5)
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.02)
        one.vanish()

    seed = int(time.time())
    with told(lambda: f"seed {seed}, round {rounds}"):
        while time.monotonic() < deadline:
            await asyncio.gather(*(client(seed + rounds * 8 + i) for i in range(8)))
            rounds += 1
            if rounds % 5 == 0:
                for user in ("postgres", "two"):
                    async with arena.session(user) as other:
                        found = await other.rows("select current_user, nullif(current_setting('my.own', true), ''), "
                                                 "current_setting('work_mem')")  # fmt: skip
                        assert found == [(user, None, "4MB")]
        assert rounds > 5
        assert arena.proxy.running


BYTES = st.binary(max_size=300)
FAST = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
DECODERS: list[tuple[Callable[[bytes], Any], type[Exception]]] = [
    (wire.startup_parameters, ValueError),
    (wire.error_fields, ValueError),
    (wire.parse_data_row, ValueError),
    (wire.parse_parameter_status, ValueError),
    (wire.split, ValueError),
    (lambda data: login._options(data.decode("latin-1")), ShardproxyError),
    (lambda data: login._startup(int.from_bytes(data[:4], "big"), data[4:]), ShardproxyError),
    (lambda data: login._startup(0x30000, data), ShardproxyError),
    (lambda data: login._startup(0x30002, b"user\0x\0" + data), ShardproxyError),
]


@pytest.mark.parametrize("index", range(len(DECODERS)))
def test_decoders(index: int) -> None:
    """They return, or raise what they say; nothing else."""
    decode, allowed = DECODERS[index]

    @FAST
    @given(BYTES)
    def run(data: bytes) -> None:
        with contextlib.suppress(allowed):
            decode(data)

    run()


def test_proxy_header() -> None:
    """A header is 16 bytes and what they announce."""
    peer = Peer("127.0.0.1", 1, "127.0.0.1", 2)

    @FAST
    @given(BYTES, st.booleans())
    def run(data: bytes, signed: bool) -> None:
        head = (SIGNATURE + data if signed else data).ljust(16, b"\0")[:16]
        with contextlib.suppress(ValueError):
            parse_v2(head, data[4:], peer)
        with contextlib.suppress(ValueError):
            parse_text(b"PROXY " + data if signed else data, peer)

    run()
