-- co-located joins
select c.id, o.id from customers c join orders o on o.customer_id = c.id order by 1, 2;
select c.id, o.id from customers c, orders o where o.customer_id = c.id and c.id = 2 order by 1, 2;
select c.id, o.id from customers c, orders o where o.customer_id = c.id and o.customer_id = 2 order by 1, 2;
select c.name, count(*), sum(i.price * i.qty) from customers c join orders o on o.customer_id = c.id join items i on i.customer_id = o.customer_id and i.order_id = o.id group by c.id, c.name order by c.id;
select o.id, i.line from orders o join items i using (customer_id) where i.order_id = o.id order by 1, 2;
select o.id, i.line from orders o join items i on (i.customer_id, i.order_id) = (o.customer_id, o.id) order by o.customer_id, 1, 2;
select c.id, o.id from customers c left join orders o on o.customer_id = c.id order by 1, 2;
select c.id, o.id from customers c left join orders o on o.customer_id = c.id and o.status = 'paid' order by 1, 2;
select c.id from customers c left join orders o on o.customer_id = c.id where o.id is null order by 1;
select c.id, o.id from orders o right join customers c on o.customer_id = c.id order by 1, 2;
select c.id, o.id from customers c full join orders o on o.customer_id = c.id order by 1, 2;
select a.customer_id, a.id, b.id from orders a join orders b on a.customer_id = b.customer_id and a.id < b.id where a.customer_id in (2, 3) order by 1, 2, 3;
select count(*) from orders natural join items;
select c.id, x.n from customers c join (select customer_id, count(*) n from orders group by customer_id) x on x.customer_id = c.id order by 1;

-- joins across
select a.id, b.id from customers a join customers b on a.score = b.score and a.id < b.id where a.id < 12 and b.id < 12 order by 1, 2;
select count(*) from customers a, customers b;
select count(*) from customers a cross join orders b;
select o.id, c.name from orders o join customers c on c.id = o.id where o.id < 20 order by o.customer_id, o.id;
select c.id, d.title from customers c join docs d on d.owner = c.id order by c.id, d.id;
select c.id, d.title from customers c left join docs d on d.owner = c.id where c.id < 15 order by c.id, d.id;
select c.id, e.kind from customers c join events e on e.id = c.id order by c.id, e.tenant collate "C";
select e.tenant, e.id from events e left join customers c on c.id = e.id where c.id is null order by 1, 2;
select p.a, p.b, l.v from pairs p join loose l on l.k = p.a order by 1, 2, 3;
select p.a, l.k from pairs p full join loose l on l.k = p.a and p.b = 'x' order by 1, 2;
select count(*) from loose a join loose b on a.k = b.k;
select count(*) from loose a join loose b on a.k is not distinct from b.k;
select c.id, t.title from customers c join tickets t on t.n = c.score order by 1, t.n, t.title;
select o.id, o2.id from orders o join orders o2 on o2.id = o.id + 1 where o.id < 10 order by 1, 2;
select c.name, s.value from customers c join settings_kv s on s.key = 'key ' || c.id order by c.id;
select s.key, c.name from settings_kv s left join customers c on s.key = 'key ' || c.id order by s.key;
select c.id from customers c join lateral (select max(o.total) m from orders o where o.customer_id = c.id) x on true where x.m > 100 order by 1;
select c.id, x.id from customers c, lateral (select o.id from orders o where o.customer_id = c.id order by o.total desc nulls last, o.id limit 2) x order by 1, 2;
select c.id, x.id from customers c left join lateral (select o.id from orders o where o.id > c.id order by o.id, o.customer_id limit 1) x on true order by 1;
select c.id, g from customers c, generate_series(1, c.score) g where c.id < 12 order by 1, 2;
select c.id, t from customers c, unnest(c.tags) t order by 1, 2;
select v.x, c.name from (values (1), (2), (99)) v(x) left join customers c on c.id = v.x order by 1;
select v.x, c.name from customers c join (values (1), (2), (99)) v(x) on c.id = v.x order by 1;
select c.id from customers c join (values (1, 'Ada'), (2, 'bob')) v(i, n) on (c.id, c.name) = (v.i, v.n) order by 1;

-- joins with reference tables
select c.id, k.name from customers c join countries k on k.code = c.country order by c.id;
select c.id, k.name from customers c left join countries k on k.code = c.country order by c.id;
select k.code, c.id from countries k left join customers c on k.code = c.country order by 1, 2;
select k.code, count(c.id) from countries k left join customers c on k.code = c.country group by k.code order by 1;
select k.code, c.id from customers c right join countries k on k.code = c.country order by 1, 2;
select k.code, c.id from customers c full join countries k on k.code = c.country order by 1, 2;
select k.code from countries k where not exists (select from customers c where c.country = k.code) order by 1;
select k.code from countries k where exists (select from customers c where c.country = k.code) order by 1;
select k.code from countries k where k.code in (select country from customers) order by 1;
select k.code from countries k where k.code not in (select country from customers where country is not null) order by 1;
select k.code from countries k where k.code not in (select country from customers) order by 1;
select k.region, count(*), sum(c.balance) from customers c join countries k on k.code = c.country group by k.region order by 1;
select s.status, count(o.id) from statuses s left join orders o using (status) group by s.status order by 1;
select o.id, s.label from orders o left join statuses s using (status) where o.customer_id = 2 order by 1;
select k.code, s.status from countries k cross join statuses s order by 1, 2;
select count(*) from countries k cross join customers c;
select k.code, (select count(*) from customers c where c.country = k.code) from countries k order by 1;
select c.id, (select k.name from countries k where k.code = c.country) from customers c order by 1;
select k.name, s.value from countries k left join settings_kv s on s.key = k.code order by 1;
select * from countries k left join (customers c join orders o on o.customer_id = c.id) on c.country = k.code order by k.code, c.id, o.id;
select k.code from countries k left join customers c on c.country = k.code and c.id = 5 order by 1, c.id;
select k.code from countries k join customers c on c.country = k.code where c.id = 5;

-- subqueries
select id from customers where id in (select customer_id from orders where total > 500) order by id;
select id from customers where id not in (select customer_id from orders) order by id;
select id from customers where exists (select from orders o where o.customer_id = customers.id) order by id;
select id from customers c where not exists (select from orders o where o.customer_id = c.id) order by id;
select id from customers c where exists (select from orders o where o.id = c.id and o.customer_id <> c.id) order by id;
select id from customers c where exists (select 1 from events e where e.id = c.id) order by id;
select id from customers where score = (select max(score) from customers) order by id;
select id from customers where score > (select avg(score) from customers) order by id;
select id from customers where score in (select score from customers where active) order by id;
select id from customers where score not in (select score from customers where not active) order by id;
select id from customers where score not in (select score from customers where not active and score is not null) order by id;
select id from customers where score > all (select score from customers where id < 4 and score is not null) order by id;
select id from customers where score > any (select k from loose) order by id;
select id from customers where (score, active) in (select score, active from customers where id in (1, 2, 3)) order by id;
select id from customers c where balance > (select avg(balance) from customers d where d.country = c.country) order by id;
select id from customers c where (select count(*) from orders o where o.customer_id = c.id) > 3 order by id;
select id from customers c where (select count(*) from orders o where o.id % 7 = c.id % 7) > 12 order by id;
select id, (select max(total) from orders o where o.customer_id = c.id) from customers c order by id;
select id, (select max(total) from orders) from customers order by id limit 3;
select (select count(*) from customers), (select count(*) from orders), (select count(*) from settings_kv);
select (select id from customers order by id limit 1);
select (select name from customers where id = 5), 1;
select array(select id from customers order by id limit 5);
select id from orders where customer_id = (select id from customers where name = 'Ada' order by id limit 1) order by id;
select id from orders where customer_id in (select id from customers where country = 'DE') order by customer_id, id;
select id from orders where customer_id = 2 and total > (select avg(total) from orders) order by id;
select id from orders where customer_id = 2 and total > (select avg(total) from orders where customer_id = 2) order by id;
select * from (select id, name from customers) x where id = 5;
select * from (select id, name from customers where id = 5) x;
select * from (select id as k, name from customers) x where k = 5;
select * from (select id + 1 as id, name from customers) x where id = 5;
select * from (select id, name from customers order by id limit 3) x order by id desc;
select * from (select name as id, id as name from customers) x where name = 5;
select count(*) from (select distinct on (customer_id) * from orders order by customer_id, id) x;
select x.id, y.id from (select id from customers where id < 5) x join (select customer_id, id from orders) y on y.customer_id = x.id order by 1, 2;
select id from customers where id = (select 5);
select id from customers where id = (select max(id) from orders where customer_id = 3);
select id from customers where id in (select 5 union select 6) order by 1;
select id from customers where id < 10 and exists (select) order by id;
select id from customers where exists (select from empty_t) order by id;
select id from customers where not exists (select from empty_t) order by id limit 3;
select id from customers where id in (select id from empty_t);
select id from customers where id not in (select id from empty_t) order by id limit 3;
select count(*) from customers where id > coalesce((select max(id) from empty_t), 30);
select id from customers c where id = (select o.customer_id from orders o where o.customer_id = c.id limit 1) order by id;
select case when exists (select from orders where customer_id = 2) then 'yes' else 'no' end;
select id, exists (select from orders o where o.customer_id = c.id) from customers c order by id;
select id from customers c where exists (select from orders o join items i on i.customer_id = o.customer_id and i.order_id = o.id where o.customer_id = c.id and i.product = 'gear') order by id;

-- subquery with more than one row
select (select id from customers);

-- subquery with two rows by shard
select (select id from customers where id in (5, 6));

-- CTEs
with x as (select id, name from customers) select * from x where id = 5;
with x as (select id from customers where id < 10) select x.id, o.id from x join orders o on o.customer_id = x.id order by 1, 2;
with x as (select customer_id, count(*) n from orders group by customer_id) select c.id, coalesce(x.n, 0) from customers c left join x on x.customer_id = c.id order by 1;
with x as materialized (select * from customers) select count(*) from x where id = 5;
with x as not materialized (select * from customers) select count(*) from x where id = 5;
with orders as (select 1 as id) select * from orders;
with orders as (select id, name from customers) select * from orders where id = 5;
with customers as (select * from customers where id < 5) select count(*) from customers;
with a as (select 1 as id), b as (select a.id from a) select c.name from customers c join b on b.id = c.id;
with x as (select 5 as id) select c.id from customers c where c.id = (select id from x);
with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) select n, c.name from t left join customers c on c.id = t.n order by n;
with recursive t as (select id, ref, 1 as depth from docs where ref is null union all select d.id, d.ref, t.depth + 1 from docs d join t on d.ref = t.id where t.depth < 5) select depth, count(*) from t group by depth order by depth;
with recursive t(n) as (select min(id) from customers union select c.id from customers c join t on c.id = t.n + 1) select * from t order by n;
with x as (select id from customers), y as (select customer_id from orders) select count(*) from x where id not in (select customer_id from y);
with x as (select id from customers order by id limit 3) select * from x union all select * from x order by 1;
with x as (select * from orders where customer_id = 2) select count(*), sum(total) from x;
with x(a, b) as (select id, name from customers) select b from x where a = 5;
with x as (values (1), (2)) select c.id from customers c, x where c.id = x.column1 order by 1;
with x as (select id from customers where id = 5), y as (select id from customers where id = 6) select * from x union all select * from y order by 1;
with x as (select id from customers where id = 1) select (with x as (select id from customers where id = 2) select id from x), id from x;

-- views
select * from active_customers where id = 2;
select count(*), sum(balance) from active_customers;
select a.id, o.id from active_customers a join orders o on o.customer_id = a.id order by 1, 2;
select id from active_customers order by id limit 4;

-- system columns and locks
select ctid is not null from customers where id = 5;
select xmin is not null from customers where id = 5;
select id from customers where id = 5 for update;
select id from customers where id in (5, 6) order by id for update;
select id from customers where id in (5, 6) order by id for share;
select id from customers where id > 30 order by id for no key update;
select c.id from customers c join orders o on o.customer_id = c.id where c.id = 2 order by o.id limit 1 for update of c;
select id from customers order by id limit 1 for update skip locked;
select id from customers where active order by id limit 2 for update nowait;
select count(*) from customers tablesample bernoulli (100);
select count(*) from customers tablesample system (0);
select count(*), min(id) from only customers;
select count(*) from only customers c join only (orders) o on o.id = c.id;
select c.id from customers c join orders o on o.id = c.id order by 1 for update;
select ctid is not null from customers limit 2;

-- stable functions
select count(*) from customers where created < now();
select count(distinct now()) from customers;
select count(distinct t) from (select now() t from customers) x;
select count(distinct current_date), count(distinct current_user) from customers;
select max(now()) = min(now()) from orders;
select count(*) from customers where born < current_date;
select count(distinct transaction_timestamp()) from orders;
select count(distinct statement_timestamp()) from orders;
select count(*) from customers where created > timestamptz '2024-01-01' and created < current_timestamp;
select current_setting('TimeZone') from customers where id = 5;
select current_schema(), current_schemas(false);

-- expressions
select id, name || '!' from customers where name ~ '^[A-E]' order by id;
select id, upper(name), substr(name, 2), length(name), position('d' in name), overlay(name placing 'x' from 1) from customers order by id;
select id, coalesce(note, 'none'), nullif(score, 5), greatest(score, 3), least(score, id) from customers order by id;
select id, case score when 1 then 'one' when 2 then 'two' else 'other' end from customers order by id;
select id, created::date, extract(year from created), date_trunc('day', created), created + interval '1 day' from customers order by id;
select id, to_char(created, 'YYYY-MM-DD'), to_char(balance, '999,990.00'), age(born, '2000-01-01') from customers order by id;
select id, balance / 3, balance % 7, power(score, 2), sqrt(abs(id)), round(balance), trunc(balance, 1) from customers where id < 20 order by id;
select id, payload -> 'n', payload ->> 's', payload @> '{"s": "x"}', payload ? 'n' from events order by tenant collate "C", id;
select payload from events where payload ->> 'n' = '12';
select id, tags[1], array_length(tags, 1), 'a' = any (tags), cardinality(tags) from customers order by id;
select id, xs, xs @> '{2}', r, r @> 5, ip << '10.0.0.0/8', j ->> 'a', gen from typed order by id;
select id, m, m > 'sad', m::text from typed order by id;
select name from customers where name like 'O''%' or name like '\%%' order by id;
select name from customers where name similar to '(A|b)%' order by id;
select id from customers where balance between 100 and 500 order by id;
select id from customers where email is null and country is not null order by id;
select id from customers where note = '' order by id;
select id from customers where active is not true order by id;
select id, row (id, name), row_to_json(c) ->> 'name' from customers c where id < 4 order by id;
select to_jsonb(p) from pairs p where a = 1 order by b;
select id, md5(name), encode(sha256(name::bytea), 'hex') from customers where id < 5 order by id;
select id, format('%s-%L', name, note), regexp_replace(name, '[aeiou]', '*', 'g') from customers order by id;
select regexp_split_to_table(name, '') c, count(*) from customers group by 1 order by 1;
select 2 ^ score, |/ 4, !! 'a'::tsquery, @ id from customers where id = -7;
select 1 as one, 'two' as two, 3.0 as three, true as four, null as five from customers where id = 5;
select sum(x) from (select 1 x from customers union all select 2 from orders) y;
