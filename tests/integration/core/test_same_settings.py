"""Settings and roles: a session sees what it would see without the proxy, whoever used its connection in between."""

from __future__ import annotations

import pytest

from tests.fixtures.raw import Q

from .conftest import Arena

SHOW = Q(
    "select current_setting('work_mem'), current_setting('application_name'), current_setting('datestyle'), "
    "current_setting('search_path'), current_setting('statement_timeout'), "
    "nullif(current_setting('my.own', true), ''), "
    "current_user, session_user"
)
CASES: dict[str, list[str]] = {
    "set": [
        "set work_mem = '8MB'",
        "set work_mem to default",
        "set session my.own = 'mine'",
        "set time zone 'Asia/Tokyo'",
        "show timezone",
    ],
    "set in a transaction": [
        "begin",
        "set work_mem = '8MB'",
        "commit",
        "begin; set work_mem = '9MB'; commit",
    ],
    "rolled back": [
        "set work_mem = '8MB'",
        "begin",
        "set work_mem = '9MB'",
        "rollback",
        "begin; reset work_mem; rollback",
    ],
    "rolled back by an error": [
        "begin",
        "set work_mem = '9MB'",
        "select 1/0",
        "commit",
        "begin; set work_mem = '1MB'; x",
    ],
    "savepoints": [
        "begin",
        "set work_mem = '1MB'",
        "savepoint a",
        "set work_mem = '2MB'",
        "savepoint b",
        "set work_mem = '3MB'",
        "rollback to a",
        "commit",
    ],
    "released savepoint": [
        "begin",
        "savepoint a",
        "set work_mem = '2MB'",
        "release a",
        "set datestyle = 'SQL, DMY'",
        "commit",
    ],
    "local": [
        "begin",
        "set local work_mem = '5MB'",
        "set local my.own = 'x'",
        "commit",
        "set local work_mem = '1MB'",
    ],
    "local and session": ["begin; set work_mem = '4MB'; set local work_mem = '5MB'; commit"],
    "set_config": [
        "select set_config('work_mem', '8MB', false)",
        "select set_config('my.own', 'a', true)",
        "begin; select set_config('work_mem', '1MB', true); select set_config('my.own', 'b', false); commit",
        "select set_config('My.Own', 'c', false) from generate_series(1, 2)",
    ],
    "in functions": [
        "select change('8MB')",
        "select own('x')",
        "select local('work_mem', '1MB')",
        "select own('')",
        "select scoped()",
        "begin",
        "select own('y'), change('1MB')",
        "rollback",
        "select own('z') from pg_class",
    ],
    "do": ["do $$ begin execute 'set work_mem = ''6MB'''; end $$", "do $$ begin set my.own = 'do'; end $$"],
    "reset": [
        "set work_mem = '8MB'; set my.own = 'x'",
        "reset work_mem",
        "reset my.own",
        "set datestyle = 'German'",
        "reset all",
        "set work_mem = '8MB'",
        "discard all",
        "set work_mem = '9MB'",
        "discard plans",
    ],
    "role": [
        "set role other",
        "select current_user, session_user",
        "reset role",
        "set role plain",
        "set role none",
        "begin; set role other; commit",
        "begin; set role plain; rollback",
        "discard all",
    ],
    "local role": [
        "begin",
        "set local role other",
        "commit",
        "set role plain",
        "begin; set local role other; rollback",
    ],
    "session authorization": [
        "set session authorization plain",
        "set role other",
        "reset session authorization",
        "set session authorization 'two'",
        "set session authorization default",
        "begin; set session authorization plain; commit",
        "reset session authorization",
    ],
    "role and settings": [
        "set role other",
        "set work_mem = '8MB'",
        "create table no (a int)",
        "reset role",
        "set session authorization plain; set my.own = 'a'; set role other",
        "reset all",
    ],
    "several in one text": [
        "set work_mem = '1MB'; set datestyle = 'German'; select 1",
        "set work_mem = '2MB'; select 1/0",
        "set my.own = 'a'; begin; set my.own = 'b'",
        "rollback",
        "begin; set work_mem = '5MB'; commit; set datestyle = 'x'",
    ],
    "search path": [
        "create schema if not exists s2; create table s.t (a int); create table s2.t (b text)",
        "select * from t",
        "set search_path = s2",
        "select * from t",
        "begin; set local search_path = s",
        "select * from t",
        "commit",
        "select * from t",
        "drop schema s2 cascade",
    ],
    "odd values": [
        "set my.own = 'it''s \\ \"quoted\"'",
        "set my.own = ''",
        "set application_name = 'ä ''x''\\n'",
        "set search_path = \"a,b\", 'C d', public",
        "set my.own = E'line\\nbreak'",
        "set standard_conforming_strings = off",
        "set my.own = 'back\\\\slash'",
        "set client_encoding = 'LATIN1'",
        "set client_encoding = 'UTF8'",
    ],
    "errors": [
        "set no_such_thing = 1",
        "set work_mem = 'much'",
        "set role nobody_at_all",
        "reset no_such_thing",
        "set server_version = '1'",
        "set transaction isolation level serializable",
        "set my.own.deep = 'x'",
        "show my.own.deep",
    ],
    "characteristics": [
        "set session characteristics as transaction isolation level repeatable read",
        "show transaction_isolation",
        "begin read only",
        "show transaction_read_only",
        "commit",
        "set default_transaction_read_only = on",
        "create table no (a int)",
        "begin",
        "set transaction read write",
        "create table yes (a int)",
        "commit",
        "reset all",
    ],
    "short timeouts": [
        "set statement_timeout = 1",
        "set lock_timeout = 1",
        "set idle_in_transaction_session_timeout = 1",
        "reset all",
        "begin; set local statement_timeout = 1; commit",
    ],
    "names": [
        "set MY.OWN = 'Case'",
        "set \"my\".own = 'quoted'",
        "set Work_Mem = '8MB'",
        "set DateStyle = iso",
    ],
}


@pytest.mark.parametrize("name", CASES)
async def test_settings(arena: Arena, name: str) -> None:
    steps = [step for sql in CASES[name] for step in (Q(sql), SHOW)]
    await arena.compare(SHOW, *steps, SHOW)


@pytest.mark.parametrize("name", ["set", "reset", "set_config", "rolled back", "role", "local"])
async def test_settings_with_startup_parameters(arena: Arena, name: str) -> None:
    steps = [step for sql in CASES[name] for step in (Q(sql), SHOW)]
    await arena.compare(
        SHOW,
        *steps,
        SHOW,
        application_name="mine",
        datestyle="German",
        options="-c work_mem=9MB -c statement_timeout=1h --my.own=from\\ options",
    )


async def test_what_equals_the_servers_default_is_not_the_startup_value(arena: Arena) -> None:
    """work_mem is 4 MB on the server: a session that started with another value may still set it to that."""
    await arena.compare(
        SHOW,
        Q("set work_mem = '4MB'"),
        SHOW,
        SHOW,
        Q("reset work_mem"),
        SHOW,
        Q("begin"),
        Q("set work_mem = '4MB'"),
        Q("commit"),
        SHOW,
        Q("discard all"),
        SHOW,
        options="-c work_mem=9MB",
    )


@pytest.mark.parametrize("name", ["set", "rolled back", "reset", "in functions"])
async def test_settings_of_an_ordinary_user(arena: Arena, name: str) -> None:
    steps = [step for sql in CASES[name] for step in (Q(sql), SHOW)]
    await arena.compare(
        SHOW,
        *steps,
        SHOW,
        user="plain",
    )
