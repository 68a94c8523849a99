"""SQL of figures over all servers: sizes, row counts, statistics, activity.

Functions of the coordinator stand for functions and relations of ``pg_catalog`` with the same names; the proxy puts
their schema into the text of whoever asks (``figures_text.py``). They add to what the coordinator says what the shards
have said, which they find in settings of the transaction:

    shardproxy.figures          ;OID:main,fsm,vm,init,table,indexes,total,tuples,pages,visible;OID: ...
    shardproxy.statistics       {view: {schema: {name: {column: value}}}}
    shardproxy.activity         {"rows": of other servers, "names": of shards' databases on the coordinator's server}
    shardproxy.prepared         the same
    shardproxy.database_size    bytes in the shards' databases

Invariant: without these settings the functions say what the coordinator says. They act with their caller's rights.
"""

from __future__ import annotations

from .shells import HIDDEN

__all__ = ["FIGURES_SQL", "STATISTICS"]

STATISTICS = {f"pg_{kind}_{which}_{what}": name
              for kind in ("stat", "statio") for which in ("all", "user")
              for what, name in (("tables", "relname"), ("indexes", "indexrelname"))}
"""Views of counters of relations, with the column that has the relation's name."""

_HIDDEN_CHILD = f"""k.oid = i.inhrelid and k.relnamespace = (
    select s.oid from pg_catalog.pg_namespace s where s.nspname = '{HIDDEN}')"""
_SETTING = "nullif(pg_catalog.current_setting('shardproxy.{}', true), '')"
_IN_PATH = "set search_path = pg_catalog, pg_temp"

_SIZES_SQL = f"""
create or replace function shardproxy.figure(relation oid, number int) returns text language sql stable as $$
    select nullif(pg_catalog.split_part(pg_catalog.split_part(pg_catalog.split_part({_SETTING.format('figures')},
        pg_catalog.concat(';', relation, ':'), 2), ';', 1), ',', number), '') $$;
create or replace function shardproxy.pg_relation_size(relation regclass) returns bigint language sql volatile
    {_IN_PATH} as $$
    select coalesce(shardproxy.figure(relation, 1)::bigint, pg_catalog.pg_relation_size(relation)) $$;
create or replace function shardproxy.pg_relation_size(relation regclass, fork text) returns bigint
    language sql volatile {_IN_PATH} as $$
    select coalesce(shardproxy.figure(relation, array_position(array['main', 'fsm', 'vm', 'init'], fork))::bigint,
                    pg_catalog.pg_relation_size(relation, fork)) $$;
create or replace function shardproxy.pg_table_size(relation regclass) returns bigint language sql volatile
    {_IN_PATH} as $$
    select coalesce(shardproxy.figure(relation, 5)::bigint, pg_catalog.pg_table_size(relation)) $$;
create or replace function shardproxy.pg_indexes_size(relation regclass) returns bigint language sql volatile
    {_IN_PATH} as $$
    select coalesce(shardproxy.figure(relation, 6)::bigint, pg_catalog.pg_indexes_size(relation)) $$;
create or replace function shardproxy.pg_total_relation_size(relation regclass) returns bigint language sql volatile
    {_IN_PATH} as $$
    select coalesce(shardproxy.figure(relation, 7)::bigint, pg_catalog.pg_total_relation_size(relation)) $$;
create or replace function shardproxy.pg_database_size(base name) returns bigint language sql volatile
    {_IN_PATH} as $$
    select pg_catalog.pg_database_size(base) + case when base = current_database()
        then coalesce({_SETTING.format('database_size')}::bigint, 0) else 0 end $$;
create or replace function shardproxy.pg_database_size(base oid) returns bigint language sql volatile
    {_IN_PATH} as $$
    select pg_catalog.pg_database_size(base) + case when base = (
            select oid from pg_database where datname = current_database())
        then coalesce({_SETTING.format('database_size')}::bigint, 0) else 0 end $$;
"""

_CATALOGS_SQL = f"""
do $do$
declare columns text;
begin
    select string_agg(case attname
            when 'reltuples' then 'coalesce(shardproxy.figure(c.oid, 8)::pg_catalog.float4, c.reltuples)'
            when 'relpages' then 'coalesce(shardproxy.figure(c.oid, 9)::pg_catalog.int4, c.relpages)'
            when 'relallvisible' then 'coalesce(shardproxy.figure(c.oid, 10)::pg_catalog.int4, c.relallvisible)'
            when 'relhassubclass' then $x$c.relhassubclass and not exists (
                select from pg_catalog.pg_inherits i join pg_catalog.pg_class k on {_HIDDEN_CHILD}
                where i.inhparent = c.oid)$x$
            else 'c.' || quote_ident(attname) end, ', ' order by attnum) into columns
        from pg_attribute where attrelid = 'pg_catalog.pg_class'::regclass and attnum > 0 and not attisdropped;
    execute format('create or replace function shardproxy.pg_class() returns setof pg_catalog.pg_class '
                   'language sql stable as %L', format('select %s from pg_catalog.pg_class c', columns));
end $do$;
create or replace function shardproxy.pg_inherits() returns setof pg_catalog.pg_inherits language sql stable as $$
    select i.* from pg_catalog.pg_inherits i where not exists (
        select from pg_catalog.pg_class k where {_HIDDEN_CHILD}) $$;
"""
"""PostgreSQL puts these two into the query that calls them, so indexes of the catalogs are used."""

_STATISTICS_SQL = f"""
do $do$
declare one record;
begin
    for one in select * from (values {', '.join(f"('{view}', '{name}')" for view, name in STATISTICS.items())})
               v(view, name) loop
        execute format('create or replace function shardproxy.%I() returns setof pg_catalog.%I language sql stable '
                       '{_IN_PATH} as %L', one.view, one.view, format($sql$
            with told as materialized (select {_SETTING.format('statistics')}::jsonb -> %L as j)
            select p.* from pg_catalog.%I s cross join told cross join lateral
                jsonb_populate_record(s, told.j -> s.schemaname::text -> s.%I::text) p
            where s.schemaname not in ('shardproxy', '{HIDDEN}') $sql$,
            one.view, one.view, one.name));
    end loop;
end $do$;
"""

_ACTIVITY_SQL = f"""
create or replace function shardproxy.pg_stat_activity() returns setof pg_catalog.pg_stat_activity
    language sql stable {_IN_PATH} as $$
    with told as materialized (select {_SETTING.format('activity')}::jsonb as j)
    select p.* from pg_catalog.pg_stat_activity a cross join told cross join lateral jsonb_populate_record(a,
        case when told.j -> 'names' ? a.datname::text then jsonb_build_object('datname', current_database(), 'datid',
            (select oid from pg_database where datname = current_database())) end) p
    union all
    select p.* from told cross join lateral jsonb_array_elements(told.j -> 'rows') r(one)
        cross join lateral jsonb_populate_record(null::pg_catalog.pg_stat_activity, r.one || jsonb_build_object(
            'usesysid', (select oid from pg_roles where rolname = r.one ->> 'usename'),
            'datid', (select oid from pg_database where datname = r.one ->> 'datname'))) p $$;
create or replace function shardproxy.pg_prepared_xacts() returns setof pg_catalog.pg_prepared_xacts
    language sql stable {_IN_PATH} as $$
    with told as materialized (select {_SETTING.format('prepared')}::jsonb as j)
    select p.* from pg_catalog.pg_prepared_xacts a cross join told cross join lateral jsonb_populate_record(a,
        case when told.j -> 'names' ? a.database::text
             then jsonb_build_object('database', current_database()) end) p
    union all
    select p.* from told cross join lateral
        jsonb_populate_recordset(null::pg_catalog.pg_prepared_xacts, told.j -> 'rows') p $$;
"""

_FUNCTIONS = (
    "figure(oid, int)", "pg_relation_size(regclass)", "pg_relation_size(regclass, text)", "pg_table_size(regclass)",
    "pg_indexes_size(regclass)", "pg_total_relation_size(regclass)", "pg_database_size(name)", "pg_database_size(oid)",
    *(f"{name}()" for name in ("pg_class", "pg_inherits", "pg_stat_activity", "pg_prepared_xacts", *STATISTICS)))
_GRANT_SQL = f"grant execute on function {', '.join(f'shardproxy.{one}' for one in _FUNCTIONS)} to public;"

FIGURES_SQL = _SIZES_SQL + _CATALOGS_SQL + _STATISTICS_SQL + _ACTIVITY_SQL + _GRANT_SQL
"""Idempotent; for the coordinator. What it makes depends on the server's version."""
