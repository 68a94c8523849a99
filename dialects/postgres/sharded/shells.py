"""Shells: what the coordinator holds in the place of a sharded table, and the SQL that makes and opens them.

A shell is an ordinary table without rows that has one child: a foreign table of a foreign-data wrapper without a
handler. PostgreSQL plans every read of the parent over its child too and fails there, whoever reads and through
whatever: SQLSTATE 55000. INSERT, COPY and TRUNCATE do not plan the child; a statement trigger refuses them.
What only needs the parse tree (Parse, Describe, CREATE VIEW, CREATE INDEX, foreign keys) works as with any table.

Invariants:
* A table with rows of its own never becomes a shell.
* The child is missing only inside a transaction that holds ACCESS EXCLUSIVE on the parent: nobody reads a shell in
  between. ALTER TABLE and DROP TABLE run with the shell opened so, since much of ALTER does not pass over a child.
* A shell is lent (``lent.py``) inside one transaction only: its child is no child for that long, but stays, locked, so
  whoever waits for it finds it again.
"""

from __future__ import annotations

__all__ = ["HIDDEN", "HIDE_SQL", "NO_WRITE", "SERVER", "SHELL_SQL", "UNHIDDEN_SQL", "WRAPPER_SQL", "close_sql",
           "open_sql", "quote", "shell_sql"]

SERVER = "shardproxy_shell"
NO_WRITE = "shardproxy_no_write"
HIDDEN = "pg_shardproxy"
"""Schema of the children: what pg_dump and describing commands take for the server's own."""

WRAPPER_SQL = f"""
create foreign data wrapper {SERVER};
create server {SERVER} foreign data wrapper {SERVER};
"""
"""Needs a superuser; once for the coordinator's database."""

_ALLOWED = """
    if not pg_has_role(case current_setting('role') when 'none' then session_user::text
                            else current_setting('role') end,
                       (select relowner from pg_class where oid = shell), 'USAGE') then
        raise insufficient_privilege using message = format('must be owner of table %s', shell);
    end if;
"""
"""These functions run as the proxy's own user, for whoever owns the table."""

SHELL_SQL = f"""
create or replace function shardproxy.refuse_write() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_trigger_depth() > 1 and tg_op in ('UPDATE', 'DELETE') then
        return null;                -- the action of a foreign key: it has no rows here, the shards have theirs
    end if;
    raise exception 'table %.% is sharded and has no rows on the coordinator', quote_ident(tg_table_schema),
                    quote_ident(tg_table_name)
        using errcode = 'object_not_in_prerequisite_state', hint = 'Write it through shardproxy.';
end $$;
create or replace function shardproxy.open_shell(shell regclass) returns void
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare child regclass;
begin {_ALLOWED}
    execute format('lock table only %s in access exclusive mode', shell);
    for child in select i.inhrelid from pg_inherits i join pg_foreign_table f on f.ftrelid = i.inhrelid
                 join pg_foreign_server s on s.oid = f.ftserver
                 where i.inhparent = shell and s.srvname = '{SERVER}' loop
        execute format('drop foreign table %s', child);
    end loop;
end $$;
create or replace function shardproxy.close_shell(shell regclass) returns void
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    filled boolean;
    child text := format('{HIDDEN}.%I', 'shell_' || shell::oid);
begin {_ALLOWED}
    execute format('lock table only %s in access exclusive mode', shell);
    if exists (select from pg_inherits i join pg_foreign_table f on f.ftrelid = i.inhrelid
               join pg_foreign_server s on s.oid = f.ftserver
               where i.inhparent = shell and s.srvname = '{SERVER}') then
        return;
    end if;
    execute format('select exists (select from only %s)', shell) into filled;
    if filled then
        raise exception 'table % has rows on the coordinator', shell
            using errcode = 'object_not_in_prerequisite_state', hint = 'Move it to the shards: shardproxy reshard.';
    end if;
    execute format('create foreign table %s () inherits (%s) server {SERVER}', child, shell);
    execute format('alter foreign table %s owner to %I', child,
                   (select pg_get_userbyid(relowner) from pg_class where oid = shell));
    if not exists (select from pg_trigger where tgrelid = shell and tgname = '{NO_WRITE}') then
        execute format('create trigger {NO_WRITE} before insert or update or delete or truncate on %s '
                       'for each statement execute function shardproxy.refuse_write()', shell);
        execute format('alter table %s enable always trigger {NO_WRITE}', shell);
        update pg_trigger set tgisinternal = true where tgrelid = shell and tgname = '{NO_WRITE}';
    end if;
end $$;
create or replace function shardproxy.lend_shell(shell regclass, lent regclass) returns void
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
begin {_ALLOWED}
    if not exists (select from pg_class where oid = lent and relpersistence = 't'
                   and relnamespace = pg_my_temp_schema()) then
        raise insufficient_privilege using message = format('%s is no temporary table of this session', lent);
    end if;
    execute format('alter table %s inherit %s', lent, shell);
    execute format('alter foreign table {HIDDEN}.%I no inherit %s', 'shell_' || shell::oid, shell);
end $$;
create or replace function shardproxy.return_shell(shell regclass, lent regclass) returns void
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare child regclass := format('{HIDDEN}.%I', 'shell_' || shell::oid)::regclass;
begin {_ALLOWED}
    execute format('alter foreign table %s inherit %s', child, shell);
    execute format('alter table %s no inherit %s', lent, shell);
    update pg_attribute set attislocal = false where attrelid = child and attnum > 0;
end $$;
create or replace function shardproxy.next_identity(shell regclass, col text) returns bigint
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not has_any_column_privilege(case current_setting('role') when 'none' then session_user::text
                                         else current_setting('role') end, shell, 'INSERT')
       or not exists (select from pg_attribute where attrelid = shell and attname = col and attidentity <> '') then
        raise insufficient_privilege using message = format('permission denied for table %s', shell);
    end if;
    return nextval(pg_get_serial_sequence(shell::text, col)::regclass);
end $$;
revoke all on function shardproxy.refuse_write() from public;
grant execute on function shardproxy.open_shell(regclass), shardproxy.close_shell(regclass),
    shardproxy.lend_shell(regclass, regclass), shardproxy.return_shell(regclass, regclass),
    shardproxy.next_identity(regclass, text) to public;
"""
"""Idempotent; for the coordinator, after the wrapper. An internal trigger is shown by no client."""

_OPEN_SQL = f"""
    select kind || ' ' || name from (
        select 'schema' as kind, 'shardproxy' as name, 'pg_namespace'::regclass as class, oid
            from pg_namespace where nspname = 'shardproxy'
        union all select case relkind when 'S' then 'sequence' else 'table' end, format('shardproxy.%I', relname),
                         'pg_class'::regclass, oid
            from pg_class c where relnamespace = 'shardproxy'::regnamespace and relkind in ('r', 'S') and not exists (
                select from pg_depend o where o.classid = 'pg_class'::regclass and o.objid = c.oid
                and o.refobjsubid > 0)
        union all select 'function', oid::regprocedure::text, 'pg_proc'::regclass, oid
            from pg_proc where pronamespace = 'shardproxy'::regnamespace
        union all select 'foreign data wrapper', quote_ident(fdwname), 'pg_foreign_data_wrapper'::regclass, oid
            from pg_foreign_data_wrapper where fdwname = '{SERVER}'
        union all select 'server', quote_ident(srvname), 'pg_foreign_server'::regclass, oid
            from pg_foreign_server where srvname = '{SERVER}') ours
    where not exists (select from pg_depend d
                      where d.classid = ours.class and d.objid = ours.oid and d.deptype = 'e')"""
"""What is the proxy's and no member of an extension: a dump would have it."""

HIDE_SQL = f"""
do $$
begin
    set local allow_system_table_mods = on;
    create schema if not exists {HIDDEN};
    set local allow_system_table_mods = off;
end $$;
do $$
declare one text;
begin
    for one in {_OPEN_SQL} loop
        execute 'alter extension plpgsql add ' || one;
    end loop;
    update pg_trigger set tgisinternal = true where tgrelid = to_regclass('shardproxy.noted') and not tgisinternal;
end $$;
"""
"""Idempotent; last. Nothing else depends on these members, so no DROP ... CASCADE comes by the extension."""

UNHIDDEN_SQL = f"select exists ({_OPEN_SQL})"
"""Whether ``HIDE_SQL`` is to run again: others make tables in the schema, too."""


def quote(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _literal(schema: str, name: str) -> str:
    return "'" + f"{quote(schema)}.{quote(name)}".replace("'", "''") + "'"


def open_sql(schema: str, name: str) -> str:
    """Makes a shell, if it is there, an ordinary empty table until ``close_sql``, in one transaction. By its owner."""
    return f"SELECT shardproxy.open_shell(pg_catalog.to_regclass({_literal(schema, name)}))"


def close_sql(schema: str, name: str) -> str:
    """Makes a table without rows a shell (again). By its owner, in the transaction that made it or opened it."""
    return f"SELECT shardproxy.close_shell(pg_catalog.to_regclass({_literal(schema, name)}))"


def shell_sql(schema: str, table: str) -> list[str]:
    """What follows CREATE TABLE on the coordinator."""
    return [close_sql(schema, table)]
