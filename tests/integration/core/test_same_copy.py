"""COPY in all its ways, good and bad: the replies are those of a direct connection."""

from __future__ import annotations

import pytest

from tests.fixtures.raw import CD, CF, B, E, H, P, Q, S, codes, done_copy, kinds, parts, statuses

from .conftest import Arena, Step

TABLE = (
    "create table s.t (a int, b text); insert into s.t select i, 'row ' || i from generate_series(1, 10) i;"
)
IN = Q("copy t from stdin")
XIN = P("", "copy t from stdin") + B() + E()
COUNT = Q("select count(*) from t")
BINARY = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8 + b"\0\2\0\0\0\4\0\0\0\7\0\0\0\1x" + b"\xff\xff"

CASES: dict[str, list[Step]] = {
    "out": [
        Q("copy t to stdout"),
        Q("copy t to stdout (format binary)"),
        P("", "copy t to stdout") + B() + E() + S,
    ],
    "out with an error": [Q("copy (select 1 / (3 - i) from generate_series(1, 5) i) to stdout"), COUNT],
    "in": [(IN, "G"), (CD(b"1\tx\n") + CD(b"2\ty\n3\t"), "-"), (CD(b"z\n") + done_copy, "Z"), COUNT],
    "in at once": [(IN + CD(b"1\tx\n") + done_copy, "Z"), COUNT],
    "in binary": [
        (Q("copy t from stdin binary"), "G"),
        (CD(BINARY) + done_copy, "Z"),
        Q("select * from t where a = 7"),
    ],
    "in extended": [(XIN + H, "G"), CD(b"1\tx\n") + done_copy + S, COUNT],
    "in extended with an early sync": [
        (XIN + S, "G"),
        (CD(b"1\tx\n") + S + CD(b"2\tx\n") + done_copy + S, "Z"),
        COUNT,
    ],
    "in extended at once": [XIN + CD(b"1\tx\n") + done_copy + S, COUNT],
    "fail": [(IN, "G"), (CD(b"1\tx\n") + CF("no more"), "Z"), COUNT],
    "fail extended": [(XIN + H, "G"), CD(b"1\tx\n") + CF() + S, COUNT],
    "bad data": [(IN, "G"), (CD(b"x\tx\n") + CD(b"1\tx\n") + done_copy, "Z"), COUNT],
    "bad data then more": [
        (IN, "G"),
        (CD(b"x\tx\n") * 50, "Z"),
        (CD(b"1\tx\n") * 50, "-"),
        (done_copy, "-"),
        COUNT,
        COUNT,
    ],
    "bad data extended": [
        (XIN + H, "G"),
        (CD(b"x\tx\n") + CD(b"1\tx\n"), "E"),
        CD(b"1\tx\n") + done_copy + S,
        COUNT,
    ],
    "bad data extended, early sync": [(XIN + S, "G"), (CD(b"x\tx\n"), "E"), done_copy + S, COUNT],
    "in a transaction": [
        Q("begin"),
        (IN, "G"),
        (CD(b"1\tx\n") + done_copy, "Z"),
        COUNT,
        Q("rollback"),
        COUNT,
    ],
    "bad data in a transaction": [
        Q("begin"),
        (IN, "G"),
        (CD(b"x\tx\n") + done_copy, "Z"),
        COUNT,
        Q("rollback"),
        COUNT,
    ],
    "several statements": [
        (Q("insert into t values (0); copy t from stdin; select 1; copy t from stdin; select 2"), "G"),
        (CD(b"1\tx\n") + done_copy, "G"),
        (CD(b"2\tx\n") + done_copy, "Z"),
        COUNT,
    ],
    "in a pipeline": [
        P("", "select 1") + B() + E() + XIN + CD(b"1\tx\n") + done_copy + S,
        COUNT,
        COUNT + COUNT + XIN + CD(b"1\tx\n") + done_copy + S + COUNT,
    ],
    "stray messages": [
        CD(b"1\tx\n"),
        COUNT,
        done_copy + COUNT,
        CF() + COUNT,
        CD(b"x") + P("", "select 1") + B() + E() + S,
    ],
    "no rights": [Q("copy nothing from stdin"), (CD(b"1\n") + done_copy, "-"), COUNT],
    "empty": [(IN, "G"), (done_copy, "Z"), (IN, "G"), (CD(b"") + CD(b"") + done_copy, "Z"), COUNT],
}


@pytest.mark.parametrize("name", CASES)
async def test_copy(arena: Arena, name: str) -> None:
    await arena.compare(*CASES[name], setup=TABLE)


async def test_half_a_message_when_copy_fails(arena: Arena) -> None:
    """The server gives up while the client is in the middle of a long message: its rest is nobody else's input."""
    await arena.fresh(TABLE)
    async with arena.session() as client, arena.session() as other:
        assert kinds(await client.ask(IN, until="G")) == "G"
        long = CD(b"1\tx\n" * 100_000)
        first, second = parts(long, [150_000])
        client.send(CD(b"x\tx\n") + first)
        replies = await client.read()
        assert codes(replies) == ["22P02"]
        assert statuses(replies) == "I"
        other.send(COUNT)
        client.send(second + done_copy + COUNT)
        assert kinds(await client.read()) == "TDCZ"
        assert kinds(await other.read()) == "TDCZ"


async def test_client_that_leaves_with_half_a_message(arena: Arena) -> None:
    await arena.fresh(TABLE)
    for spoil in (b"", CD(b"x\tx\n")):
        async with arena.session() as client:
            await client.ask(IN, until="G")
            client.send(spoil + parts(CD(b"1\tx\n" * 100_000), [150_000])[0])
            if spoil:
                assert codes(await client.read()) == ["22P02"]
            client.vanish()
        async with arena.session() as other:
            assert await other.value("select count(*) from t") == "10"
    async with arena.session() as client:
        await client.ask(P("", "select length($1)") + S)
        client.send(parts(B("", "", "x" * 300_000), [150_000])[0])
        client.vanish()
    async with arena.session() as other:
        assert await other.value("select 1") == "1"
