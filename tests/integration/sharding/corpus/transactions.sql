-- several shards
begin;
update customers set balance = balance - 10 where id = 1;
update customers set balance = balance + 10 where id = 2;
update customers set balance = balance + 10 where id = 3;
commit;
select id, balance from customers where id in (1, 2, 3) order by id;

-- rolled back
begin;
update customers set balance = 0 where id = 1;
update customers set balance = 0;
insert into customers (id, name) values (900, 'x'), (901, 'y');
select count(*), sum(balance) from customers;
rollback;
select count(*), sum(balance) from customers;

-- own writes are seen
begin;
insert into loose values (1, 'in'), (2, 'in'), (3, 'in'), (null, 'in');
select count(*) from loose where v = 'in';
select k from loose where v = 'in' order by k;
update loose set v = 'changed' where v = 'in';
select count(*) from loose where v = 'changed' and k = 2;
select count(*) from loose a join loose b on a.k = b.k where a.v = 'changed';
delete from loose where v = 'changed' and k = 1;
select max(k) from loose where v = 'changed';
commit;

-- error ends it
begin;
update customers set note = 'x' where id = 1;
update customers set note = 'x' where id = 2;
select 1 / 0;
select 1;
update customers set note = 'y' where id = 3;
commit;
select count(*) from customers where note = 'x';

-- error on one of the shards
begin;
insert into pairs values (200, 'a', 1), (201, 'a', 1), (202, 'a', 1);
insert into pairs values (203, 'a', 1), (1, 'x', 1), (204, 'a', 1);
select count(*) from pairs;
rollback;
select count(*) from pairs where a >= 200;

-- savepoints
begin;
insert into pairs values (200, 'a', 1), (201, 'a', 1);
savepoint one;
insert into pairs values (202, 'a', 1), (203, 'a', 1);
savepoint two;
insert into pairs values (204, 'a', 1), (205, 'a', 1);
rollback to two;
select a from pairs where a >= 200 order by a;
rollback to savepoint one;
select a from pairs where a >= 200 order by a;
insert into pairs values (206, 'a', 1);
release savepoint one;
commit;
select a from pairs where a >= 200 order by a;

-- savepoint before any shard takes part
begin;
savepoint a;
update pairs set v = 1 where a = 1 and b = 'x';
rollback to a;
update pairs set v = 2 where a = 2 and b = 'x';
savepoint b;
update pairs set v = 3 where a = 3 and b = 'x';
rollback to b;
rollback to b;
update pairs set v = 4;
release a;
commit;
select distinct v from pairs;

-- savepoint after an error
begin;
savepoint a;
insert into pairs values (1, 'x', 1);
rollback to a;
insert into pairs values (300, 'x', 1), (301, 'x', 1);
savepoint a;
select nothing;
rollback to a;
commit;
select count(*) from pairs where a >= 300;

-- unknown savepoint
begin;
rollback to nothing;
rollback;

-- savepoint outside
savepoint a;

-- nested names
begin;
savepoint a;
insert into loose values (1, 'one');
savepoint a;
insert into loose values (2, 'two');
rollback to a;
release a;
rollback to a;
insert into loose values (3, 'three');
commit;
select k from loose where v in ('one', 'two', 'three');

-- read only
begin read only;
select count(*) from customers;
select name from customers where id = 5;
update customers set note = 'x' where id = 5;
rollback;

-- read only over shards
begin transaction read only;
select count(*) from customers a join customers b on a.id = b.id + 1;
update customers set note = 'x';
rollback;

-- set transaction
begin;
set transaction read only;
insert into loose values (1, 'x');
rollback;

-- isolation
begin isolation level repeatable read;
select name from customers where id = 5;
select current_setting('transaction_isolation');
commit;

-- repeatable read over shards
begin isolation level repeatable read;
select count(*) from customers;
select count(*) from orders;
commit;

-- serializable on one shard
begin isolation level serializable;
update customers set note = 's' where id = 5;
select note from customers where id = 5;
commit;

-- warnings
commit;
rollback;
begin;
begin;
commit;

-- end and abort
begin work;
update pairs set v = 0;
abort;
start transaction;
update pairs set v = 1 where a = 1;
end;
select sum(v) from pairs where a = 1;

-- commit and chain
begin;
update pairs set v = 0 where a = 1;
commit and chain;
update pairs set v = 0 where a = 2;
rollback and chain;
update pairs set v = 0 where a = 3;
commit;
select a, v from pairs where b = 'x' order by a;

-- implicit block of one message
update pairs set v = 5 where a = 1 \; update pairs set v = 5 where a = 2 \; select sum(v) from pairs where v = 5;

-- implicit block that fails
update pairs set v = 6 where a = 1 \; update pairs set v = 6 where a = 2 \; insert into pairs values (1, 'x', 1);
select count(*) from pairs where v = 6;

-- block in one message
begin \; update pairs set v = 7 where a = 1 \; update pairs set v = 7 where a = 2 \; commit;
begin \; update pairs set v = 8 where a = 1 \; update pairs set v = 8 \; rollback;
select count(*) from pairs where v in (7, 8);

-- statements after commit in one message
begin \; update pairs set v = 7 where a = 1 \; commit \; select count(*) from pairs where v = 7 \; select 1 / 0;
select count(*) from pairs where v = 7;

-- settings in blocks
begin;
set local timezone = 'Asia/Tokyo';
select created from customers where id = 5;
select created from customers where id in (5, 6, 7) order by id;
set datestyle = 'German';
select born from customers where id in (1, 2, 3, 4) order by id;
commit;
select created from customers where id in (5, 6, 7) order by id;
select born from customers where id in (1, 2, 3, 4) order by id;
show datestyle;
show timezone;

-- settings rolled back
begin;
set timezone = 'Asia/Tokyo';
select created from customers where id in (5, 6) order by id;
rollback;
select created from customers where id in (5, 6) order by id;
show timezone;

-- settings and savepoints
begin;
set intervalstyle = 'iso_8601';
savepoint a;
set intervalstyle = 'sql_standard';
select max(placed) - min(placed) from orders;
rollback to a;
select max(placed) - min(placed) from orders;
commit;
show intervalstyle;

-- settings that shape values
set extra_float_digits = 0;
select id, rate / 3 from customers where rate is not null order by id;
set extra_float_digits = 3;
select id, rate / 3 from customers where rate is not null order by id;
set bytea_output = 'escape';
select h from blobs order by h;
select h from blobs where n = 3;
set bytea_output to default;
set search_path = pg_catalog;
select count(*) from public.customers;

-- search path without the tables
set search_path = pg_catalog;
select count(*) from customers;

-- set_config
select set_config('timezone', 'Asia/Tokyo', false);
select created from customers where id in (5, 6, 7) order by id;
select set_config('my.variable', 'x', false);
select current_setting('my.variable');
select id from customers where name = current_setting('my.variable', true);

-- bad setting
set timezone = 'No/Where';

-- bad setting in a block
begin;
update pairs set v = 0;
set timezone = 'No/Where';
rollback;

-- prepared statements of SQL
prepare p(bigint) as select id, name from customers where id = $1;
execute p(5);
execute p(6);
execute p(424242);
deallocate p;
execute p(5);

-- prepared over shards
prepare q as select count(*) from customers;
execute q;
prepare r(int, text) as insert into loose values ($1, $2) returning k, v;
execute r(1, 'r');
execute r(null, 's');
prepare s(numeric) as select id from customers where balance > $1 order by id limit 3;
execute s(100);

-- temporary tables
create temp table mine (i int, t text);
insert into mine values (1, 'a'), (5, 'b');
select * from mine order by i;
select m.t, c.name from mine m join customers c on c.id = m.i order by m.i;
select c.id from customers c where c.id in (select i from mine) order by 1;
insert into mine select id, name from customers where id < 4;
select count(*) from mine;
drop table mine;

-- temporary table hides another
create temp table customers (id int, name text);
insert into customers values (5, 'mine');
select * from customers where id = 5;
select count(*) from customers;
drop table customers;
select count(*) from customers;

-- create temporary table as
create temp table copied as select * from customers where id < 10;
select count(*) from copied;
create temp table all_of_them as select id, name from customers;
select count(*), sum(id) from all_of_them;
select id into temp table three from customers order by id limit 3;
select * from three order by id;
drop table copied, all_of_them, three;

-- advisory locks
select pg_advisory_lock(1), pg_try_advisory_lock(1);
select pg_advisory_unlock(1), pg_advisory_unlock(1);
begin;
select pg_advisory_xact_lock(2);
select count(*) from customers;
commit;

-- lock table
begin;
lock table customers in share mode;
lock loose;
select count(*) from customers;
commit;

-- lock outside
lock table customers;

-- do blocks
do $$ begin raise notice 'x'; end $$;
do $$ declare n int; begin n := 1; end $$;

-- do block over a sharded table
do $$ declare n int; begin select count(*) into n from customers; end $$;

-- explain runs
-- only: simple
begin;
select 1;
commit;

-- functions of the session
select pg_backend_pid() > 0, pg_is_in_recovery(), txid_current() > 0;
select current_user, session_user, current_database() <> '';
select inet_server_port() > 0, pg_postmaster_start_time() < now();
