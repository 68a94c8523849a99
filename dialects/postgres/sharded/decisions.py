"""What transactions over several places need in every place's database: schema ``shardproxy``, made by server_user.

Invariants:
* A decision is a row; its key is the transaction's name at its decider. Whoever inserts first has decided.
* A decision is part of the transaction that did the work: outside a block there is nothing to decide about.
* Users of the database may do one thing: decide ``commit`` with the proof that belongs to a name. The tables are
  granted to no one.
"""

from __future__ import annotations

__all__ = ["COORDINATOR_SQL", "PLACE_SQL", "decide_sql"]

PLACE_SQL = """
create schema if not exists shardproxy;
create table if not exists shardproxy.decisions (
    gid text primary key,
    committed boolean not null,
    decided_at timestamptz not null default clock_timestamp(),
    xid xid8 not null default pg_current_xact_id());
create or replace function shardproxy.decide(gid text, proof text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if right(gid, 32) <> left(encode(sha256(convert_to(proof, 'UTF8')), 'hex'), 32) then
        raise exception 'this is not the proof of transaction %', gid using errcode = 'insufficient_privilege';
    end if;
    if transaction_timestamp() = statement_timestamp() then
        raise exception 'the transaction that % decides about has ended', gid using errcode = '25P01';
    end if;
    if current_setting('synchronous_commit') in ('off', 'local', 'remote_write') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    insert into shardproxy.decisions (gid, committed) values (gid, true);
end $$;
create sequence if not exists shardproxy.unique_ids as bigint cycle;
create or replace function shardproxy.unique_id() returns bigint
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select ((extract(epoch from clock_timestamp()) * 1000)::bigint - 1700000000000) << 22
           | (nextval('shardproxy.unique_ids') & 4194303) $$;
revoke all on schema shardproxy from public;
revoke all on all tables in schema shardproxy from public;
grant usage on schema shardproxy to public;
grant execute on function shardproxy.decide(text, text), shardproxy.unique_id() to public;
"""
"""Idempotent; for every place, the coordinator too. USAGE of the schema alone lets nobody read or write anything."""

COORDINATOR_SQL = """
create table if not exists shardproxy.installation (id text not null);
create unique index if not exists installation_is_one on shardproxy.installation ((true));
insert into shardproxy.installation
    select substr(replace(gen_random_uuid()::text, '-', ''), 1, 12) on conflict do nothing;
create table if not exists shardproxy.incarnations (
    id text primary key,
    renewed_at timestamptz not null default clock_timestamp());
revoke all on shardproxy.installation, shardproxy.incarnations from public;
"""
"""Idempotent; after ``PLACE_SQL``, for the coordinator."""


def decide_sql(key: str, proof: str) -> str:
    """The decider's last statement. Names and proofs are made of characters that need no quoting."""
    return f"SELECT shardproxy.decide('{key}', '{proof}')"
