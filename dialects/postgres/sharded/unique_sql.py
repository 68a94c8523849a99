"""SQL of unique constraints that no shard can check alone: what shards note, and where the coordinator keeps values.

    on a shard         a trigger notes in shardproxy.noted which values of a unique index came and went
    the proxy          takes the notes after each statement and has the coordinator keep them, in the same transaction
    the coordinator    pg_shardproxy.unique_<OID of the shell's index>: all values, under a unique index of that name

Invariant: a transaction whose notes were not taken cannot commit, so no value is ever written that is not kept.
"""

from __future__ import annotations

from .shells import HIDDEN

__all__ = ["KEPT_SQL", "NOTED_SQL", "WATCH"]

WATCH = "shardproxy_unique_"
"""Names of triggers begin with this."""

_PLAIN = "set search_path = pg_catalog, pg_temp set datestyle = 'ISO' set intervalstyle = 'postgres' " \
         "set extra_float_digits = 3 set bytea_output = 'hex'"
"""A value's text is read on another server: it may not depend on the client's settings."""

_COLUMNS = """(select string_agg(format({form}, a.attname), ', ' order by k.n)
    from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, n), pg_attribute a
    where i.indexrelid = {index} and k.n <= i.indnkeyatts and a.attrelid = i.indrelid and a.attnum = k.attnum)"""
_ROLE = "case current_setting('role') when 'none' then session_user::text else current_setting('role') end"

NOTED_SQL = f"""
create table if not exists shardproxy.noted (
    xid xid8 not null default pg_current_xact_id(), n bigint generated always as identity,
    relation oid not null, index oid not null, op "char" not null, cells jsonb, primary key (xid, n));
create or replace function shardproxy.note_change() returns trigger
    language plpgsql security definer {_PLAIN} as $$
declare
    own oid := tg_argv[0]::oid;
    cells text := {_COLUMNS.format(form="'($1).%I::text'", index="own")};
    was jsonb; comes jsonb;
begin
    if cells is null then
        raise exception 'the unique index that keeps values of table % was replaced', tg_relid::regclass
            using errcode = 'object_not_in_prerequisite_state', hint = 'Drop the constraint and add it again.';
    end if;
    if tg_op = 'TRUNCATE' then
        insert into shardproxy.noted (relation, index, op) values (tg_relid, own, 'T');
        return null;
    end if;
    if tg_op <> 'INSERT' then
        execute 'select jsonb_build_array(' || cells || ')' into was using old;
    end if;
    if tg_op <> 'DELETE' then
        execute 'select jsonb_build_array(' || cells || ')' into comes using new;
    end if;
    if was is not distinct from comes then
        return null;
    end if;
    insert into shardproxy.noted (relation, index, op, cells)
        select tg_relid, own, o, c from (values ('D'::"char", was), ('I', comes)) v (o, c)
        where c is not null and not c @> '[null]';
    return null;
end $$;
create or replace function shardproxy.check_taken() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from shardproxy.noted where xid = new.xid and n = new.n) then
        raise exception 'unique values of table % were written, and not kept on the coordinator', new.relation::regclass
            using errcode = 'object_not_in_prerequisite_state', hint = 'Write it through shardproxy.';
    end if;
    return null;
end $$;
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'shardproxy.noted'::regclass and tgname = 'taken') then
        create constraint trigger taken after insert on shardproxy.noted deferrable initially deferred
            for each row execute function shardproxy.check_taken();
    end if;
end $$;
create or replace function shardproxy.noted_changes(sign integer, out schema text, out name text, out index text,
                                                    out cells text) returns setof record
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select s.nspname, c.relname, x.relname, t.cells::text
    from (select relation, index, cells, sum(case op when 'I' then 1 when 'D' then -1 else 0 end) as net
          from shardproxy.noted where xid = pg_current_xact_id_if_assigned() and (op = 'T') = (sign = 0)
          group by relation, index, cells) t
    join pg_class c on c.oid = t.relation join pg_namespace s on s.oid = c.relnamespace
    join pg_class x on x.oid = t.index
    where sign(t.net) = sign or sign = 2
$$;
create or replace function shardproxy.take_noted() returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    delete from shardproxy.noted where xid = pg_current_xact_id_if_assigned()
$$;
create or replace function shardproxy.watch_unique(watched regclass, index_name text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    own oid := (select indexrelid from pg_index join pg_class on pg_class.oid = indexrelid
                where indrelid = watched and relname = index_name);
begin
    execute format('create trigger %I after insert or update or delete on %s for each row '
                   'execute function shardproxy.note_change(%s)', '{WATCH}' || own, watched, own);
    execute format('create trigger %I after truncate on %s for each statement '
                   'execute function shardproxy.note_change(%s)', '{WATCH}t' || own, watched, own);
end $$;
create or replace function shardproxy.unwatch() returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare one record;
begin
    for one in select tgname, tgrelid::regclass as watched from pg_trigger
               where tgname ~ '^{WATCH}t?[0-9]+$' and tgfoid = 'shardproxy.note_change'::regproc
               and not exists (select from pg_class where oid = substring(tgname from '[0-9]+$')::oid) loop
        execute format('drop trigger %I on %s', one.tgname, one.watched);
    end loop;
end $$;
create or replace function shardproxy.unique_cells(watched regclass, index_name text) returns setof text
    language plpgsql {_PLAIN} as $$
declare
    own oid := (select indexrelid from pg_index join pg_class on pg_class.oid = indexrelid
                where indrelid = watched and relname = index_name);
begin
    return query execute format('select c::text from (select jsonb_build_array(%s) as c from only %s) t '
                                'where not c @> ''[null]''',
                                {_COLUMNS.format(form="'%I::text'", index="own")}, watched);
end $$;
revoke all on shardproxy.noted from public;
grant execute on function shardproxy.note_change(), shardproxy.noted_changes(integer), shardproxy.take_noted(),
    shardproxy.watch_unique(regclass, text), shardproxy.unwatch(), shardproxy.unique_cells(regclass, text) to public;
"""
"""Idempotent; for every place. Signs: 1 what came, -1 what went, 0 tables that were emptied, 2 all that was noted.
What came and went again within a statement is no change."""

KEPT_SQL = f"""
create or replace function shardproxy.make_lookups(shell regclass, key text[]) returns setof text
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare one record; kept text;
begin
    if not pg_has_role({_ROLE}, (select relowner from pg_class where oid = shell), 'USAGE') then
        raise insufficient_privilege using message = format('must be owner of table %s', shell);
    end if;
    for one in select i.*, x.relname::text as index_name,
                   array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(attnum, n)
                         join pg_attribute a on a.attrelid = shell and a.attnum = k.attnum
                         where k.n <= i.indnkeyatts order by k.n) as columns,
                   exists (select from unnest(i.indcollation::oid[], i.indkey::int2[]) u (coll, attnum)
                           join pg_attribute a on a.attrelid = shell and a.attnum = u.attnum
                           where u.coll <> 0 and u.coll <> a.attcollation)
                   or exists (select from unnest(i.indclass::oid[]) o (c) join pg_opclass on pg_opclass.oid = o.c
                              where not opcdefault) as special
               from pg_index i join pg_class x on x.oid = i.indexrelid
               where i.indrelid = shell and i.indisunique order by i.indexrelid loop
        kept := '{HIDDEN}.unique_' || one.indexrelid;
        if one.columns @> key or to_regclass(kept) is not null then
            continue;
        end if;
        if one.special or one.indpred is not null or one.indexprs is not null or not one.indimmediate
           or coalesce((to_jsonb(one) ->> 'indnullsnotdistinct')::boolean, false) then
            raise feature_not_supported using message = format(
                'unique index "%s" without the sharding key, with expressions, a condition, DEFERRABLE, NULLS NOT '
                'DISTINCT or its own collation or operators, is not supported on sharded tables', one.index_name);
        end if;
        perform set_config('allow_system_table_mods', 'on', true);
        execute format('create table %s as select %s from only %s with no data', kept,
                       {_COLUMNS.format(form="'%I'", index="one.indexrelid")}, shell);
        execute format('create unique index %I on %s (%s)', one.index_name, kept,
                       {_COLUMNS.format(form="'%I'", index="one.indexrelid")});
        perform set_config('allow_system_table_mods', 'off', true);
        return next one.index_name;
    end loop;
end $$;
create or replace function shardproxy.tidy_lookups() returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare one record; part record;
begin
    perform set_config('allow_system_table_mods', 'on', true);
    for one in select x.oid as index_oid, h.oid::regclass as kept, x.relname as wanted, o.relname as has,
                      k.indexrelid::regclass as index
               from pg_class h join pg_namespace n on n.oid = h.relnamespace
               join pg_index k on k.indrelid = h.oid join pg_class o on o.oid = k.indexrelid
               left join pg_class x on x.oid = substring(h.relname from '^unique_([0-9]+)$')::oid
               where n.nspname = '{HIDDEN}' and h.relname ~ '^unique_[0-9]+$' loop
        if one.wanted is null then
            execute format('drop table %s', one.kept);
        elsif one.wanted <> one.has then
            execute format('alter index %s rename to %I', one.index, one.wanted);
        end if;
        for part in select mine.attname as has, theirs.attname as wanted
                    from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, n), pg_attribute mine,
                         pg_attribute theirs
                    where i.indexrelid = one.index_oid and mine.attrelid = one.kept and mine.attnum = k.n
                          and theirs.attrelid = i.indrelid and theirs.attnum = k.attnum
                          and mine.attname <> theirs.attname loop
            execute format('alter table %s rename column %I to %I', one.kept, part.has, part.wanted);
        end loop;
    end loop;
    perform set_config('allow_system_table_mods', 'off', true);
end $$;
create or replace function shardproxy.keep_unique(shell regclass, index_name text, gone jsonb, comes jsonb,
                                                  emptied boolean) returns void
    language plpgsql strict security definer {_PLAIN} as $$
declare
    own oid := (select indexrelid from pg_index join pg_class on pg_class.oid = indexrelid
                where indrelid = shell and relname = index_name);
    kept text := '{HIDDEN}.unique_' || own;
    cells text := (select string_agg(format('(c ->> %s)::%s', k.n - 1, format_type(a.atttypid, a.atttypmod)), ', '
                                     order by k.n)
                   from pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, n), pg_attribute a
                   where i.indexrelid = own and k.n <= i.indnkeyatts and a.attrelid = shell and a.attnum = k.attnum);
begin
    if not has_table_privilege({_ROLE}, shell, 'INSERT, UPDATE, DELETE, TRUNCATE') then
        raise insufficient_privilege using message = format('permission denied for table %s', shell);
    end if;
    if kept is null or to_regclass(kept) is null then
        raise exception 'values of index "%" are not kept', index_name
            using errcode = 'object_not_in_prerequisite_state', hint = 'Drop the constraint and add it again.';
    end if;
    if emptied then
        execute format('delete from %s', kept);
    end if;
    if gone <> '[]' then
        execute format('delete from %s where (%s) in (select %s from jsonb_array_elements($1) r (c))', kept,
                       {_COLUMNS.format(form="'%I'", index="own")}, cells) using gone;
    end if;
    if comes <> '[]' then
        execute format('insert into %s select %s from jsonb_array_elements($1) with ordinality r (c, n) order by n',
                       kept, cells) using comes;
    end if;
end $$;
grant execute on function shardproxy.make_lookups(regclass, text[]), shardproxy.tidy_lookups(),
    shardproxy.keep_unique(regclass, text, jsonb, jsonb, boolean) to public;
"""
"""Idempotent; for the coordinator, after ``SHELL_SQL``."""
