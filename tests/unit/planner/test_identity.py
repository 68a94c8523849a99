"""Which omitted columns the coordinator gives values to."""

from __future__ import annotations

import pytest

from shardproxy.catalog.tables import Column, Table
from shardproxy.planner.identity import defaults_for, is_constant

TABLE = Table(1, "public", "it's", "r", (
    Column("id", 20, "bigint", default="nextval('orders_id_seq'::regclass)", sequence="public.orders_id_seq"),
    Column("customer", 23, "integer", default="3"),
    Column("note", 25, "text", default="'none'::text"),
    Column("at", 1184, "timestamp with time zone", default="now()"),
    Column("n", 20, "bigint", identity="a", sequence="public.orders_n_seq"),
    Column("twice", 20, "bigint", default="(id * 2)", generated=True),
    Column("plain", 23, "integer")))
NEXT = """shardproxy.next_identity('"public"."it''s"'::regclass, 'n')"""


def test_the_key_comes_first_and_constants_stay_with_the_shards() -> None:
    assert defaults_for(TABLE, ("note",), ("customer",)) == (
        ("customer", "3"), ("id", "nextval('orders_id_seq'::regclass)"), ("at", "now()"), ("n", NEXT))
    assert defaults_for(TABLE, ("id", "customer", "at", "n"), ("customer",)) is None
    assert defaults_for(TABLE, ("id", "at", "n"), ("plain",)) == (("plain", "NULL"),)
    assert defaults_for(TABLE, ("id", "at"), ()) == (("n", NEXT),)


@pytest.mark.parametrize("text", ["1", "-1", "(-1)", "1.5", "'x'::text", "'it''s'::character varying(20)", "true",
                                  "NULL::text", "'{}'::text[]", "'{}'::\"my schema\".t", "(1)::numeric(10,2)"])
def test_constants(text: str) -> None:
    assert is_constant(text)


@pytest.mark.parametrize("text", ["now()", "CURRENT_TIMESTAMP", "gen_random_uuid()", "nextval('s'::regclass)",
                                  "('now'::text)::date", "1 + f()", "'a'::text || f()", "lower('A'::text)",
                                  "CURRENT_USER", "ARRAY[f()]", "'x'::text || ('y'::text)"])
def test_what_is_no_constant(text: str) -> None:
    assert not is_constant(text)
