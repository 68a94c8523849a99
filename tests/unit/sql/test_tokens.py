"""Tokens of a digest, statements, and digests for people."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from shardproxy.catalog.facts import Facts
from shardproxy.dialects.flags import MAYBE_READ, READ
from shardproxy.dialects.postgres.digest_cy import digest
from shardproxy.dialects.postgres.sql.analysis import analyse
from shardproxy.dialects.postgres.sql.reads import text_of
from shardproxy.dialects.postgres.sql.scannable import scannable
from shardproxy.dialects.postgres.sql.tokens import (
    ESCAPED,
    LITERAL,
    PARAMETER,
    QUOTED,
    SLOT,
    WORD,
    Token,
    cut,
    display,
    split,
    tokenise,
)
from tests.fixtures.facts import DATA
from tests.unit.sql.test_digest import texts


def tokens(sql: str) -> list[Token]:
    return tokenise(digest(sql.encode()))


def test_names() -> None:
    assert tokens('Foo "Bar""x" u&"b\\0061z" $1 fo$1 ä') == [
        (WORD, "foo"), (QUOTED, 'Bar"x'), (ESCAPED, 'u&"b\\0061z"'), (PARAMETER, "$1"),
        (WORD, "fo$1"), (WORD, "ä")]  # fmt: skip


def test_long_names_are_cut_as_the_server_cuts_them() -> None:
    assert tokens("A" * 70) == [(WORD, "a" * 63)]
    assert cut("x" + "ä" * 40) == "x" + "ä" * 31
    assert cut("xx" + "ä" * 40) == "xx" + "ä" * 30
    assert tokens('"' + "B" * 70 + '"') == [(QUOTED, "B" * 63)]


def test_kept_literals() -> None:
    kept = ["'a''b'", "E'a\\'b'", "$x$ ; $$ $x$", "1.5e3", "0x1F", "B'1'", "E'a'\n  'b\\'c'"]
    found = tokens("set x = " + ", ".join(kept))
    assert [token.text for token in found if token.kind == LITERAL] == kept


def test_slots_and_operators() -> None:
    assert [token.text for token in tokens("a<=-1 and b::int=>c.d[1:2]")] == [
        "a", "<=-", "\1", "and", "b", "::", "int", "=>", "c", ".", "d", "[", "\1", ":", "\1", "]"]  # fmt: skip
    assert tokens("1, 2, 3") == [(SLOT, "\1\x0e")]


def test_hints_are_found_anywhere() -> None:
    _, hints = split(tokens("/*shardproxy: a*/ select 1 /* shardproxy: b */; select 2"))
    assert hints == ["/*shardproxy: a*/", "/* shardproxy: b */"]


@pytest.mark.parametrize(("sql", "shown"), [
    ("select  1, 2 from T where x = 'secret'", "select ?, ... from t where x = ?"),
    ("insert into t values (1, 'a'), (2, 'b')", "insert into t values (?, ?), ..."),
    ("set x = 'secret', 5", "set x = ?, ?"), ("do $$ secret $$", "do ?"),
    ("alter role x password 'secret'", "alter role x password ?"),
    ("select set_config('a.b', 'c', true)", "select set_config(?, ?, true)"), ('select "It\'s"', 'select "It\'s"'),
    ("select 'secret", "(text of 14 bytes that is not SQL)"),
])  # fmt: skip
def test_no_literal_is_shown(sql: str, shown: str) -> None:
    assert display(digest(sql.encode())) == shown


def test_names_of_a_long_text_are_all_shown() -> None:
    sql = "select " + ", ".join(f"column_{number}" for number in range(5000)) + " from last_of_all"
    assert display(digest(sql.encode())).endswith(" from last_of_all")


def test_text_for_the_parser() -> None:
    assert text_of(tokens("select replace('a', 'b', 'c'), extract(year from x), \"F\"(1) from t")) == (
        "select f ( 'x', 'x' ) , extract ( year from x ) , f ( 1 ) from t")


@pytest.mark.parametrize(("encoding", "conforming", "expected"), [
    ("UTF8", "on", True), ("LATIN1", "on", True), ("SQL_ASCII", "on", True), ("EUC_JP", "on", True),
    ("SJIS", "on", False), ("gb18030", "on", False), ("UTF8", "off", False),
])
def test_texts_that_mean_something_else_are_not_scanned(encoding: str, conforming: str, expected: bool) -> None:
    assert scannable(encoding, conforming) is expected


@settings(max_examples=1500, deadline=None)
@given(texts)
def test_analysis_never_raises(sql: bytes) -> None:
    facts = Facts(DATA)
    for known in (facts, None):
        found = analyse(digest(sql), known)
        assert not found.flags & READ or known is not None
        assert not found.flags & READ or found.flags & MAYBE_READ
        assert not found.flags & READ or found.write_slots == ()
    display(digest(sql))
