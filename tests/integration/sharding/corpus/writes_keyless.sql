-- keys of rows without a primary key
update loose set k = k + 1;
update flags set b = not b;
select * from flags order by b, n;

-- rows that are alike
insert into loose values (5, 'same'), (5, 'same'), (5, 'same'), (null, null), (null, null), (null, null);
update loose set k = 6 where v = 'same';
update loose set v = 'none' where k is null and v is null;
delete from loose where k = 6 and v = (select max(v) from loose where k = 6);
select * from loose order by k, v;

-- by rows of other shards
update loose set v = v || k where k in (select id from customers where active);
update loose set v = 'other' where k in (select a from pairs union select 5) returning *;
update loose l set v = c.name from customers c where c.id = l.k + 1 returning l.*, c.id;
delete from loose where v = (select min(v) from loose);
select * from loose order by k, v;

-- rows that are deleted with those of other shards
delete from loose using customers c where c.id = k + 3 and c.score > 2 returning *;

-- MERGE into rows without a primary key
merge into loose l using (select id, name from customers where id < 12) c on c.id = l.k + 2 when matched and l.k > 3 then delete when matched then update set v = 'merged', k = k + 1 when not matched then insert values (c.id - 2, c.name);
select * from loose order by k, v;

-- undone
begin;
savepoint a;
update loose set k = null where k in (select a from pairs);
select count(*) from loose where k is null;
rollback to a;
update loose set v = 'x' where k in (select a from pairs);
commit;

-- unique columns and triggers: refused
-- finally: drop table if exists uniq
create table uniq /* shardproxy: key=k keyspace=customer */ (k int unique, v int);
insert into uniq values (1, 1), (2, 2);
update uniq set k = k + 10;
select * from uniq order by 1;
