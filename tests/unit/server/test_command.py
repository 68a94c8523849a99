"""The grammar of the console."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardproxy.errors import ClientError
from shardproxy.server.command import Command, Word, parse, suggest


@pytest.mark.parametrize(("sql", "verb", "words"), [
    ("SHOW STATS;", "SHOW", ["STATS"]),
    ("  show  stats_totals  ;  ", "SHOW", ["stats_totals"]),
    ("/* exporter */ SHOW POOLS -- now\n", "SHOW", ["POOLS"]),
    ("PAUSE shop", "PAUSE", ["shop"]),
    ('pause "My ""own"" shop";', "PAUSE", ['My "own" shop']),
    ("SET query_wait_timeout=30", "SET", ["query_wait_timeout", "=", "30"]),
    ("SET log.level = 'it''s'", "SET", ["log.level", "=", "it's"]),
    ("BAN shop/main/main/1 600", "BAN", ["shop/main/main/1", "600"]),
    ("DRAIN [::1]:5432", "DRAIN", ["[::1]:5432"]),
    ("", "", []),
    (" ; -- nothing", "", []),
])
def test_commands(sql: str, verb: str, words: list[str]) -> None:
    command = parse(sql)
    assert command.verb == verb
    assert [word.value for word in command.words] == words


@pytest.mark.parametrize("sql", ["SHOW POOLS; SHOW STATS", "PAUSE 'open", '"SHOW" POOLS', "x" * 20_000,
                                 'KILL "', "/* open"])
def test_what_is_no_command(sql: str) -> None:
    if sql == "/* open":  # words, though strange ones: an unknown command
        assert parse(sql).verb == "/*"
        return
    with pytest.raises(ClientError) as caught:
        parse(sql)
    assert caught.value.sqlstate == "42601"


@given(st.text(max_size=200))
def test_any_text_is_a_command_or_an_error(sql: str) -> None:
    try:
        command = parse(sql)
    except ClientError as error:
        assert error.sqlstate == "42601"
    else:
        assert command.verb == command.verb.upper()


def test_arguments() -> None:
    assert Command("PAUSE").argument("database") is None
    assert Command("PAUSE", (Word("shop"),)).argument("database") == "shop"
    with pytest.raises(ClientError):
        Command("PAUSE", (Word("shop"), Word("now"))).argument("database")
    with pytest.raises(ClientError, match="DRAIN needs a server"):
        Command("DRAIN").required("server")


def test_suggestions() -> None:
    assert suggest("POOL", ["POOLS", "STATS"]) == "did you mean POOLS?"
    assert suggest("xyzzy", ["POOLS"], "see HELP") == "see HELP"
