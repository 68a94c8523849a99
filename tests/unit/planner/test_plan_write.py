"""Plans of writes: what kind they are, and that every text in them is PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pglast
import pytest

from shardproxy.catalog.tables import Column, Table, Tables
from shardproxy.dialects.postgres.sql.sharding import KNOWLEDGE
from shardproxy.planner.plan import (
    CopyIn,
    CopyOut,
    Gather,
    InsertFrom,
    InsertRows,
    Parted,
    Plan,
    Pull,
    Push,
    Reference,
    Refusal,
    ShardFilter,
    Single,
    Value,
    Write,
    WriteBack,
)
from shardproxy.planner.writes import plan_write
from shardproxy.topology.layout import KeyspaceLayout, Layout, TableLayout


def column(name: str, oid: int = 23, kind: str = "integer", **more: Any) -> Column:
    return Column(name, oid, kind, base=oid, **more)


TEXT = (25, "text")
TABLES = Tables([
    Table(1, "public", "t", "r", (
        column("id", sequence="public.t_id_seq", default="nextval('public.t_id_seq'::regclass)"), column("k"),
        column("v", *TEXT), column("at", 1184, "timestamp with time zone", default="now()")), ("k", "id"), shell=True),
    Table(2, "public", "s", "r", (column("k"), column("w", *TEXT)), ("k",), shell=True),
    Table(3, "public", "r", "r", (column("id"), column("name", *TEXT)), ("id",)),
    Table(4, "public", "u", "r", (column("id"), column("k"), column("v", *TEXT)), ("id",)),
    Table(5, "public", "p", "r", (column("k"), column("v", *TEXT)), shell=True),
    Table(6, "public", "n", "r", (column("k", 1043, "character varying(3)", typmod=7), column("v", *TEXT)), ("k",),
          shell=True),
])
NAMES = {"t": ("k",), "s": ("k",), "p": ("k",), "n": ("k",), "r": ()}
LAYOUT = Layout(1, "main", {"c": KeyspaceLayout("c", ("s0", "s1"), "hash", 4, (0, 0, 1, 1), tuple(
    TableLayout("public", name, "c", key, not key) for name, key in NAMES.items()))})


def planned(text: str) -> Plan:
    return plan_write(text, None, LAYOUT, TABLES, ("public",), KNOWLEDGE)


KINDS: list[tuple[type, str]] = [
    (Write, "INSERT INTO s VALUES (1, 'a')"),
    (Write, "INSERT INTO s (w) VALUES ('no key')"),
    (Write, "INSERT INTO s DEFAULT VALUES"),
    (Write, "INSERT INTO s (k, w) VALUES (1, 'a'), ($1::int, now()::text) RETURNING *"),
    (Write, "INSERT INTO s AS x (k, w) VALUES (1, $$a$$) ON CONFLICT (k) DO UPDATE SET w = x.w || EXCLUDED.w, "
            "k = EXCLUDED.k WHERE x.w <> now()::text RETURNING x.k"),
    (InsertRows, "INSERT INTO t VALUES (DEFAULT, 5, 'x')"),
    (InsertRows, "INSERT INTO t (k, v) VALUES (1, 'a'), ($1, E'b\\n') RETURNING *"),
    (InsertRows, "INSERT INTO n VALUES ('abc ', 'the type cuts it')"),
    (InsertFrom, "INSERT INTO s (k, w) VALUES (1 + 1, 'a')"),
    (InsertFrom, "INSERT INTO s (k, w) VALUES (1, (SELECT max(w) FROM s)), (2, nextval('q')::text)"),
    (InsertFrom, "INSERT INTO s SELECT id, v FROM t ON CONFLICT DO NOTHING"),
    (InsertFrom, "INSERT INTO s SELECT k, v FROM t LIMIT 3"),
    (InsertFrom, "WITH x AS (SELECT k, count(*) AS c FROM t GROUP BY 1) INSERT INTO s SELECT k, c::text FROM x"),
    (InsertFrom, "INSERT INTO n SELECT k::text, v FROM t"),
    (Push, "INSERT INTO s SELECT k, v FROM t"),
    (Push, "INSERT INTO s SELECT t.k, v || w || now() FROM t JOIN s USING (k)"),
    (Gather, "INSERT INTO u SELECT id, k, v FROM t"),
    (Single, "INSERT INTO u VALUES (1, 2, 'x')"),
    (Single, "INSERT INTO s (nope) VALUES (1)"),
    (Single, "INSERT INTO s VALUES (1, 'a', 3)"),
    (Single, "INSERT INTO s VALUES (1, 'a') ON CONFLICT (w) DO NOTHING"),
    (Refusal, "INSERT INTO s VALUES (1, 'a') ON CONFLICT (k) DO UPDATE SET k = 9"),
    (Refusal, "INSERT INTO s VALUES (1, 'a') ON CONFLICT (k) DO UPDATE SET w = (SELECT max(v) FROM t)"),
    (Reference, "INSERT INTO r VALUES (1, 'a'), (2, now()::text)"),
    (InsertFrom, "INSERT INTO r SELECT id, v FROM t"),
    (InsertFrom, "INSERT INTO r VALUES (1, random()::text)"),
    (Push, "UPDATE t SET v = 'x' WHERE k = 5"),
    (Push, "UPDATE t SET v = 'x', at = now()"),
    (Push, "UPDATE t AS a SET v = s.w FROM s WHERE s.k = a.k AND a.id > 4 RETURNING a.*"),
    (Push, "UPDATE t SET k = 5, v = 'd' WHERE k = 5"),
    (WriteBack, "UPDATE t SET k = 9 WHERE k = 5"),
    (WriteBack, "UPDATE t SET v = s.w FROM s WHERE s.w = t.v RETURNING t.*"),
    (WriteBack, "UPDATE t SET (v, id) = (SELECT w, k FROM s WHERE s.k = 3)"),
    (WriteBack, "UPDATE t SET id = nextval('q')"),
    (WriteBack, "UPDATE p SET v = (SELECT max(w) FROM s)"),
    (Refusal, "UPDATE t SET v = 'x' WHERE ctid = '(0,1)'"),
    (Refusal, "UPDATE t SET v = 'x' WHERE CURRENT OF c"),
    (Gather, "UPDATE u SET v = t.v FROM t WHERE t.k = u.k"),
    (Reference, "UPDATE r SET name = upper(name)"),
    (Refusal, "UPDATE r SET name = s.w FROM s WHERE s.k = r.id"),
    (Push, "DELETE FROM t"),
    (Push, "DELETE FROM t USING r WHERE r.id = t.id"),
    (Push, "DELETE FROM t WHERE EXISTS (SELECT 1 FROM s WHERE s.k = t.k)"),
    (WriteBack, "DELETE FROM t WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.w = t.v)"),
    (Gather, "DELETE FROM u USING t WHERE t.id = u.id"),
    (Push, "MERGE INTO s USING t ON s.k = t.k WHEN MATCHED THEN UPDATE SET w = t.v "
           "WHEN NOT MATCHED THEN INSERT (k, w) VALUES (t.k, t.v)"),
    (WriteBack, "MERGE INTO s USING t ON s.k = t.k WHEN NOT MATCHED THEN INSERT VALUES (t.k + 1, t.v)"),
    (WriteBack, "MERGE INTO s USING (VALUES (1, 'a')) AS x(k, w) ON s.k = x.k WHEN MATCHED THEN DELETE "
                "WHEN NOT MATCHED THEN INSERT VALUES (x.k, x.w)"),
    (Parted, "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT id, k, v FROM x"),
    (CopyIn, "COPY t FROM STDIN"),
    (CopyIn, "COPY t (k, v) FROM STDIN CSV HEADER QUOTE AS '''' FORCE NOT NULL v"),
    (CopyIn, "COPY r FROM STDIN WITH (FORMAT binary)"),
    (CopyOut, "COPY t TO STDOUT (FORMAT csv, HEADER)"),
    (CopyOut, "COPY (SELECT * FROM t ORDER BY 1) TO STDOUT"),
    (Refusal, "COPY t FROM '/tmp/x'"),
    (Single, "COPY u FROM STDIN"),
]


@pytest.mark.parametrize(("kind", "text"), KINDS)
def test_kind(kind: type, text: str) -> None:
    assert type(planned(text)) is kind, planned(text)


def texts(plan: Any, source: str) -> Iterator[str]:
    """Every statement that carrying out a plan sends, with plain names and values in its holes."""
    if isinstance(plan, Write):
        yield from texts(plan.spread, source)
    elif isinstance(plan, InsertRows):
        rows = ", ".join(f"({filled(row.text, 'NULL')})" for row in plan.rows)
        yield plan.head.decode() + rows + filled(plan.tail)
        yield from (f"SELECT {expression}" for _, expression in plan.added)
    elif isinstance(plan, InsertFrom):
        yield filled(plan.stage)
        alias = f" AS {plan.alias}" if plan.alias else ""
        yield f"INSERT INTO x{alias} ({', '.join(plan.columns)}) VALUES (NULL)" + filled(plan.tail)
    elif isinstance(plan, CopyIn):
        yield "COPY x FROM STDIN" + plan.text.decode()
    elif isinstance(plan, CopyOut):
        yield from (text.decode() for text in (plan.text, plan.rest) if text)
        yield from texts(plan.query, source)
    elif isinstance(plan, Push | Reference | WriteBack | Gather):
        yield filled(plan.text) if plan.text is not None else source
    for pull in getattr(plan, "pulls", ()):
        yield pull.text.decode()


def filled(parts: Any, hole: str = "pg_temp.x") -> str:
    return "".join(part.decode() if isinstance(part, bytes) else "'2024-01-01 00:00:00+00'::timestamptz" if part < 0
                   else hole for part in parts)


@pytest.mark.parametrize("text", [text for kind, text in KINDS if kind is not Refusal])
def test_texts_parse(text: str) -> None:
    for one in texts(planned(text), text):
        pglast.parse_sql(one)


def values(plan: Any) -> Iterator[Any]:
    """All that a plan is made of."""
    yield plan
    if isinstance(plan, tuple):
        for part in plan:
            yield from values(part)
    elif is_dataclass(plan):
        for field in fields(plan):
            yield from values(getattr(plan, field.name))


def test_filters_name_the_key() -> None:
    plan = planned("UPDATE t SET v = 'x' WHERE k IN (5, $2)")
    assert isinstance(plan, Push)
    keys = plan.filter.keys
    assert keys is not None
    assert [row[0].value for row in keys] == [Value(text="5"), Value(param=2)]


def test_merge_looks_at_all_unmatched_rows_of_its_source() -> None:
    plan = planned("MERGE INTO s USING t ON s.k = t.k AND s.k = 5 AND t.id < 3 WHEN MATCHED THEN DELETE "
                   "WHEN NOT MATCHED THEN INSERT VALUES (t.k, t.v)")
    assert isinstance(plan, Push)
    assert plan.filter.keys is None
    plan = planned("MERGE INTO s USING t ON s.k = t.k AND t.id < 3 WHEN MATCHED THEN DELETE "
                   "WHEN NOT MATCHED THEN INSERT VALUES (t.id, t.v)")
    assert isinstance(plan, WriteBack)
    assert b"WHERE" not in plan.pulls[1].text


def test_a_write_that_moves_rows_never_runs_as_it_came() -> None:
    assert not any(isinstance(one, Write) for _, text in KINDS if text.startswith("UPDATE t SET k = 9")
                   for one in values(planned(text)))


def test_locked_pulls_of_the_target() -> None:
    plan = planned("UPDATE t SET v = s.w FROM s WHERE s.w = t.v AND t.k = 3")
    target = plan.pulls[plan.target] if isinstance(plan, WriteBack) else None
    assert isinstance(target, Pull)
    assert target.lock
    assert isinstance(target.filter, ShardFilter)
    assert target.filter.keys is not None
