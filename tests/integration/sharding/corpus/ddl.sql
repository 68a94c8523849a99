-- a table
-- finally: drop table if exists fresh
create table fresh /* shardproxy: key=id keyspace=customer */ (id bigint primary key, v text);
insert into fresh values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (null, 'e');
insert into fresh values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
select * from fresh order by id;
select v from fresh where id = 3;
drop table fresh;
select * from fresh;

-- an unsharded table
-- finally: drop table if exists plain_one
create table plain_one (id int primary key, v text unique);
insert into plain_one values (1, 'a'), (2, 'b');
select * from plain_one order by id;
create table plain_one (id int);
create table if not exists plain_one (id int);
drop table plain_one;
drop table plain_one;
drop table if exists plain_one;

-- columns
-- finally: alter table pairs drop column if exists extra
-- finally: alter table pairs drop column if exists renamed
alter table pairs add column extra int default 5;
select sum(extra) from pairs;
insert into pairs values (900, 'x', 1, 2), (901, 'x', 1, 3);
select * from pairs where a = 900;
select * from pairs order by a desc, b limit 2;
alter table pairs rename column extra to renamed;
select max(renamed) from pairs;
alter table pairs alter column renamed type bigint using renamed * 2;
alter table pairs alter column renamed set not null;
alter table pairs alter column renamed drop default;
insert into pairs (a, b) values (902, 'x');
alter table pairs drop column renamed;
delete from pairs where a >= 900;
select * from pairs order by a, b limit 2;

-- a column that exists
alter table pairs add column v int;

-- a column that is missing
alter table pairs drop column nothing;

-- a constraint
-- finally: alter table pairs drop constraint if exists small
alter table pairs add constraint small check (a < 1000);
insert into pairs values (1001, 'x', 1), (5, 'fine', 1);
select count(*) from pairs where b = 'fine';

-- a constraint that is not kept
alter table pairs add constraint small check (a < 5);

-- not null that is not kept on one shard
alter table loose alter column k set not null;

-- in a block
-- finally: drop table if exists in_block
begin;
create table in_block /* shardproxy: key=id keyspace=customer */ (id int primary key, v text);
insert into in_block values (1, 'a'), (2, 'b'), (3, 'c');
select count(*) from in_block;
alter table in_block add column w int;
commit;
select * from in_block order by id;

-- rolled back
begin;
create table never (id int primary key);
insert into never values (1);
rollback;
select * from never;

-- drop rolled back
begin;
drop table loose;
rollback;
select count(*) from loose;

-- alter rolled back
begin;
alter table pairs add column z int;
select max(z) from pairs;
rollback;
select z from pairs;

-- indexes
-- finally: drop index if exists new_index, unique_index, expression_index
create index new_index on pairs (v);
create index if not exists new_index on pairs (v);
create index new_index on pairs (v);
create index concurrently expression_index on pairs ((v + 1)) where v > 0;
create unique index unique_index on pairs (a, b, v);
drop index new_index;
drop index concurrently expression_index;
reindex table pairs;

-- concurrently in a block
begin;
create index concurrently nope on pairs (v);
rollback;

-- unique with the key that fails
create unique index nope on loose (k);

-- unique without the key
-- finally: drop index if exists nope
create unique index nope on customers (name);

-- views
-- finally: drop view if exists totals, more
create view totals as select customer_id, count(*) n, sum(total) s from orders group by customer_id;
select * from totals where customer_id = 2;
select * from totals order by customer_id;
select c.name, t.n from customers c join totals t on t.customer_id = c.id order by c.id;
create view more as select t.*, c.name from totals t join customers c on c.id = t.customer_id;
select * from more where n > 3 order by customer_id;
create or replace view more as select 1 as other;
drop view totals;
drop view totals cascade;

-- view of everything
-- finally: drop view if exists mixed
create view mixed as select c.id, k.name as country, s.value from customers c left join countries k on k.code = c.country left join settings_kv s on s.key = 'key ' || c.id;
select * from mixed order by id;
select * from mixed where id = 5;

-- materialized view
-- finally: drop materialized view if exists summary, totals, busy cascade
create materialized view summary as select country, count(*) n from customers group by country;
select * from summary order by country;
insert into customers (id, name, created) values (950, 'x', '2024-01-01');
select sum(n) from summary;
refresh materialized view summary;
select sum(n) from summary;
select c.id, s.n from customers c join summary s using (country) order by 1;
create materialized view totals (who, worth) as select c.name, sum(o.total) from active_customers c left join orders o on o.customer_id = c.id group by c.name with no data;
select * from totals;
refresh materialized view totals;
select * from totals order by who, worth;
refresh materialized view concurrently totals;
create unique index on totals (who);
insert into orders (id, customer_id, total) values (9001, 1, 5);
refresh materialized view concurrently totals;
select * from totals order by who;
create view over_totals as select who from totals where worth > 10;
select * from over_totals order by 1;
select matviewname, ispopulated, hasindexes, definition from pg_matviews order by 1;
begin;
create materialized view busy as select t.who, count(*) over () from totals t join customers c on c.name = t.who;
select count(*) from busy;
delete from orders where id = 9001;
refresh materialized view totals;
select sum(worth) from totals;
rollback;
select sum(worth) from totals;
select * from busy;
alter materialized view summary rename column n to many;
alter materialized view summary rename to busy;
refresh materialized view busy;
select sum(many) from busy;
create materialized view if not exists busy as select * from orders;
drop materialized view totals;
drop materialized view totals cascade;
refresh materialized view totals;
create materialized view totals as select no_such_column from customers;
insert into busy values ('DE', 5);
create materialized view totals as select a.id, b.id as next from customers a join customers b on b.id > a.id and a.country = b.country;
select count(*), sum(next) from totals;

-- types
-- finally: drop table if exists colored
-- finally: drop type if exists color, point3
create type color as enum ('red', 'green', 'blue');
create type point3 as (x int, y int, z int);
create table colored /* shardproxy: key=id keyspace=customer */ (id int primary key, c color, p point3);
insert into colored values (1, 'red', (1, 2, 3)), (2, 'blue', '(4,5,6)'), (3, null, null), (4, 'green', row (7, 8, 9));
select * from colored order by id;
select id from colored where c > 'red' order by c desc;
select (p).x from colored where id = 1;
select c, count(*) from colored group by c order by c;
alter type color add value 'violet' after 'blue';
insert into colored values (5, 'violet', null), (6, 'violet', null);
select c, id from colored order by c desc, id;
select id from colored where c = $1 order by id \bind violet;
drop type color;

-- schemas
-- finally: drop schema if exists other cascade
create schema other;
create table other.things (id int primary key, v text);
insert into other.things values (1, 'a'), (2, 'b');
select * from other.things order by id;
set search_path = other, public;
select count(*) from things;
select count(*) from customers;
drop schema other;
drop schema other cascade;

-- functions
-- finally: drop function if exists twice(int), who(bigint), total()
create function twice(n int) returns int language sql immutable as 'select n * 2';
select twice(4);
select id, twice(score) from customers order by id;
select id from customers where id = twice(4);
select sum(twice(score)) from customers;
create function total() returns bigint language sql stable as 'select count(*) from customers';
select total();

-- plpgsql function over a sharded table
-- finally: drop function if exists who(bigint)
create function who(i bigint) returns text language plpgsql stable as $$ declare n text; begin select name into n from customers where id = i; return n; end $$;
select who(5);

-- plpgsql function without tables
-- finally: drop function if exists grade(numeric)
create function grade(b numeric) returns text language plpgsql immutable as $$ begin return case when b > 500 then 'rich' else 'poor' end; end $$;
select grade(balance), count(*) from customers group by 1 order by 1;
select id from customers where grade(balance) = 'rich' order by id;

-- triggers
-- finally: drop trigger if exists touch on pairs
-- finally: drop function if exists touched()
create function touched() returns trigger language plpgsql as $$ begin new.v := coalesce(new.v, 0) + 1; return new; end $$;
create trigger touch before insert or update on pairs for each row execute function touched();
insert into pairs values (950, 'x', 1), (951, 'x', null), (952, 'x', 5) returning *;
update pairs set v = 10 where a >= 950 returning v;

-- comments and grants
-- finally: drop role if exists reader
comment on table pairs is 'pairs of things';
comment on column pairs.a is 'the first';
select obj_description('pairs'::regclass), col_description('pairs'::regclass, 1);
create role reader nologin;
grant select on pairs, customers to reader;
set role reader;
select count(*) from pairs;
select count(*) from orders;
reset role;
revoke all on pairs, customers from reader;
drop role reader;
comment on table pairs is null;

-- role without rights on one statement
-- finally: drop owned by nobody_special
-- finally: drop role if exists nobody_special
create role nobody_special nologin;
set role nobody_special;
select * from customers where id = 5;

-- role and gather
-- finally: drop role if exists nobody_special
create role nobody_special nologin;
set role nobody_special;
select count(*) from customers a join customers b on a.id = b.id + 1;

-- rename
-- finally: alter table if exists loose2 rename to loose
alter table loose rename to loose2;
select count(*) from loose2;
select count(*) from loose;

-- create table as
-- finally: drop table if exists taken, counted
create table taken as select id, name from customers;
select count(*) from taken;
create table counted as select country, count(*) from customers group by country;
select * from counted order by country;
drop table taken, counted;

-- create table like
-- finally: drop table if exists alike
create table alike /* shardproxy: key=a keyspace=customer */ (like pairs including all);
insert into alike select * from pairs;
select count(*) from alike;

-- sequences
-- finally: drop sequence if exists counter
create sequence counter start 100 increment 5;
select nextval('counter'), nextval('counter');
select currval('counter');
select setval('counter', 500), nextval('counter');
alter sequence counter restart;
select nextval('counter');
select last_value from counter;
drop sequence counter;

-- foreign keys
-- finally: drop table if exists child
create table child /* shardproxy: key=customer_id keyspace=customer */ (customer_id bigint references customers (id) on delete cascade, n int, primary key (customer_id, n));
insert into child values (31, 1), (32, 1), (33, 1);
delete from customers where id in (31, 32);
select * from child;
insert into child values (424242, 1);

-- maintenance
vacuum pairs;
analyze pairs;
analyze;
vacuum (analyze) customers;
checkpoint;
cluster pairs using pairs_pkey;

-- vacuum in a block
begin;
vacuum pairs;
rollback;

-- partitioned table
-- finally: drop table if exists parts
create table parts (id int, d date) partition by range (d);
create table parts_1 partition of parts for values from ('2024-01-01') to ('2025-01-01');
insert into parts values (1, '2024-05-05');
select * from parts;

-- row security
-- finally: drop policy if exists own on pairs
-- finally: alter table pairs disable row level security
alter table pairs enable row level security;
create policy own on pairs using (a < 3);
select count(*) from pairs;

-- several in one message
-- finally: drop table if exists m1, m2
create table m1 (id int primary key) \; create table m2 (id int primary key) \; insert into m1 values (1) \; select count(*) from m1;
drop table m1 \; drop table m2;

-- a migration
-- finally: drop table if exists migrated
begin;
create table migrated /* shardproxy: key=id keyspace=customer */ (id bigserial primary key, name varchar(20) not null, at timestamptz default now());
create index on migrated (name);
alter table migrated add column kind text not null default 'x';
comment on column migrated.kind is 'kind';
commit;
insert into migrated (name) values ('a'), ('b'), ('c') returning id, name, kind;
alter table migrated alter column name type text;
update migrated set kind = name where id = 2;
select id, name, kind from migrated order by id;
begin;
alter table migrated drop column at;
alter table migrated rename to migrated2;
rollback;
select count(at) from migrated;
