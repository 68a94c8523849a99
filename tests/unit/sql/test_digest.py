"""The digest: what merges, what must not, and that the two ways to make it agree."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shardproxy.dialects.postgres.digest_cy import Scanner, digest
from shardproxy.dialects.postgres.digest_re import interpret

PIECES = [
    b"select", b"SELECT", b" ", b"  ", b"\n", b"\t", b"\r", b"\v", b"--x\n", b"--'", b"-", b"/*", b"*/", b"/**/", b"/",
    b"*", b"/* shardproxy: primary */", b"/*shardproxy: it's*/", b"'", b"''", b"'a'", b"E'", b"e'a\\'", b"\\", b"U&'x'",
    b'U&"', b"&", b"u", b'"', b'"a(b"', b'"(1),(1)"', b"$$", b"$a$", b"$1", b"$", b"1", b"1.5", b"1_0", b".", b"..",
    b"e5", b"e+5", b"0x1F", b"0b", b"_", b"(", b")", b",", b", ", b"(1, 'a')", b"(1,'a')", b"(now, 1)", b"set", b"do",
    b"Do", b"set_config", b"SET_CONFIG (", b"set_config('a'", b"current_setting('x.y'", b'"set_config"', b";", b"\x01",
    b"\x00", b"\x0e", b"\xc3\xa4", b"\xff", b"X", b"x'1F'", b"b'1'", b"N'x'", b"Update", b"'a'\n'b'", b"'a' -- c\n 'b'",
    b"e'a'\n 'b\\'", b"+", b"null", b"[", b"]", b"::", b"1, 2", b"a.b",
]
texts = st.lists(st.sampled_from(PIECES), max_size=10).map(b"".join) | st.binary(max_size=30)


@settings(max_examples=3000, deadline=None)
@given(texts)
@example(b"a/*shardproxy:*/b/*shardproxy:*/c")
@example(b"/* shardproxy: x */ set x = 'y'")
@example(b'"a";set x=1;"b;set"')
@example(b"insert into t values (1, now), (2, now), (3, then)")
def test_scanner_and_expressions_agree(sql: bytes) -> None:
    expected = interpret(sql)
    assert Scanner().run(sql) == expected
    assert digest(sql) == expected


ROW_PIECES = st.sampled_from([b"(", b")", b",", b", ", b"1", b"'a'", b"a", b" ", b"now()", b"f(1)", b"(1)", b"(1),(1)",
                              b"(a)", b"+", b'"("'])  # fmt: skip


@settings(max_examples=3000, deadline=None)
@given(st.lists(ROW_PIECES, max_size=6).map(b"".join), st.sampled_from([b",", b", ", b" , ", b""]), st.integers(1, 3))
def test_both_fold_rows_alike(row: bytes, comma: bytes, count: int) -> None:
    for sql in (comma.join([row] * count), comma.join([b"(" + row + b")"] * count)):
        assert Scanner().run(sql) == interpret(sql)


@settings(max_examples=1000, deadline=None)
@given(texts)
def test_a_digest_is_text_or_free_of_forged_slots(sql: bytes) -> None:
    key = digest(sql)
    assert key[:1] == b"\0" and key[1:] == sql or b"\0" not in key
    assert len(key) <= len(sql) * 2 + 1


def test_a_long_text_and_then_a_short_one() -> None:
    scanner = Scanner()
    long = b"select " + b", ".join(b"a%d" % i for i in range(500_000))
    assert scanner.run(long) == long
    assert scanner.run(b"select  1") == b"select \x01"


SAME = [
    ("select * from t where a = 1", "SELECT  *\nFROM t -- all\nWHERE a = 2 /* that /* nested */ is */"),
    ("select 'a', 1, 1.5", "select 'it''s', 99, .5e10"),
    ("select 'a'", "select $$b$$"), ("select 'a'", "select $x$ $$ $x$"), ("select 'a'", "select 'a'\n  'b'"),
    ("select e'a'", "select E'\\'b'"), ("select e'a'", "select e'a' -- x\n'b\\'c'"),
    ("select x from t where id in (1, 2)", "select x from t where id in (1, 2, 3, 4, 5, 6)"),
    ("insert into t values (1, 'a'), (2, 'b')", "insert into t values (1, 'a'), (2, 'b'), (3, 'c')"),
    ("insert into t values (1, now()), (2, now())", "insert into t values (3, now()), (4, now()), (5, now())"),
    ("select * from t limit 10", "select * from t limit 20"), ("select 0x1f", "select 1_000"),
    ("select nextval('a')", "select nextval('b')"), ("select x'1f'", "select X'2'"), ("select b'1'", "select B'0'"),
    ("select set_config('a', 'b', true)", "select set_config('a', 'c', true)"), ("SELECT Ä", "select Ä"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same(one: str, other: str) -> None:
    assert digest(one.encode()) == digest(other.encode())


DIFFERENT = [
    ("select a", "select b"), ("select A", 'select "A"'), ("select 1", "select 1.5"), ("select 1", "select '1'"),
    ("select 'a'", "select e'a'"), ("select 'a'", "select u&'a'"), ("select b'1'", "select x'1'"),
    ("select $1", "select $2"), ("select $1", "select 1"), ("select a.b", "select a .b"), ("select Ä", "select ä"),
    ("set x = 'a'", "set x = 'b'"), ("SET x TO 1", "SET x TO 2"), ("select 1; set x = 'a'", "select 1; set x = 'b'"),
    ("/* c */ set x = 'a'", "/* c */ set x = 'b'"),
    ("/* shardproxy: primary */ set x = 'a'", "/* shardproxy: primary */ set x = 'b'"),
    ("do $$ a $$", "do $$ b $$"), ("DO 'a'", "DO 'b'"),
    ("select set_config('a', 'x', false)", "select set_config('b', 'x', false)"),
    ("select pg_catalog.SET_CONFIG ( 'a', 'x', false)", "select pg_catalog.SET_CONFIG ( 'b', 'x', false)"),
    ('select "set_config"(\'a\', $1, $2)', 'select "set_config"(\'b\', $1, $2)'),
    ("select current_setting('a')", "select current_setting('b')"),
    ("select 1", "/* shardproxy: primary */ select 1"), ("select 1", "select 1 /*shardproxy: primary*/"),
    ("select 1", "select 1; select 1"), ("select f(1)", "select f (1) from t"), ("select 'a", "select 'b"),
    ("select 1 /*", "select 2 /*"), ('select "a\1"', 'select "a\2"'),
    ("insert into t values (1)", "insert into t values (now())"),
    ("insert into t values (1, a), (2, b)", "insert into t values (1, a), (2, a)"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different(one: str, other: str) -> None:
    assert digest(one.encode()) != digest(other.encode())


@pytest.mark.parametrize("sql", ["select 'a", 'select "a', "select $$a", "select $a$ $b$", "select /* a",
                                 "select e'\\'", "select 1a", "select 1$", "select $1a", "select $", "select $a b",
                                 "select \1", "\0",
                                 "select $$a$$b", "select x'a", "select u&\"a", "select /* /* */"])
def test_no_sql_is_its_own_digest(sql: str) -> None:
    assert digest(sql.encode()) == b"\0" + sql.encode()


SPACED = st.sampled_from([" ", "\n", "  \t", " /* x */ ", " -- y\n", "\r\n"])
NUMBERS = st.integers(0, 10**9).map(str)
STRINGS = st.text("abc';-/*$\"\\", max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'")


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_blanks_case_and_literals_do_not_matter(data: st.DataObject) -> None:
    def text() -> str:
        numbers = ", ".join(data.draw(st.lists(NUMBERS, min_size=2))).split()
        parts = ["select", "a", ",", '"B"', "from", "t", "where", "x", "=", data.draw(NUMBERS), "and", "y", "<>",
                 data.draw(STRINGS), "and", "z", "in", "(", *numbers, ")"]  # fmt: skip
        case = str.upper if data.draw(st.booleans()) else str.lower
        return "".join((case(part) if part.isalpha() else part) + (data.draw(SPACED) if part.isalpha() else " ")
                       for part in parts)

    assert digest(text().encode()) == digest(text().encode())
