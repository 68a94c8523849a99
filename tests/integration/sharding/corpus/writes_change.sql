-- update by key
update customers set balance = balance + 1 where id = 5;
update customers set name = 'five' where id = 5 returning id, name, balance;
update customers set name = 'none' where id = 424242 returning id;
update customers set name = $1 where id = $2 returning name \bind changed 6;
update customers set (name, score) = ('both', 7) where id = 7 returning name, score;
update customers set (name, score) = (select name, score from customers where id = 7) where id = 7;
update customers set balance = default, note = null where id = 8 returning balance, note;
update customers set tags[1] = 'changed' where id = 9 returning tags;

-- update over shards
update customers set balance = balance + 1;
update customers set score = coalesce(score, 0) + 1 where active returning id, score;
update customers set note = 'n' where id in (1, 2, 3, 4, 424242);
update customers set note = 'm' where id = any ($1) returning id \bind '{5,6,7}';
update customers set note = 'range' where id between 10 and 20;
update customers set note = upper(name), balance = -balance where name < 'c';
update loose set v = 'null key' where k is null;
update loose set v = v || '!' where k = 2 or k is null returning k, v;
update pairs set v = a * 10 where b = 'x' returning a, v;
update pairs set v = $1 where a > $2 \bind 1000 6;
update orders set total = total * 2 where status = 'paid';
update typed set m = 'happy', p = p + 1 where id < 8 returning id, m, p, gen;
update customers set name = name where false;

-- update with errors
update customers set balance = 1 / (id - 5);
select sum(balance) from customers;

-- update that breaks a check on one shard
update typed set p = p - 5;
select sum(p) from typed;

-- update of an unknown column
update customers set nothing = 1 where id = 5;

-- update that breaks not null
update customers set name = null where id > 30;

-- update with a foreign key
update customers set country = 'XX' where id in (5, 6);

-- update from co-located
update orders set note = c.name from customers c where c.id = orders.customer_id and c.active;
update orders o set total = 0 from customers c where c.id = o.customer_id and c.id = 2 returning o.id, c.name, o.total;
update items i set price = o.total from orders o where o.customer_id = i.customer_id and o.id = i.order_id and o.status = 'paid';

-- update from reference and unsharded tables
update customers set note = k.name from countries k where k.code = customers.country;
update orders set note = s.label from statuses s where s.status = orders.status and s.rank > 1 returning orders.id;
update customers c set note = s.value from settings_kv s where s.key = 'key ' || c.id returning c.id, c.note;
update settings_kv set value = c.name from customers c where key = 'key ' || c.id;
update countries set region = 'x' from customers c where c.country = code and c.id = 5;

-- update from across
update customers a set note = b.name from customers b where b.id = a.id + 1 and a.id < 20;
update docs set body = c.name from customers c where c.id = docs.owner;
update customers set score = x.n from (select customer_id, count(*) n from orders group by customer_id) x where x.customer_id = customers.id;
update customers c set score = v.s from (values (1, 10), (2, 20), (3, 30)) v(i, s) where v.i = c.id returning c.id, c.score;
update pairs set v = l.n from (select k, count(*) n from loose group by k) l where l.k = pairs.a;

-- update with subqueries
update customers set score = (select count(*) from orders o where o.customer_id = customers.id);
update customers set score = (select max(score) from customers) where score is null;
update customers set score = (select count(*) from orders);
update customers set note = 'has orders' where id in (select customer_id from orders where total > 100);
update customers set note = 'none' where not exists (select from orders o where o.customer_id = customers.id) returning id;
update customers set note = 'docs' where id in (select owner from docs);
update customers set balance = balance + 5 where balance < (select avg(balance) from customers);
update orders set total = (select sum(price * qty) from items i where i.customer_id = orders.customer_id and i.order_id = orders.id);
update settings_kv set value = (select count(*)::text from customers) where key = 'key 1';
update statuses set rank = (select count(*) from orders o where o.status = statuses.status);

-- update with a CTE
with x as (select id from customers order by balance desc, id limit 3) update customers set note = 'top' where id in (select id from x) returning id;
with x as (update customers set note = 'cte' where id = 5 returning id, note) select * from x;
with x as (update customers set note = 'cte' where id < 5 and id > 0 returning id, note) select * from x order by id;

-- key changes on its shard or to another
update loose set k = 3 where k = 2;
update loose set k = k + 1 where k < 100;
update loose set k = null where k = 4;
update loose set k = 9 where k is null;
select k, count(*) from loose group by k order by k;

-- key of a row with a primary key
update pairs set a = a + 100 where b = 'x' returning a, b;
update pairs set b = b || '!', a = a where a = 2 returning a, b, v;
update pairs set (a, b) = (b2.a, 'moved') from (select 77 as a) b2 where pairs.a = 3 and pairs.b = 'y';

-- key to one that is taken
update pairs set a = 1 where a = 2 and b = 'x';

-- keys rotate
update tiny set s = s + 1 where s < 100 and s = 7;
update tiny set s = -s - 1 where s = 7 or s = 8;

-- key to the same value
update customers set id = id where id = 5;
update customers set id = 5, name = 'same' where id = 5;
update words set w = w;

-- key of a referenced row
update customers set id = 5000 where id = 34;
update customers set id = 5001 where id = 2;

-- key of other types
update events set tenant = 'moved' where tenant = 'acme' and id < 30 returning tenant, id;
update amounts set key = key + 0.01 where v = 'v1';
update daily set day = day + 1000 where n = 1 returning day;
update docs set id = '00000000-0000-0000-0000-000000000001' where title = 'title 8' and owner = 8;
update blobs set h = h || '\x01' returning n;
update codes set c = upper(c);

-- key in a parameter
update loose set k = $1 where k = $2 \bind 55 2;
select count(*) from loose where k = 55;

-- order of an order moves with its customer
update orders set customer_id = 31 where id = 7 and customer_id not in (select customer_id from items);
update items set customer_id = 31 where order_id = 424242;

-- delete by key
delete from loose where k = 2 returning v;
delete from loose where k is null;
delete from pairs where a = 1 and b = 'x';
delete from events where tenant = 'acme' and id > 10 returning id;
delete from docs where title = 'title 3' returning title;
delete from flags where b is null;
delete from flags where not b returning n;

-- delete over shards
delete from items;
delete from orders returning id;
select count(*) from orders;
select count(*) from items;

-- delete cascades
delete from orders where customer_id = 2;
select count(*) from items where customer_id = 2;
delete from orders where status = 'paid';

-- delete referenced
delete from customers where id = 2;

-- delete some referenced
delete from customers where id in (31, 32, 2, 33);
select count(*) from customers where id in (31, 32, 33);

-- delete with using and subqueries
delete from items using orders o where o.customer_id = items.customer_id and o.id = items.order_id and o.status = 'new' returning items.line;
delete from items i using customers c where c.id = i.customer_id and not c.active;
delete from docs using customers c where c.id = docs.owner and c.id < 6 returning docs.title, c.name;
delete from events e using countries k where k.code = upper(e.kind);
delete from loose where k in (select a from pairs where b = 'x');
delete from orders where customer_id in (select id from customers where country = 'DE');
delete from customers where not exists (select from orders o where o.customer_id = customers.id);
delete from loose where v = (select min(v) from loose);
delete from pairs where v > (select avg(v) from pairs) returning a, b;
delete from settings_kv where key in (select 'key ' || id from customers);
delete from loose l using loose m where l.k = m.k + 1;
with x as (delete from loose where k = 2 returning v) select count(*) from x;
with x as (delete from loose returning v) select v, count(*) from x group by v order by v;
delete from tiny where s = any ($1) returning s \bind '{1,2,3,-4}';
delete from words where w like 'word 1%' returning w;

-- delete with limit through a subquery
delete from loose where ctid in (select ctid from loose limit 1);

-- delete with order through a subquery
delete from customers where id in (select id from customers where id > 30 order by id desc limit 2) returning id;

-- reference tables
update countries set region = 'World' where region is null;
update countries set name = upper(name) returning code, name;
update statuses set rank = rank + 1 where rank is not null;
delete from countries where code = 'AQ';
delete from countries where code = 'AQ' returning *;
update countries set name = 'x' where code = $1 returning name \bind DE;

-- reference delete that is referenced
delete from countries where code = 'DE';

-- reference update of a key
update countries set code = 'D2' where code = 'DE';

-- merge co-located
merge into pairs p using (values (1, 'x', 5), (100, 'q', 6)) s(a, b, v) on p.a = s.a and p.b = s.b when matched then update set v = s.v when not matched then insert values (s.a, s.b, s.v);
select * from pairs where b = 'q' or a = 1 order by a, b;

-- merge of one key
merge into pairs p using (select 1 as a, 'x' as b) s on p.a = s.a and p.b = s.b and p.a = 1 and p.b = 'x' when matched then delete;

-- merge from a table
merge into pairs p using customers c on p.a = c.id and p.b = 'x' when matched and c.active then update set v = c.score when matched then delete when not matched and c.id < 20 then insert (a, b, v) values (c.id, 'x', c.score);

-- merge do nothing
merge into loose l using statuses s on l.k = s.rank when matched then do nothing when not matched then insert values (s.rank, s.label);

-- merge into a reference table
merge into countries k using (values ('DE', 'D'), ('Q1', 'Q')) s(c, n) on k.code = s.c when matched then update set name = s.n when not matched then insert values (s.c, s.n, null);

-- truncate
truncate loose;
select count(*) from loose;
truncate table items, flags;
truncate orders cascade;

-- truncate referenced
truncate orders;

-- truncate restart identity
truncate accounts restart identity;
insert into accounts (owner) values ('first') returning id;

-- truncate only
truncate only flags;

-- truncate in a block
begin;
truncate loose;
select count(*) from loose;
rollback;
select count(*) from loose;

-- unsharded
update settings_kv set value = 'x' where key = 'key 1' returning *;
delete from settings_kv where value = 'value 2';
truncate logs;

-- through a view
update active_customers set balance = 0 where id = 2;
update active_customers set balance = balance + 1;
delete from active_customers where id = 31;

-- only
update only customers set note = 'x' where id = 5;
delete from only loose where k = 2;

-- where current of
begin;
declare c cursor for select * from loose where k = 2;
fetch 1 from c;
update loose set v = 'current' where current of c;
commit;
