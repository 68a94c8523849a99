"""The lists of PostgreSQL's own functions and catalogs, compared with a real primary and its standby."""

from __future__ import annotations

import asyncio

import pytest

from shardproxy.dialects.postgres.sql import builtins
from shardproxy.dialects.postgres.sql.keywords import NOT_FUNCTIONS
from shardproxy.tools.cluster import Cluster, Node

SINCE_16 = frozenset("""
    any_value array_reverse array_sample array_shuffle array_sort bytea casefold crc32 crc32c date_add date_subtract erf
    erfc gamma has_largeobject_privilege json_agg_strict json_object_agg_strict json_object_agg_unique
    json_object_agg_unique_strict jsonb_agg_strict jsonb_object_agg_strict jsonb_object_agg_unique
    jsonb_object_agg_unique_strict jsonb_populate_record_valid lgamma pg_basetype pg_clear_attribute_stats
    pg_clear_relation_stats pg_get_acl pg_restore_attribute_stats pg_restore_relation_stats random_normal system_user
    to_bin to_oct to_regtypemod unicode_assigned uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 xmltext
""".split())  # noqa: SIM905
"""Functions that 15 does not have."""

OF_EXTENSIONS = frozenset(("dblink_connect", "dblink_connect_u", "dblink_open", "isn_weak"))

SAME_EVERYWHERE = """
select lower('A'), upper('b'), length('abc'), substring('abcdef' from 2 for 3), md5('x'), replace('a', 'a', 'b')
select to_char(1234.5, '9999.9'), to_date('2020-01-01', 'YYYY-MM-DD'), to_number('12', '99'), make_date(2020, 1, 2)
select array_agg(i order by i), sum(i), avg(i), string_agg(i::text, ',' order by i) from generate_series(1, 5) i
select jsonb_build_object('a', 1), row_to_json(row(1, 2)), to_jsonb('x'::text), jsonb_path_query_array('[1, 2]', '$[*]')
select has_table_privilege('pg_class', 'select'), pg_has_role(current_user, 'usage'), current_schemas(true)
select format_type(23, null), pg_get_userbyid(10), to_regclass('pg_class'), 'pg_class'::regclass, pg_typeof(1)
select current_database(), current_schema(), session_user, pg_client_encoding(), getdatabaseencoding()
select pg_get_viewdef('pg_tables'::regclass), obj_description(1259, 'pg_class'), current_user
select to_tsvector('english', 'The fat cats'), ts_headline('fat cats', to_tsquery('cat')), plainto_tsquery('fat cat')
select rank() over (order by relname), relname from pg_class where relnamespace = 'pg_catalog'::regnamespace
select * from information_schema.columns where table_name = 'pg_class' order by ordinal_position
select now() is not null, age(timestamp '2020-01-01', timestamp '2019-01-01'), make_timestamptz(2020, 1, 1, 0, 0, 0)
"""


async def functions(node: Node) -> dict[str, set[str]]:
    """Name -> volatilities of all functions of that name."""
    rows = await node.sql("select proname, array_agg(distinct provolatile::text) as kinds from pg_proc "
                          "where pronamespace = 'pg_catalog'::regnamespace group by 1")
    return {row["proname"]: set(row["kinds"]) for row in rows}


async def test_harmless_functions_exist_and_are_not_volatile(cluster: Cluster) -> None:
    known = await functions(cluster.replicas[0])
    assert builtins.HARMLESS - SINCE_16 - known.keys() == set()
    volatile = {name for name in builtins.HARMLESS & known.keys() if "v" in known[name]}
    assert volatile == set()
    assert {name for name in builtins.IMMUTABLE & known.keys() if known[name] != {"i"}} == set()


async def test_the_other_lists_name_what_exists(cluster: Cluster) -> None:
    known = await functions(cluster.replicas[0])
    named = builtins.CALM | builtins.WRITERS | builtins.EFFECTS.keys()
    assert named - SINCE_16 - OF_EXTENSIONS - known.keys() == set()
    assert set() == builtins.CALM & builtins.HARMLESS
    assert (builtins.WRITERS | builtins.EFFECTS.keys()) & builtins.HARMLESS == set()


async def test_functions_of_this_server_and_session_are_not_harmless(cluster: Cluster) -> None:
    known = await functions(cluster.primary)
    about = {name for name in known if name.startswith(("txid_current", "pg_current_", "inet_client", "inet_server",
                                                        "pg_stat_", "pg_last_", "pg_advisory", "pg_try_advisory"))}
    assert len(about) > 100
    assert about & builtins.HARMLESS == set()


async def test_functions_of_one_row_are_harmless_or_named(cluster: Cluster) -> None:
    """``row.name`` may call these without parentheses."""
    rows = await cluster.primary.sql("""
        select distinct proname from pg_proc p join pg_type t on t.oid = proargtypes[0]
        where pronamespace = 'pg_catalog'::regnamespace and pronargs - pronargdefaults <= 1 and pronargs >= 1
          and prokind in ('f', 'a') and provolatile = 'v'
          and (t.typtype = 'c' or t.typname in ('record', 'anyelement', 'any', 'anynonarray', 'anycompatible'))""")
    assert {row["proname"] for row in rows} - builtins.WRITERS - builtins.EFFECTS.keys() == set()


async def test_keywords_that_call_nothing(cluster: Cluster) -> None:
    rows = await cluster.primary.sql("select word from pg_get_keywords() where catcode in ('R', 'C')")
    assert {row["word"] for row in rows} - NOT_FUNCTIONS == set()


async def test_catalogs_exist_and_a_standby_answers_them(cluster: Cluster) -> None:
    rows = await cluster.primary.sql("select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace")
    names = {row["relname"] for row in rows}
    assert builtins.CATALOGS - {"pg_parameter_acl", "pg_publication_namespace"} - names == set()
    await cluster.caught_up()
    for name in sorted(builtins.CATALOGS & names):
        await cluster.replicas[0].value(f"select count(*) from pg_catalog.{name}")


@pytest.mark.parametrize("sql", SAME_EVERYWHERE.strip().splitlines())
async def test_a_standby_answers_as_the_primary(cluster: Cluster, sql: str) -> None:
    await cluster.caught_up()
    answers = await asyncio.gather(*(node.sql(sql) for node in (cluster.primary, cluster.replicas[0])))
    assert answers[0] == answers[1]
