-- queries in RETURNING: refused, or right
insert into loose values (1000, 'a'), (1001, 'b') returning k, exists (select 1 from customers c where c.id = k - 995);

-- of one shard
insert into loose values (1000, 'a') returning k, (select count(*) from customers);

-- of what each shard inserts for itself
insert into empty_t (id) select k from ga returning id, (select count(*) from customers);

-- of a reference table
insert into statuses values ('nw', 'x', 1) returning (select count(*) from customers);

-- of reference tables
insert into empty_t (id) values (77), (78) returning id, (select max(rank) from statuses), (select status from statuses s where s.rank = empty_t.id - 76);
insert into empty_t (id) select k from ga returning id, (select count(*) from statuses);

-- of an unsharded table
insert into settings_kv values ('zz', 'x') returning key, (select count(*) from customers);
insert into settings_kv as s values ('zy', '3') returning s.key, (select count(*) from customers), (select name from customers c where c.id::text = s.value);
insert into settings_kv select 'z' || id, name from customers where id < 4 returning key, (select count(*) from customers);

-- of changes
update loose set v = 'q' where k > 990 returning k, (select count(*) from customers);
delete from loose where k < 3 returning k, (select count(*) from customers);

-- rows of DEFAULT, and columns set as rows
insert into statuses default values;
insert into tickets as t default values returning t.id, t.title;
update loose set (k, v) = (5, default) where k = 5 and v like 'A%';
update loose set (v, k) = row('s', 7) where k = 3;
update customers set (score, note) = (score + 1, default) where id < 6 returning id, score, note;
update customers set (score, note) = (select max(rank), 'tuple' from statuses) where id < 6 returning id, score, note;

-- temporary tables that inherit
create temp table child () inherits (loose);

-- temporary tables that inherit a reference table
create temp table child () inherits (statuses);
