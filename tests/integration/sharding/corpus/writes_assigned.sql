-- constants that a key column stores as another value
insert into loose values (4.0, 'x');
insert into loose values (4.6, 'x'), (5, 'y');
insert into loose values (-0, 'x');
insert into loose values (4.6::int, 'x');
insert into loose values (' 7 ', 'x');
insert into loose values (true, 'x');
insert into loose values (1e1, 'x');
insert into loose values (0x1F, 'x');
insert into loose values (2147483648, 'x');
insert into words values (7, 1);
insert into words values (7.50, 1);
insert into words values (true, 1);
insert into words values (-0, 1);
insert into words values (007, 1);
insert into amounts values (7.005, 'x'), (8, 'y');
insert into amounts values ('7.0051', 'x');
insert into flags values (1, 1);
insert into flags values ('yes', 1);
insert into flags values (true, 1);
insert into events values (5, 1), (6.0, 2);
insert into codes values ('a ', 1);
insert into codes values (5, 1);
insert into loose (v, k) values ('q', '4.0');
update loose set k = 4.4 where k = 4;
insert into tiny values (70000, 1);
insert into daily values (current_date, 5);
select * from loose where k < 40 order by 1,2;
select * from words order by 1;
select * from amounts order by 1;
select * from events order by 1,2;
select * from codes order by 1;
select * from loose where k > 899;

-- the same by defaults
-- finally: drop table if exists defs
create table defs /* shardproxy: key=k keyspace=customer */ (k int default 4.6, v int);
insert into defs (v) values (1);
insert into defs values (default, 2), (3.5, 3);
select * from defs order by 1, 2;

-- the same by MERGE
merge into loose l using (values (1)) x(a) on l.k = 900 when not matched then insert values (900.4, 'z');
merge into loose l using (values (1)) x(a) on l.k = 901 when not matched then insert values (901.6, 'z');

-- columns that are always generated
-- finally: drop table if exists gid
create table gid /* shardproxy: key=a keyspace=customer */ (a int generated always as identity, b text, c int generated always as (5) stored, primary key (a));
insert into gid (b) values ('x'), ('y');
update gid set a = 101 where a = 1;
update gid set a = 101;
update gid set c = 101 where a in (select id from customers);
update gid set b = 'zz' where a in (select id from customers);
select * from gid order by 1;

-- whole rows in writes on a copy
update customers c set note = length(row_to_json(c)::text) where score in (select k from loose);
select id, note from customers order by id;

-- columns that are always generated, in MERGE
-- finally: drop table if exists gid
create table gid /* shardproxy: key=a keyspace=customer */ (a int generated always as identity, b text, primary key (a));
merge into gid t using (select 10 as x, 'm' as y) s on t.a = s.x when not matched then insert (a, b) values (s.x, s.y);
merge into gid t using (select 10 as x, 'm' as y) s on t.a = s.x when not matched then insert (b) values (s.y);
select b, count(*) from gid group by b;
