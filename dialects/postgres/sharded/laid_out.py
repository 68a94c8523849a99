"""Changes of the layout as rows of the coordinator: part of the transaction whose DDL they belong to.

    DDL in a transaction    a row in shardproxy.layout_changes; whoever rolls back takes it away again
    after its COMMIT        the parent stores the rows as a new layout, and deletes them
    parent or worker died   the rows are found later

Invariants:
* Rows about one table have numbers in the order of their commits: each is written under a lock of that name.
* Only the owner of a table declares it; a name is given up only when no relation has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shardproxy.topology.changes import LayoutChange
from shardproxy.topology.layout import TableLayout

from .shells import HIDE_SQL, UNHIDDEN_SQL

__all__ = ["LAID_OUT_SQL", "READ_SQL", "change_of", "lay_out_sql", "settle"]

LAID_OUT_SQL = """
create table if not exists shardproxy.layout_changes (
    id bigint generated always as identity primary key,
    schema text not null, name text not null, keyspace text not null, key text[] not null, reference boolean not null);
create or replace function shardproxy.lay_out(schema text, name text, keyspace text, key text[], reference boolean)
    returns void language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare found regclass := to_regclass(format('%I.%I', schema, name));
begin
    if keyspace = '' then
        if found is not null then
            raise insufficient_privilege using message = format('table %s is there', found);
        end if;
    elsif found is null then
        raise undefined_table using message = format('relation "%s.%s" does not exist', schema, name);
    elsif not pg_has_role(case current_setting('role') when 'none' then session_user::text
                               else current_setting('role') end,
                          (select relowner from pg_class where oid = found), 'USAGE') then
        raise insufficient_privilege using message = format('must be owner of table %s', found);
    end if;
    perform pg_advisory_xact_lock(hashtext('shardproxy layout'), hashtext(format('%I.%I', schema, name)));
    insert into shardproxy.layout_changes (schema, name, keyspace, key, reference)
        values (schema, name, keyspace, key, reference);
end $$;
create or replace function shardproxy.layout_changed(out schema text, out name text, out keyspace text, out key text,
                                                     out reference boolean) returns setof record
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select schema, name, keyspace, array_to_string(key, chr(31)), reference from shardproxy.layout_changes order by id
$$;
revoke all on shardproxy.layout_changes from public;
grant execute on function shardproxy.lay_out(text, text, text, text[], boolean), shardproxy.layout_changed() to public;
"""
"""Idempotent; for the coordinator. An empty keyspace: the table is gone."""

READ_SQL = "SELECT * FROM shardproxy.layout_changed()"
_LOCKED = """
select id, schema, name, keyspace, array_to_string(key, chr(31)) as key, reference
from shardproxy.layout_changes order by id"""
_LOCK = 0x6C61796F
"""Of everybody who stores changes: "layo"."""


def lay_out_sql(change: LayoutChange) -> str:
    """Notes a change in the transaction that runs this."""
    if isinstance(change, TableLayout):
        key = ", ".join(_literal(column) for column in change.key)
        return (f"SELECT shardproxy.lay_out({_literal(change.schema)}, {_literal(change.name)}, "
                f"{_literal(change.keyspace)}, ARRAY[{key}]::pg_catalog.text[], {change.reference})")
    return f"SELECT shardproxy.lay_out({_literal(change[0])}, {_literal(change[1])}, '', '{{}}', false)"


def change_of(schema: str, name: str, keyspace: str, key: str, reference: bool) -> LayoutChange:
    """From a row."""
    if not keyspace:
        return (schema, name)
    return TableLayout(schema, name, keyspace, tuple(key.split("\x1f")) if key else (), reference)


async def settle(connection: Any, store: Callable[[Sequence[LayoutChange]], Awaitable[None]]) -> bool:
    """Have the committed changes stored, through an asyncpg connection to the coordinator. Gives whether any were."""
    if await connection.fetchval(UNHIDDEN_SQL):
        async with connection.transaction():
            await connection.execute(HIDE_SQL)
    if not await connection.fetchval("select exists (select from shardproxy.layout_changes)"):
        return False
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        rows = await connection.fetch(_LOCKED)
        if rows:
            await store([change_of(*list(row)[1:]) for row in rows])
            await connection.execute("delete from shardproxy.layout_changes where id = any($1)",
                                     [row["id"] for row in rows])
    return bool(rows)


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
