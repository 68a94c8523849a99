-- joins
select id, name from customers natural join (select id from tiny join customers on s = id) x order by 1;
select * from orders join items using (customer_id) where customer_id = 3 order by 1, 2, 3, 4, 5, 6, 7;
select customer_id, count(*) from orders join items using (customer_id) group by customer_id order by 1;
select customer_id, o.id from orders o join items i using (customer_id) where i.order_id = o.id order by 1, 2;
select count(*) from orders natural join items;
select c.id from (customers c join orders o on o.customer_id = c.id) left join (items i join statuses s on s.rank = i.line) on i.customer_id = c.id and s.status = o.status order by 1;
select x.id, y.status from customers x full join orders y on x.id = y.customer_id and y.total > 100 order by 1, 2, y.total;
select customer_id from orders full join items using (customer_id) order by 1 limit 5;
select p.a, q.b from pairs p join pairs q using (a, b) order by 1, 2;
select p.a, q.b from pairs p join pairs q on (p.a, p.b) = (q.a, q.b) where p.a = 1 order by 1, 2;
select p.a, t.s from pairs p join tiny t on t.s = p.a order by 1, 2;
select * from pairs where (a, b) in ((1, 'x'), (2, 'y'), (1, 'a')) order by 1, 2, 3;
select * from pairs where a = 1 and b in ('a', 'x', 'b') order by 1, 2, 3;
select * from pairs where (a, b) = (1, 'a');
select count(*) from customers c where (c.id, c.country) in (select o.customer_id, 'DE' from orders o);
select c.id from customers c left join orders o on o.customer_id = c.id where o.id is null order by 1;
select c.id from customers c left join orders o on o.customer_id = c.id and o.id = 5 where c.id < 6 order by 1;
select c.id from customers c left join orders o on o.customer_id = c.id where o.customer_id = 5 order by 1;
select c.id, o.id from customers c left join orders o on o.customer_id = 5 and c.id = o.customer_id order by 1, 2;
select c.id, o.id from customers c right join orders o on o.customer_id = c.id and c.id = 5 where o.customer_id < 8 order by 1, 2;
select c.id, o.customer_id from customers c left join orders o on o.customer_id = c.id + 1 where c.id = 4 order by 1, 2;
select a.id from customers a where a.id = 5 and exists (select from customers b where b.id = a.id + 1);
select a.id, b.id from customers a, customers b where a.id = 5 and b.id = a.id + 1;
select a.id, b.id from customers a, customers b where a.id = 5 and b.id = 6;
select a.id, b.id from customers a, customers b where a.id = b.id and b.id in (5, 6) order by 1;
select c.* from customers c, orders o, items i where c.id = o.customer_id and o.customer_id = i.customer_id and i.customer_id = 7 and i.order_id = o.id order by c.id limit 1;

-- windows
select id, row_number() over (order by id) from customers order by id limit 5;
select customer_id, id, row_number() over (partition by customer_id order by id) from orders order by 1, 2;
select customer_id, id, lag(total) over (partition by customer_id order by id), lead(id, 1, 0) over w, first_value(id) over w from orders window w as (partition by customer_id order by id) order by 1, 2;
select id, sum(score) over (order by id rows between 1 preceding and 1 following) from customers order by id;
select country, sum(count(*)) over (order by country) from customers group by country order by country;
select id, ntile(4) over (order by id), percent_rank() over (order by id), cume_dist() over (order by id) from customers order by id;
select * from (select customer_id, id, rank() over (partition by customer_id order by total desc nulls last) r from orders) x where r = 1 order by 1, 2;
select * from (select customer_id, id, rank() over (partition by customer_id order by total desc nulls last) r from orders) x where customer_id = 3 order by 1, 2, 3;
select * from (select id, rank() over (order by score) r from customers) x where id = 3;
select max(x) from (select count(*) over (partition by country) x from customers) y;
select distinct country, count(*) over (partition by country) from customers order by 1;

-- subqueries of two levels
select c.id from customers c where exists (select from orders o where o.customer_id = c.id and exists (select from items i where i.customer_id = o.customer_id and i.order_id = o.id)) order by 1;
select c.id from customers c where exists (select from orders o where o.customer_id = c.id and exists (select from items i where i.customer_id = c.id and i.order_id = o.id and i.qty > (select min(qty) from items j where j.customer_id = i.customer_id))) order by 1;
select c.id, (select count(*) from orders o where o.customer_id = c.id and o.total > (select avg(total) from orders p where p.customer_id = c.id)) from customers c order by 1;
select c.id, (select count(*) from orders o where o.customer_id = c.id and o.total > (select avg(total) from orders p)) from customers c order by 1;
select c.id from customers c where c.id in (select o.customer_id from orders o where o.id in (select i.order_id from items i where i.customer_id = o.customer_id)) order by 1;
select c.id from customers c where c.id = any (array(select customer_id from orders where total > 500)) order by 1;
select c.id from customers c where c.score > all (select d.score from customers d where d.country = c.country and d.id <> c.id and d.score is not null) order by 1;
select array(select o.id from orders o where o.customer_id = c.id order by o.id) from customers c order by c.id;
select c.id from customers c where row(c.id, 1) = (select o.customer_id, 1 from orders o where o.customer_id = c.id limit 1) order by 1;
select count(*) from customers where id in (select customer_id from orders union select customer_id from items);
select count(*) from customers where id in (select customer_id from orders intersect select customer_id from items);
select count(*) from customers where id not in (select customer_id from orders where customer_id is not null);
select id from customers order by (select max(o.total) from orders o where o.customer_id = customers.id) desc nulls last, id limit 5;
select (select name from customers c where c.id = o.customer_id), sum(total) from orders o group by o.customer_id order by 1, 2;
select country, (select count(*) from orders o join customers d on d.id = o.customer_id where d.country = c.country) from customers c group by country order by 1;

-- set operations
select id from customers where id < 5 union all select customer_id from orders where customer_id < 5 order by 1;
select country from customers intersect select code from countries order by 1;
select country from customers except select code from countries where region = 'Europe' order by 1;
select id from customers except all select customer_id from orders order by 1;

-- in parentheses
(select id from customers order by id limit 2) union all (select id from customers order by id desc limit 2) order by 1;

-- set operations 2
select 1 union select id::int from customers where id = 5 order by 1;
select 'x' as a union all select name from customers where id = 5;
select null union all select id from customers where id < 4 order by 1;
select id, 'c' from customers where id = 5 union all select customer_id, 'o' from orders where customer_id = 5;
select count(*) from (select id from customers union select customer_id from orders union select customer_id from items) x;
values (1), (2) union select s from tiny order by 1;
select * from (select id, name from customers union all select customer_id, note from orders) x where id = 3 order by 1, 2;
select country as c from customers union select status from orders order by c;

-- groups
select country as c, count(*) as n from customers group by c order by n desc, c limit 3;
select lower(country), count(*) from customers group by lower(country) order by 1;
select country || '!' as x, sum(balance) from customers group by x order by x;
select date_trunc('year', born) y, count(*) from customers group by 1 order by 1;
select extract(year from born) y, count(*) from customers group by y order by y;
select active, country, count(*) from customers group by 1, 2 having count(*) > 1 and max(score) > 1 order by 3 desc, 1, 2;
select id, name, count(*) from customers group by id order by id limit 3;
select c.id, c.name, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id order by c.id;
select c.country, n.name, count(*), avg(c.balance) from customers c join countries n on n.code = c.country group by c.country, n.name order by 1;
select count(*), sum(x) from (select customer_id, sum(total) x from orders group by customer_id) y;
select avg(n) from (select count(*) n from orders group by customer_id) y;
select max(n), min(n) from (select status, count(*) n from orders group by status) y;
select case when score > 3 then 'hi' else 'lo' end as k, count(*), avg(score) from customers group by k order by k;
select count(*) filter (where active), count(*) filter (where not active), sum(balance) filter (where country = 'DE') from customers;
select sum(balance) / count(*), max(balance) - min(balance), sum(score + 1) from customers;
select sum(score)::numeric / nullif(count(score), 0) from customers;
select max(born), min(created), max(name collate "C") from customers;
select bool_and(active) and count(*) > 3 from customers;
select sum(balance) from customers where id in (1, 2, 3);
select sum(balance), avg(balance), count(*) from customers where false;
select country from customers group by country order by count(*) desc, country limit 2 offset 1;
select count(*) from customers having count(*) > 1000;
select 1 from customers having true;
select 'a', count(*) from customers;
select sum(s), avg(s), max(s), sum(n) from tiny;
select sum(n)::int from tiny;
select avg(rate) is not null from customers;
select sum(id) from customers where id between 3 and 9;
select json_object_agg(id, name order by id) from customers where id < 5;
select count(*) from customers group by ();
select distinct on (1) country, id from customers order by 1, 2 desc;
select distinct count(*) from orders group by customer_id order by 1;
select distinct country, active from customers order by country desc nulls last, active limit 3;
select distinct customer_id from orders order by customer_id desc limit 4;
select distinct total from orders order by total nulls first limit 4 offset 1;

-- names and quoting
select "id", "name" as "Name", 1 as "select" from "customers" where "id" = 5;
select customers.* from public.customers where public.customers.id = 5;
select public.customers.id, count(*) from public.customers group by public.customers.id order by 1 limit 2;
select c."id" from customers as c where c.id=5/* comment */and true -- end
;
SELECT ID FROM CUSTOMERS WHERE ID = 5;
select id from customers where id = 5::bigint;
select id from customers where id = '5'::bigint;
select id from customers where id = 5.0;
select id from customers where id = 4 + 1;
select id from customers where id + 0 = 5;
select id from customers where 5 = id;
select id from customers where id in (5);
select id from customers where id = any (array[5, 6]) order by 1;
select id from customers where id = any ('{5,6}') order by 1;
select id from customers where id = any ('{5,6}'::bigint[]) order by 1;
select id from customers where (id = 5 or id = 6) and active is not null order by 1;
select id from customers where id = 5 or name = 'Ada' order by 1;
select id from customers where not (id <> 5);
select id from customers where id is not distinct from 5;
select id from customers where id >= 5 and id <= 5;
select id from customers where case when id = 5 then true else false end;
select id from customers where coalesce(id, 0) = 5;
select id from customers where id = cast('5' as bigint);
select id from customers where id = bigint '5';
select id from customers where (id) = (5);
select id from customers where id = (5);
select k, v from loose where k is null order by v;
select k, v from loose where k is null or k = 3 order by k, v;
select id from customers where id = null;
select id from customers where id in (5, null);
select id from customers where id not in (5, null);
select id from customers limit 0;
select from customers where id < 4;
select;
select count(*) from (select from customers) x;

-- types
select day, n from daily where day = '2024-02-10';
select day from daily where day in ('2024-02-10', date '2024-02-11') order by 1;
select at, n from stamps order by at limit 3;
select h, n from blobs order by h limit 3;
select c, n from codes order by c collate "C" limit 5;
select c, n from codes where c = 'ab';
select c, n from codes where c = 'ab  ';
select c from codes where c = 'ab'::text;
select w from words order by w collate "C" limit 5;
select key, v from amounts where key = 1.50;
select key, v from amounts where key = 1.5;
select key from amounts order by key desc limit 3;
select b, n from flags where b order by n;
select b, n from flags where b = true order by n;
select b, n from flags where b is not true order by n, b;
select s from tiny where s = 3::bigint;
select s from tiny where s = 70000;
select id from docs order by id limit 3;
select id, title from docs where id::text like '0%' order by id;
select tenant, id from events order by tenant, id limit 5;
select tenant, id from events order by tenant collate "C" desc, id limit 5;
select id, m from typed order by m, id;
select max(m) from typed;
select m, count(*) from typed group by m order by m;
select id, r, ip, xs from typed order by ip nulls first, id;
select array_agg(distinct m order by m)::text from typed;
select id, p + 1 from typed order by p, id;
select sum(p) from typed;

-- recursive
with recursive t as (select 1 as n union all select n + 1 from t where n < 3) select c.id from customers c where c.id in (select n from t) order by 1;
with recursive t as (select id, 0 as d from customers where id = 2 union all select t.id + 1, d + 1 from t join customers c on c.id = t.id + 1) select * from t order by 1;
with recursive t(id, n) as (select customer_id, 1 from orders where customer_id = 3 union select customer_id, n + 1 from t join orders o on o.customer_id = t.id where n < 3) select * from t order by 1, 2;
with a as (select * from customers), b as (select * from a where id < 6) select b.id, count(o.id) from b left join orders o on o.customer_id = b.id group by b.id order by 1;
with a as (with b as (select id from customers where id < 4) select * from b) select * from a order by 1;
with a as (select id from customers where id = 5) select (select count(*) from a), (select max(id) from a);
