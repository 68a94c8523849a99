"""Columns, keys and functions of a database -> the JSON that ``shardproxy.catalog.tables.Tables`` takes.

Invariant: a function touches every relation whose name its body mentions, and what the functions, views, triggers and
policies of the names that it mentions touch. Names count, not their schemas: more is found, never less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from shardproxy.catalog.tables import Column, ForeignKey, Function, Table, Tables
from shardproxy.dialects.postgres.digest_cy import digest
from shardproxy.dialects.postgres.sql.tokens import ESCAPED, QUOTED, WORD, tokenise

from . import extensions
from .queries import Rows

__all__ = ["RUNS_SQL", "TABLE_QUERIES", "tables_of"]

RUNS_SQL = frozenset((
    "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml", "cursor_to_xmlschema",
    "table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema", "database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema",
    "ts_stat", "ts_rewrite"))
"""The server's own functions that run SQL they are given, or read tables they are given the name of."""

_DEFAULT_COLLATION = "(select d.datcollate from pg_database d where d.datname = current_database())"
_BYTEWISE = "('C', 'POSIX', 'C.UTF-8', 'C.utf8')"

TABLE_QUERIES: dict[str, str] = {
    "columns": f"""
        select a.attrelid as relation, a.attname, a.atttypid as type, format_type(a.atttypid, a.atttypmod) as type_name,
               a.atttypmod as typmod, t.typtype::text as type_kind,
               (with recursive up(oid, basetype) as (
                   select t.oid, t.typbasetype
                   union all select b.oid, b.typbasetype from up join pg_type b on b.oid = up.basetype)
                select oid from up where basetype = 0) as base,
               coalesce(k.collname, '') as collation,
               case when k.oid is null then true when k.collprovider = 'd'
                    then {_DEFAULT_COLLATION} in {_BYTEWISE}
                         and (select to_jsonb(d)->>'datlocprovider' from pg_database d
                              where d.datname = current_database()) is distinct from 'i'
                    else coalesce(k.collprovider = 'c' and k.collcollate in {_BYTEWISE}
                         or to_jsonb(k)->>'collprovider' = 'b', false) end as bytewise,
               coalesce(k.collisdeterministic, true) as deterministic, a.attnotnull as not_null,
               coalesce(pg_get_expr(d.adbin, d.adrelid), case when t.typtype = 'd' and a.attidentity = '' then
                        pg_get_expr(t.typdefaultbin, 0) end) as "default", a.attidentity::text as identity,
               a.attgenerated <> '' as generated,
               case when c.relkind in ('r', 'p') then
                   coalesce(pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname), '')
                   else '' end as sequence
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        join pg_type t on t.oid = a.atttypid
        left join pg_collation k on k.oid = a.attcollation
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid >= 16384 and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f')
        order by a.attrelid, a.attnum""",
    "about": """
        select c.oid, c.relispartition as partition, pg_get_userbyid(c.relowner) as owner, c.relrowsecurity as secured,
               coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1',
                                              'security_invoker=yes'], false) as security_invoker,
               case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) else '' end as definition,
               exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D'
                       and t.tgname not in ('shardproxy_no_write', 'shardproxy_fence')) as triggers,
               exists (select from pg_rewrite w where w.ev_class = c.oid and w.rulename <> '_RETURN') as rules,
               array(select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                     where i.indrelid = c.oid order by 1) as indexes
        from pg_class c where c.oid >= 16384 and c.relkind in ('r', 'p', 'v', 'm', 'f')""",
    # unique for all rows and at once
    "unique_indexes": """
        select i.indrelid as relation, i.indisprimary as "primary",
               (select array_agg(a.attname::text order by k.n)
                from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                where k.n <= i.indnkeyatts) as columns
        from pg_index i
        where i.indrelid >= 16384 and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
              and i.indexprs is null
        order by i.indrelid, i.indexrelid""",
    # of indexes of shells: see sharded/unique_sql.py
    "kept": """
        select i.indrelid as relation,
               (select array_agg(a.attname::text order by k.n)
                from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
                join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                where k.n <= i.indnkeyatts) as columns
        from pg_class h join pg_namespace n on n.oid = h.relnamespace
        join pg_index i on i.indexrelid = substring(h.relname from '^unique_([0-9]+)$')::oid
        where n.nspname = 'pg_shardproxy'
        order by i.indexrelid""",
    "foreign_keys": """
        select k.conname, k.conrelid as relation, k.confrelid as target, k.confdeltype::text as on_delete,
               k.confupdtype::text as on_update,
               (select array_agg(a.attname::text order by n) from unnest(k.conkey) with ordinality u(attnum, n)
                join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum) as columns,
               (select array_agg(a.attname::text order by n) from unnest(k.confkey) with ordinality u(attnum, n)
                join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum) as target_columns
        from pg_constraint k where k.contype = 'f' and k.conrelid >= 16384 and k.conparentid = 0
        order by k.conrelid, k.conname""",
    "shells": """
        select i.inhparent as relation from pg_inherits i join pg_foreign_table f on f.ftrelid = i.inhrelid
        join pg_foreign_server s on s.oid = f.ftserver where s.srvname = 'shardproxy_shell'""",
    "fired": """
        select tgrelid as relation, tgfoid as function from pg_trigger
        where not tgisinternal and tgenabled <> 'D' and tgfoid >= 16384 and tgname <> 'shardproxy_no_write'""",
}


def tables_of(rows: Rows) -> dict[str, Any]:
    """The tables as JSON, from the rows of both sets of queries."""
    relations = {row["oid"]: row for row in rows["relations"]}
    columns: dict[int, list[Column]] = defaultdict(list)
    for row in rows["columns"]:
        columns[row["relation"]].append(Column(
            row["attname"], row["type"], row["type_name"], row["typmod"], row["base"], row["type_kind"],
            row["collation"], row["bytewise"], row["deterministic"], row["not_null"], row["default"], row["identity"],
            row["generated"], row["sequence"]))
    keys = _Keys(rows, relations)
    about = {row["oid"]: row for row in rows["about"]}
    shells = {row["relation"] for row in rows["shells"]}
    tables = [
        Table(oid, row["nspname"], row["relname"], row["kind"], tuple(columns[oid]), keys.primary.get(oid, ()),
              tuple(keys.uniques[oid]), tuple(keys.foreign[oid]), about[oid]["definition"] or "",
              about[oid]["security_invoker"], about[oid]["triggers"], about[oid]["rules"], about[oid]["secured"],
              about[oid]["partition"], tuple(sorted(keys.parents[oid])), oid in shells, about[oid]["owner"],
              tuple(about[oid]["indexes"]), tuple(keys.kept[oid]))
        for oid, row in relations.items() if oid in about]
    return Tables(tables, _functions(rows, relations)).to_json()


class _Keys:
    """Keys and parents by the OID of their relation."""

    def __init__(self, rows: Rows, relations: Mapping[int, Mapping[str, Any]]) -> None:
        self.primary: dict[int, tuple[str, ...]] = {}
        self.uniques: dict[int, list[tuple[str, ...]]] = defaultdict(list)
        self.foreign: dict[int, list[ForeignKey]] = defaultdict(list)
        self.parents: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.kept: dict[int, list[tuple[str, ...]]] = defaultdict(list)
        for row in rows["kept"]:
            self.kept[row["relation"]].append(tuple(row["columns"]))
        for row in rows["unique_indexes"]:
            if row["primary"]:
                self.primary[row["relation"]] = tuple(row["columns"])
            elif row["columns"]:
                self.uniques[row["relation"]].append(tuple(row["columns"]))
        for row in rows["foreign_keys"]:
            target = relations.get(row["target"])
            if target is not None:
                self.foreign[row["relation"]].append(ForeignKey(
                    row["conname"], tuple(row["columns"]), (target["nspname"], target["relname"]),
                    tuple(row["target_columns"]), row["on_delete"], row["on_update"]))
        for row in rows["parents"]:
            parent = relations.get(row["parent"])
            if parent is not None:
                self.parents[row["child"]].append((parent["nspname"], parent["relname"]))


class _Mentions:
    """One function name, or one relation name, while mentions are followed."""

    __slots__ = ("languages", "names", "opaque", "volatility")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.opaque = False
        self.volatility = "i"
        self.languages: set[str] = set()


def _functions(rows: Rows, relations: Mapping[int, Mapping[str, Any]]) -> dict[str, Function]:
    """What each name of a function stands for."""
    found: dict[str, _Mentions] = defaultdict(_Mentions)
    by_oid = {row["oid"]: row["proname"] for row in rows["functions"]}
    for row in rows["functions"]:
        one = found[row["proname"]]
        one.volatility = "".join(v for v in "vsi" if v in (one.volatility, row["volatility"]))[0]
        one.languages.add(row["language"])
        _read_body(one, row)
    for row in rows["aggregates"]:
        if row["aggregate"] in by_oid and row["function"] in by_oid:
            found[by_oid[row["aggregate"]]].names.add(row["proname"])
    behind = _behind(rows, relations, by_oid)
    names = {row["relname"] for row in relations.values()}
    _follow(found, behind)
    return {name: Function(one.volatility, tuple(sorted(one.languages)), frozenset(one.names & names), one.opaque)
            for name, one in found.items()}


def _read_body(one: _Mentions, row: Mapping[str, Any]) -> None:
    body, language = row["body"], row["language"]
    if row["kind"] == "a":
        return
    if language in ("sql", "plpgsql") and body is not None:
        words = _words(body)
        if words is None or "execute" in words or words & RUNS_SQL:
            one.opaque = True
        one.names |= words or set()
    elif row["extension"] in extensions.CALM or (body is None and row["volatility"] == "i"):
        pass                            # functions in C that read no tables
    else:
        one.opaque = True


def _behind(rows: Rows, relations: Mapping[int, Mapping[str, Any]], by_oid: Mapping[int, str]) -> dict[str, set[str]]:
    """Names that stand behind each name of a relation: of its view, policies, triggers, defaults and children."""
    behind: dict[str, set[str]] = defaultdict(set)

    def add(oid: int, names: Iterable[str]) -> None:
        if oid in relations:
            behind[relations[oid]["relname"]].update(names)

    for row in rows["about"]:
        add(row["oid"], _words(row["definition"] or "") or ())
    for row in (*rows["policies"], *rows["expressions"]):
        add(row["relation"], _words(row["text"] or "") or ())
    for row in rows["fired"]:
        add(row["relation"], [by_oid[row["function"]]] if row["function"] in by_oid else [])
    for row in rows["parents"]:
        if row["parent"] in relations and row["child"] in relations:
            add(row["parent"], [relations[row["child"]]["relname"]])
            add(row["child"], [relations[row["parent"]]["relname"]])
    return behind


def _follow(found: Mapping[str, _Mentions], behind: Mapping[str, set[str]]) -> None:
    """Pass on what is mentioned to whatever mentions it."""
    for one in found.values():
        seen: set[str] = set()
        waiting = list(one.names)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            waiting.extend(behind.get(name, ()))
            if name in found:
                other = found[name]
                one.opaque = one.opaque or other.opaque
                waiting.extend(other.names)
        one.names = seen


def _words(text: str) -> set[str] | None:
    """All names and keywords in a text of SQL; None if they cannot be told."""
    key = digest(text.encode("utf-8", "surrogateescape"))
    if key[:1] == b"\0":
        return None
    tokens = tokenise(key)
    if any(token.kind == ESCAPED for token in tokens):
        return None
    return {token.text for token in tokens if token.kind in (WORD, QUOTED)}
