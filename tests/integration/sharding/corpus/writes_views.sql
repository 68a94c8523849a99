-- views that writes read
-- finally: drop view if exists vv, big, refv, unv
create view big as select customer_id, count(*) n, sum(total) s from orders group by customer_id;
create view refv as select status, rank from statuses where rank > 1;
create view unv as select key, value from settings_kv;
create view vv as select a.id, a.name, b.n from active_customers a join big b on b.customer_id = a.id;
merge into loose l using active_customers a on l.k = a.id when matched then update set v = 'from a view' when not matched then insert values (a.id, a.name);
select * from loose order by k, v;
update loose set v = a.name from active_customers a where a.id = k and k = 3 returning *;
update loose set v = a.name || '2' from active_customers a where a.id = k returning *;
update loose set v = 'x' from active_customers where active_customers.id = k and k = 4 returning k, v, active_customers.name;
delete from loose using active_customers a where a.id = k and a.balance > 10 returning *;
delete from loose where k in (select id from active_customers) returning k;
insert into loose select id, name from active_customers returning *;
insert into loose select id, name from active_customers where id = 5 returning *;
insert into empty_t (id) select customer_id from big where n > 2 returning id;
insert into empty_t (id, v) select id, name from vv on conflict do nothing returning *;
update customers set note = n from big where customer_id = id returning id, note;
update customers set note = 'q' where id in (select customer_id from big order by n desc, customer_id limit 2) returning id;
update customers set score = (select max(n) from big) where id < 5 returning id, score;
update statuses set label = label || 'x' where status in (select status from refv) returning status, label;
update orders set note = 'r' from refv r where r.status = orders.status and customer_id < 9 returning customer_id, id;
update orders set note = 'r1' from refv r where r.status = orders.status and customer_id = 3 returning customer_id, id;
insert into settings_kv select 'v' || id, name from active_customers where id < 6 returning *;
insert into logs (msg) select name from vv order by id;
update settings_kv set value = (select count(*)::text from vv) where key like 'v%' returning *;
delete from settings_kv using vv where key = 'v' || vv.id returning key, vv.n;
insert into loose select 1000 + length(key), value from unv returning *;
with d as (delete from loose where k in (select id from active_customers) returning k) select count(*) from d;
with a as (select id from active_customers where id < 20) insert into empty_t (id) select id + 5000 from a returning id;

-- views that are written
-- finally: drop view if exists big
create view big as select customer_id, count(*) n from orders group by customer_id;
update big set n = 3;
update active_customers set balance = 3 where id = 2;
