-- a subquery that aggregates the rows around it
select (select max((select i.total from orders i where i.customer_id = o.id and i.id = 1))) from customers o;
select (select max(o.id)) from customers o;
select (select max(o.id) from statuses) from customers o;
select (select max(0) filter (where active)) from customers;
select (select sum(o.id) filter (where s.rank > 0) from statuses s where s.status = 'new') from customers o group by o.active order by 1;
select (select count(o.id) from orders i where i.customer_id = 5) from customers o;
select name, (select count(i.id) from orders i where i.customer_id = o.id) from customers o order by o.id;
select name, (select count(*) from orders i where i.customer_id = o.id) from customers o order by o.id;

-- the order of a query in FROM, when nothing sorts again
-- flag: ordered
select * from (select id, score from customers order by score nulls last, id) x limit 3;
with x as (select id, score from customers order by score nulls last, id) select * from x limit 3;
select id from (select id, score from customers order by score nulls last, id) x where score > 2 limit 3;
select id from (select id, score from customers order by score nulls last, id) x offset 2;
(select id from customers order by score, id) union all (select k from loose order by k, v);

-- a query within the frame of a window
select id, sum(score) over (order by id rows (select min(id) from customers where id > 0)::int preceding) from customers order by id;
select id, sum(score) over (partition by id order by id rows (select count(*) from customers) preceding) from customers order by id;

-- joins with names of their own, and natural ones of what has unknown columns
select * from (customers c cross join statuses s) as x (a, b) where a < 3 order by 1, s;
select x.a, count(*) from (customers c left join orders o on o.customer_id = c.id) as x (a) group by x.a order by 1;
select count(*), min(name collate "C") from (customers c join orders o on o.customer_id = c.id) as x;
select name, total from (customers c join orders o on o.customer_id = c.id) as x order by name collate "C", total, placed;
select x.total, s.label from (customers c join orders o on o.customer_id = c.id) as x left join statuses s on s.status = x.status order by 1, 2, x.placed;
select (select count(*) from (loose l join pairs p on l.k = p.a) as j where j.a = c.id) from customers c order by c.id;
select * from customers c join docs o using (id) as x where x.id is null;
select * from ga join gb using (k) as x where x.k = 3 order by i;
select x.k, x.* from ga join gb using (k) as x where ga.g > 1 order by 1, 2, gb.i;
select count(*) from (ga natural join gb) as q;
select count(*) from ga natural join gb natural join gr;
select * from loose l (a, b) natural join (select k as a, v as w from loose) q order by 1, 2, 3;
select * from (select k as a, v from loose) x natural left join (select a, b, v as pv from pairs) y order by 1, 2, 3, 4;
select * from (select * from (select k as a from loose) x natural full join (select a, b from pairs) y) z natural full join (select id as a, name from customers) w order by a nulls last, b, name collate "C";
select * from (select * from ga natural join gr) x natural left join (select * from gb join gr using (g)) y where k = 3 order by 1, 2, 3, 4;
select k from ga t1 (k, q) natural left join gb where k = 3 order by 1;
select a from loose l (a, b) natural right join (select id as a from customers) q where a = 3;
select j.name from (customers c join orders o on o.customer_id = c.id) as j where j.customer_id = 5 order by 1;
select c.name from (customers c join orders o on o.customer_id = c.id) as x;
select * from (customers c join loose l on l.k = c.id) as x full join pairs p on p.a = x.k order by x.id nulls last, x.v, p.a, p.b;
